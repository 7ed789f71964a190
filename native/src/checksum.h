// Owns: the Internet checksum. RFC 1071; pseudo headers of RFC 9293 §3.1 and RFC 8200 §8.1.
// Sums are kept in memory byte order (RFC 1071 §2 (B)): load and store them as they are, never swap.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tun {

constexpr uint8_t IPPROTO_ICMP4 = 1, IPPROTO_TCP4 = 6, IPPROTO_UDP4 = 17, IPPROTO_ICMP6 = 58;

/** The not complemented, not folded sum of bytes beginning at an even offset. */
uint64_t sumBytes(const uint8_t* bytes, size_t length);

/** 64 → 16 bits, end-around carry. */
inline uint16_t foldSum(uint64_t sum) {
  sum = (sum & 0xffffffffu) + (sum >> 32);
  sum = (sum & 0xffffffffu) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

inline uint16_t swapBytes(uint16_t value) { return static_cast<uint16_t>(value << 8 | value >> 8); }

/** Sums a packet that lies in pieces: a piece beginning at an odd offset counts with its bytes swapped (RFC 1071 §2 (B)). */
class Sum {
 public:
  void add(const uint8_t* bytes, size_t length) {
    const uint64_t part = sumBytes(bytes, length);
    total += odd ? swapBytes(foldSum(part)) : part;
    odd ^= length & 1;
  }
  /** A 16-bit value in network order, e.g. a protocol number or a length. */
  void addBigEndian(uint16_t value) {
    const uint8_t bytes[2] = {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
    uint16_t word;
    std::memcpy(&word, bytes, 2);
    total += word;
  }
  /** The value for the checksum field. */
  uint16_t complement() const { return static_cast<uint16_t>(~foldSum(total)); }

 private:
  uint64_t total = 0;
  bool odd = false;
};

/** The addresses lie in `packet`, a valid IPv4 or IPv6 header; `length` is of the transport header and data. */
void addPseudoHeader(Sum& sum, const uint8_t* packet, uint8_t protocol, size_t length);

/**
 * CSUM_GOOD or CSUM_BAD for TCP, UDP, ICMP and ICMPv6, 0 where nothing can be said: fragments, other protocols,
 * lengths that contradict each other (the stack counts those as malformed).
 */
int32_t verifyChecksum(const uint8_t* packet, size_t length);

/** Is this IPv4 packet, or IPv6 packet whose fragment header comes first, a fragment? */
bool isFragment(const uint8_t* packet, size_t length);

}  // namespace tun
