// Owns: sendmsg and recvmsg with SCM_RIGHTS. Whatever the other side sends, no descriptor is left open by accident:
// room for more than one is given so that the surplus can be closed. unix(7), cmsg(3).

#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

namespace tun {

namespace {

constexpr size_t ROOM = 8;

#ifdef __APPLE__
// macOS has neither flag: SO_NOSIGPIPE is the socket's owner's to set, and close-on-exec follows the receiving.
constexpr int SEND_FLAGS = 0, RECEIVE_FLAGS = MSG_DONTWAIT;
#else
constexpr int SEND_FLAGS = MSG_NOSIGNAL, RECEIVE_FLAGS = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
#endif

bool fail(Failure& failure, const char* syscall, int error, const char* detail = "") {
  failure = {error, syscall, detail};
  return false;
}

int64_t monotonicMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

/** recvmsg with a timeout, also where somebody else reads the same socket and takes what poll has seen. */
ssize_t receive(int socket, msghdr& message, int timeoutMs, Failure& failure) {
  const int64_t deadline = monotonicMs() + timeoutMs;
  for (;;) {
    pollfd wanted{socket, POLLIN, 0};
    const int64_t left = timeoutMs < 0 ? -1 : deadline - monotonicMs();
    const int ready = poll(&wanted, 1, left < 0 && timeoutMs >= 0 ? 0 : static_cast<int>(left));
    if (ready == 0) return fail(failure, "poll", ETIMEDOUT), -1;
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail(failure, "poll", errno), -1;
    const ssize_t length = recvmsg(socket, &message, RECEIVE_FLAGS);
    if (length >= 0) return length;
    if (errno != EINTR && errno != EAGAIN) return fail(failure, "recvmsg", errno), -1;
  }
}

}  // namespace

bool sendDescriptor(int socket, int fd, Failure& failure) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  for (;;) {
    if (sendmsg(socket, &message, SEND_FLAGS) >= 0) return true;
    if (errno != EINTR) return fail(failure, "sendmsg", errno);
  }
}

int receiveDescriptor(int socket, int timeoutMs, Failure& failure) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(ROOM * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t length = receive(socket, message, timeoutMs, failure);
  if (length < 0) return -1;

  int fds[ROOM];
  size_t count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here && count < ROOM; i++) memcpy(&fds[count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
  }
  // MSG_CTRUNC: more were sent than there is room for; the kernel has dropped those.
  if (count == 1 && !(message.msg_flags & MSG_CTRUNC)) {
#ifdef __APPLE__
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
#endif
    return fds[0];
  }
  for (size_t i = 0; i < count; i++) ::close(fds[i]);
  const char* detail = count > 0 || (message.msg_flags & MSG_CTRUNC) ? "several" : length == 0 ? "ended" : "no-descriptor";
  return fail(failure, "recvmsg", length == 0 ? ECONNRESET : EPROTO, detail), -1;
}

int64_t sendNow(int socket, const uint8_t* bytes, size_t length, Failure& failure) {
  for (;;) {
    const ssize_t sent = ::send(socket, bytes, length, SEND_FLAGS | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno != EINTR) return fail(failure, "send", errno), -1;
  }
}

}  // namespace tun
