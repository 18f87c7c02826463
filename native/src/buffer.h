// Arguments from JavaScript: bytes of typed arrays over shared or own memory, and integers.
#pragma once
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace troupe {

/** Bytes of a Uint8Array. `data` lives as long as the array's buffer: copy nothing out of a call without keeping that alive. */
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
  bool ok = false;
};

/** Leaves a TypeError pending and `ok` false when the argument is no Uint8Array. */
Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index);

int IntArgument(const Napi::CallbackInfo& info, size_t index);
uint32_t U32Argument(const Napi::CallbackInfo& info, size_t index);
/** A JavaScript number: exact below 2^53. */
uint64_t U64Argument(const Napi::CallbackInfo& info, size_t index);
bool BoolArgument(const Napi::CallbackInfo& info, size_t index);
/** At most 255 bytes. */
std::string TextArgument(const Napi::CallbackInfo& info, size_t index);

}  // namespace troupe
