#pragma once
#include <napi.h>

namespace troupe {

void InitVm(Napi::Env env, Napi::Object exports);

}  // namespace troupe
