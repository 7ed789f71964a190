// Owns: open_posix.h, and pairs of socket devices.

#include "open_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace tun {

namespace {

#ifdef SOCK_CLOEXEC
constexpr int CLOSE_ON_EXEC = SOCK_CLOEXEC;
#else
constexpr int CLOSE_ON_EXEC = 0;  // macOS: it follows the making
#endif

}  // namespace

void copyName(char (&to)[IFNAMSIZ], const std::string& name) {
  memset(to, 0, IFNAMSIZ);
  memcpy(to, name.data(), name.size() < IFNAMSIZ ? name.size() : IFNAMSIZ - 1);
}

const char* kindOfFile(mode_t mode) {
  return S_ISREG(mode) ? "file" : S_ISFIFO(mode) ? "pipe" : S_ISDIR(mode) ? "directory" : "other-device";
}

bool describeSocket(int fd, int& family, int& type, Failure& failure) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) return fail(failure, "getsockname", "other-socket");
  family = address.ss_family;
  length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 || fail(failure, "getsockopt", "other-socket");
}

bool requirePacketSocket(int fd, int family, int type, Failure& failure) {
  errno = EINVAL;
  if (family != AF_UNIX) return fail(failure, "getsockname", "other-socket");
  if (type != SOCK_DGRAM && type != SOCK_SEQPACKET) return fail(failure, "getsockopt", "stream-socket");
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  return getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0 || fail(failure, "getpeername", "unconnected-socket");
}

void DescriptorDevice::lend(int theirs) {
  fd = theirs;
  lent = true;
  closesDescriptor = false;
}

bool DescriptorDevice::duplicate(const OpenRequest& request, Failure& failure) {
  if (request.ownership != Ownership::DUP) return true;
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(failure, "fcntl");
  fd = copy;
  closesDescriptor = true;
  return true;
}

void DescriptorDevice::keep(const OpenRequest& request) {
  if (request.ownership != Ownership::TAKE) return;
  closesDescriptor = true;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

bool DescriptorDevice::makeNonBlocking(Failure& failure) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return fail(failure, "fcntl");
  const bool blocks = !(flags & O_NONBLOCK);
  restoresBlocking = lent && blocks;
  return !blocks || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 || fail(failure, "fcntl");
}

void DescriptorDevice::closeDescriptors() {
  if (fd >= 0 && restoresBlocking && !handedOver) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
  if (fd >= 0 && closesDescriptor) ::close(fd);
  if (control >= 0) ::close(control);
  fd = -1;
  control = -1;
}

bool makeSocketPair(const std::string& type, int ends[2], Failure& failure) {
  const int kind = type == "dgram" ? SOCK_DGRAM : type == "seqpacket" ? SOCK_SEQPACKET : SOCK_STREAM;
  if (socketpair(AF_UNIX, kind | CLOSE_ON_EXEC, 0, ends) < 0) return fail(failure, "socketpair");
  if (CLOSE_ON_EXEC != 0) return true;
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  return true;
}

}  // namespace tun
