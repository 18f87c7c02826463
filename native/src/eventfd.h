#pragma once
#include <napi.h>

namespace troupe {

void InitEventfd(Napi::Env env, Napi::Object exports);

}  // namespace troupe
