// Owns: netlink.h as a JavaScript object: new Netlink({ groups, nic }), receive(buffer), send(message), watch(callback), close().

#pragma once

#include <napi.h>

#include "arguments.h"
#include "glue.h"

#ifdef __linux__
#include "netlink.h"
#include "watched.h"
#include "watcher.h"
#endif

namespace tun {

#ifdef __linux__

class NetlinkObject final : public Napi::ObjectWrap<NetlinkObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Netlink",
                       {InstanceMethod<&NetlinkObject::receive>("receive"), InstanceMethod<&NetlinkObject::send>("send"),
                        InstanceMethod<&NetlinkObject::watch>("watch"), InstanceMethod<&NetlinkObject::ref>("ref"),
                        InstanceMethod<&NetlinkObject::unref>("unref"), InstanceMethod<&NetlinkObject::closeMethod>("close")});
  }

  explicit NetlinkObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NetlinkObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) throw Napi::TypeError::New(env, "new Netlink({ groups, nic })");
    const Napi::Object options = info[0].As<Napi::Object>();
    const int groups = integerOption(env, options, "groups", 0);
    const int nic = integerOption(env, options, "nic", -1);
    Failure failure;
    netlink = Netlink::open(static_cast<uint32_t>(groups), nic, failure);
    if (!netlink) throw systemError(env, failure);
  }

  ~NetlinkObject() override { closeAll(); }

 private:
  // receive(buffer): bytes of one datagram, 0: nothing waits, -1: some were lost
  Napi::Value receive(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Bytes buffer;
    if (!getArray(env, info[0], napi_uint8_array, buffer) || buffer.length == 0) {
      throw Napi::TypeError::New(env, "receive(buffer: Uint8Array), not detached or empty");
    }
    if (netlink->fd < 0) return Napi::Number::New(env, 0);
    Failure failure;
    const ssize_t length = netlink->receive(buffer.data, buffer.length, failure);
    if (length < -1) throw systemError(env, failure);
    return Napi::Number::New(env, static_cast<double>(length));
  }

  // send(message)
  void send(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Bytes message;
    if (!getArray(env, info[0], napi_uint8_array, message) || message.length == 0) {
      throw Napi::TypeError::New(env, "send(message: Uint8Array), not detached or empty");
    }
    Failure failure{EBADF, "sendto", ""};
    if (netlink->fd < 0 || !netlink->send(message.data, message.length, failure)) throw systemError(env, failure);
  }

  // watch(callback | null): called while something waits
  void watch(const Napi::CallbackInfo& info) {
    if (!info[0].IsFunction() && !info[0].IsNull()) throw Napi::TypeError::New(info.Env(), "watch(callback | null)");
    if (info[0].IsNull() || netlink->fd < 0) return watched.stop();
    watched.start(info, UV_POLL_READABLE, info[0], netlink->fd, [this] { closeAll(); });
  }

  void ref(const Napi::CallbackInfo&) { watched.setReferenced(true); }
  void unref(const Napi::CallbackInfo&) { watched.setReferenced(false); }
  void closeMethod(const Napi::CallbackInfo&) { closeAll(); }

  void closeAll() {
    watched.close();
    if (netlink) netlink->close();
  }

  std::unique_ptr<Netlink> netlink;
  Watched<Watcher> watched;
};

inline void exportNetlink(Napi::Env env, Napi::Object exports) { exports.Set("Netlink", NetlinkObject::define(env)); }

#else

/** Elsewhere `Netlink` is missing: nobody tells of changes there. */
inline void exportNetlink(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
