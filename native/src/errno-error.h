// The host's refusals as JavaScript exceptions: { code: 'EACCES', errno: 13, ioctl: 'KVM_CREATE_VM', hint }.
#pragma once
#include <napi.h>

namespace troupe {

/** Makes a pending exception out of `error` (an errno) of the call named `call`; returns undefined for the caller to return. */
Napi::Value ThrowErrno(Napi::Env env, const char* call, int error);

/** Makes a pending TypeError: an argument is not what the facade promises. That is our bug, not the host's. */
Napi::Value ThrowArgument(Napi::Env env, const char* what);

}  // namespace troupe
