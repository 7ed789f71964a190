// Owns: AF_PACKET. SOCK_DGRAM takes the link layer's header away, so that packets of every NIC begin with IP. packet(7).

#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING  // Linux 4.20
#define PACKET_IGNORE_OUTGOING 23
#endif

namespace tun {

namespace {

constexpr int QUEUE = 16 << 20;  // bytes: a second of a busy NIC

int failAndClose(int socket, Failure& failure, const char* syscall) {
  fail(failure, syscall);
  ::close(socket);
  return -1;
}

}  // namespace

int openPacketSocket(const std::string& nic, Failure& failure) {
  // Protocol 0: nothing is received before it is bound to the NIC.
  const int made = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return fail(failure, "socket"), -1;
  const unsigned index = if_nametoindex(nic.c_str());
  if (index == 0) return failAndClose(made, failure, "if_nametoindex");
  if (setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &QUEUE, sizeof QUEUE) < 0) {
    setsockopt(made, SOL_SOCKET, SO_RCVBUF, &QUEUE, sizeof QUEUE);  // as much as is allowed
  }
  const int on = 1;
  // Loopback gives each packet twice: on its way out, and in.
  if (nic == "lo") setsockopt(made, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (bind(made, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return failAndClose(made, failure, "bind");
  return made;
}

bool packetDrops(int socket, unsigned& drops, Failure& failure) {
  tpacket_stats statistics{};
  socklen_t length = sizeof statistics;
  if (getsockopt(socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0) return fail(failure, "getsockopt");
  drops = statistics.tp_drops;
  return true;
}

}  // namespace tun
