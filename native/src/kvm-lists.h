// Requests whose structure ends in an array of any length. The kernel's header declares such arrays with an empty struct,
// which has a size of 1 in C++ (0 in C): its kvm_cpuid2 is 12 bytes long here, and the request's number with it is
// wrong. So the fixed parts are declared here, and the numbers are made from them.
#pragma once
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace troupe {

/** Before the entries of kvm_cpuid2, kvm_msrs and kvm_irq_routing: the count, and padding or flags. */
struct ListHeader {
  uint32_t count;
  uint32_t flags;
};
static_assert(sizeof(ListHeader) == 8, "as the kernel's C structures");

/** kvm_xsave without its tail, which exists only for features that a process must ask for. */
struct XsaveArea {
  uint8_t bytes[4096];
};

/** Before the indices of kvm_msr_list. */
struct IndexListHeader {
  uint32_t count;
};

constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, ListHeader);
constexpr unsigned long kGetMsrIndexList = _IOWR(KVMIO, 0x02, IndexListHeader);
constexpr unsigned long kGetMsrFeatureIndexList = _IOWR(KVMIO, 0x0a, IndexListHeader);
constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, ListHeader);
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea);
constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, ListHeader);
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, ListHeader);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, ListHeader);
constexpr unsigned long kGetCpuid2 = _IOWR(KVMIO, 0x91, ListHeader);

}  // namespace troupe
