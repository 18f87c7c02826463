// Reading and writing state as the kernel lays it out: one table of structures, two calls. The bytes are decoded and made
// in TypeScript (shared/x86/kvm-*.ts). Linux Documentation/virt/kvm/api.rst.
#include "ioctl-table.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "buffer.h"
#include "errno-error.h"
#include "kvm-lists.h"

namespace troupe {
namespace {

/** A structure of fixed size; 0 as a request: there is none. */
struct Structure {
  const char* name;
  unsigned long get;
  unsigned long set;
  size_t bytes;
  const char* getName;
  const char* setName;
};

#define FIXED(name, what, type) \
  { name, KVM_GET_##what, KVM_SET_##what, sizeof(type), "KVM_GET_" #what, "KVM_SET_" #what }

const Structure kStructures[] = {
    FIXED("regs", REGS, kvm_regs),
    FIXED("sregs", SREGS, kvm_sregs),
    FIXED("sregs2", SREGS2, kvm_sregs2),
    FIXED("fpu", FPU, kvm_fpu),
    {"xsave", kGetXsave, kSetXsave, sizeof(XsaveArea), "KVM_GET_XSAVE", "KVM_SET_XSAVE"},
    FIXED("xcrs", XCRS, kvm_xcrs),
    FIXED("lapic", LAPIC, kvm_lapic_state),
    FIXED("vcpu-events", VCPU_EVENTS, kvm_vcpu_events),
    FIXED("mp-state", MP_STATE, kvm_mp_state),
    FIXED("debugregs", DEBUGREGS, kvm_debugregs),
    FIXED("irqchip", IRQCHIP, kvm_irqchip),
    FIXED("pit2", PIT2, kvm_pit_state2),
    FIXED("clock", CLOCK, kvm_clock_data),
    // Lists: the caller's buffer holds the count and the entries.
    {"msrs", kGetMsrs, kSetMsrs, 0, "KVM_GET_MSRS", "KVM_SET_MSRS"},
    {"cpuid2", kGetCpuid2, kSetCpuid2, 0, "KVM_GET_CPUID2", "KVM_SET_CPUID2"},
    {"interrupt", 0, KVM_INTERRUPT, sizeof(kvm_interrupt), "", "KVM_INTERRUPT"},
    {"guest-debug", 0, KVM_SET_GUEST_DEBUG, sizeof(kvm_guest_debug), "", "KVM_SET_GUEST_DEBUG"},
};

const Structure* Find(const std::string& name) {
  for (const Structure& s : kStructures)
    if (name == s.name) return &s;
  return nullptr;
}

/** Whether the buffer holds all that its count promises: the kernel reads and writes that much. */
bool Holds(const Structure& s, const Bytes& bytes) {
  if (s.bytes != 0) return bytes.length >= s.bytes;
  if (bytes.length < sizeof(ListHeader)) return false;
  ListHeader header;
  std::memcpy(&header, bytes.data, sizeof header);
  const size_t entry = s.set == kSetMsrs ? sizeof(kvm_msr_entry) : sizeof(kvm_cpuid_entry2);
  return bytes.length >= sizeof header + uint64_t{header.count} * entry;
}

Napi::Value Transfer(const Napi::CallbackInfo& info, bool set) {
  const Structure* s = Find(TextArgument(info, 1));
  if (s == nullptr || (set ? s->set : s->get) == 0) return ThrowArgument(info.Env(), "there is no such structure");
  const Bytes bytes = BytesArgument(info, 2);
  if (!bytes.ok) return info.Env().Undefined();
  if (!Holds(*s, bytes)) return ThrowArgument(info.Env(), "the buffer is shorter than the structure");
  const int result = ioctl(IntArgument(info, 0), set ? s->set : s->get, bytes.data);
  if (result < 0) return ThrowErrno(info.Env(), set ? s->setName : s->getName, errno);
  return Napi::Number::New(info.Env(), result);
}

/** (fd, name, buffer): fills the buffer; of MSRs, says how many were read before one that is not there. */
Napi::Value GetState(const Napi::CallbackInfo& info) { return Transfer(info, false); }

/** (fd, name, buffer): the same, written. */
Napi::Value SetState(const Napi::CallbackInfo& info) { return Transfer(info, true); }

/** (name): bytes of a structure of fixed size. */
Napi::Value StateBytes(const Napi::CallbackInfo& info) {
  const Structure* s = Find(TextArgument(info, 0));
  if (s == nullptr) return ThrowArgument(info.Env(), "there is no such structure");
  return Napi::Number::New(info.Env(), static_cast<double>(s->bytes));
}

/** (vcpu): the guest's TSC rate in kHz. */
Napi::Value TscKhz(const Napi::CallbackInfo& info) {
  const int khz = ioctl(IntArgument(info, 0), KVM_GET_TSC_KHZ, 0);
  return khz < 0 ? ThrowErrno(info.Env(), "KVM_GET_TSC_KHZ", errno) : Napi::Number::New(info.Env(), khz);
}

/** (vcpu, kHz). */
Napi::Value SetTscKhz(const Napi::CallbackInfo& info) {
  const unsigned long khz = U32Argument(info, 1);
  if (ioctl(IntArgument(info, 0), KVM_SET_TSC_KHZ, khz) < 0) return ThrowErrno(info.Env(), "KVM_SET_TSC_KHZ", errno);
  return info.Env().Undefined();
}

/** (vcpu): a pending NMI. */
Napi::Value Nmi(const Napi::CallbackInfo& info) {
  if (ioctl(IntArgument(info, 0), KVM_NMI, 0) < 0) return ThrowErrno(info.Env(), "KVM_NMI", errno);
  return info.Env().Undefined();
}

/** (vcpu): tells the guest's clock that it was stopped; false when the guest has none. */
Napi::Value ClockStopped(const Napi::CallbackInfo& info) {
  const int result = ioctl(IntArgument(info, 0), KVM_KVMCLOCK_CTRL, 0);
  if (result < 0 && errno != EINVAL) return ThrowErrno(info.Env(), "KVM_KVMCLOCK_CTRL", errno);
  return Napi::Boolean::New(info.Env(), result == 0);
}

}  // namespace

void InitIoctlTable(Napi::Env env, Napi::Object exports) {
  exports.Set("getState", Napi::Function::New<GetState>(env));
  exports.Set("setState", Napi::Function::New<SetState>(env));
  exports.Set("stateBytes", Napi::Function::New<StateBytes>(env));
  exports.Set("tscKhz", Napi::Function::New<TscKhz>(env));
  exports.Set("setTscKhz", Napi::Function::New<SetTscKhz>(env));
  exports.Set("nmi", Napi::Function::New<Nmi>(env));
  exports.Set("clockStopped", Napi::Function::New<ClockStopped>(env));
}

}  // namespace troupe
