// Owns: readiness of one descriptor as calls into JavaScript. The uv handle outlives the object it serves until libuv
// has closed it, also when an environment (a worker) is torn down.

#pragma once

#include <node_api.h>

#include <cstdlib>
#include <functional>

#include "ready_callback.h"
#include "uv_poll.h"

namespace tun {

class Watcher {
 public:
  /** nullptr and a negative libuv error if the descriptor cannot be polled. `onTeardown`: the environment ends; close now. */
  static Watcher* create(napi_env env, int fd, std::function<void()> onTeardown, int& error) {
    uv_loop_s* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
    auto* handle = static_cast<uv_poll_s*>(std::calloc(1, uv_handle_size(UV_POLL_HANDLE)));
    if (handle == nullptr) return nullptr;
    error = uv_poll_init(loop, handle, fd);
    if (error < 0) {
      std::free(handle);
      return nullptr;
    }
    auto* watcher = new Watcher(env, handle, std::move(onTeardown));
    uv_handle_set_data(watcher->base(), watcher);
    if (watcher->callback.create(tornDown, watcher)) return watcher;
    watcher->close();
    return nullptr;
  }

  /** Level triggered; 0 stops. `function` gets the events that are ready. */
  int watch(int events, napi_value self, napi_value function) {
    stop();
    if (events == 0) return 0;
    if (!callback.set(self, function)) return NO_MEMORY;
    wanted = events;
    return uv_poll_start(handle, events, ready);
  }

  void stop() {
    wanted = 0;
    uv_poll_stop(handle);
    callback.drop();
  }

  void setReferenced(bool referenced) { referenced ? uv_ref(base()) : uv_unref(base()); }

  /** After this the descriptor may be closed at once; the watcher frees itself when libuv is done. */
  void close() {
    if (closed) return;
    closed = true;
    stop();
    onTeardown = nullptr;
    callback.end();
    uv_close(base(), [](uv_handle_s* closing) {
      auto* watcher = static_cast<Watcher*>(uv_handle_get_data(closing));
      watcher->callback.release();
      std::free(watcher->handle);
      delete watcher;
    });
  }

 private:
  Watcher(napi_env env, uv_poll_s* handle, std::function<void()> onTeardown)
      : callback(env), handle(handle), onTeardown(std::move(onTeardown)) {}

  uv_handle_s* base() { return reinterpret_cast<uv_handle_s*>(handle); }

  static void tornDown(napi_async_cleanup_hook_handle, void* data) {
    auto* watcher = static_cast<Watcher*>(data);
    // Otherwise it is closing already, and its close callback removes the hook.
    if (watcher->onTeardown) std::function<void()>(watcher->onTeardown)();
  }

  static void ready(uv_poll_s* handle, int status, int events) {
    auto* watcher = static_cast<Watcher*>(uv_handle_get_data(reinterpret_cast<uv_handle_s*>(handle)));
    if (status < 0) {
      // EPOLLERR: libuv has stopped the handle. A read or write tells why; one that does not know ends here, not in a spin.
      if (++watcher->errorsInARow <= MAX_ERRORS_IN_A_ROW) uv_poll_start(handle, watcher->wanted, ready);
      events = watcher->wanted;
    } else {
      watcher->errorsInARow = 0;
    }
    watcher->callback.call(events);  // may be closed in there; it is not touched again
  }

  static constexpr int MAX_ERRORS_IN_A_ROW = 16;
  static constexpr int NO_MEMORY = -12;  // libuv's UV_ENOMEM

  ReadyCallback callback;
  uv_poll_s* handle;
  std::function<void()> onTeardown;
  int wanted = 0;
  int errorsInARow = 0;
  bool closed = false;
};

}  // namespace tun
