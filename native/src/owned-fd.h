// A file descriptor with one owner. JavaScript holds the object; close() or the collector ends it, whichever comes first.
#pragma once
#include <napi.h>

namespace troupe {

class OwnedFd : public Napi::ObjectWrap<OwnedFd> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);
  /** Takes `fd` over. */
  static Napi::Value Wrap(Napi::Env env, int fd);

  explicit OwnedFd(const Napi::CallbackInfo& info);
  ~OwnedFd() override;

 private:
  Napi::Value Number(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void Release();

  int fd_ = -1;
};

}  // namespace troupe
