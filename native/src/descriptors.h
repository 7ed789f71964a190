// Owns: open descriptors that go from one process to another over an AF_UNIX socket. unix(7), SCM_RIGHTS.

#pragma once

#include "tun.h"

namespace tun {

/** Sends `fd` with one byte, 0: without a byte a stream would not carry it. Both stay open here. */
bool sendDescriptor(int socket, int fd, Failure& failure);

/**
 * Waits at most `timeoutMs` (negative: for ever) for one descriptor and answers it, close-on-exec; -1 and `failure` otherwise.
 * `detail` is "ended" (the other side closed), "no-descriptor" (a message without one) or "several" (more than one: all are closed).
 */
int receiveDescriptor(int socket, int timeoutMs, Failure& failure);

}  // namespace tun
