// Owns: which watcher a device has: that of its descriptor, or of its ring.

#pragma once

#include "tun.h"

#if defined(_WIN32) || defined(TUN_HAS_RINGS)
#include "event_watcher.h"
#else
#include "watcher.h"
#endif

namespace tun {

#if defined(_WIN32) || defined(TUN_HAS_RINGS)

using TunWatcher = EventWatcher;

inline TunWatcher* watchTun(napi_env env, Tun& tun, std::function<void()> onTeardown, int& error) {
  return EventWatcher::create(env, *tun.ring(), std::move(onTeardown), error);
}

#else

using TunWatcher = Watcher;

inline TunWatcher* watchTun(napi_env env, Tun& tun, std::function<void()> onTeardown, int& error) {
  return Watcher::create(env, tun.descriptor(), std::move(onTeardown), error);
}

#endif

}  // namespace tun
