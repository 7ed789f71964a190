// Owns: who sent a signal: the kernel, for a key at the terminal, or a process by kill(2). Node does not say.

#pragma once

#include "tun.h"

namespace tun {

struct Senders {
  unsigned kernel, processes;
};

/** From now on senders are counted. The handler that is there now – libuv's – goes on being called. */
bool countSenders(int signal, Failure& failure);

/** How often the signal came since the last call. */
Senders takeSenders(int signal);

}  // namespace tun
