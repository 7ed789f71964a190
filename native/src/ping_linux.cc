// Owns: pings on Linux: a ping socket, or a raw one; ICMP errors by IP_RECVERR.
// Read first: icmp(7) on ping_group_range, raw(7), ip(7) on IP_RECVERR, net/ipv4/ping.c.

#include "ping.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <sys/random.h>
#include <unistd.h>

#include "checksum.h"
#include "socket_linux.h"

namespace tun {

namespace {

constexpr size_t ICMP_HEADER = 8;
constexpr uint8_t REQUEST4 = 8, REQUEST6 = 128, REPLY4 = 0, REPLY6 = 129;
/** struct icmp_filter of linux/icmp.h, whose header does not go with netinet/. */
constexpr int ICMP_FILTER_OPTION = 1;
/** Messages that a raw socket gets and that are not ours, of one call. */
constexpr int MAX_FOREIGN = 64;

uint16_t word(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

void put(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

/** EPOLLPRI beside EPOLLERR: libuv takes the latter alone for a broken descriptor, and not for what is waiting in the error queue. */
bool tellReports(int fd, Failure& failure) {
  const int on = 1;
  return setsockopt(fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof on) == 0 || fail(failure, "setsockopt", "recverr");
}

/** Of everything that comes by ICMP, a raw socket wants answers only. */
bool filterReplies(int fd, bool v6) {
  if (v6) {
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(REPLY6, &filter);
    return setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) == 0;
  }
  const uint32_t blocked = ~(1u << REPLY4);
  return setsockopt(fd, SOL_RAW, ICMP_FILTER_OPTION, &blocked, sizeof blocked) == 0;
}

}  // namespace

std::unique_ptr<Ping> Ping::open(const PingRequest& request, Failure& failure) {
  std::unique_ptr<Ping> ping(new Ping());
  const bool v6 = ping->v6 = request.family == 6;
  const int domain = v6 ? AF_INET6 : AF_INET, protocol = v6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
  ping->fd = ::socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (ping->fd < 0 && (errno == EACCES || errno == EPERM || errno == EPROTONOSUPPORT)) {
    const int refused = errno;
    ping->fd = ::socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    ping->raw = true;
    if (ping->fd < 0) errno = refused;
  }
  if (ping->fd < 0) return fail(failure, "socket", "ping"), nullptr;
  const int fd = ping->fd;
  if (!wantReports(fd, v6, failure) || !tellReports(fd, failure)) return nullptr;
  if (!routeBy(fd, request.device, request.mark, failure)) return nullptr;
  if (!wantHops(fd, v6)) return fail(failure, "setsockopt", "ttl"), nullptr;
  if (ping->raw) {
    if (!filterReplies(fd, v6)) return fail(failure, "setsockopt", "filter"), nullptr;
    if (getrandom(&ping->id, sizeof ping->id, 0) != sizeof ping->id) ping->id = static_cast<uint16_t>(getpid());
  }
  if (!request.address.empty()) {
    Address at;
    socklen_t length = 0;
    if (!parse(v6, request.address, 0, at, length)) return failure = {EINVAL, "bind", ""}, nullptr;
    if (::bind(fd, &at.base, length) < 0) return fail(failure, "bind"), nullptr;
  }
  return ping;
}

int Ping::send(const int32_t to[4], uint16_t sequence, int hops, const uint8_t* payload, size_t length) {
  if (fd < 0) return EBADF;
  Address address;
  socklen_t addressLength = 0;
  if (!addressOf(v6, to, 0, address, addressLength)) return EAFNOSUPPORT;
  if (hops != ttl) {  // the control message for it is younger for IPv6 (5.18) than what we run on
    const int value = hops > 0 ? hops : -1;
    if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &value, sizeof value) < 0) return errno;
    ttl = hops;
  }
  uint8_t header[ICMP_HEADER] = {v6 ? REQUEST6 : REQUEST4};
  put(header + 4, id);  // a ping socket's is the kernel's affair, as is the checksum; a raw one's of IPv6, too
  put(header + 6, sequence);
  if (raw && !v6) {
    Sum sum;
    sum.add(header, sizeof header);
    sum.add(payload, length);
    const uint16_t checksum = sum.complement();
    memcpy(header + 2, &checksum, sizeof checksum);
  }
  iovec vectors[2] = {{header, sizeof header}, {const_cast<uint8_t*>(payload), length}};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = addressLength;
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  // Once more if it was an older ping's ICMP error: that is told once, by whatever call comes next.
  for (int attempt = 0;; attempt++) {
    if (::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (attempt > 0 || errno == EAGAIN) return errno;
  }
}

bool Ping::receive(uint8_t* bytes, size_t capacity, PingResult& result) {
  for (int foreign = 0; foreign < MAX_FOREIGN && fd >= 0; foreign++) {
    Address from;
    memset(&from, 0, sizeof from);
    char control[256];
    iovec vector = {bytes, capacity};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN || errno == EBADF) return false;
      continue;  // an ICMP error in place of an answer: it waits in the error queue as well
    }
    // Raw sockets of IPv4 have the IP header in front.
    const size_t skip = raw && !v6 && n > 0 ? (bytes[0] & 15u) * 4 : 0;
    const size_t length = static_cast<size_t>(n);
    if (length < skip + ICMP_HEADER || bytes[skip] != (v6 ? REPLY6 : REPLY4)) continue;
    if (raw && word(bytes + skip + 4) != id) continue;
    result = {};
    result.sequence = word(bytes + skip + 6);
    result.length = static_cast<int32_t>(length - skip - ICMP_HEADER);
    wordsOf(from, result.peer);
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      readHops(part, result.ttl);
    }
    memmove(bytes, bytes + skip + ICMP_HEADER, static_cast<size_t>(result.length));
    return true;
  }
  return false;
}

bool Ping::report(uint8_t* bytes, size_t capacity, PingResult& result) {
  for (int foreign = 0; foreign < MAX_FOREIGN && fd >= 0; foreign++) {
    Report report;
    const ssize_t n = nextReport(fd, bytes, capacity, report);
    if (n < 0) break;
    // Quoted is the request as it was sent, header and all: it says which one.
    if (!report.byIcmp || n < static_cast<ssize_t>(ICMP_HEADER) || bytes[0] != (v6 ? REQUEST6 : REQUEST4)) continue;
    if (raw && word(bytes + 4) != id) continue;
    result = {};
    result.sequence = word(bytes + 6);
    result.length = static_cast<int32_t>(n) - static_cast<int32_t>(ICMP_HEADER);
    result.ttl = static_cast<int32_t>(report.info);
    wordsOf(report.to, result.peer);
    result.kind = report.kind();
    result.error = report.error;
    wordsOf(report.by, result.by);
    memmove(bytes, bytes + ICMP_HEADER, static_cast<size_t>(result.length));
    return true;
  }
  if (fd >= 0) clearError(fd);
  return false;
}

void Ping::close() {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace tun
