// Owns: a NETLINK_ROUTE socket: what the kernel tells about interfaces, addresses and routes, as bytes. They are taken apart in
// packages/device/src/rtnetlink.ts. rtnetlink(7), netlink(7).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tun.h"

namespace tun {

class Netlink {
 public:
  ~Netlink() { close(); }

  /** `groups`: RTMGRP_*, 0 for questions only. `nic`: a TUN's descriptor, whose network namespace is meant; -1: this process's. */
  static std::unique_ptr<Netlink> open(uint32_t groups, int nic, Failure& failure);

  /** One datagram's bytes; 0: nothing waits; -1: some were lost, or were longer than `room`; -2 and `failure` for anything else. */
  ssize_t receive(uint8_t* at, size_t room, Failure& failure);
  bool send(const uint8_t* message, size_t length, Failure& failure);
  /** Idempotent. */
  void close();

  int fd = -1;
};

/** A socket in the network namespace of the TUN behind `nic` (or of this process if that cannot be told); -1 and errno. */
int socketOfNic(int nic, int domain, int type, int protocol);

}  // namespace tun
