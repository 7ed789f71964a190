// Owns: a socket that sends ICMP echo requests and gets their answers, and what the path said of them. Addresses are four words as in
// udp.h.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tun.h"

namespace tun {

struct PingRequest {
  /** 4 or 6. */
  int family = 4;
  /** Source address, none if empty. */
  std::string address;
  /** SO_BINDTODEVICE, unless empty. */
  std::string device;
  /** SO_MARK, unless negative. */
  int64_t mark = -1;
};

/** What came back, as words of an Int32Array: packages/device/src/ping-socket.ts, whose numbers must agree. */
struct PingResult {
  static constexpr size_t WORDS = 13;
  /** Bytes of payload; of a report, those it quotes. */
  int32_t length;
  int32_t sequence;
  /** Of a reply, the hop limit it came with, 0 if that is not known; of a report, its MTU. */
  int32_t ttl;
  /** Of a reply, who sent it; of a report, where the ping was sent. */
  int32_t peer[4];
  /** Of a report: hop limit it came with << 16 | type << 8 | code, errno, and who said so. */
  int32_t kind;
  int32_t error;
  int32_t by[4];
};
static_assert(sizeof(PingResult) == PingResult::WORDS * sizeof(int32_t));

class Ping {
 public:
  /** A ping socket, which needs no rights but its group in net.ipv4.ping_group_range; else a raw one, for root. */
  static std::unique_ptr<Ping> open(const PingRequest& request, Failure& failure);
  ~Ping() { close(); }

  /** One echo request; `ttl` 0: the kernel's own. Answers an errno, 0: it has left. */
  int send(const int32_t to[4], uint16_t sequence, int ttl, const uint8_t* payload, size_t length);
  /** The next answer, its payload at the front of `bytes`. False: there is none. */
  bool receive(uint8_t* bytes, size_t capacity, PingResult& result);
  /** The next error that ICMP told of a ping. False: there is none. */
  bool report(uint8_t* bytes, size_t capacity, PingResult& result);
  void close();

  int fd = -1;
  bool raw = false;

 private:
  bool v6 = false;
  /** Raw sockets are given the answers to everybody: ours bear this. The kernel keeps that of a ping socket. */
  uint16_t id = 0;
  int ttl = 0;
};

}  // namespace tun
