#pragma once
#include <napi.h>

namespace troupe {

void InitMapping(Napi::Env env, Napi::Object exports);

}  // namespace troupe
