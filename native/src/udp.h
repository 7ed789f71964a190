// Owns: UDP sockets that take and give datagrams in batches, many behind one epoll descriptor. Addresses are four words as in the engine
// (wire/address.ts): IPv4 a.b.c.d is ::ffff:a.b.c.d. Rows: packages/device/src/datagram-batch.ts, whose numbers must agree with
// DatagramRows.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "batch.h"
#include "socket_set.h"

namespace tun {

class DatagramRows {
 public:
  static constexpr size_t HEADER_WORDS = 8;
  static constexpr size_t ROW_COLUMNS = 14;

  DatagramRows(int32_t* words, size_t capacity)
      : status(words[0]), error(words[1]), refused(words[2]), rows(words + HEADER_WORDS), capacity(capacity) {}

  static size_t wordsNeeded(size_t capacity) { return HEADER_WORDS + ROW_COLUMNS * capacity; }

  int32_t& status;
  /** errno of FAILED, positive. */
  int32_t& error;
  /** After a send: rows of this call that the kernel would not take; their column says why. */
  int32_t& refused;

  int32_t& start(size_t row) { return rows[row]; }
  int32_t& length(size_t row) { return rows[capacity + row]; }
  /** Received: bytes of each datagram of a train (UDP_GRO), the last may be shorter; 0: it is one. Of a report: Report::kind. */
  int32_t& segment(size_t row) { return rows[2 * capacity + row]; }
  int32_t& word(size_t row, size_t index) { return rows[(3 + index) * capacity + row]; }
  int32_t& port(size_t row) { return rows[7 * capacity + row]; }
  int32_t& failure(size_t row) { return rows[8 * capacity + row]; }
  /** To send: the hop limit, 0 the kernel's own. Of a report: its MTU, 0 if it has none. */
  int32_t& ttl(size_t row) { return rows[9 * capacity + row]; }
  /** Of a report: who said so; all 0 if that is not known. */
  int32_t& by(size_t row, size_t index) { return rows[(10 + index) * capacity + row]; }

 private:
  int32_t* rows;

 public:
  const size_t capacity;
};

struct UdpRequest {
  /** 4 or 6. Sockets of IPv6 are IPV6_V6ONLY: a socket is of one family. */
  int family = 4;
  /** Source address, none if empty, and port. */
  std::string address;
  int port = 0;
  /** Connect there, unless empty. */
  std::string peerAddress;
  int peerPort = 0;
  /** SO_BINDTODEVICE, unless empty. */
  std::string device;
  /** SO_MARK, unless negative. */
  int64_t mark = -1;
  /** Bytes of the kernel's queues; 0 leaves them. */
  int receiveBuffer = 0;
  int sendBuffer = 0;
  /** UDP_GRO and UDP_SEGMENT, where the kernel has them. */
  bool offload = true;
};

/** One of the sockets; -1 for a descriptor: it is closed. */
class Udp {
 public:
  Udp() = default;
  /** Answers whether it could be made. */
  bool open(const UdpRequest& request, Failure& failure);

  /** A datagram, or a train of them, to each row; row i lies at i × stride. Fewer rows than asked for: there are no more. */
  size_t receive(uint8_t* slab, size_t stride, DatagramRows& rows, size_t count);
  /** Rows [first, count); answers how many are done, refused ones included. */
  size_t send(const uint8_t* slab, size_t slabLength, DatagramRows& rows, size_t first, size_t count);
  /** What ICMP said of datagrams sent before: their destination, who said so, and as the row's bytes what it quoted of the payload. */
  size_t reports(uint8_t* slab, size_t stride, DatagramRows& rows, size_t count);

  int fd = -1;

 private:
  struct Outgoing;
  size_t gather(const uint8_t* slab, size_t slabLength, DatagramRows& rows, size_t first, size_t count, Outgoing& out);
  bool prepare(const UdpRequest& request, Failure& failure);

  bool v6 = false;
  bool connected = false;
  /** Hop limits were set: those of what comes back are asked for. */
  bool probing = false;
  /** Datagrams longer than this go one by one: 0 where the kernel has no UDP_SEGMENT. */
  int gsoLimit = 0;
  /** UDP_GRO is to be asked for when several datagrams have come at once. */
  bool wantsTrains = false;
};

class UdpSockets : public SocketSet {
 public:
  enum Event : int32_t { READABLE = 1, WRITABLE = 2, REPORTS = 8 };

  static std::unique_ptr<UdpSockets> create(Failure& failure);

  /** Answers the slot, or -1. */
  int open(const UdpRequest& request, Failure& failure);
  /** One that is closed if there is no such slot. Valid until the next open(). */
  Udp& at(size_t slot) { return slot < sockets.size() ? sockets[slot] : closed; }
  /** Told only while this is on: each datagram that has left would wake it. */
  int watchWritable(size_t slot, bool on);
  int closeSocket(size_t slot);
  void close();

 private:
  UdpSockets();

  /** By slot. */
  std::vector<Udp> sockets;
  Udp closed;
};

}  // namespace tun
