// Owns: a socket's readiness as its object tells it: watch(events, callback?), ref(), unref(). Reports (8) are told without being asked for.

#pragma once

#include <napi.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "glue.h"
#include "watcher.h"

namespace tun {

class Watched {
 public:
  // watch(events, callback?): readable 1, writable 2; reports, 8, are always told with them. 0 stops
  void watch(const Napi::CallbackInfo& info, int fd, std::function<void()> onTeardown) {
    const Napi::Env env = info.Env();
    int events = -1;
    if (!getInteger(info[0], events) || events < 0 || events > 3) throw Napi::TypeError::New(env, "watch(events: 0 to 3, callback)");
    if (events == 0 || fd < 0) {
      if (watcher != nullptr) watcher->stop();
      return;
    }
    if (!info[1].IsFunction()) throw Napi::TypeError::New(env, "watch(events: 0 to 3, callback)");
    int error = 0;
    if (watcher == nullptr) {
      watcher = Watcher::create(env, fd, std::move(onTeardown), error);
      if (watcher == nullptr) throw systemError(env, {error < 0 ? -error : ENOMEM, "poll", "poll"});
      watcher->setReferenced(referenced);
    }
    error = watcher->watch(events | UV_POLL_PRIORITIZED, info.This(), info[1]);
    if (error < 0) throw systemError(env, {-error, "poll", "poll"});
  }

  void setReferenced(bool value) {
    referenced = value;
    if (watcher != nullptr) watcher->setReferenced(value);
  }

  void close() {
    if (watcher != nullptr) watcher->close();
    watcher = nullptr;
  }

 private:
  Watcher* watcher = nullptr;
  bool referenced = true;
};

}  // namespace tun
