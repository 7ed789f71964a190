// Owns: netlink.h. Messages of another process than the kernel are not looked at. netlink(7), rtnetlink(7).

#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tun {

std::unique_ptr<Netlink> Netlink::open(uint32_t groups, int nic, Failure& failure) {
  auto netlink = std::make_unique<Netlink>();
  const int type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
  netlink->fd = nic < 0 ? ::socket(AF_NETLINK, type, NETLINK_ROUTE) : socketOfNic(nic, AF_NETLINK, type, NETLINK_ROUTE);
  if (netlink->fd < 0) return fail(failure, "socket"), nullptr;
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  own.nl_groups = groups;
  if (bind(netlink->fd, reinterpret_cast<sockaddr*>(&own), sizeof own) < 0) return fail(failure, "bind"), nullptr;
  return netlink;
}

ssize_t Netlink::receive(uint8_t* at, size_t room, Failure& failure) {
  for (;;) {
    sockaddr_nl from{};
    iovec vector = {at, room};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    const ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return 0;
    if (length < 0 && errno == ENOBUFS) return -1;
    if (length < 0) return fail(failure, "recvmsg"), -2;
    if (from.nl_pid != 0 || length == 0) continue;
    return message.msg_flags & MSG_TRUNC ? -1 : length;
  }
}

bool Netlink::send(const uint8_t* message, size_t length, Failure& failure) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do sent = sendto(fd, message, length, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  while (sent < 0 && errno == EINTR);
  return sent >= 0 || fail(failure, "sendto");
}

void Netlink::close() {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace tun
