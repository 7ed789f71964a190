// Owns: tcp.h as a JavaScript object, one for each thread: new TcpSockets(), open, connected, send, receive, shutdown, close…, wait,
// watch(callback). Answers are numbers, failures negative errnos: the network's doings throw nothing.

#pragma once

#include <napi.h>

#include "arguments.h"
#include "glue.h"

#ifdef __linux__
#include "tcp.h"
#include "watched.h"
#include "watcher.h"
#endif

namespace tun {

#ifdef __linux__

class TcpObject final : public Napi::ObjectWrap<TcpObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "TcpSockets",
                       {InstanceMethod<&TcpObject::open>("open"), rawMethod<TcpObject>("send", transfer<true>),
                        rawMethod<TcpObject>("receive", transfer<false>), rawMethod<TcpObject>("connected", connected),
                        rawMethod<TcpObject>("shutdown", shutdown), rawMethod<TcpObject>("closeSocket", closeSocket),
                        rawMethod<TcpObject>("wait", wait), InstanceMethod<&TcpObject::keepAlive>("keepAlive"),
                        InstanceMethod<&TcpObject::noDelay>("noDelay"), InstanceMethod<&TcpObject::address>("address"),
                        InstanceMethod<&TcpObject::watch>("watch"), InstanceMethod<&TcpObject::ref>("ref"),
                        InstanceMethod<&TcpObject::unref>("unref"), InstanceMethod<&TcpObject::closeMethod>("close")});
  }

  explicit TcpObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TcpObject>(info) {
    Failure failure;
    sockets = TcpSockets::create(failure);
    if (!sockets) throw systemError(info.Env(), failure);
  }

  ~TcpObject() override { closeAll(); }

 private:
  static std::string text(const Napi::Value& value, const char* what) {
    if (value.IsUndefined()) return "";
    if (!value.IsString()) throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a string");
    const std::string result = value.As<Napi::String>().Utf8Value();
    if (result.find('\0') != std::string::npos) throw Napi::TypeError::New(value.Env(), std::string(what) + " contains a NUL");
    return result;
  }

  // open(family, address, port, localAddress?, device?, mark?): slot; throws a system error
  Napi::Value open(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    TcpRequest request;
    int family = 0, port = -1;
    const bool whole = getInteger(info[0], family) && getInteger(info[2], port);
    if (!whole || (family != 4 && family != 6) || !info[1].IsString() || port < 0 || port > 65535) {
      throw Napi::TypeError::New(env, "open(family: 4 or 6, address, port: 0 to 65535, localAddress?, device?, mark?)");
    }
    request.family = family;
    request.address = text(info[1], "address");
    request.port = port;
    request.localAddress = text(info[3], "localAddress");
    request.device = text(info[4], "device");
    request.mark = markOption(info[5]);
    Failure failure;
    const int slot = sockets->open(request, failure);
    if (slot < 0) throw systemError(env, failure);
    return Napi::Number::New(env, slot);
  }

  /** The object and `argc` arguments, the first a slot; null: answered already. */
  static TcpObject* arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value* args, size_t& slot) {
    size_t argc = wanted;
    napi_value self;
    const bool got = napi_get_cb_info(env, info, &argc, args, &self, nullptr) == napi_ok;
    TcpObject* object = got ? unwrapped<TcpObject>(env, self) : nullptr;
    if (object != nullptr && argc >= wanted && getSize(env, args[0], slot)) return object;
    throwArgument(env, "the first argument is a slot, and none may be missing");
    return nullptr;
  }

  // send(slot, bytes, start, end), receive(slot, bytes, start, end): how many, or a negative errno
  template <bool sending>
  static napi_value transfer(napi_env env, napi_callback_info info) {
    napi_value args[4];
    size_t slot, start, end;
    Bytes bytes;
    TcpObject* object = arguments(env, info, 4, args, slot);
    if (object == nullptr) return nullptr;
    if (!getArray(env, args[1], napi_uint8_array, bytes) || !getSize(env, args[2], start) || !getSize(env, args[3], end) || start > end ||
        end > bytes.length) {
      return throwArgument(env, "(slot, bytes: Uint8Array, start, end): bytes are detached, or the range is not within them");
    }
    uint8_t* at = bytes.data + start;
    return answerNumber(env, sending ? object->sockets->send(slot, at, end - start) : object->sockets->receive(slot, at, end - start));
  }

  static napi_value connected(napi_env env, napi_callback_info info) {
    napi_value args[1];
    size_t slot;
    TcpObject* object = arguments(env, info, 1, args, slot);
    return object == nullptr ? nullptr : answerNumber(env, object->sockets->connected(slot));
  }

  static napi_value shutdown(napi_env env, napi_callback_info info) {
    napi_value args[1];
    size_t slot;
    TcpObject* object = arguments(env, info, 1, args, slot);
    return object == nullptr ? nullptr : answerNumber(env, object->sockets->shutdown(slot));
  }

  // closeSocket(slot, reset)
  static napi_value closeSocket(napi_env env, napi_callback_info info) {
    napi_value args[2];
    size_t slot;
    bool reset = false;
    TcpObject* object = arguments(env, info, 2, args, slot);
    if (object == nullptr) return nullptr;
    if (napi_get_value_bool(env, args[1], &reset) != napi_ok) return throwArgument(env, "closeSocket(slot, reset: boolean)");
    return answerNumber(env, object->sockets->closeSlot(slot, reset));
  }

  // wait(events: Int32Array): pairs of slot and READABLE 1 | WRITABLE 2 | FAILED 4
  static napi_value wait(napi_env env, napi_callback_info info) {
    size_t argc = 1;
    napi_value args[1], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    TcpObject* object = unwrapped<TcpObject>(env, self);
    Bytes events;
    if (object == nullptr || argc < 1 || !getArray(env, args[0], napi_int32_array, events) || events.length < TcpSockets::EVENT_WORDS) {
      return throwArgument(env, "wait(events: Int32Array)");
    }
    return answerNumber(env, object->sockets->wait(reinterpret_cast<int32_t*>(events.data), events.length / TcpSockets::EVENT_WORDS));
  }

  size_t slotOf(const Napi::CallbackInfo& info) {
    size_t slot = 0;
    if (!getSize(info.Env(), info[0], slot)) throw Napi::TypeError::New(info.Env(), "the first argument is a slot");
    return slot;
  }

  Napi::Value keepAlive(const Napi::CallbackInfo& info) {
    int seconds = -1;
    if (!getInteger(info[1], seconds) || seconds < 0) throw Napi::TypeError::New(info.Env(), "keepAlive(slot, seconds)");
    return Napi::Number::New(info.Env(), sockets->keepAlive(slotOf(info), seconds));
  }

  Napi::Value noDelay(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), sockets->noDelay(slotOf(info), info[1].ToBoolean().Value()));
  }

  // address(slot, peer): [address, port], or undefined if it has none
  Napi::Value address(const Napi::CallbackInfo& info) {
    std::string text;
    int port = 0;
    if (sockets->address(slotOf(info), info[1].ToBoolean().Value(), text, port) < 0) return info.Env().Undefined();
    Napi::Array result = Napi::Array::New(info.Env(), 2);
    result.Set(0u, text);
    result.Set(1u, port);
    return result;
  }

  // watch(callback): there is something for wait()
  void watch(const Napi::CallbackInfo& info) {
    if (!info[0].IsFunction()) throw Napi::TypeError::New(info.Env(), "watch(callback)");
    if (sockets->epoll >= 0) watched.start(info, UV_POLL_READABLE, info[0], sockets->epoll, [this] { closeAll(); });
  }

  void ref(const Napi::CallbackInfo&) { watched.setReferenced(true); }
  void unref(const Napi::CallbackInfo&) { watched.setReferenced(false); }
  void closeMethod(const Napi::CallbackInfo&) { closeAll(); }

  void closeAll() {
    watched.close();
    if (sockets) sockets->close();
  }

  std::unique_ptr<TcpSockets> sockets;
  Watched<Watcher> watched;
};

inline void exportTcp(Napi::Env env, Napi::Object exports) { exports.Set("TcpSockets", TcpObject::define(env)); }

#else

/** Elsewhere `TcpSockets` is missing, and outbounds take node:net. */
inline void exportTcp(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
