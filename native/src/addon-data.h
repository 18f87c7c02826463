// What the addon keeps for each thread (N-API environment) that loads it.
#pragma once
#include <napi.h>

namespace troupe {

struct AddonData {
  Napi::FunctionReference ownedFd;
};

}  // namespace troupe
