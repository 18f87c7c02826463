#include "errno-error.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace troupe {
namespace {

struct ErrnoName {
  int error;
  const char* code;
  const char* hint;
};

constexpr ErrnoName kNames[] = {
    {EPERM, "EPERM", "this process may not do that: check its capabilities and seccomp profile"},
    {ENOENT, "ENOENT", "load the module kvm_intel or kvm_amd, or switch virtualization on in the firmware"},
    {EACCES, "EACCES", "add your user to the group kvm: sudo usermod -aG kvm $USER, then log in again"},
    {EBUSY, "EBUSY", "another hypervisor holds the processor's virtualization, or it is done already"},
    {EEXIST, "EEXIST", "it exists already"},
    {ENODEV, "ENODEV", "the processor's virtualization is switched off or missing"},
    {EINVAL, "EINVAL", "this kernel does not know the request or a value in it"},
    {ENOTTY, "ENOTTY", "this kernel does not know the request"},
    {ENXIO, "ENXIO", "the virtual machine was made without what this needs (an interrupt controller)"},
    {EMFILE, "EMFILE", "raise the limit of open files: ulimit -n"},
    {ENFILE, "ENFILE", "the host has too many open files: fs.file-max"},
    {ENOMEM, "ENOMEM", "the host is out of memory, or vm.max_map_count is reached"},
    {EFAULT, "EFAULT", "an address is not mapped"},
    {EBADF, "EBADF", "the descriptor has been closed"},
    {E2BIG, "E2BIG", "the list is longer than the buffer for it"},
    {ENOSPC, "ENOSPC", "no room is left"},
    {EINTR, "EINTR", "a signal ended it"},
    {EAGAIN, "EAGAIN", "try again"},
    {EIO, "EIO", "the processor or the kernel failed"},
    {ESRCH, "ESRCH", "the thread is gone"},
};

}  // namespace

Napi::Value ThrowErrno(Napi::Env env, const char* call, int error) {
  const ErrnoName* found = nullptr;
  for (const ErrnoName& name : kNames)
    if (name.error == error) found = &name;
  const std::string message = std::string(call) + ": " + std::strerror(error);
  Napi::Error exception = Napi::Error::New(env, message);
  exception.Set("code", found == nullptr ? "E" + std::to_string(error) : std::string(found->code));
  exception.Set("errno", Napi::Number::New(env, error));
  exception.Set("ioctl", call);
  exception.Set("hint", found == nullptr ? "see the kernel's log (dmesg)" : found->hint);
  exception.ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value ThrowArgument(Napi::Env env, const char* what) {
  Napi::TypeError::New(env, what).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace troupe
