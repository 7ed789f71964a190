// Owns: what the TCP, UDP and ping sockets share on Linux: addresses as text and as four words, NIC and mark, ICMP's error queue.
// Read first: ip(7) on IP_RECVERR, socket(7) on SO_BINDTODEVICE and SO_MARK, sock_extended_err in linux/errqueue.h.

#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <time.h>  // linux/errqueue.h needs timespec and brings none
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <string>

#include "tun.h"

namespace tun {

union Address {
  sockaddr base;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

/** Text, may be empty for any, and port. */
inline bool parse(bool v6, const std::string& text, int port, Address& to, socklen_t& length) {
  memset(&to, 0, sizeof to);
  if (v6) {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(static_cast<uint16_t>(port));
    length = sizeof to.v6;
    return text.empty() || inet_pton(AF_INET6, text.c_str(), &to.v6.sin6_addr) == 1;
  }
  to.v4.sin_family = AF_INET;
  to.v4.sin_port = htons(static_cast<uint16_t>(port));
  length = sizeof to.v4;
  return text.empty() || inet_pton(AF_INET, text.c_str(), &to.v4.sin_addr) == 1;
}

inline bool textOf(const Address& from, std::string& text, int& port) {
  const bool v6 = from.base.sa_family == AF_INET6;
  char buffer[INET6_ADDRSTRLEN];
  const void* bytes = v6 ? static_cast<const void*>(&from.v6.sin6_addr) : &from.v4.sin_addr;
  if (inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, buffer, sizeof buffer) == nullptr) return false;
  text = buffer;
  port = ntohs(v6 ? from.v6.sin6_port : from.v4.sin_port);
  return true;
}

/** IPv4 a.b.c.d is ::ffff:a.b.c.d; four zeros if it is of neither family. */
inline void wordsOf(const Address& from, int32_t words[4]) {
  memset(words, 0, 4 * sizeof words[0]);
  if (from.base.sa_family == AF_INET6) {
    uint32_t raw[4];
    memcpy(raw, &from.v6.sin6_addr, sizeof raw);
    for (size_t i = 0; i < 4; i++) words[i] = static_cast<int32_t>(ntohl(raw[i]));
  } else if (from.base.sa_family == AF_INET) {
    words[2] = 0xffff;
    words[3] = static_cast<int32_t>(ntohl(from.v4.sin_addr.s_addr));
  }
}

/** False: the words are of the other family. */
inline bool addressOf(bool v6, const int32_t words[4], uint16_t port, Address& to, socklen_t& length) {
  const bool mapped = words[0] == 0 && words[1] == 0 && words[2] == 0xffff;
  if (mapped == v6) return false;
  memset(&to, 0, sizeof to);
  if (v6) {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(port);
    uint32_t raw[4];
    for (size_t i = 0; i < 4; i++) raw[i] = htonl(static_cast<uint32_t>(words[i]));
    memcpy(&to.v6.sin6_addr, raw, sizeof raw);
    length = sizeof to.v6;
    return true;
  }
  to.v4.sin_family = AF_INET;
  to.v4.sin_port = htons(port);
  to.v4.sin_addr.s_addr = htonl(static_cast<uint32_t>(words[3]));
  length = sizeof to.v4;
  return true;
}

/** ICMP errors in the error queue, of unconnected sockets as well, with the destination they are about. */
inline bool wantReports(int fd, bool v6, Failure& failure) {
  const int on = 1;
  return setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof on) == 0 ||
         fail(failure, "setsockopt", "recverr");
}

/** By this NIC only, unless empty, and with this mark, unless negative. */
inline bool routeBy(int fd, const std::string& device, int64_t mark, Failure& failure) {
  if (!device.empty()) {
    if (device.size() >= IFNAMSIZ) return failure = {ENODEV, "setsockopt", "device"}, false;
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) < 0) {
      return fail(failure, "setsockopt", "device");
    }
  }
  if (mark >= 0) {
    const auto value = static_cast<uint32_t>(mark);
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &value, sizeof value) < 0) return fail(failure, "setsockopt", "mark");
  }
  return true;
}

/** Hop limits of what comes, errors included, from now on. */
inline bool wantHops(int fd, bool v6) {
  const int on = 1;
  return setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &on, sizeof on) == 0;
}

/** False: the control message is something else. */
inline bool readHops(cmsghdr* part, int& hops) {
  const bool is = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL) ||
                  (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_HOPLIMIT);
  if (is && part->cmsg_len >= CMSG_LEN(sizeof hops)) memcpy(&hops, CMSG_DATA(part), sizeof hops);
  return is;
}

/** One entry of the error queue. */
struct Report {
  /** False: it is this machine's own word. */
  bool byIcmp = false;
  int error = 0;
  uint8_t type = 0;
  uint8_t code = 0;
  /** The MTU of "too big". */
  uint32_t info = 0;
  /** The hop limit that the error came with, 0 if it was not asked for (wantHops). */
  int hops = 0;
  /** `type`, `code` and `hops` in one word. */
  int32_t kind() const { return hops << 16 | type << 8 | code; }
  /** Where the packet was sent, and who wrote the error. */
  Address to;
  Address by;
};

/** Takes the next one; answers how many bytes it quotes of the packet, from its transport payload on, or −1: there is none. */
inline ssize_t nextReport(int fd, uint8_t* bytes, size_t capacity, Report& report) {
  char control[512];
  memset(&report.to, 0, sizeof report.to);
  memset(&report.by, 0, sizeof report.by);
  report.byIcmp = false;
  report.hops = 0;
  iovec vector = {bytes, capacity};
  msghdr message{};
  message.msg_name = &report.to;
  message.msg_namelen = sizeof report.to;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (n < 0) return -1;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (readHops(part, report.hops)) continue;
    const bool ours = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                      (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
    if (!ours || part->cmsg_len < CMSG_LEN(sizeof(sock_extended_err))) continue;
    sock_extended_err error;
    memcpy(&error, CMSG_DATA(part), sizeof error);
    report.byIcmp = error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6;
    report.error = static_cast<int>(error.ee_errno);
    report.type = error.ee_type;
    report.code = error.ee_code;
    report.info = error.ee_info;
    // SO_EE_OFFENDER: an address right behind.
    const size_t rest = part->cmsg_len - CMSG_LEN(sizeof error);
    memcpy(&report.by, CMSG_DATA(part) + sizeof error, rest < sizeof report.by ? rest : sizeof report.by);
  }
  return n;
}

/** The errno that goes with a report, unless a call has already had it. */
inline void clearError(int fd) {
  int pending = 0;
  socklen_t length = sizeof pending;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length);
}

}  // namespace tun
