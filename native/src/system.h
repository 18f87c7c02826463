#pragma once
#include <napi.h>

namespace troupe {

void InitSystem(Napi::Env env, Napi::Object exports);

}  // namespace troupe
