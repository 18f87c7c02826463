// A virtual machine: memory slots, interrupt controllers and messages, event descriptors, dirty pages. Linux
// Documentation/virt/kvm/api.rst, "vm ioctls".
#include "vm.h"

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

constexpr uint32_t kMaxRoutes = 4096;

Napi::Value Done(const Napi::CallbackInfo& info, const char* name, int result) {
  return result < 0 ? ThrowErrno(info.Env(), name, errno) : info.Env().Undefined();
}

/** (vm, slot, flags, guestAddress, region): the region's bytes are guest memory there; an empty region deletes the slot. */
Napi::Value SetMemory(const Napi::CallbackInfo& info) {
  const Bytes region = BytesArgument(info, 4);
  if (!region.ok) return info.Env().Undefined();
  kvm_userspace_memory_region slot{};
  slot.slot = U32Argument(info, 1);
  slot.flags = U32Argument(info, 2);
  slot.guest_phys_addr = U64Argument(info, 3);
  slot.memory_size = region.length;
  // SAFETY: the kernel keeps this address until the slot is deleted or the VM is closed. KvmVm holds the arena that long.
  slot.userspace_addr = reinterpret_cast<uintptr_t>(region.data);
  return Done(info, "KVM_SET_USER_MEMORY_REGION", ioctl(IntArgument(info, 0), KVM_SET_USER_MEMORY_REGION, &slot));
}

/** (fd, capability, argument 0 … 3): KVM_ENABLE_CAP of a VM or vCPU. */
Napi::Value EnableCapability(const Napi::CallbackInfo& info) {
  kvm_enable_cap cap{};
  cap.cap = U32Argument(info, 1);
  for (size_t i = 0; i < 4 && i + 2 < info.Length(); i++) cap.args[i] = U64Argument(info, i + 2);
  return Done(info, "KVM_ENABLE_CAP", ioctl(IntArgument(info, 0), KVM_ENABLE_CAP, &cap));
}

/** (vm, address): three pages of guest-physical space that an Intel processor needs; nothing to others. */
Napi::Value SetTssAddress(const Napi::CallbackInfo& info) {
  const unsigned long address = static_cast<unsigned long>(U64Argument(info, 1));
  return Done(info, "KVM_SET_TSS_ADDR", ioctl(IntArgument(info, 0), KVM_SET_TSS_ADDR, address));
}

/** (vm, address): likewise, one page; before the first vCPU. */
Napi::Value SetIdentityMapAddress(const Napi::CallbackInfo& info) {
  uint64_t address = U64Argument(info, 1);
  return Done(info, "KVM_SET_IDENTITY_MAP_ADDR", ioctl(IntArgument(info, 0), KVM_SET_IDENTITY_MAP_ADDR, &address));
}

/** (vm): LAPICs, IOAPIC and 8259 in the kernel. */
Napi::Value CreateIrqchip(const Napi::CallbackInfo& info) {
  return Done(info, "KVM_CREATE_IRQCHIP", ioctl(IntArgument(info, 0), KVM_CREATE_IRQCHIP, 0));
}

Napi::Value CreatePit2(const Napi::CallbackInfo& info) {
  kvm_pit_config config{};
  return Done(info, "KVM_CREATE_PIT2", ioctl(IntArgument(info, 0), KVM_CREATE_PIT2, &config));
}

/** (vm, gsi, level). */
Napi::Value IrqLine(const Napi::CallbackInfo& info) {
  kvm_irq_level line{};
  line.irq = U32Argument(info, 1);
  line.level = U32Argument(info, 2);
  return Done(info, "KVM_IRQ_LINE", ioctl(IntArgument(info, 0), KVM_IRQ_LINE, &line));
}

/** (vm, addressLow, addressHigh, data): whether some LAPIC took it. */
Napi::Value SignalMsi(const Napi::CallbackInfo& info) {
  kvm_msi msi{};
  msi.address_lo = U32Argument(info, 1);
  msi.address_hi = U32Argument(info, 2);
  msi.data = U32Argument(info, 3);
  const int taken = ioctl(IntArgument(info, 0), KVM_SIGNAL_MSI, &msi);
  return taken < 0 ? ThrowErrno(info.Env(), "KVM_SIGNAL_MSI", errno) : Napi::Boolean::New(info.Env(), taken > 0);
}

/** (vm, Uint32Array of gsi, addressLow, addressHigh, data each): the whole table of MSI routes. */
Napi::Value SetMsiRoutes(const Napi::CallbackInfo& info) {
  if (!info[1].IsTypedArray()) return ThrowArgument(info.Env(), "a Uint32Array is expected");
  Napi::Uint32Array words = info[1].As<Napi::Uint32Array>();
  const size_t count = words.ElementLength() / 4;
  if (count > kMaxRoutes) return ThrowArgument(info.Env(), "too many routes");
  constexpr size_t kEntry = sizeof(kvm_irq_routing_entry);
  std::vector<uint8_t> table(sizeof(ListHeader) + count * kEntry);
  const ListHeader header{static_cast<uint32_t>(count), 0};
  std::memcpy(table.data(), &header, sizeof header);
  for (size_t i = 0; i < count; i++) {
    kvm_irq_routing_entry entry{};
    entry.gsi = words[i * 4];
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = words[i * 4 + 1];
    entry.u.msi.address_hi = words[i * 4 + 2];
    entry.u.msi.data = words[i * 4 + 3];
    std::memcpy(table.data() + sizeof header + i * kEntry, &entry, kEntry);
  }
  return Done(info, "KVM_SET_GSI_ROUTING", ioctl(IntArgument(info, 0), kSetGsiRouting, table.data()));
}

/** (vm, eventfd, gsi, assign, resampleFd or −1): a write to the eventfd raises the GSI. */
Napi::Value Irqfd(const Napi::CallbackInfo& info) {
  kvm_irqfd irqfd{};
  irqfd.fd = U32Argument(info, 1);
  irqfd.gsi = U32Argument(info, 2);
  irqfd.flags = BoolArgument(info, 3) ? 0 : KVM_IRQFD_FLAG_DEASSIGN;
  const int resample = IntArgument(info, 4);
  if (resample >= 0) {
    irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
    irqfd.resamplefd = static_cast<uint32_t>(resample);
  }
  return Done(info, "KVM_IRQFD", ioctl(IntArgument(info, 0), KVM_IRQFD, &irqfd));
}

/** (vm, eventfd, flags, address, bytes, datum): a guest's write there counts the eventfd up and is no exit. flags: KVM_IOEVENTFD_FLAG_*. */
Napi::Value Ioeventfd(const Napi::CallbackInfo& info) {
  kvm_ioeventfd event{};
  event.fd = IntArgument(info, 1);
  event.flags = U32Argument(info, 2);
  event.addr = U64Argument(info, 3);
  event.len = U32Argument(info, 4);
  event.datamatch = U64Argument(info, 5);
  return Done(info, "KVM_IOEVENTFD", ioctl(IntArgument(info, 0), KVM_IOEVENTFD, &event));
}

/** (vm, slot, bitmap): a bit a page that was written since the last call (or KVM_CLEAR_DIRTY_LOG with manual protection). */
Napi::Value DirtyLog(const Napi::CallbackInfo& info) {
  const Bytes bitmap = BytesArgument(info, 2);
  if (!bitmap.ok) return info.Env().Undefined();
  kvm_dirty_log log{};
  log.slot = U32Argument(info, 1);
  // SAFETY: the facade sizes the bitmap to the slot, rounded up to 64 pages: the kernel writes no more than that.
  log.dirty_bitmap = bitmap.data;
  return Done(info, "KVM_GET_DIRTY_LOG", ioctl(IntArgument(info, 0), KVM_GET_DIRTY_LOG, &log));
}

/** (vm, slot, firstPage, pages, bitmap): protects the pages again whose bits are set. */
Napi::Value ClearDirtyLog(const Napi::CallbackInfo& info) {
  const Bytes bitmap = BytesArgument(info, 4);
  if (!bitmap.ok) return info.Env().Undefined();
  kvm_clear_dirty_log log{};
  log.slot = U32Argument(info, 1);
  log.first_page = U64Argument(info, 2);
  log.num_pages = U32Argument(info, 3);
  if (bitmap.length * 8 < log.num_pages) return ThrowArgument(info.Env(), "the bitmap is too short");
  // SAFETY: the bitmap holds a bit for each of num_pages, looked at above.
  log.dirty_bitmap = bitmap.data;
  return Done(info, "KVM_CLEAR_DIRTY_LOG", ioctl(IntArgument(info, 0), KVM_CLEAR_DIRTY_LOG, &log));
}

/** (vm): how many ring entries the kernel took back. */
Napi::Value ResetDirtyRings(const Napi::CallbackInfo& info) {
  const int count = ioctl(IntArgument(info, 0), KVM_RESET_DIRTY_RINGS, 0);
  return count < 0 ? ThrowErrno(info.Env(), "KVM_RESET_DIRTY_RINGS", errno) : Napi::Number::New(info.Env(), count);
}

/** (vm, id): OwnedFd of a new vCPU. */
Napi::Value CreateVcpu(const Napi::CallbackInfo& info) {
  const int fd = ioctl(IntArgument(info, 0), KVM_CREATE_VCPU, static_cast<unsigned long>(U32Argument(info, 1)));
  return fd < 0 ? ThrowErrno(info.Env(), "KVM_CREATE_VCPU", errno) : OwnedFd::Wrap(info.Env(), fd);
}

}  // namespace

void InitVm(Napi::Env env, Napi::Object exports) {
  exports.Set("setMemory", Napi::Function::New<SetMemory>(env));
  exports.Set("enableCapability", Napi::Function::New<EnableCapability>(env));
  exports.Set("setTssAddress", Napi::Function::New<SetTssAddress>(env));
  exports.Set("setIdentityMapAddress", Napi::Function::New<SetIdentityMapAddress>(env));
  exports.Set("createIrqchip", Napi::Function::New<CreateIrqchip>(env));
  exports.Set("createPit2", Napi::Function::New<CreatePit2>(env));
  exports.Set("irqLine", Napi::Function::New<IrqLine>(env));
  exports.Set("signalMsi", Napi::Function::New<SignalMsi>(env));
  exports.Set("setMsiRoutes", Napi::Function::New<SetMsiRoutes>(env));
  exports.Set("irqfd", Napi::Function::New<Irqfd>(env));
  exports.Set("ioeventfd", Napi::Function::New<Ioeventfd>(env));
  exports.Set("dirtyLog", Napi::Function::New<DirtyLog>(env));
  exports.Set("clearDirtyLog", Napi::Function::New<ClearDirtyLog>(env));
  exports.Set("resetDirtyRings", Napi::Function::New<ResetDirtyRings>(env));
  exports.Set("createVcpu", Napi::Function::New<CreateVcpu>(env));
}

}  // namespace troupe
