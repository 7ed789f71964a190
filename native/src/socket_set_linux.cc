// Owns: socket_set.h on Linux. Read epoll(7).

#include "socket_set.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "socket_linux.h"

namespace tun {

namespace {

constexpr size_t EVENTS = 256;

}  // namespace

bool SocketSet::begin(Failure& failure) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  return epoll >= 0 || fail(failure, "epoll_create1");
}

int SocketSet::add(int fd, uint32_t events, Failure& failure) {
  const bool reused = !unused.empty();
  const auto slot = reused ? unused.back() : static_cast<uint32_t>(entries.size());
  epoll_event event{};
  event.events = events;
  event.data.u32 = slot;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
    fail(failure, "epoll_ctl");
    ::close(fd);
    return -1;
  }
  if (reused) {
    unused.pop_back();
    entries[slot].fd = fd;
  } else {
    entries.push_back({fd, answers - 1});
  }
  return static_cast<int>(slot);
}

int SocketSet::listen(size_t slot, uint32_t events) {
  const int fd = descriptor(slot);
  epoll_event event{};
  event.events = events;
  event.data.u32 = static_cast<uint32_t>(slot);
  return fd < 0 ? -EBADF : epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

int SocketSet::remove(size_t slot) {
  const int fd = descriptor(slot);
  if (fd < 0) return -EBADF;
  // Not by close(2) alone: a child that another thread forks has the file as well until its exec, and events of it would be the next one's.
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
  ::close(fd);
  Entry& entry = entries[slot];
  entry.fd = -1;
  (entry.answer == answers ? retired : unused).push_back(static_cast<uint32_t>(slot));
  return 0;
}

int SocketSet::address(size_t slot, bool peer, std::string& text, int& port) const {
  const int fd = descriptor(slot);
  Address at;
  socklen_t length = sizeof at;
  if (fd < 0) return -EBADF;
  if ((peer ? getpeername(fd, &at.base, &length) : getsockname(fd, &at.base, &length)) < 0) return -errno;
  return textOf(at, text, port) ? 0 : -errno;
}

int SocketSet::wait(int32_t* events, size_t capacity) {
  unused.insert(unused.end(), retired.begin(), retired.end());
  retired.clear();
  answers++;
  if (epoll < 0) return -EBADF;
  epoll_event ready[EVENTS];
  if (capacity > EVENTS) capacity = EVENTS;
  if (capacity == 0) return 0;
  int n;
  while ((n = epoll_wait(epoll, ready, static_cast<int>(capacity), 0)) < 0) {
    if (errno != EINTR) return -errno;
  }
  for (int i = 0; i < n; i++) {
    const uint32_t slot = ready[i].data.u32;
    entries[slot].answer = answers;
    events[EVENT_WORDS * i] = static_cast<int32_t>(slot);
    events[EVENT_WORDS * i + 1] = meaning(ready[i].events);
  }
  return n;
}

void SocketSet::close() {
  for (const Entry& entry : entries) {
    if (entry.fd >= 0) ::close(entry.fd);
  }
  entries.clear();
  unused.clear();
  retired.clear();
  if (epoll >= 0) ::close(epoll);
  epoll = -1;
}

}  // namespace tun
