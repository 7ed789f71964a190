// Owns: what the N-API glue of every object shares: errors with code, errno and syscall, and options by name.

#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "tun.h"
#include "uv_poll.h"

namespace tun {

inline std::string nameOf(int error) {
#ifdef __linux__
  if (error == 77) return "EBADFD";  // unknown to libuv
#endif
  char buffer[64];
  return uv_err_name_r(-error, buffer, sizeof buffer);
}

inline Napi::Error systemError(Napi::Env env, const Failure& failure) {
  const bool unsupported = std::string(failure.detail) == "unsupported-platform";
  const std::string code = unsupported ? "ERR_TUN_UNSUPPORTED_PLATFORM" : nameOf(failure.error);
  Napi::Error error = Napi::Error::New(env, code + ": " + failure.syscall);
  error.Set("code", code);
  error.Set("errno", Napi::Number::New(env, -failure.error));  // negative, as Node's own
  error.Set("syscall", failure.syscall);
  if (failure.win32 != 0) error.Set("win32", Napi::Number::New(env, failure.win32));
  if (failure.detail[0] != 0) error.Set("detail", failure.detail);
  return error;
}

/** A whole number of 32 bits: N-API by itself would take 2³² + 3 for 3, and NaN for 0. */
inline bool getInteger(const Napi::Value& value, int& out) {
  if (!value.IsNumber()) return false;
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= INT32_MIN && number <= INT32_MAX) || number != static_cast<int>(number)) return false;
  out = static_cast<int>(number);
  return true;
}

inline int integerOption(Napi::Env env, const Napi::Object& options, const char* key, int fallback) {
  const Napi::Value value = options.Get(key);
  if (value.IsUndefined()) return fallback;
  int number = 0;
  if (!getInteger(value, number)) throw Napi::TypeError::New(env, std::string(key) + " must be a whole number");
  return number;
}

inline std::string textOption(Napi::Env env, const Napi::Object& options, const char* key) {
  const Napi::Value value = options.Get(key);
  if (value.IsUndefined()) return "";
  if (!value.IsString()) throw Napi::TypeError::New(env, std::string(key) + " must be a string");
  const std::string result = value.As<Napi::String>().Utf8Value();
  if (result.find('\0') != std::string::npos) throw Napi::TypeError::New(env, std::string(key) + " contains a NUL");
  return result;
}

/** SO_MARK; negative if it is left out. */
inline int64_t markOption(const Napi::Value& value) {
  if (value.IsUndefined()) return -1;
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= UINT32_MAX) || number != static_cast<uint32_t>(number)) {
    throw Napi::TypeError::New(value.Env(), "mark must be an unsigned number of 32 bits");
  }
  return static_cast<int64_t>(number);
}

}  // namespace tun
