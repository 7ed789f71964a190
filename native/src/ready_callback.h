// Owns: calls into JavaScript from the event loop: the object and its callback, the async context, and the hook of an environment (a
// worker) that is torn down. node-api docs: napi_make_callback, "Cleanup on exit".

#pragma once

#include <node_api.h>

#include "arguments.h"

namespace tun {

class ReadyCallback {
 public:
  explicit ReadyCallback(napi_env env) : env(env) {}

  /** `tornDown(…, data)`: the environment ends. */
  bool create(void (*tornDown)(napi_async_cleanup_hook_handle, void*), void* data) {
    napi_value name, resource;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
    const bool ready = napi_create_string_utf8(env, "TUN", NAPI_AUTO_LENGTH, &name) == napi_ok &&
                       napi_create_object(env, &resource) == napi_ok && napi_async_init(env, resource, name, &context) == napi_ok &&
                       napi_add_async_cleanup_hook(env, tornDown, data, &hook) == napi_ok;
    must(napi_close_handle_scope(env, scope), "ReadyCallback::create");
    return ready;
  }

  bool set(napi_value self, napi_value callback) {
    if (napi_create_reference(env, self, 1, &selfReference) == napi_ok &&
        napi_create_reference(env, callback, 1, &callbackReference) == napi_ok) {
      return true;
    }
    drop();
    return false;
  }

  void drop() {
    if (selfReference != nullptr) must(napi_delete_reference(env, selfReference), "ReadyCallback::drop");
    if (callbackReference != nullptr) must(napi_delete_reference(env, callbackReference), "ReadyCallback::drop");
    selfReference = nullptr;
    callbackReference = nullptr;
  }

  /** No call after this. */
  void end() {
    drop();
    if (context != nullptr) must(napi_async_destroy(env, context), "ReadyCallback::end");
    context = nullptr;
  }

  /** The handles are closed: the environment may go. */
  void release() {
    if (hook != nullptr) must(napi_remove_async_cleanup_hook(hook), "ReadyCallback::release");
    hook = nullptr;
  }

  /** `this` may have been ended in there. */
  void call(int events) {
    napi_env where = env;
    napi_handle_scope scope;
    if (napi_open_handle_scope(where, &scope) != napi_ok) return;
    napi_value self = nullptr, callback = nullptr, argument = nullptr;
    if (napi_get_reference_value(where, selfReference, &self) == napi_ok && self != nullptr &&
        napi_get_reference_value(where, callbackReference, &callback) == napi_ok && callback != nullptr &&
        napi_create_int32(where, events, &argument) == napi_ok) {
      const napi_status status = napi_make_callback(where, context, self, callback, 1, &argument, nullptr);
      bool pending = false;
      if (status != napi_ok && napi_is_exception_pending(where, &pending) == napi_ok && pending) {
        napi_value exception;
        if (napi_get_and_clear_last_exception(where, &exception) == napi_ok) {
          const napi_status told = napi_fatal_exception(where, exception);
          if (told != napi_pending_exception && told != napi_cannot_run_js) must(told, "ReadyCallback::call");
        }
      }
    }
    must(napi_close_handle_scope(where, scope), "ReadyCallback::call");
  }

 private:
  napi_env env;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  napi_ref selfReference = nullptr;
  napi_ref callbackReference = nullptr;
};

}  // namespace tun
