// Owns: tcp.h on Linux.

#include "tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tun {

namespace {

constexpr size_t EVENTS = 256;

union Address {
  sockaddr base;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

bool parse(int family, const std::string& text, int port, Address& to, socklen_t& length) {
  std::memset(&to, 0, sizeof to);
  const auto order = htons(static_cast<uint16_t>(port));
  if (family == 6) {
    // A link-local address names its NIC: fe80::1%eth0.
    const size_t percent = text.find('%');
    const std::string address = text.substr(0, percent);
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = order;
    if (percent != std::string::npos) to.v6.sin6_scope_id = if_nametoindex(text.c_str() + percent + 1);
    length = sizeof to.v6;
    return inet_pton(AF_INET6, address.c_str(), &to.v6.sin6_addr) == 1;
  }
  to.v4.sin_family = AF_INET;
  to.v4.sin_port = order;
  length = sizeof to.v4;
  return inet_pton(AF_INET, text.c_str(), &to.v4.sin_addr) == 1;
}

/** What can be asked of the socket before it connects; 0 or an errno. */
int prepare(int fd, const TcpRequest& request, const char*& step) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) return step = "setsockopt", errno;
  // RFC 6093 §6: urgent data is a part of the stream; or its last byte would be left out.
  if (setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) < 0) return step = "setsockopt", errno;
  if (!request.device.empty()) {
    step = "device";
    if (request.device.size() >= IFNAMSIZ) return ENODEV;
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, request.device.c_str(), static_cast<socklen_t>(request.device.size())) < 0) return errno;
  }
  if (request.mark >= 0) {
    const auto mark = static_cast<uint32_t>(request.mark);
    step = "mark";
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) return errno;
  }
  if (!request.localAddress.empty()) {
    step = "bind";
    // The port is chosen when it connects, for then two connections to different peers may share one (ip(7)).
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    Address from;
    socklen_t length = 0;
    if (!parse(request.family, request.localAddress, 0, from, length)) return EINVAL;
    if (::bind(fd, &from.base, length) < 0) return errno;
  }
  return 0;
}

}  // namespace

std::unique_ptr<TcpSockets> TcpSockets::create(Failure& failure) {
  std::unique_ptr<TcpSockets> sockets(new TcpSockets());
  sockets->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (sockets->epoll >= 0) return sockets;
  failure = {errno, "epoll_create1", ""};
  return nullptr;
}

int TcpSockets::open(const TcpRequest& request, const char*& step) {
  step = "connect";
  Address to;
  socklen_t length = 0;
  if (epoll < 0) return -EBADF;
  if (!parse(request.family, request.address, request.port, to, length)) return -EINVAL;
  const int fd = ::socket(request.family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return step = "socket", -errno;
  int error = prepare(fd, request, step);
  if (error == 0) {
    step = "connect";
    if (::connect(fd, &to.base, length) < 0 && errno != EINPROGRESS) error = errno;
  }
  const bool reused = !unused.empty();
  const auto slot = reused ? unused.back() : static_cast<uint32_t>(descriptors.size());
  if (error == 0) {
    // Behind connect(2): before it a socket is "hung up", and epoll would say so.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u32 = slot;
    step = "epoll_ctl";
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) error = errno;
  }
  if (error != 0) {
    ::close(fd);
    return -error;
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
  const bool v6 = at.base.sa_family == AF_INET6;
  char buffer[INET6_ADDRSTRLEN];
  const void* bytes = v6 ? static_cast<const void*>(&at.v6.sin6_addr) : &at.v4.sin_addr;
  if (inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, buffer, sizeof buffer) == nullptr) return -errno;
  text = buffer;
  port = ntohs(v6 ? at.v6.sin6_port : at.v4.sin_port);
  return 0;
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
