// Owns: arguments of the data path's methods, which go through napi_*: typed arrays looked up afresh at every call (one may have
// been detached since the last), sizes, and the object behind `this`.

#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace tun {

/** For calls that only a mistake of ours lets fail: nobody could go on from there. */
inline void must(napi_status status, const char* where) {
  if (status != napi_ok) napi_fatal_error(where, NAPI_AUTO_LENGTH, "N-API refused", NAPI_AUTO_LENGTH);
}

inline napi_value throwArgument(napi_env env, const char* message) {
  const napi_status status = napi_throw_type_error(env, "ERR_TUN_BUFFER", message);
  if (status != napi_pending_exception && status != napi_cannot_run_js) must(status, "throwArgument");  // one is pending, or a worker ends
  return nullptr;
}

/** A whole number, a negative errno among them, or an exception that is pending. */
inline napi_value answerNumber(napi_env env, int64_t number) {
  napi_value result = nullptr;
  if (napi_create_int32(env, static_cast<int32_t>(number), &result) != napi_ok) return throwArgument(env, "the answer cannot be made");
  return result;
}

/** A number of rows. */
inline napi_value answerCount(napi_env env, size_t count) { return answerNumber(env, static_cast<int64_t>(count)); }

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
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= INT32_MAX)) return false;
  out = static_cast<size_t>(number);
  return static_cast<double>(out) == number;
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
