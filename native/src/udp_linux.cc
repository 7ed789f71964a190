// Owns: UDP in batches on Linux: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT, ICMP errors by IP_RECVERR.
// Read first: udp(7), recvmmsg(2), sendmmsg(2), ip(7) on IP_RECVERR, udp_send_skb in net/ipv4/udp.c.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket_linux.h"
#include "udp.h"

#ifndef UDP_SEGMENT  // Linux 4.18
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO  // Linux 5.0
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

namespace tun {

namespace {

/** Messages of one system call: what their headers cost on the C stack (some 20 KiB) is what bounds it. */
constexpr size_t MESSAGES = 64;
/** UDP_MAX_SEGMENTS of older kernels. */
constexpr size_t MAX_SEGMENTS = 64;
/** Payload of one send, a train or not: 65,535 less the IPv4 and UDP headers. */
constexpr size_t MAX_TRAIN = 65507;
constexpr int64_t MAX_PORT = 65535;
constexpr int MAX_TTL = 255;

/** The length of a train, and a hop limit. */
union Control {
  cmsghdr align;
  char bytes[2 * CMSG_SPACE(sizeof(int))];
};

void toRow(const Address& from, DatagramRows& rows, size_t row) {
  int32_t words[4];
  wordsOf(from, words);
  for (size_t i = 0; i < 4; i++) rows.word(row, i) = words[i];
  rows.port(row) = ntohs(from.base.sa_family == AF_INET6 ? from.v6.sin6_port : from.v4.sin_port);
}

/** False: the row's address is of the other family, or it names no port. */
bool fromRow(bool v6, DatagramRows& rows, size_t row, Address& to, socklen_t& length) {
  if (rows.port(row) <= 0 || rows.port(row) > MAX_PORT) return false;
  const int32_t words[4] = {rows.word(row, 0), rows.word(row, 1), rows.word(row, 2), rows.word(row, 3)};
  return addressOf(v6, words, static_cast<uint16_t>(rows.port(row)), to, length);
}

bool samePeer(DatagramRows& rows, size_t a, size_t b) {
  return rows.port(a) == rows.port(b) && rows.word(a, 3) == rows.word(b, 3) && rows.word(a, 2) == rows.word(b, 2) &&
         rows.word(a, 1) == rows.word(b, 1) && rows.word(a, 0) == rows.word(b, 0);
}

int32_t eventsOf(uint32_t bits) {
  return (bits & (EPOLLIN | EPOLLHUP) ? UdpSockets::READABLE : 0) | (bits & EPOLLOUT ? UdpSockets::WRITABLE : 0) |
         (bits & EPOLLERR ? UdpSockets::REPORTS : 0);
}

/** The kernel has UDP_SEGMENT; `fd` is any socket of UDP. */
bool knowsTrains(int fd) {
  const int none = 0;
  static const bool knows = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &none, sizeof none) == 0;
  return knows;
}

}  // namespace

bool Udp::open(const UdpRequest& request, Failure& failure) {
  v6 = request.family == 6;
  fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failure, "socket");
  if (prepare(request, failure)) return true;
  ::close(fd);
  return false;
}

bool Udp::prepare(const UdpRequest& request, Failure& failure) {
  const int on = 1;
  if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) return fail(failure, "setsockopt", "v6only");
  if (!wantReports(fd, v6, failure) || !routeBy(fd, request.device, request.mark, failure)) return false;
  // With CAP_NET_ADMIN also beyond net.core.rmem_max, socket(7): else what comes while this process does something else is lost that a
  // program of its own would have read in time.
  const int buffers[2][3] = {{SO_RCVBUF, SO_RCVBUFFORCE, request.receiveBuffer}, {SO_SNDBUF, SO_SNDBUFFORCE, request.sendBuffer}};
  for (const auto& [option, force, bytes] : buffers) {
    if (bytes <= 0 || setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) == 0) continue;
    if (setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes) < 0) return fail(failure, "setsockopt", "buffer");
  }
  wantsTrains = request.offload;
  if (request.offload && knowsTrains(fd)) gsoLimit = MAX_TRAIN;
  Address at;
  socklen_t length = 0;
  if (!request.address.empty() || request.port != 0) {
    if (!parse(v6, request.address, request.port, at, length)) return failure = {EINVAL, "bind", ""}, false;
    if (::bind(fd, &at.base, length) < 0) return fail(failure, "bind");
  }
  if (!request.peerAddress.empty()) {
    if (!parse(v6, request.peerAddress, request.peerPort, at, length)) return failure = {EINVAL, "connect", ""}, false;
    if (::connect(fd, &at.base, length) < 0) return fail(failure, "connect");
    connected = true;
  }
  return true;
}

size_t Udp::receive(uint8_t* slab, size_t stride, DatagramRows& rows, size_t count) {
  rows.status = OK;
  rows.error = 0;
  if (fd < 0) {
    rows.status = GONE;
    rows.error = EBADF;
    return 0;
  }
  if (count > MESSAGES) count = MESSAGES;
  mmsghdr messages[MESSAGES];
  iovec vectors[MESSAGES];
  Address from[MESSAGES];
  Control control[MESSAGES];
  for (size_t i = 0; i < count; i++) {
    vectors[i] = {slab + i * stride, stride};
    messages[i] = mmsghdr{};
    msghdr& header = messages[i].msg_hdr;  // by name: musl's has padding in between
    header.msg_name = &from[i];
    header.msg_namelen = sizeof from[i];
    header.msg_iov = &vectors[i];
    header.msg_iovlen = 1;
    header.msg_control = &control[i];
    header.msg_controllen = sizeof control[i];
  }
  int n;
  // An ICMP error answers one call in place of datagrams; it waits in the error queue as well.
  for (int attempt = 0; (n = ::recvmmsg(fd, messages, static_cast<unsigned>(count), MSG_DONTWAIT, nullptr)) < 0 && attempt < 8; attempt++) {
    if (errno == EAGAIN || errno == EBADF || errno == EFAULT || errno == EINVAL) break;
  }
  if (n < 0) {
    const bool fatal = errno == EBADF || errno == EFAULT || errno == EINVAL || errno == ENOTSOCK;
    rows.status = fatal ? FAILED : BLOCKED;
    if (fatal) rows.error = errno;
    return 0;
  }
  for (size_t i = 0; i < static_cast<size_t>(n); i++) {
    rows.start(i) = static_cast<int32_t>(i * stride);
    rows.length(i) = static_cast<int32_t>(messages[i].msg_len);
    rows.segment(i) = 0;
    rows.failure(i) = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? EMSGSIZE : 0;
    msghdr& header = messages[i].msg_hdr;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_level != SOL_UDP || part->cmsg_type != UDP_GRO) continue;
      int size = 0;
      memcpy(&size, CMSG_DATA(part), sizeof size);
      if (size > 0 && static_cast<unsigned>(size) < messages[i].msg_len) rows.segment(i) = size;
    }
    toRow(from[i], rows, i);
  }
  if (n > 1 && wantsTrains) {
    // Not at the opening: most sockets are for an answer or two, and when the first one of the machine gets it and when the last one with
    // it is closed, the kernel rewrites its own code (udp_encap_needed_key), which takes longer than all the rest.
    const int on = 1;
    setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on);  // without it datagrams come one by one
    wantsTrains = false;
  }
  return static_cast<size_t>(n);
}

struct Udp::Outgoing {
  mmsghdr messages[MESSAGES];
  iovec vectors[MESSAGES];
  Address to[MESSAGES];
  Control control[MESSAGES];
  /** Rows in the message; the first is `row`. */
  size_t row[MESSAGES];
  size_t rows[MESSAGES];
  size_t count = 0;
};

/** Messages out of rows; answers the row to go on with. Stops before a row that makes no sense. */
size_t Udp::gather(const uint8_t* slab, size_t slabLength, DatagramRows& rows, size_t first, size_t count, Outgoing& out) {
  const auto fits = [&](size_t row) {
    const int64_t start = rows.start(row), length = rows.length(row);
    return start >= 0 && length >= 0 && start + length <= static_cast<int64_t>(slabLength);
  };
  out.count = 0;
  size_t row = first;
  while (row < count && out.count < MESSAGES) {
    const size_t m = out.count;
    socklen_t addressLength = 0;
    if (!fits(row) || (!connected && !fromRow(v6, rows, row, out.to[m], addressLength))) break;
    const int size = rows.length(row);
    size_t total = static_cast<size_t>(size), taken = 1;
    const int ttl = rows.ttl(row);
    // A train: datagrams that lie one behind the other, of one length but for the last, for one peer. A hop limit goes alone.
    if (size > 0 && size <= gsoLimit && ttl <= 0) {
      for (size_t next = row + 1; next < count && taken < MAX_SEGMENTS && fits(next) && rows.ttl(next) <= 0; next++, taken++) {
        const int more = rows.length(next);
        if (more == 0 || more > size || rows.start(next) != rows.start(row) + static_cast<int32_t>(total)) break;
        if (total + static_cast<size_t>(more) > MAX_TRAIN || (!connected && !samePeer(rows, row, next))) break;
        total += static_cast<size_t>(more);
        if (more < size) {
          taken++;
          break;
        }
      }
    }
    msghdr& header = out.messages[m].msg_hdr;
    header = {};
    out.vectors[m] = {const_cast<uint8_t*>(slab + rows.start(row)), total};
    header.msg_iov = &out.vectors[m];
    header.msg_iovlen = 1;
    if (!connected) {
      header.msg_name = &out.to[m];
      header.msg_namelen = addressLength;
    }
    if (taken > 1) {
      header.msg_control = &out.control[m];
      header.msg_controllen = CMSG_SPACE(sizeof(uint16_t));
      cmsghdr* part = CMSG_FIRSTHDR(&header);
      part->cmsg_level = SOL_UDP;
      part->cmsg_type = UDP_SEGMENT;
      part->cmsg_len = CMSG_LEN(sizeof(uint16_t));
      const auto segment = static_cast<uint16_t>(size);
      memcpy(CMSG_DATA(part), &segment, sizeof segment);
    } else if (ttl > 0 && ttl <= MAX_TTL) {
      if (!probing) probing = wantHops(fd, v6);
      header.msg_control = &out.control[m];
      header.msg_controllen = CMSG_SPACE(sizeof ttl);
      cmsghdr* part = CMSG_FIRSTHDR(&header);
      part->cmsg_level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
      part->cmsg_type = v6 ? IPV6_HOPLIMIT : IP_TTL;
      part->cmsg_len = CMSG_LEN(sizeof ttl);
      memcpy(CMSG_DATA(part), &ttl, sizeof ttl);
    }
    out.row[m] = row;
    out.rows[m] = taken;
    out.count++;
    row += taken;
  }
  return row;
}

size_t Udp::send(const uint8_t* slab, size_t slabLength, DatagramRows& rows, size_t first, size_t count) {
  rows.status = OK;
  rows.error = 0;
  rows.refused = 0;
  if (fd < 0) {
    rows.status = GONE;
    rows.error = EBADF;
    return 0;
  }
  Outgoing out;
  size_t row = first;
  bool again = false;  // the first message of this round answered an error that may have been an older datagram's
  while (row < count) {
    gather(slab, slabLength, rows, row, count, out);
    if (out.count == 0) {
      rows.failure(row++) = EINVAL;
      rows.refused++;
      continue;
    }
    int n;
    do n = ::sendmmsg(fd, out.messages, static_cast<unsigned>(out.count), MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
      const size_t last = static_cast<size_t>(n) - 1;
      const size_t end = out.row[last] + out.rows[last];
      for (; row < end; row++) rows.failure(row) = 0;
      again = false;
      continue;
    }
    const int error = n < 0 ? errno : EIO;
    if (error == EAGAIN) {
      rows.status = BLOCKED;
      break;
    }
    if (error == EBADF || error == ENOTSOCK || error == EFAULT) {
      rows.status = FAILED;
      rows.error = error;
      break;
    }
    if (!again) {  // an ICMP error of an earlier datagram: told once, by whatever call comes next
      again = true;
      continue;
    }
    again = false;
    if (out.rows[0] > 1 && (error == EINVAL || error == EMSGSIZE || error == EIO)) {
      // For all peers: a socket is one flow's, most often with one peer, and what goes alone costs a little more time, nothing else. No
      // peer has to be remembered. EIO: the way out cannot do it; else: trains must fit the path MTU, whereas single datagrams are cut
      // into fragments.
      gsoLimit = error == EIO ? 0 : rows.length(row) - 1;
      continue;
    }
    for (const size_t end = row + out.rows[0]; row < end; row++) {
      rows.failure(row) = error;
      rows.refused++;
    }
  }
  return row - first;
}

size_t Udp::reports(uint8_t* slab, size_t stride, DatagramRows& rows, size_t count) {
  rows.status = OK;
  rows.error = 0;
  size_t row = 0;
  // Each call takes one out of the queue, so that this ends; what is left wakes the caller again.
  for (size_t taken = 0; row < count && taken < 4 * MESSAGES && fd >= 0; taken++) {
    Report report;
    const ssize_t n = nextReport(fd, slab + row * stride, stride, report);
    if (n < 0) {
      rows.status = BLOCKED;
      break;
    }
    if (!report.byIcmp) continue;  // what this machine itself refused was the answer of the send
    rows.start(row) = static_cast<int32_t>(row * stride);
    rows.length(row) = static_cast<int32_t>(n);
    rows.segment(row) = report.kind();
    rows.ttl(row) = static_cast<int32_t>(report.info);
    rows.failure(row) = report.error;
    toRow(report.to, rows, row);
    int32_t words[4];
    wordsOf(report.by, words);
    for (size_t i = 0; i < 4; i++) rows.by(row, i) = words[i];
    row++;
  }
  if (fd >= 0) clearError(fd);
  return row;
}

UdpSockets::UdpSockets() : SocketSet(eventsOf) {}

std::unique_ptr<UdpSockets> UdpSockets::create(Failure& failure) {
  std::unique_ptr<UdpSockets> sockets(new UdpSockets());
  return sockets->begin(failure) ? std::move(sockets) : nullptr;
}

int UdpSockets::open(const UdpRequest& request, Failure& failure) {
  Udp udp;
  if (epoll < 0) return failure = {EBADF, "socket", ""}, -1;
  if (!udp.open(request, failure)) return -1;
  const int slot = add(udp.fd, EPOLLIN, failure);
  if (slot < 0) return -1;
  if (static_cast<size_t>(slot) == sockets.size()) sockets.emplace_back();
  sockets[static_cast<size_t>(slot)] = udp;
  return slot;
}

int UdpSockets::watchWritable(size_t slot, bool on) { return listen(slot, on ? EPOLLIN | EPOLLOUT : EPOLLIN); }

int UdpSockets::closeSocket(size_t slot) {
  at(slot).fd = -1;
  return remove(slot);
}

void UdpSockets::close() {
  sockets.clear();
  SocketSet::close();
}

}  // namespace tun
