// Owns: the readiness of something with a watcher, as its object tells it: watch(…), ref(), unref(). The watcher is made when it is first
// wanted; what was said of it before is remembered.

#pragma once

#include <napi.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "glue.h"

namespace tun {

/** Kind: Watcher of a descriptor, or EventWatcher of a packet ring. */
template <typename Kind>
class Watched {
 public:
  // watch(events, callback?): readable 1, writable 2, and `always` with them. 0 stops, and so does what is not open
  template <typename Source>
  void watch(const Napi::CallbackInfo& info, bool open, Source source, std::function<void()> onTeardown, int always = 0) {
    static constexpr char USAGE[] = "watch(events: 0 to 3, callback)";
    int events = -1;
    if (!getInteger(info[0], events) || events < 0 || events > 3) throw Napi::TypeError::New(info.Env(), USAGE);
    if (events == 0 || !open) return stop();
    if (!info[1].IsFunction()) throw Napi::TypeError::New(info.Env(), USAGE);
    start(info, events | always, info[1], source, std::move(onTeardown));
  }

  /** Level triggered: `callback` gets the events that are ready. `onTeardown`: the environment ends; close now. */
  template <typename Source>
  void start(const Napi::CallbackInfo& info, int events, napi_value callback, Source source, std::function<void()> onTeardown) {
    const Napi::Env env = info.Env();
    int error = 0;
    if (watcher == nullptr) {
      watcher = Kind::create(env, source, std::move(onTeardown), error);
      if (watcher == nullptr) throw systemError(env, {error < 0 ? -error : ENOMEM, "poll", "poll"});
      watcher->setReferenced(referenced);
    }
    error = watcher->watch(events, info.This(), callback);
    if (error < 0) throw systemError(env, {-error, "poll", "poll"});
  }

  void stop() {
    if (watcher != nullptr) watcher->stop();
  }

  void setReferenced(bool value) {
    referenced = value;
    if (watcher != nullptr) watcher->setReferenced(value);
  }

  /** Before the descriptor is closed, libuv's rule. */
  void close() {
    if (watcher != nullptr) watcher->close();
    watcher = nullptr;
  }

 private:
  Kind* watcher = nullptr;
  bool referenced = true;
};

}  // namespace tun
