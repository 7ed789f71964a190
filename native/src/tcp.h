// Owns: the kernel's TCP sockets for outbound connections, many behind one epoll descriptor. Edge triggered: who has not read until EAGAIN
// remembers that there is more. Read epoll(7), tcp(7).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "socket_set.h"

struct iovec;

namespace tun {

struct TcpRequest {
  /** 4 or 6. */
  int family = 4;
  std::string address;
  int port = 0;
  /** Source address, none if empty. */
  std::string localAddress;
  /** SO_BINDTODEVICE, unless empty. */
  std::string device;
  /** SO_MARK, unless negative. */
  int64_t mark = -1;
};

/** Answers of its methods are results of 0 and more, or a negative errno. */
class TcpSockets : public SocketSet {
 public:
  /** ENDING: a short read is not the last. A FIN or a RST is behind it, or urgent data, before which recv(2) stops. */
  enum Event : int32_t { READABLE = 1, WRITABLE = 2, FAILED_EVENT = 4, ENDING = 8 };

  static std::unique_ptr<TcpSockets> create(Failure& failure);

  /** Begins to connect, and answers the slot, or -1: of what is set before it connects, `failure.detail` says what failed. */
  int open(const TcpRequest& request, Failure& failure);
  /** What became of the connect: 0, or why it failed. */
  int connected(size_t slot);
  int64_t send(size_t slot, const uint8_t* bytes, size_t length);
  /** What lies in several places, one behind the other. */
  int64_t sendRanges(size_t slot, iovec* ranges, size_t count);
  /** 0: the peer has ended. */
  int64_t receive(size_t slot, uint8_t* bytes, size_t length);
  /** A FIN behind what was sent. */
  int shutdown(size_t slot);
  /** SO_KEEPALIVE with this many seconds of silence; 0: off. */
  int keepAlive(size_t slot, int seconds);
  int noDelay(size_t slot, bool on);
  /** `reset`: a RST instead of a FIN, and nothing that is still queued. */
  int closeSocket(size_t slot, bool reset);

 private:
  TcpSockets();
};

}  // namespace tun
