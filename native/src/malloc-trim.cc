// glibc's malloc gives every thread an arena of its own, each of which keeps what its thread once needed most. The threads of
// a machine need much at the start and little later.
#include "malloc-trim.h"

#include <malloc.h>

namespace troupe {

namespace {

Napi::Value TrimMalloc(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  const bool trimmed = malloc_trim(0) == 1;
#else
  const bool trimmed = false;
#endif
  return Napi::Boolean::New(info.Env(), trimmed);
}

}  // namespace

void InitMallocTrim(Napi::Env env, Napi::Object exports) {
  exports.Set("trimMalloc", Napi::Function::New(env, TrimMalloc));
}

}  // namespace troupe
