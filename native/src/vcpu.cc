// Running and kicking vCPUs. A table of all vCPUs of the process, shared by its threads: one runs a vCPU, any may kick it out
// of KVM_RUN. A kick sets immediate_exit, so that a KVM_RUN that starts later comes back at once, and signals the thread
// only while it is inside: the runner announces itself before the kernel reads immediate_exit, the kicker sets
// immediate_exit before it looks for a runner, so one of the two sees the other.
#include "vcpu.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <mutex>

#include "buffer.h"
#include "errno-error.h"

namespace troupe {
namespace {

/** Handles are slot + generation × kSlots, so that one of a closed vCPU names nothing. */
constexpr uint32_t kSlots = 1 << 16;

struct Slot {
  std::mutex mutex;  // held by kicks, open and close: never while a vCPU runs
  uint32_t generation = 0;
  bool open = false;
  int fd = -1;
  // SAFETY: points into the arena, which the facade's KvmVcpu holds until it has closed the slot.
  kvm_run* run = nullptr;
  std::atomic<pid_t> runner{0};
};

std::mutex tableMutex;
// A deque never moves its elements: a Slot's address is good for the process's life.
std::deque<Slot> table;

int KickSignal() { return SIGRTMIN + 5; }

void OnKick(int) {}  // Its one effect: KVM_RUN ends with EINTR.

void InstallKickHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = OnKick;  // without SA_RESTART
    sigaction(KickSignal(), &action, nullptr);
  });
}

/** The slot of a handle, or null when it was closed. The caller locks the slot's mutex where it must stay open. */
Slot* FindSlot(uint32_t handle) {
  const uint32_t index = handle % kSlots;
  std::lock_guard<std::mutex> lock(tableMutex);
  if (index >= table.size()) return nullptr;
  Slot& slot = table[index];
  return slot.open && slot.generation == handle / kSlots ? &slot : nullptr;
}

/** (fd, runPage): a handle. `runPage` is where the vCPU's kvm_run is mapped in the arena. */
Napi::Value OpenVcpu(const Napi::CallbackInfo& info) {
  const Bytes page = BytesArgument(info, 1);
  if (!page.ok) return info.Env().Undefined();
  if (page.length < sizeof(kvm_run)) return ThrowArgument(info.Env(), "the page is shorter than kvm_run");
  InstallKickHandler();
  std::lock_guard<std::mutex> lock(tableMutex);
  uint32_t index = 0;
  while (index < table.size() && table[index].open) index++;
  if (index == kSlots) return ThrowErrno(info.Env(), "openVcpu", ENOSPC);
  if (index == table.size()) table.emplace_back();
  Slot& slot = table[index];
  std::lock_guard<std::mutex> slotLock(slot.mutex);
  slot.open = true;
  slot.generation = (slot.generation + 1) % 0x7fff;
  slot.fd = IntArgument(info, 0);
  // SAFETY: see Slot::run.
  slot.run = reinterpret_cast<kvm_run*>(page.data);
  slot.runner = 0;
  return Napi::Number::New(info.Env(), slot.generation * kSlots + index);
}

/** (handle): kicks of it do nothing from now on. The owner has made sure that nobody runs it. */
Napi::Value CloseVcpu(const Napi::CallbackInfo& info) {
  Slot* slot = FindSlot(U32Argument(info, 0));
  if (slot == nullptr) return info.Env().Undefined();
  std::lock_guard<std::mutex> lock(tableMutex);
  std::lock_guard<std::mutex> slotLock(slot->mutex);
  slot->open = false;
  slot->run = nullptr;
  return info.Env().Undefined();
}

/** (handle): runs until an exit and gives its reason (KVM_EXIT_*), or −1 when a kick or a start-up ended it. */
Napi::Value RunVcpu(const Napi::CallbackInfo& info) {
  Slot* slot = FindSlot(U32Argument(info, 0));
  if (slot == nullptr) return ThrowErrno(info.Env(), "KVM_RUN", EBADF);
  static thread_local const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  slot->runner.store(self, std::memory_order_seq_cst);
  const int result = ioctl(slot->fd, KVM_RUN, 0);
  const int error = errno;
  slot->runner.store(0, std::memory_order_seq_cst);
  if (result < 0) {
    if (error == EINTR || error == EAGAIN) return Napi::Number::New(info.Env(), -1);
    return ThrowErrno(info.Env(), "KVM_RUN", error);
  }
  return Napi::Number::New(info.Env(), slot->run->exit_reason);
}

/** (handle): ends its KVM_RUN now, or the next at once. Callable from any thread; false when the vCPU is closed. */
Napi::Value KickVcpu(const Napi::CallbackInfo& info) {
  const uint32_t handle = U32Argument(info, 0);
  Slot* slot = FindSlot(handle);
  if (slot == nullptr) return Napi::Boolean::New(info.Env(), false);
  std::lock_guard<std::mutex> lock(slot->mutex);
  if (!slot->open || slot->generation != handle / kSlots) return Napi::Boolean::New(info.Env(), false);
  // SAFETY: the slot is open and its mutex held, so its page is mapped. The kernel reads this byte, other threads write it.
  __atomic_store_n(&slot->run->immediate_exit, static_cast<uint8_t>(1), __ATOMIC_SEQ_CST);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const pid_t runner = slot->runner.load(std::memory_order_seq_cst);
  if (runner != 0) syscall(SYS_tgkill, getpid(), runner, KickSignal());
  return Napi::Boolean::New(info.Env(), true);
}

}  // namespace

void InitVcpu(Napi::Env env, Napi::Object exports) {
  exports.Set("openVcpu", Napi::Function::New<OpenVcpu>(env));
  exports.Set("closeVcpu", Napi::Function::New<CloseVcpu>(env));
  exports.Set("runVcpu", Napi::Function::New<RunVcpu>(env));
  exports.Set("kickVcpu", Napi::Function::New<KickVcpu>(env));
}

}  // namespace troupe
