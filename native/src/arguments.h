// Owns: arguments of the data path's methods, which go through napi_*: typed arrays looked up afresh at every call (one may have
// been detached since the last), sizes, and the object behind `this`.

#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace tun {

inline napi_value throwArgument(napi_env env, const char* message) {
  napi_throw_type_error(env, "ERR_TUN_BUFFER", message);
  return nullptr;
}

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

inline bool getArray(napi_env env, napi_value value, napi_typedarray_type wanted, Bytes& out) {
  bool is = false;
  if (napi_is_typedarray(env, value, &is) != napi_ok || !is) return false;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != wanted) return false;
  if (data == nullptr) length = 0;  // detached
  out = {static_cast<uint8_t*>(data), length};
  return true;
}

inline bool getSize(napi_env env, napi_value value, size_t& out) {
  int64_t number = 0;
  if (napi_get_value_int64(env, value, &number) != napi_ok || number < 0 || number > INT32_MAX) return false;
  out = static_cast<size_t>(number);
  return true;
}

/** V8 has checked that `self` is of this class (the method's signature) before it called us. */
template <typename Object>
Object* unwrapped(napi_env env, napi_value self) {
  void* object = nullptr;
  return napi_unwrap(env, self, &object) == napi_ok ? static_cast<Object*>(object) : nullptr;
}

template <typename Object>
Napi::ClassPropertyDescriptor<Object> rawMethod(const char* name, napi_callback method) {
  napi_property_descriptor descriptor{};
  descriptor.utf8name = name;
  descriptor.method = method;
  descriptor.attributes = napi_default_method;
  return descriptor;
}

}  // namespace tun
