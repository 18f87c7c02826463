// /dev/kvm itself. Linux Documentation/virt/kvm/api.rst, "system ioctls".
#include "system.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "buffer.h"
#include "errno-error.h"
#include "kvm-lists.h"
#include "owned-fd.h"

namespace troupe {
namespace {

constexpr uint32_t kMaxEntries = 1024;
/** KVM_MAX_CPUID_ENTRIES: some kernels refuse a longer list. */
constexpr uint32_t kMaxCpuidEntries = 256;

/** (path): OwnedFd. */
Napi::Value OpenDevice(const Napi::CallbackInfo& info) {
  const std::string path = TextArgument(info, 0);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  return fd < 0 ? ThrowErrno(info.Env(), "open", errno) : OwnedFd::Wrap(info.Env(), fd);
}

/** (fd): KVM_GET_API_VERSION. */
Napi::Value ApiVersion(const Napi::CallbackInfo& info) {
  const int version = ioctl(IntArgument(info, 0), KVM_GET_API_VERSION, 0);
  return version < 0 ? ThrowErrno(info.Env(), "KVM_GET_API_VERSION", errno) : Napi::Number::New(info.Env(), version);
}

/** (fd, capability): what KVM_CHECK_EXTENSION says; `fd` is the system's or a virtual machine's. */
Napi::Value CheckExtension(const Napi::CallbackInfo& info) {
  const int value = ioctl(IntArgument(info, 0), KVM_CHECK_EXTENSION, static_cast<unsigned long>(U32Argument(info, 1)));
  return value < 0 ? ThrowErrno(info.Env(), "KVM_CHECK_EXTENSION", errno) : Napi::Number::New(info.Env(), value);
}

/** (fd): bytes of a vCPU's mapping. */
Napi::Value VcpuMmapSize(const Napi::CallbackInfo& info) {
  const int size = ioctl(IntArgument(info, 0), KVM_GET_VCPU_MMAP_SIZE, 0);
  return size < 0 ? ThrowErrno(info.Env(), "KVM_GET_VCPU_MMAP_SIZE", errno) : Napi::Number::New(info.Env(), size);
}

/** (fd): OwnedFd of a new virtual machine. */
Napi::Value CreateVm(const Napi::CallbackInfo& info) {
  const int system = IntArgument(info, 0);
  int fd = -1;
  // A signal may end it early: the kernel looks for one while it registers its notifier.
  for (int tries = 0; tries < 100; tries++) {
    fd = ioctl(system, KVM_CREATE_VM, 0UL);
    if (fd >= 0 || errno != EINTR) break;
  }
  return fd < 0 ? ThrowErrno(info.Env(), "KVM_CREATE_VM", errno) : OwnedFd::Wrap(info.Env(), fd);
}

/** (fd): Uint32Array of leaf, subleaf, flags, eax, ebx, ecx, edx each. */
Napi::Value SupportedCpuid(const Napi::CallbackInfo& info) {
  constexpr size_t kEntry = sizeof(kvm_cpuid_entry2);
  std::vector<uint8_t> storage(sizeof(ListHeader) + kMaxCpuidEntries * kEntry);
  ListHeader header{kMaxCpuidEntries, 0};
  std::memcpy(storage.data(), &header, sizeof header);
  if (ioctl(IntArgument(info, 0), kGetSupportedCpuid, storage.data()) < 0)
    return ThrowErrno(info.Env(), "KVM_GET_SUPPORTED_CPUID", errno);
  std::memcpy(&header, storage.data(), sizeof header);
  Napi::Uint32Array words = Napi::Uint32Array::New(info.Env(), header.count * 7);
  for (uint32_t i = 0; i < header.count; i++) {
    kvm_cpuid_entry2 e;
    std::memcpy(&e, storage.data() + sizeof header + i * kEntry, kEntry);
    const uint32_t row[] = {e.function, e.index, e.flags, e.eax, e.ebx, e.ecx, e.edx};
    for (uint32_t j = 0; j < 7; j++) words[i * 7 + j] = row[j];
  }
  return words;
}

/** (fd, features): Uint32Array of the MSRs that a vCPU's state has, or that hold features of the host. */
Napi::Value MsrIndexList(const Napi::CallbackInfo& info) {
  const bool features = BoolArgument(info, 1);
  const unsigned long request = features ? kGetMsrFeatureIndexList : kGetMsrIndexList;
  const char* name = features ? "KVM_GET_MSR_FEATURE_INDEX_LIST" : "KVM_GET_MSR_INDEX_LIST";
  std::vector<uint32_t> list(1 + kMaxEntries);
  list[0] = kMaxEntries;
  if (ioctl(IntArgument(info, 0), request, list.data()) < 0) return ThrowErrno(info.Env(), name, errno);
  Napi::Uint32Array indices = Napi::Uint32Array::New(info.Env(), list[0]);
  for (uint32_t i = 0; i < list[0]; i++) indices[i] = list[i + 1];
  return indices;
}

}  // namespace

void InitSystem(Napi::Env env, Napi::Object exports) {
  exports.Set("openDevice", Napi::Function::New<OpenDevice>(env));
  exports.Set("apiVersion", Napi::Function::New<ApiVersion>(env));
  exports.Set("checkExtension", Napi::Function::New<CheckExtension>(env));
  exports.Set("vcpuMmapSize", Napi::Function::New<VcpuMmapSize>(env));
  exports.Set("createVm", Napi::Function::New<CreateVm>(env));
  exports.Set("supportedCpuid", Napi::Function::New<SupportedCpuid>(env));
  exports.Set("msrIndexList", Napi::Function::New<MsrIndexList>(env));
}

}  // namespace troupe
