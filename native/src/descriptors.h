// Owns: open descriptors that go from one process to another over an AF_UNIX socket, unix(7), SCM_RIGHTS; and a send that never waits.

#pragma once

#include <cstddef>
#include <cstdint>

#include "tun.h"

namespace tun {

/** Sends `fd` with one byte, 0: without a byte a stream would not carry it. Both stay open here. */
bool sendDescriptor(int socket, int fd, Failure& failure);

/**
 * Waits at most `timeoutMs` (negative: for ever) for one descriptor and answers it, close-on-exec; -1 and `failure` otherwise.
 * `detail` is "ended" (the other side closed), "no-descriptor" (a message without one) or "several" (more than one: all are closed).
 */
int receiveDescriptor(int socket, int timeoutMs, Failure& failure);

/** Sends what fits now, whatever O_NONBLOCK says, which is shared with other processes; -1 and `failure`: EAGAIN, EPIPE… */
int64_t sendNow(int socket, const uint8_t* bytes, size_t length, Failure& failure);

}  // namespace tun
