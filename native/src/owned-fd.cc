#include "owned-fd.h"

#include <unistd.h>

#include "addon-data.h"
#include "buffer.h"

namespace troupe {

void OwnedFd::Init(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(
      env, "OwnedFd",
      {InstanceAccessor<&OwnedFd::Number>("fd"), InstanceMethod<&OwnedFd::Close>("close")});
  env.GetInstanceData<AddonData>()->ownedFd = Napi::Persistent(constructor);
  exports.Set("OwnedFd", constructor);
}

Napi::Value OwnedFd::Wrap(Napi::Env env, int fd) {
  Napi::Object object =
      env.GetInstanceData<AddonData>()->ownedFd.New({Napi::Number::New(env, fd)});
  if (object.IsEmpty()) {
    close(fd);  // the thread is being terminated
    return env.Undefined();
  }
  return object;
}

OwnedFd::OwnedFd(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<OwnedFd>(info), fd_(IntArgument(info, 0)) {}

OwnedFd::~OwnedFd() { Release(); }

Napi::Value OwnedFd::Number(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_); }

void OwnedFd::Close(const Napi::CallbackInfo&) { Release(); }

void OwnedFd::Release() {
  if (fd_ < 0) return;
  close(fd_);
  fd_ = -1;
}

}  // namespace troupe
