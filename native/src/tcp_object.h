// Owns: tcp.h as a JavaScript object, one for each thread: new TcpSockets(), open, connected, send, receive, shutdown, closeSocket and
// what sockets_object.h gives it.

#pragma once

#include <napi.h>

#ifdef __linux__
#include "sockets_object.h"
#include "tcp.h"
#endif

namespace tun {

#ifdef __linux__

class TcpObject final : public SocketsObject<TcpObject, TcpSockets> {
 public:
  static Napi::Function define(Napi::Env env) {
    return defineWith(env, "TcpSockets",
                      {InstanceMethod<&TcpObject::open>("open"), rawMethod<TcpObject>("send", transfer<true>),
                       rawMethod<TcpObject>("receive", transfer<false>), rawMethod<TcpObject>("connected", connected),
                       rawMethod<TcpObject>("shutdown", shutdown), rawMethod<TcpObject>("closeSocket", closeSocket),
                       InstanceMethod<&TcpObject::keepAlive>("keepAlive"), InstanceMethod<&TcpObject::noDelay>("noDelay")});
  }

  explicit TcpObject(const Napi::CallbackInfo& info) : SocketsObject(info) {}

 private:
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
    return answerNumber(env, object->sockets->closeSocket(slot, reset));
  }

  Napi::Value keepAlive(const Napi::CallbackInfo& info) {
    int seconds = -1;
    if (!getInteger(info[1], seconds) || seconds < 0) throw Napi::TypeError::New(info.Env(), "keepAlive(slot, seconds)");
    return Napi::Number::New(info.Env(), sockets->keepAlive(slotOf(info), seconds));
  }

  Napi::Value noDelay(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), sockets->noDelay(slotOf(info), info[1].ToBoolean().Value()));
  }
};

inline void exportTcp(Napi::Env env, Napi::Object exports) { exports.Set("TcpSockets", TcpObject::define(env)); }

#else

/** Elsewhere `TcpSockets` is missing, and outbounds take node:net. */
inline void exportTcp(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
