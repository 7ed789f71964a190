// Owns: readiness of a packet ring as calls into JavaScript, level triggered as Watcher's. Packets are waited for on a thread of the
// system's, which wakes the loop (uv_async); room in a full ring announces itself by nothing, so it is asked for every few ms.

#pragma once

#include <node_api.h>

#include <cstdlib>
#include <functional>

#include "packet_ring.h"
#include "ready_callback.h"
#include "uv_poll.h"

namespace tun {

class EventWatcher {
 public:
  /** nullptr if there is no memory. `onTeardown`: the environment ends; close now. */
  static EventWatcher* create(napi_env env, PacketRing* ring, std::function<void()> onTeardown, int& error) {
    uv_loop_s* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
    auto* async = static_cast<uv_async_s*>(std::calloc(1, uv_handle_size(UV_ASYNC_HANDLE)));
    auto* timer = static_cast<uv_timer_s*>(std::calloc(1, uv_handle_size(UV_TIMER_HANDLE)));
    error = async == nullptr || timer == nullptr ? 0 : uv_async_init(loop, async, woken);
    if (async == nullptr || timer == nullptr || error < 0) {
      std::free(async);
      std::free(timer);
      return nullptr;
    }
    uv_timer_init(loop, timer);
    auto* watcher = new EventWatcher(env, *ring, async, timer, std::move(onTeardown));
    uv_handle_set_data(base(async), watcher);
    uv_handle_set_data(base(timer), watcher);
    watcher->applyReference();
    if (watcher->callback.create(tornDown, watcher)) return watcher;
    watcher->close();
    return nullptr;
  }

  /** Level triggered; 0 stops. `function` gets the events that are ready. */
  int watch(int events, napi_value self, napi_value function) {
    stop();
    if (events == 0) return 0;
    if (!callback.set(self, function)) return -1;
    wanted = events;
    applyReference();
    if (events & READABLE) waitForPackets();
    if (events & WRITABLE) askAgain();
    return 0;
  }

  void stop() {
    wanted = 0;
    ring.disarm();
    ring.drained = false;  // the wait may have taken the event of a packet that nobody has looked for yet
    uv_timer_stop(timer);
    callback.drop();
    applyReference();
  }

  void setReferenced(bool value) {
    referenced = value;
    applyReference();
  }

  /** After this the ring may be closed at once; the watcher frees itself when libuv is done. */
  void close() {
    if (closed) return;
    closed = true;
    stop();
    onTeardown = nullptr;
    callback.end();
    uv_close(base(async), handleClosed);
    uv_close(base(timer), handleClosed);
  }

 private:
  static constexpr int READABLE = 1, WRITABLE = 2;
  static constexpr uint64_t ASK_AGAIN = 2;  // ms; the ring holds some 10 ms of a fast link

  EventWatcher(napi_env env, PacketRing& ring, uv_async_s* async, uv_timer_s* timer, std::function<void()> onTeardown)
      : callback(env), ring(ring), async(async), timer(timer), onTeardown(std::move(onTeardown)) {}

  template <typename Handle>
  static uv_handle_s* base(Handle* handle) {
    return reinterpret_cast<uv_handle_s*>(handle);
  }

  /** An async handle is always active: it holds the loop only while something is waited for, as a poll handle does. */
  void applyReference() {
    referenced && wanted != 0 ? uv_ref(base(async)) : uv_unref(base(async));
    referenced ? uv_ref(base(timer)) : uv_unref(base(timer));
  }

  void waitForPackets() {
    // What was left unread comes again in the next round of the loop. A wait that is not to be had is replaced by asking.
    if (!ring.drained) uv_async_send(async);
    else if (!ring.arm(fire, async)) askAgain();
  }

  void askAgain() { uv_timer_start(timer, timedOut, ASK_AGAIN, ASK_AGAIN); }

  /** On another thread. */
  static void fire(void* async) { uv_async_send(static_cast<uv_async_s*>(async)); }

  static void woken(uv_async_s* handle) {
    auto* watcher = static_cast<EventWatcher*>(uv_handle_get_data(base(handle)));
    if (!(watcher->wanted & READABLE)) return;
    watcher->ring.disarm();
    watcher->ring.drained = false;
    watcher->callback.call(READABLE);
    // It may have been stopped or closed in there; freed it is not before the loop's next round.
    if (watcher->wanted & READABLE) watcher->waitForPackets();
  }

  static void timedOut(uv_timer_s* handle) {
    auto* watcher = static_cast<EventWatcher*>(uv_handle_get_data(base(handle)));
    watcher->callback.call(watcher->wanted);
  }

  static void tornDown(napi_async_cleanup_hook_handle, void* data) {
    auto* watcher = static_cast<EventWatcher*>(data);
    // Otherwise it is closing already, and its close callback removes the hook.
    if (watcher->onTeardown) std::function<void()>(watcher->onTeardown)();
  }

  static void handleClosed(uv_handle_s* handle) {
    auto* watcher = static_cast<EventWatcher*>(uv_handle_get_data(handle));
    if (++watcher->handlesClosed < 2) return;
    watcher->callback.release();
    std::free(watcher->async);
    std::free(watcher->timer);
    delete watcher;
  }

  ReadyCallback callback;
  PacketRing& ring;
  uv_async_s* async;
  uv_timer_s* timer;
  std::function<void()> onTeardown;
  int wanted = 0;
  bool referenced = true;
  bool closed = false;
  int handlesClosed = 0;
};

}  // namespace tun
