// Owns: tcp.h as a JavaScript object, one for each thread: new TcpSockets(), open, connected, send, sendRanges, receive, shutdown,
// closeSocket and what sockets_object.h gives it.

#pragma once

#include <napi.h>

#ifdef __linux__
#include <sys/uio.h>

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
                       rawMethod<TcpObject>("sendRanges", sendRanges), rawMethod<TcpObject>("receive", transfer<false>),
                       rawMethod<TcpObject>("connected", connected),
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

  // sendRanges(slot, bytes: Uint8Array[], bounds: Int32Array, count): how many bytes, or a negative errno
  static napi_value sendRanges(napi_env env, napi_callback_info info) {
    napi_value args[4], elements[MAX_RANGES];
    size_t slot, count;
    bool isArray = false;
    uint32_t length = 0;
    TcpObject* object = arguments(env, info, 4, args, slot);
    if (object == nullptr) return nullptr;
    if (napi_is_array(env, args[1], &isArray) != napi_ok || !isArray || napi_get_array_length(env, args[1], &length) != napi_ok ||
        !getSize(env, args[3], count) || count > length || count > MAX_RANGES) {
      return throwArgument(env, RANGES_USAGE);
    }
    // An element may be a getter, which may detach anything: first all of them, then where the memory is. No JavaScript runs in between.
    for (uint32_t i = 0; i < count; i++) {
      if (napi_get_element(env, args[1], i, &elements[i]) != napi_ok) return throwArgument(env, RANGES_USAGE);
    }
    Bytes table;
    if (!getArray(env, args[2], napi_int32_array, table) || table.length < 2 * count) return throwArgument(env, RANGES_USAGE);
    const int32_t* bounds = reinterpret_cast<int32_t*>(table.data);
    iovec ranges[MAX_RANGES];
    for (size_t i = 0; i < count; i++) {
      Bytes bytes;
      const int64_t start = bounds[2 * i], end = bounds[2 * i + 1];
      if (!getArray(env, elements[i], napi_uint8_array, bytes) || start < 0 || start > end || end > static_cast<int64_t>(bytes.length)) {
        return throwArgument(env, RANGES_USAGE);
      }
      ranges[i] = {bytes.data + start, static_cast<size_t>(end - start)};
    }
    return answerNumber(env, object->sockets->sendRanges(slot, ranges, count));
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

  /** As ByteRanges of packages/stack has. */
  static constexpr size_t MAX_RANGES = 64;
  static constexpr const char* RANGES_USAGE =
      "sendRanges(slot, bytes: Uint8Array[], bounds: Int32Array, count): bytes are detached, too many, or a range is not within them";
};

inline void exportTcp(Napi::Env env, Napi::Object exports) { exports.Set("TcpSockets", TcpObject::define(env)); }

#else

/** Elsewhere `TcpSockets` is missing, and outbounds take node:net. */
inline void exportTcp(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
