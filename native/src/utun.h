// Owns: the four bytes before each packet of a utun: its protocol family, big-endian. Nothing of an operating system is in here, so it is
// tested wherever a compiler is. Read first: utun_ctl_send and utun_output in bsd/net/if_utun.c of XNU.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tun {

constexpr size_t UTUN_HEADER = 4;

/** AF_INET and AF_INET6 as Darwin numbers them; Linux' AF_INET6 is 10, Windows' 23. */
constexpr uint8_t DARWIN_INET = 2, DARWIN_INET6 = 30;

/** Packets that may wait in a utun's socket: the rows of a turn's reading (docs/architecture.md, Bounds). */
constexpr int UTUN_WAITING = 512;

/**
 * UTUN_OPT_MAX_PENDING_PACKETS for a socket with this much room. With fewer packets waiting the kernel hands over the next one, and drops
 * it if there is no room (utun_start and ctl_enqueuembuf); with as many, it holds the NIC's queue back, and with it the senders.
 */
constexpr int utunPending(int room, int mtu) {
  const int fit = room / (mtu + static_cast<int>(UTUN_HEADER));
  return fit < 1 ? 1 : fit > UTUN_WAITING ? UTUN_WAITING : fit;
}
static_assert(utunPending(512 * 1024, 1500) == 348 && utunPending(4 << 20, 1500) == 512 && utunPending(4096, 65535) == 1,
              "what waits fits");

/** The header of a packet that begins with this byte. Everything that is not IPv6 goes as IPv4, and the kernel judges it. */
inline const uint8_t* utunHeader(uint8_t first) {
  static const uint8_t four[UTUN_HEADER] = {0, 0, 0, DARWIN_INET}, six[UTUN_HEADER] = {0, 0, 0, DARWIN_INET6};
  return first >> 4 == 6 ? six : four;
}

/** The kernel's word for the family and the packet's own version agree. */
inline bool utunHeaderFits(const uint8_t* header, const uint8_t* packet, size_t length) {
  if (length == 0) return false;
  const int version = packet[0] >> 4;
  return (version == 4 || version == 6) && std::memcmp(header, utunHeader(packet[0]), UTUN_HEADER) == 0;
}

}  // namespace tun
