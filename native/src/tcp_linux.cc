// Owns: tcp.h on Linux. Read epoll(7), tcp(7), ip(7).

#include "tcp.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket_linux.h"

namespace tun {

namespace {

/** As parse(), but it must be some address, and a link-local one may name its NIC: fe80::1%eth0. */
bool parseScoped(bool v6, const std::string& text, int port, Address& to, socklen_t& length) {
  const size_t percent = v6 ? text.find('%') : std::string::npos;
  const std::string address = text.substr(0, percent);
  if (address.empty() || !parse(v6, address, port, to, length)) return false;
  if (percent != std::string::npos) to.v6.sin6_scope_id = if_nametoindex(text.c_str() + percent + 1);
  return true;
}

/** What can be asked of the socket before it connects. */
bool prepare(int fd, const TcpRequest& request, Failure& failure) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) return fail(failure, "connect", "setsockopt");
  // RFC 6093 §6: urgent data is a part of the stream; or its last byte would be left out.
  if (setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) < 0) return fail(failure, "connect", "setsockopt");
  if (!routeBy(fd, request.device, request.mark, failure)) {
    failure.syscall = "connect";  // as net.connect() would have it
    return false;
  }
  if (request.localAddress.empty()) return true;
  // The port is chosen when it connects, for then two connections to different peers may share one (ip(7)).
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  Address from;
  socklen_t length = 0;
  if (!parseScoped(request.family == 6, request.localAddress, 0, from, length)) return failure = {EINVAL, "bind", ""}, false;
  return ::bind(fd, &from.base, length) == 0 || fail(failure, "bind");
}

int32_t eventsOf(uint32_t bits) {
  return (bits & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? TcpSockets::READABLE : 0) |
         (bits & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? TcpSockets::WRITABLE : 0) | (bits & EPOLLERR ? TcpSockets::FAILED_EVENT : 0) |
         (bits & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? TcpSockets::ENDING : 0);
}

}  // namespace

TcpSockets::TcpSockets() : SocketSet(eventsOf) {}

std::unique_ptr<TcpSockets> TcpSockets::create(Failure& failure) {
  std::unique_ptr<TcpSockets> sockets(new TcpSockets());
  return sockets->begin(failure) ? std::move(sockets) : nullptr;
}

int TcpSockets::open(const TcpRequest& request, Failure& failure) {
  const bool v6 = request.family == 6;
  Address to;
  socklen_t length = 0;
  if (epoll < 0) return failure = {EBADF, "connect", "connect"}, -1;
  if (!parseScoped(v6, request.address, request.port, to, length)) return failure = {EINVAL, "connect", "connect"}, -1;
  const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failure, "socket"), -1;
  bool begun = prepare(fd, request, failure);
  if (begun && ::connect(fd, &to.base, length) < 0 && errno != EINPROGRESS) begun = fail(failure, "connect", "connect");
  // Behind connect(2): before it a socket is "hung up", and epoll would say so.
  if (begun) return add(fd, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET, failure);
  ::close(fd);
  return -1;
}

int TcpSockets::connected(size_t slot) {
  const int fd = descriptor(slot);
  int error = 0;
  socklen_t length = sizeof error;
  if (fd < 0) return -EBADF;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : -error;
}

int64_t TcpSockets::send(size_t slot, const uint8_t* bytes, size_t length) {
  const int fd = descriptor(slot);
  if (fd < 0) return -EBADF;
  for (;;) {
    const ssize_t n = ::send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

int64_t TcpSockets::sendRanges(size_t slot, iovec* ranges, size_t count) {
  const int fd = descriptor(slot);
  if (fd < 0) return -EBADF;
  msghdr message{};
  message.msg_iov = ranges;
  message.msg_iovlen = count;
  for (;;) {
    const ssize_t n = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

int64_t TcpSockets::receive(size_t slot, uint8_t* bytes, size_t length) {
  const int fd = descriptor(slot);
  if (fd < 0) return -EBADF;
  for (;;) {
    const ssize_t n = ::recv(fd, bytes, length, MSG_DONTWAIT);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

int TcpSockets::shutdown(size_t slot) {
  const int fd = descriptor(slot);
  return fd < 0 ? -EBADF : ::shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

int TcpSockets::keepAlive(size_t slot, int seconds) {
  const int fd = descriptor(slot), on = seconds > 0;
  if (fd < 0) return -EBADF;
  if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) < 0) return -errno;
  return on && setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds) < 0 ? -errno : 0;
}

int TcpSockets::noDelay(size_t slot, bool wanted) {
  const int fd = descriptor(slot), on = wanted;
  return fd < 0 ? -EBADF : setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ? -errno : 0;
}

int TcpSockets::closeSocket(size_t slot, bool reset) {
  const int fd = descriptor(slot);
  if (fd >= 0 && reset) {
    const linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  return remove(slot);
}

}  // namespace tun
