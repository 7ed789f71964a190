// Owns: ping.h as a JavaScript object: new Ping(request), send, receive, report, watch(events, callback), close().

#pragma once

#include <napi.h>

#include "arguments.h"
#include "glue.h"

#ifdef __linux__
#include "ping.h"
#include "watched.h"
#include "watcher.h"
#endif

namespace tun {

#ifdef __linux__

class PingObject final : public Napi::ObjectWrap<PingObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Ping",
                       {rawMethod<PingObject>("send", send), rawMethod<PingObject>("receive", receive),
                        rawMethod<PingObject>("report", report), InstanceAccessor<&PingObject::getRaw>("raw"),
                        InstanceMethod<&PingObject::watch>("watch"), InstanceMethod<&PingObject::ref>("ref"),
                        InstanceMethod<&PingObject::unref>("unref"), InstanceMethod<&PingObject::closeMethod>("close")});
  }

  explicit PingObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PingObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) throw Napi::TypeError::New(env, "new Ping(request)");
    const Napi::Object options = info[0].As<Napi::Object>();
    PingRequest request;
    request.family = integerOption(env, options, "family", 4);
    request.address = textOption(env, options, "address");
    request.device = textOption(env, options, "device");
    request.mark = markOption(options.Get("mark"));
    if (request.family != 4 && request.family != 6) throw Napi::TypeError::New(env, "family must be 4 or 6");
    Failure failure;
    ping = Ping::open(request, failure);
    if (!ping) throw systemError(env, failure);
  }

  ~PingObject() override { closeAll(); }

 private:
  // send(to, sequence, ttl, payload): errno
  static napi_value send(napi_env env, napi_callback_info info) {
    size_t argc = 4;
    napi_value args[4], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    PingObject* object = unwrapped<PingObject>(env, self);
    Bytes to, payload;
    size_t sequence, ttl;
    if (object == nullptr || argc < 4 || !getArray(env, args[0], napi_int32_array, to) || to.length < 4 ||
        !getSize(env, args[1], sequence) || sequence > UINT16_MAX || !getSize(env, args[2], ttl) || ttl > UINT8_MAX ||
        !getArray(env, args[3], napi_uint8_array, payload)) {
      return throwArgument(env, "send(to: Int32Array of 4, sequence, ttl, payload: Uint8Array)");
    }
    const int error = object->ping->send(reinterpret_cast<int32_t*>(to.data), static_cast<uint16_t>(sequence), static_cast<int>(ttl),
                                         payload.data, payload.length);
    return answerNumber(env, error);
  }

  using Take = bool (Ping::*)(uint8_t*, size_t, PingResult&);

  static napi_value take(napi_env env, napi_callback_info info, Take method, const char* usage) {
    size_t argc = 2;
    napi_value args[2], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    PingObject* object = unwrapped<PingObject>(env, self);
    Bytes bytes, words;
    if (object == nullptr || argc < 2 || !getArray(env, args[0], napi_uint8_array, bytes) || bytes.length == 0 ||
        !getArray(env, args[1], napi_int32_array, words) || words.length < PingResult::WORDS) {
      return throwArgument(env, usage);
    }
    const bool taken = (object->ping.get()->*method)(bytes.data, bytes.length, *reinterpret_cast<PingResult*>(words.data));
    napi_value result = nullptr;
    if (napi_get_boolean(env, taken, &result) != napi_ok) return throwArgument(env, "the answer cannot be made");
    return result;
  }

  // receive(bytes, result): boolean
  static napi_value receive(napi_env env, napi_callback_info info) {
    return take(env, info, &Ping::receive, "receive(bytes: Uint8Array, result: Int32Array of 13)");
  }

  // report(bytes, result): boolean
  static napi_value report(napi_env env, napi_callback_info info) {
    return take(env, info, &Ping::report, "report(bytes: Uint8Array, result: Int32Array of 13)");
  }

  Napi::Value getRaw(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), ping->raw); }

  // reports are told without being asked for
  void watch(const Napi::CallbackInfo& info) {
    watched.watch(info, ping->fd >= 0, ping->fd, [this] { closeAll(); }, UV_POLL_PRIORITIZED);
  }

  void ref(const Napi::CallbackInfo&) { watched.setReferenced(true); }
  void unref(const Napi::CallbackInfo&) { watched.setReferenced(false); }
  void closeMethod(const Napi::CallbackInfo&) { closeAll(); }

  void closeAll() {
    watched.close();
    if (ping) ping->close();
  }

  std::unique_ptr<Ping> ping;
  Watched<Watcher> watched;
};

inline void exportPing(Napi::Env env, Napi::Object exports) { exports.Set("Ping", PingObject::define(env)); }

#else

/** Elsewhere `Ping` is missing, and openPing() says so. */
inline void exportPing(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
