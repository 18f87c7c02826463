// Mappings into the guest arena. A kvm_run page or a dirty ring is mapped over pages of the arena (a shared
// WebAssembly.Memory), so that TypeScript reads it with the views it has, on any thread, and no pointer leaves this file.
// Whoever mapped unmaps: a mapping keeps the descriptor's file alive, and thereby the whole virtual machine.
#include "mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "buffer.h"
#include "errno-error.h"

namespace troupe {
namespace {

bool IsPageAligned(const Bytes& bytes) {
  const size_t mask = static_cast<size_t>(sysconf(_SC_PAGESIZE)) - 1;
  return (reinterpret_cast<uintptr_t>(bytes.data) & mask) == 0 && (bytes.length & mask) == 0;
}

/** (region, fd, fileOffset): the file's bytes take the place of the region. The region is a view of whole pages of the arena. */
Napi::Value MapOver(const Napi::CallbackInfo& info) {
  const Bytes region = BytesArgument(info, 0);
  if (!region.ok) return info.Env().Undefined();
  if (!IsPageAligned(region)) return ThrowArgument(info.Env(), "the region is not made of whole pages");
  // SAFETY: the region lies inside a WebAssembly.Memory that JavaScript holds; its pages are private anonymous memory of no
  // other use, and its reservation never moves or shrinks, so replacing them in place cannot hit anything else.
  void* at = mmap(region.data, region.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, IntArgument(info, 1),
                  static_cast<off_t>(U64Argument(info, 2)));
  return at == MAP_FAILED ? ThrowErrno(info.Env(), "mmap", errno) : info.Env().Undefined();
}

/** (region): plain zeroed memory again. */
Napi::Value UnmapOver(const Napi::CallbackInfo& info) {
  const Bytes region = BytesArgument(info, 0);
  if (!region.ok) return info.Env().Undefined();
  if (!IsPageAligned(region)) return ThrowArgument(info.Env(), "the region is not made of whole pages");
  // SAFETY: as in MapOver; anonymous pages take the file's place, so every view stays valid.
  void* at = mmap(region.data, region.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return at == MAP_FAILED ? ThrowErrno(info.Env(), "mmap", errno) : info.Env().Undefined();
}

}  // namespace

void InitMapping(Napi::Env env, Napi::Object exports) {
  exports.Set("mapOver", Napi::Function::New<MapOver>(env));
  exports.Set("unmapOver", Napi::Function::New<UnmapOver>(env));
}

}  // namespace troupe
