#pragma once
#include <napi.h>

namespace troupe {

void InitIoctlTable(Napi::Env env, Napi::Object exports);

}  // namespace troupe
