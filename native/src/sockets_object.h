// Owns: what the JavaScript objects over a SocketSet share: wait, address, watch(callback), ref, unref, close, and a slot as the first
// argument of the others. Answers are numbers, failures negative errnos: the network's doings throw nothing.

#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "glue.h"
#include "socket_set.h"
#include "watched.h"
#include "watcher.h"

namespace tun {

template <typename Self, typename Sockets>
class SocketsObject : public Napi::ObjectWrap<Self> {
 public:
  ~SocketsObject() override { closeAll(); }

 protected:
  using Methods = std::vector<Napi::ClassPropertyDescriptor<Self>>;

  explicit SocketsObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    Failure failure;
    sockets = Sockets::create(failure);
    if (!sockets) throw systemError(info.Env(), failure);
  }

  /** With `own` methods besides those that all have. */
  static Napi::Function defineWith(Napi::Env env, const char* name, Methods own) {
    own.push_back(rawMethod<Self>("wait", wait));
    own.push_back(method("address", &Self::address));
    own.push_back(method("watch", &Self::watch));
    own.push_back(method("ref", &Self::ref));
    own.push_back(method("unref", &Self::unref));
    own.push_back(method("close", &Self::closeMethod));
    return Napi::ObjectWrap<Self>::DefineClass(env, name, own);
  }

  static std::string text(const Napi::Value& value, const char* what) {
    if (value.IsUndefined()) return "";
    if (!value.IsString()) throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a string");
    const std::string result = value.As<Napi::String>().Utf8Value();
    if (result.find('\0') != std::string::npos) throw Napi::TypeError::New(value.Env(), std::string(what) + " contains a NUL");
    return result;
  }

  /** The object and `wanted` arguments, the first a slot; null: answered already. */
  static Self* arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value* args, size_t& slot) {
    size_t argc = wanted;
    napi_value self;
    const bool got = napi_get_cb_info(env, info, &argc, args, &self, nullptr) == napi_ok;
    Self* object = got ? unwrapped<Self>(env, self) : nullptr;
    if (object != nullptr && argc >= wanted && getSize(env, args[0], slot)) return object;
    throwArgument(env, "the first argument is a slot, and none may be missing");
    return nullptr;
  }

  static size_t slotOf(const Napi::CallbackInfo& info) {
    size_t slot = 0;
    if (!getSize(info.Env(), info[0], slot)) throw Napi::TypeError::New(info.Env(), "the first argument is a slot");
    return slot;
  }

  std::unique_ptr<Sockets> sockets;

 private:
  /** By pointer: a member of this class is no template argument for one of `Self`. */
  template <typename Answer>
  static Napi::ClassPropertyDescriptor<Self> method(const char* name, Answer (SocketsObject::*member)(const Napi::CallbackInfo&)) {
    return Napi::ObjectWrap<Self>::InstanceMethod(name, static_cast<Answer (Self::*)(const Napi::CallbackInfo&)>(member));
  }

  // wait(events: Int32Array): pairs of slot and events
  static napi_value wait(napi_env env, napi_callback_info info) {
    size_t argc = 1;
    napi_value args[1], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "no arguments");
    Self* object = unwrapped<Self>(env, self);
    Bytes events;
    if (object == nullptr || argc < 1 || !getArray(env, args[0], napi_int32_array, events) || events.length < SocketSet::EVENT_WORDS) {
      return throwArgument(env, "wait(events: Int32Array)");
    }
    return answerNumber(env, object->sockets->wait(reinterpret_cast<int32_t*>(events.data), events.length / SocketSet::EVENT_WORDS));
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

  Watched<Watcher> watched;
};

}  // namespace tun
