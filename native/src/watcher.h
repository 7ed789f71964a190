// Owns: readiness of one descriptor as calls into JavaScript. The uv handle outlives the object it serves until libuv
// has closed it, also when an environment (a worker) is torn down. node-api docs: "Cleanup on exit", napi_make_callback.

#pragma once

#include <node_api.h>

#include <cstdlib>
#include <functional>

#include "arguments.h"
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
    napi_value name, resource;
    napi_handle_scope scope;
    bool ready = false;
    if (napi_open_handle_scope(env, &scope) == napi_ok) {
      ready = napi_create_string_utf8(env, "TUN", NAPI_AUTO_LENGTH, &name) == napi_ok &&
              napi_create_object(env, &resource) == napi_ok &&
              napi_async_init(env, resource, name, &watcher->context) == napi_ok &&
              napi_add_async_cleanup_hook(env, tornDown, watcher, &watcher->hook) == napi_ok;
      must(napi_close_handle_scope(env, scope), "Watcher::create");
    }
    if (ready) return watcher;
    watcher->close();
    return nullptr;
  }

  /** Level triggered; 0 stops. `callback` gets the events that are ready. */
  int watch(int events, napi_value self, napi_value callback) {
    uv_poll_stop(handle);
    dropReferences();
    wanted = 0;
    if (events == 0) return 0;
    if (napi_create_reference(env, self, 1, &selfReference) != napi_ok ||
        napi_create_reference(env, callback, 1, &callbackReference) != napi_ok) {
      dropReferences();
      return NO_MEMORY;
    }
    wanted = events;
    return uv_poll_start(handle, events, ready);
  }

  void stop() {
    wanted = 0;
    uv_poll_stop(handle);
    dropReferences();
  }

  void setReferenced(bool referenced) { referenced ? uv_ref(base()) : uv_unref(base()); }

  /** After this the descriptor may be closed at once; the watcher frees itself when libuv is done. */
  void close() {
    if (closed) return;
    closed = true;
    stop();
    onTeardown = nullptr;
    if (context != nullptr) must(napi_async_destroy(env, context), "Watcher::close");
    context = nullptr;
    uv_close(base(), [](uv_handle_s* closing) {
      auto* watcher = static_cast<Watcher*>(uv_handle_get_data(closing));
      if (watcher->hook != nullptr) must(napi_remove_async_cleanup_hook(watcher->hook), "Watcher::closed");
      std::free(watcher->handle);
      delete watcher;
    });
  }

 private:
  Watcher(napi_env env, uv_poll_s* handle, std::function<void()> onTeardown)
      : env(env), handle(handle), onTeardown(std::move(onTeardown)) {}

  uv_handle_s* base() { return reinterpret_cast<uv_handle_s*>(handle); }

  void dropReferences() {
    if (selfReference != nullptr) must(napi_delete_reference(env, selfReference), "Watcher::stop");
    if (callbackReference != nullptr) must(napi_delete_reference(env, callbackReference), "Watcher::stop");
    selfReference = nullptr;
    callbackReference = nullptr;
  }

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
    watcher->call(events);
  }

  void call(int events) {
    napi_env where = env;
    napi_handle_scope scope;
    if (napi_open_handle_scope(where, &scope) != napi_ok) return;
    napi_value self = nullptr, callback = nullptr, argument = nullptr;
    if (napi_get_reference_value(where, selfReference, &self) == napi_ok && self != nullptr &&
        napi_get_reference_value(where, callbackReference, &callback) == napi_ok && callback != nullptr &&
        napi_create_int32(where, events, &argument) == napi_ok) {
      // `this` may be closed in there; it is not touched again.
      const napi_status status = napi_make_callback(where, context, self, callback, 1, &argument, nullptr);
      bool pending = false;
      if (status != napi_ok && napi_is_exception_pending(where, &pending) == napi_ok && pending) {
        napi_value exception;
        if (napi_get_and_clear_last_exception(where, &exception) == napi_ok) {
          const napi_status told = napi_fatal_exception(where, exception);
          if (told != napi_pending_exception && told != napi_cannot_run_js) must(told, "Watcher::call");
        }
      }
    }
    must(napi_close_handle_scope(where, scope), "Watcher::call");
  }

  static constexpr int MAX_ERRORS_IN_A_ROW = 16;
  static constexpr int NO_MEMORY = -12;  // libuv's UV_ENOMEM

  napi_env env;
  uv_poll_s* handle;
  std::function<void()> onTeardown;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  napi_ref selfReference = nullptr;
  napi_ref callbackReference = nullptr;
  int wanted = 0;
  int errorsInARow = 0;
  bool closed = false;
};

}  // namespace tun
