// Owns: tcp.h on Linux. Read epoll(7), tcp(7), ip(7).

#include "tcp.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "socket_linux.h"

namespace tun {

namespace {

constexpr size_t EVENTS = 256;

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

}  // namespace

std::unique_ptr<TcpSockets> TcpSockets::create(Failure& failure) {
  std::unique_ptr<TcpSockets> sockets(new TcpSockets());
  sockets->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (sockets->epoll >= 0) return sockets;
  failure = {errno, "epoll_create1", ""};
  return nullptr;
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
  const bool reused = !unused.empty();
  const auto slot = reused ? unused.back() : static_cast<uint32_t>(descriptors.size());
  if (begun) {
    // Behind connect(2): before it a socket is "hung up", and epoll would say so.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u32 = slot;
    begun = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 || fail(failure, "epoll_ctl");
  }
  if (!begun) {
    ::close(fd);
    return -1;
  }
  if (reused) {
    unused.pop_back();
    descriptors[slot] = fd;
  } else {
    descriptors.push_back(fd);
  }
  return static_cast<int>(slot);
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

int TcpSockets::address(size_t slot, bool peer, std::string& text, int& port) const {
  const int fd = descriptor(slot);
  Address at;
  socklen_t length = sizeof at;
  if (fd < 0) return -EBADF;
  if ((peer ? getpeername(fd, &at.base, &length) : getsockname(fd, &at.base, &length)) < 0) return -errno;
  return textOf(at, text, port) ? 0 : -errno;
}

int TcpSockets::closeSlot(size_t slot, bool reset) {
  const int fd = descriptor(slot);
  if (fd < 0) return -EBADF;
  if (reset) {
    const linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  // Not by close(2) alone: a child that another thread forks has the file as well until its exec, and events of it would be the next one's.
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
  ::close(fd);
  descriptors[slot] = -1;
  retired.push_back(static_cast<uint32_t>(slot));
  return 0;
}

int TcpSockets::wait(int32_t* events, size_t capacity) {
  unused.insert(unused.end(), retired.begin(), retired.end());
  retired.clear();
  if (epoll < 0) return -EBADF;
  epoll_event ready[EVENTS];
  if (capacity > EVENTS) capacity = EVENTS;
  if (capacity == 0) return 0;
  int n;
  while ((n = epoll_wait(epoll, ready, static_cast<int>(capacity), 0)) < 0) {
    if (errno != EINTR) return -errno;
  }
  for (int i = 0; i < n; i++) {
    const uint32_t bits = ready[i].events;
    events[EVENT_WORDS * i] = static_cast<int32_t>(ready[i].data.u32);
    events[EVENT_WORDS * i + 1] = (bits & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? READABLE : 0) |
                                  (bits & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? WRITABLE : 0) | (bits & EPOLLERR ? FAILED_EVENT : 0) |
                                  (bits & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? ENDING : 0);
  }
  return n;
}

void TcpSockets::close() {
  for (const int fd : descriptors) {
    if (fd >= 0) ::close(fd);
  }
  descriptors.clear();
  unused.clear();
  retired.clear();
  if (epoll >= 0) ::close(epoll);
  epoll = -1;
}

}  // namespace tun
