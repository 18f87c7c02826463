// The one addon: /dev/kvm, its ioctls and mappings, thinly, and what else of the host Node does not reach. Policy is TypeScript's (native/*.ts and actors/vcpu/engine-kvm).
// Loaded by any number of threads; what they share (the vCPU table, the kick's signal handler) is in vcpu.cc.
#include <napi.h>

#include "addon-data.h"
#include "eventfd.h"
#include "ioctl-table.h"
#include "malloc-trim.h"
#include "mapping.h"
#include "owned-fd.h"
#include "system.h"
#include "vcpu.h"
#include "vm.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new troupe::AddonData());
  troupe::OwnedFd::Init(env, exports);
  troupe::InitSystem(env, exports);
  troupe::InitVm(env, exports);
  troupe::InitVcpu(env, exports);
  troupe::InitIoctlTable(env, exports);
  troupe::InitMapping(env, exports);
  troupe::InitEventfd(env, exports);
  troupe::InitMallocTrim(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(troupe_native, Init)
