// Owns: summing and verifying. RFC 1071, RFC 768, RFC 8200 §4 (extension headers) and §8.1.

#include "checksum.h"

#include "batch.h"

namespace tun {

namespace {

uint16_t load16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

constexpr uint8_t HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION_OPTIONS = 60;

struct Transport {
  uint8_t protocol = 0;
  size_t start = 0;
  size_t end = 0;
};

bool findTransport4(const uint8_t* packet, size_t length, Transport& out) {
  if (length < 20) return false;
  const size_t headerLength = (packet[0] & 15) * 4u;
  const size_t total = load16(packet + 2);
  if (headerLength < 20 || total < headerLength || total > length) return false;
  if (isFragment(packet, length)) return false;
  out = {packet[9], headerLength, total};
  return true;
}

bool findTransport6(const uint8_t* packet, size_t length, Transport& out) {
  if (length < 40) return false;
  const size_t end = 40 + static_cast<size_t>(load16(packet + 4));
  if (end > length) return false;
  uint8_t next = packet[6];
  size_t at = 40;
  for (;;) {
    if (next != HOP_BY_HOP && next != ROUTING && next != DESTINATION_OPTIONS && next != AUTHENTICATION) break;
    if (at + 8 > end) return false;
    // §8.1: with segments left the pseudo header holds the final destination, which is not the header's.
    if (next == ROUTING && packet[at + 3] != 0) return false;
    const size_t size = next == AUTHENTICATION ? (packet[at + 1] + 2u) * 4 : (packet[at + 1] + 1u) * 8;
    next = packet[at];
    at += size;
    if (at > end) return false;
  }
  if (next == FRAGMENT) return false;
  out = {next, at, end};
  return true;
}

}  // namespace

uint64_t sumBytes(const uint8_t* bytes, size_t length) {
  // 32-bit words into 64-bit lanes: no carry is lost below 16 GiB, and the compiler makes vectors of it.
  uint64_t low = 0, high = 0;
  while (length >= 32) {
    uint64_t words[4];
    std::memcpy(words, bytes, 32);
    for (uint64_t word : words) {
      low += word & 0xffffffffu;
      high += word >> 32;
    }
    bytes += 32;
    length -= 32;
  }
  while (length >= 4) {
    uint32_t word;
    std::memcpy(&word, bytes, 4);
    low += word;
    bytes += 4;
    length -= 4;
  }
  if (length > 0) {
    uint32_t word = 0;
    std::memcpy(&word, bytes, length);  // an odd last byte is padded with zero on the right
    low += word;
  }
  return low + high;
}

void addPseudoHeader(Sum& sum, const uint8_t* packet, uint8_t protocol, size_t length) {
  if (packet[0] >> 4 == 4) {
    sum.add(packet + 12, 8);
  } else {
    sum.add(packet + 8, 32);
  }
  sum.addBigEndian(protocol);
  sum.addBigEndian(static_cast<uint16_t>(length));
}

bool isFragment(const uint8_t* packet, size_t length) {
  if (length < 20) return false;
  if (packet[0] >> 4 == 4) return (load16(packet + 6) & 0x3fff) != 0;  // MF or an offset
  return length >= 40 && packet[6] == FRAGMENT;
}

int32_t verifyChecksum(const uint8_t* packet, size_t length) {
  if (length == 0) return 0;
  const int version = packet[0] >> 4;
  Transport transport;
  if (version == 4 ? !findTransport4(packet, length, transport) : version != 6 || !findTransport6(packet, length, transport)) return 0;

  const uint8_t* segment = packet + transport.start;
  size_t size = transport.end - transport.start;
  bool pseudo = true;
  switch (transport.protocol) {
    case IPPROTO_TCP4:
      if (size < 20) return 0;
      break;
    case IPPROTO_UDP4: {
      if (size < 8) return 0;
      const size_t datagram = load16(segment + 4);
      if (datagram < 8 || datagram > size) return 0;
      // RFC 768: zero is "no checksum"; RFC 8200 §8.1: never in IPv6.
      if (load16(segment + 6) == 0) return version == 4 ? CSUM_GOOD : CSUM_BAD;
      size = datagram;
      break;
    }
    case IPPROTO_ICMP4:
      if (version != 4 || size < 4) return 0;
      pseudo = false;
      break;
    case IPPROTO_ICMP6:
      if (version != 6 || size < 4) return 0;
      break;
    default:
      return 0;
  }
  Sum sum;
  if (pseudo) addPseudoHeader(sum, packet, transport.protocol, size);
  sum.add(segment, size);
  return sum.complement() == 0 ? CSUM_GOOD : CSUM_BAD;
}

}  // namespace tun
