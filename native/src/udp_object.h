// Owns: udp.h as a JavaScript object: new Udp(request), receive, send, reports, watch(events, callback), close().

#pragma once

#include <napi.h>

#include "arguments.h"
#include "glue.h"

#ifdef __linux__
#include "udp.h"
#include "watched.h"
#include "watcher.h"
#endif

namespace tun {

#ifdef __linux__

class UdpObject final : public Napi::ObjectWrap<UdpObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Udp",
                       {rawMethod<UdpObject>("receive", take<&Udp::receive>), rawMethod<UdpObject>("send", send),
                        rawMethod<UdpObject>("reports", take<&Udp::reports>), InstanceMethod<&UdpObject::watch>("watch"),
                        InstanceMethod<&UdpObject::address>("address"), InstanceMethod<&UdpObject::ref>("ref"),
                        InstanceMethod<&UdpObject::unref>("unref"), InstanceMethod<&UdpObject::closeMethod>("close")});
  }

  explicit UdpObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<UdpObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) throw Napi::TypeError::New(env, "new Udp(request)");
    const Napi::Object options = info[0].As<Napi::Object>();
    UdpRequest request;
    request.family = integerOption(env, options, "family", 4);
    request.address = textOption(env, options, "address");
    request.port = port(env, options, "port");
    request.peerAddress = textOption(env, options, "peerAddress");
    request.peerPort = port(env, options, "peerPort");
    request.device = textOption(env, options, "device");
    request.mark = markOption(options.Get("mark"));
    request.receiveBuffer = integerOption(env, options, "receiveBuffer", 0);
    request.sendBuffer = integerOption(env, options, "sendBuffer", 0);
    request.gro = options.Get("gro").IsUndefined() || options.Get("gro").ToBoolean().Value();
    request.gso = options.Get("gso").IsUndefined() || options.Get("gso").ToBoolean().Value();
    if (request.family != 4 && request.family != 6) throw Napi::TypeError::New(env, "family must be 4 or 6");
    Failure failure;
    udp = Udp::open(request, failure);
    if (!udp) throw systemError(env, failure);
  }

  ~UdpObject() override { closeAll(); }

 private:
  static int port(Napi::Env env, const Napi::Object& options, const char* key) {
    const int value = integerOption(env, options, key, 0);
    if (value < 0 || value > 65535) throw Napi::TypeError::New(env, std::string(key) + " must be 0 to 65535");
    return value;
  }

  using Take = size_t (Udp::*)(uint8_t*, size_t, DatagramRows&, size_t);

  // receive(slab, stride, table, capacity), reports(slab, stride, table, capacity): number of rows
  template <Take method>
  static napi_value take(napi_env env, napi_callback_info info) {
    size_t argc = 4;
    napi_value args[4], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    UdpObject* object = unwrapped<UdpObject>(env, self);
    Bytes slab, table;
    size_t stride, capacity;
    if (object == nullptr || argc < 4 || !getArray(env, args[0], napi_uint8_array, slab) || !getSize(env, args[1], stride) ||
        !getArray(env, args[2], napi_int32_array, table) || !getSize(env, args[3], capacity)) {
      return throwArgument(env, "expected (slab: Uint8Array, stride, table: Int32Array, capacity)");
    }
    if (table.length < DatagramRows::wordsNeeded(capacity)) return throwArgument(env, "table is detached or too small for its capacity");
    if (stride == 0 || slab.length / stride < capacity || slab.length > INT32_MAX) {
      return throwArgument(env, "slab is detached or too small");
    }
    DatagramRows rows(reinterpret_cast<int32_t*>(table.data), capacity);
    return answerCount(env, (object->udp.get()->*method)(slab.data, stride, rows, capacity));
  }

  // send(slab, table, capacity, first, count): number of rows done
  static napi_value send(napi_env env, napi_callback_info info) {
    size_t argc = 5;
    napi_value args[5], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    UdpObject* object = unwrapped<UdpObject>(env, self);
    Bytes slab, table;
    size_t capacity, first, count;
    if (object == nullptr || argc < 5 || !getArray(env, args[0], napi_uint8_array, slab) ||
        !getArray(env, args[1], napi_int32_array, table) || !getSize(env, args[2], capacity) || !getSize(env, args[3], first) ||
        !getSize(env, args[4], count)) {
      return throwArgument(env, "send(slab: Uint8Array, table: Int32Array, capacity, first, count)");
    }
    if (table.length < DatagramRows::wordsNeeded(capacity)) return throwArgument(env, "table is detached or too small for its capacity");
    if (slab.length == 0 || slab.length > INT32_MAX) return throwArgument(env, "slab is detached or too large");
    if (count > capacity || first > count) return throwArgument(env, "rows are beyond capacity");
    DatagramRows rows(reinterpret_cast<int32_t*>(table.data), capacity);
    return answerCount(env, object->udp->send(slab.data, slab.length, rows, first, count));
  }

  // reports are told without being asked for
  void watch(const Napi::CallbackInfo& info) {
    watched.watch(info, udp->fd >= 0, udp->fd, [this] { closeAll(); }, UV_POLL_PRIORITIZED);
  }

  // address(): [address, port], or undefined when closed
  Napi::Value address(const Napi::CallbackInfo& info) {
    std::string text;
    int port = 0;
    if (!udp->address(text, port)) return info.Env().Undefined();
    Napi::Array result = Napi::Array::New(info.Env(), 2);
    result.Set(0u, text);
    result.Set(1u, port);
    return result;
  }

  void ref(const Napi::CallbackInfo&) { watched.setReferenced(true); }
  void unref(const Napi::CallbackInfo&) { watched.setReferenced(false); }
  void closeMethod(const Napi::CallbackInfo&) { closeAll(); }

  void closeAll() {
    watched.close();
    if (udp) udp->close();
  }

  std::unique_ptr<Udp> udp;
  Watched<Watcher> watched;
};

inline void exportUdp(Napi::Env env, Napi::Object exports) { exports.Set("Udp", UdpObject::define(env)); }

#else

/** Elsewhere `Udp` is missing, and @tun/device takes node:dgram. */
inline void exportUdp(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
