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

// The plain getters, not node-addon-api's conversions: these run JavaScript, which fails in a thread that is being terminated,
// and then the addon would end the process. An argument of another type is 0; the facade gives none.

int IntArgument(const Napi::CallbackInfo& info, size_t index) {
  int32_t value = 0;
  napi_get_value_int32(info.Env(), info[index], &value);
  return value;
}

uint32_t U32Argument(const Napi::CallbackInfo& info, size_t index) {
  uint32_t value = 0;
  napi_get_value_uint32(info.Env(), info[index], &value);
  return value;
}

uint64_t U64Argument(const Napi::CallbackInfo& info, size_t index) {
  double value = 0;
  napi_get_value_double(info.Env(), info[index], &value);
  return value > 0 ? static_cast<uint64_t>(value) : 0;
}

bool BoolArgument(const Napi::CallbackInfo& info, size_t index) {
  bool value = false;
  napi_get_value_bool(info.Env(), info[index], &value);
  return value;
}

std::string TextArgument(const Napi::CallbackInfo& info, size_t index) {
  char text[256];
  size_t length = 0;
  if (napi_get_value_string_utf8(info.Env(), info[index], text, sizeof text, &length) != napi_ok) return {};
  return std::string(text, length);
}

}  // namespace troupe
