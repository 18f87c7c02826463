// What malloc keeps goes back to the host.
#pragma once

#include <napi.h>

namespace troupe {

void InitMallocTrim(Napi::Env env, Napi::Object exports);

}  // namespace troupe
