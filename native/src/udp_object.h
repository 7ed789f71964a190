// Owns: udp.h as a JavaScript object, one for each thread: new UdpSockets(), open, receive, send, reports, watchWritable, closeSocket and
// what sockets_object.h gives it.

#pragma once

#include <napi.h>

#ifdef __linux__
#include "sockets_object.h"
#include "udp.h"
#endif

namespace tun {

#ifdef __linux__

class UdpObject final : public SocketsObject<UdpObject, UdpSockets> {
 public:
  static Napi::Function define(Napi::Env env) {
    return defineWith(env, "UdpSockets",
                      {InstanceMethod<&UdpObject::open>("open"), rawMethod<UdpObject>("receive", take<&Udp::receive>),
                       rawMethod<UdpObject>("send", send), rawMethod<UdpObject>("reports", take<&Udp::reports>),
                       rawMethod<UdpObject>("watchWritable", watchWritable), rawMethod<UdpObject>("closeSocket", closeSocket)});
  }

  explicit UdpObject(const Napi::CallbackInfo& info) : SocketsObject(info) {}

 private:
  static int port(const Napi::Value& value, const char* what) {
    int port = 0;
    if (value.IsUndefined()) return port;
    if (getInteger(value, port) && port >= 0 && port <= 65535) return port;
    throw Napi::TypeError::New(value.Env(), std::string(what) + " must be 0 to 65535");
  }

  static int size(const Napi::Value& value, const char* what) {
    int bytes = 0;
    if (value.IsUndefined() || getInteger(value, bytes)) return bytes;
    throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a whole number");
  }

  // open(family, address?, port?, peerAddress?, peerPort?, device?, mark?, receiveBuffer?, sendBuffer?, offload?): slot; or a system error
  Napi::Value open(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    UdpRequest request;
    if (!getInteger(info[0], request.family) || (request.family != 4 && request.family != 6)) {
      throw Napi::TypeError::New(env, "family must be 4 or 6");
    }
    request.address = text(info[1], "address");
    request.port = port(info[2], "port");
    request.peerAddress = text(info[3], "peerAddress");
    request.peerPort = port(info[4], "peerPort");
    request.device = text(info[5], "device");
    request.mark = markOption(info[6]);
    request.receiveBuffer = size(info[7], "receiveBuffer");
    request.sendBuffer = size(info[8], "sendBuffer");
    request.offload = info[9].IsUndefined() || info[9].ToBoolean().Value();
    Failure failure;
    const int slot = sockets->open(request, failure);
    if (slot < 0) throw systemError(env, failure);
    return Napi::Number::New(env, slot);
  }

  using Take = size_t (Udp::*)(uint8_t*, size_t, DatagramRows&, size_t);

  // receive(slot, slab, stride, table, capacity), reports(slot, slab, stride, table, capacity): number of rows
  template <Take method>
  static napi_value take(napi_env env, napi_callback_info info) {
    napi_value args[5];
    Bytes slab, table;
    size_t slot, stride, capacity;
    UdpObject* object = arguments(env, info, 5, args, slot);
    if (object == nullptr) return nullptr;
    if (!getArray(env, args[1], napi_uint8_array, slab) || !getSize(env, args[2], stride) ||
        !getArray(env, args[3], napi_int32_array, table) || !getSize(env, args[4], capacity)) {
      return throwArgument(env, "expected (slot, slab: Uint8Array, stride, table: Int32Array, capacity)");
    }
    if (table.length < DatagramRows::wordsNeeded(capacity)) return throwArgument(env, "table is detached or too small for its capacity");
    if (stride == 0 || slab.length / stride < capacity || slab.length > INT32_MAX) {
      return throwArgument(env, "slab is detached or too small");
    }
    DatagramRows rows(reinterpret_cast<int32_t*>(table.data), capacity);
    return answerCount(env, (object->sockets->at(slot).*method)(slab.data, stride, rows, capacity));
  }

  // send(slot, slab, table, capacity, first, count): number of rows done
  static napi_value send(napi_env env, napi_callback_info info) {
    napi_value args[6];
    Bytes slab, table;
    size_t slot, capacity, first, count;
    UdpObject* object = arguments(env, info, 6, args, slot);
    if (object == nullptr) return nullptr;
    if (!getArray(env, args[1], napi_uint8_array, slab) || !getArray(env, args[2], napi_int32_array, table) ||
        !getSize(env, args[3], capacity) || !getSize(env, args[4], first) || !getSize(env, args[5], count)) {
      return throwArgument(env, "send(slot, slab: Uint8Array, table: Int32Array, capacity, first, count)");
    }
    if (table.length < DatagramRows::wordsNeeded(capacity)) return throwArgument(env, "table is detached or too small for its capacity");
    if (slab.length == 0 || slab.length > INT32_MAX) return throwArgument(env, "slab is detached or too large");
    if (count > capacity || first > count) return throwArgument(env, "rows are beyond capacity");
    DatagramRows rows(reinterpret_cast<int32_t*>(table.data), capacity);
    return answerCount(env, object->sockets->at(slot).send(slab.data, slab.length, rows, first, count));
  }

  // watchWritable(slot, on)
  static napi_value watchWritable(napi_env env, napi_callback_info info) {
    napi_value args[2];
    size_t slot;
    bool on = false;
    UdpObject* object = arguments(env, info, 2, args, slot);
    if (object == nullptr) return nullptr;
    if (napi_get_value_bool(env, args[1], &on) != napi_ok) return throwArgument(env, "watchWritable(slot, on: boolean)");
    return answerNumber(env, object->sockets->watchWritable(slot, on));
  }

  static napi_value closeSocket(napi_env env, napi_callback_info info) {
    napi_value args[1];
    size_t slot;
    UdpObject* object = arguments(env, info, 1, args, slot);
    return object == nullptr ? nullptr : answerNumber(env, object->sockets->closeSocket(slot));
  }
};

inline void exportUdp(Napi::Env env, Napi::Object exports) { exports.Set("UdpSockets", UdpObject::define(env)); }

#else

/** Elsewhere `UdpSockets` is missing, and @tun/device takes node:dgram. */
inline void exportUdp(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
