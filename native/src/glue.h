// Owns: what the N-API glue of every object shares: errors with code, errno and syscall, and options by name.

#pragma once

#include <napi.h>

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
  if (failure.detail[0] != 0) error.Set("detail", failure.detail);
  return error;
}

inline int integerOption(Napi::Env env, const Napi::Object& options, const char* key, int fallback) {
  const Napi::Value value = options.Get(key);
  if (value.IsUndefined()) return fallback;
  if (!value.IsNumber()) throw Napi::TypeError::New(env, std::string(key) + " must be a number");
  return value.As<Napi::Number>().Int32Value();
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
inline int64_t markOption(const Napi::Object& options) {
  return options.Get("mark").IsNumber() ? options.Get("mark").As<Napi::Number>().Uint32Value() : int64_t{-1};
}

}  // namespace tun
