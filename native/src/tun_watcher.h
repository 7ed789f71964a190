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

inline PacketRing* watchedPart(Tun& tun) { return tun.ring(); }

#else

using TunWatcher = Watcher;

inline int watchedPart(const Tun& tun) { return tun.descriptor(); }

#endif

}  // namespace tun
