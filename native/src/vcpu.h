#pragma once
#include <napi.h>

namespace troupe {

void InitVcpu(Napi::Env env, Napi::Object exports);

}  // namespace troupe
