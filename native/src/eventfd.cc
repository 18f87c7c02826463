// Event counters (eventfd(2)): what irqfd and ioeventfd are made of. Written and read by ordinary file calls.
#include "eventfd.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "buffer.h"
#include "errno-error.h"
#include "owned-fd.h"

namespace troupe {
namespace {

/** (): OwnedFd. A read blocks while the count is zero. */
Napi::Value CreateEventfd(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC);
  return fd < 0 ? ThrowErrno(info.Env(), "eventfd", errno) : OwnedFd::Wrap(info.Env(), fd);
}

}  // namespace

void InitEventfd(Napi::Env env, Napi::Object exports) {
  exports.Set("createEventfd", Napi::Function::New<CreateEventfd>(env));
}

}  // namespace troupe
