#include "buffer.h"

#include "errno-error.h"

namespace troupe {

Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index) {
  Bytes bytes;
  napi_typedarray_type type = napi_uint8_array;
  void* data = nullptr;
  if (index >= info.Length() ||
      napi_get_typedarray_info(info.Env(), info[index], &type, &bytes.length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_uint8_array) {
    ThrowArgument(info.Env(), "a Uint8Array is expected");
    return Bytes{};
  }
  // SAFETY: N-API gives the address of the array's first byte, of shared buffers too; JavaScript holds the array during the call.
  bytes.data = static_cast<uint8_t*>(data);
  bytes.ok = true;
  return bytes;
}

int IntArgument(const Napi::CallbackInfo& info, size_t index) { return info[index].ToNumber().Int32Value(); }

uint32_t U32Argument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].ToNumber().Uint32Value();
}

uint64_t U64Argument(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<uint64_t>(info[index].ToNumber().DoubleValue());
}

}  // namespace troupe
