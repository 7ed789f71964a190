// Owns: a packet ring for a Linux where wintun.test.ts runs the data path of Windows: packets of a socket, waited for on a thread as
// Windows' thread pool does, by something that is as Wintun's event: each packet sets it, a wait takes it, reading does neither (epoll(7),
// EPOLLET). Opened by the name "wintun:N".

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "../../src/tun_windows.h"

namespace tun {

namespace {

class SocketRing final : public PacketRing {
 public:
  explicit SocketRing(int fd) : fd(fd), stop(eventfd(0, EFD_CLOEXEC)), event(epoll_create1(EPOLL_CLOEXEC)) {
    add(fd, EPOLLIN | EPOLLET);
    add(stop, EPOLLIN);
  }
  ~SocketRing() override {
    disarm();
    ::close(event);
    ::close(fd);
    ::close(stop);
  }

  const uint8_t* receive(uint32_t& length, uint32_t& error) override {
    const ssize_t n = ::recv(fd, packet, sizeof packet, MSG_DONTWAIT);
    error = n == 0 ? WIN_HANDLE_EOF : errno == EAGAIN ? WIN_NO_MORE_ITEMS : 5;
    length = n > 0 ? static_cast<uint32_t>(n) : 0;
    lent += n > 0;
    return n > 0 ? packet : nullptr;
  }
  void release(const uint8_t* which) override { lent -= which == packet; }

  uint8_t* allocate(uint32_t length, uint32_t& error) override {
    pollfd state = {fd, POLLOUT, 0};
    outgoing = length;
    error = lent > 0 ? 5 : WIN_BUFFER_OVERFLOW;  // a packet that was not given back would fill the ring in the end
    return lent == 0 && ::poll(&state, 1, 0) > 0 && !(state.revents & POLLHUP) ? packet : nullptr;
  }
  void send(uint8_t* which) override { ::send(fd, which, outgoing, MSG_NOSIGNAL); }

  bool arm(void (*fire)(void*), void* data) override {
    disarm();
    waiter = std::thread([this, fire, data] {
      epoll_event told[2];
      int n;
      do n = epoll_wait(event, told, 2, -1);
      while (n < 0 && errno == EINTR);
      bool stopped = n < 0;
      for (int i = 0; i < n; i++) stopped = stopped || told[i].data.fd == stop;
      if (!stopped) fire(data);
    });
    return true;
  }
  void disarm() override {
    if (!waiter.joinable()) return;
    uint64_t one = 1;
    if (::write(stop, &one, sizeof one) < 0) return;
    waiter.join();
    if (::read(stop, &one, sizeof one) < 0) return;
  }

  int mtu() override { return 1500; }
  bool isUp() override { return true; }

 private:
  void add(int which, uint32_t events) {
    epoll_event wanted{};
    wanted.events = events;
    wanted.data.fd = which;
    epoll_ctl(event, EPOLL_CTL_ADD, which, &wanted);
  }

  int fd;
  int stop;
  int event;
  int lent = 0;
  size_t outgoing = 0;
  std::thread waiter;
  uint8_t packet[70000];
};

}  // namespace

std::unique_ptr<Tun> Tun::open(const OpenRequest& request, Failure&) {
  auto tun = std::make_unique<WindowsTun>(std::make_unique<SocketRing>(std::stoi(request.name.substr(7))));
  tun->name = "wintun";
  return tun;
}

}  // namespace tun
