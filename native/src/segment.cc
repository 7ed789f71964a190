// Owns: vnet headers, checksum completion and segmentation of rows to send. Virtio 1.2 §5.1.6.2, RFC 9293 §3.1, RFC 768.

#include "segment.h"

namespace tun {

namespace {

constexpr size_t TCP_CSUM = 16, UDP_CSUM = 6;
constexpr uint8_t TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80;

void store16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

uint32_t load32(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 | at[3];
}

void store32(uint8_t* at, uint32_t value) {
  store16(at, value >> 16);
  store16(at + 2, value & 0xffff);
}

bool checksumInHeaders(const OutRow& row) {
  return row.csumStart >= 20 && row.csumStart + row.csumOffset + 2 <= row.headerRoom();
}

void append(Outgoing& out, const void* bytes, size_t length) {
  if (length == 0) return;
  out.vectors[out.count].iov_base = const_cast<void*>(bytes);
  out.vectors[out.count++].iov_len = length;
}

void appendPieces(const OutRow& row, Outgoing& out) {
  for (size_t i = 1; i < row.partCount; i++) append(out, row.parts[i].iov_base, row.parts[i].iov_len);
}

/** Calls visit(bytes, length) for the row's bytes [from, from + length). */
template <typename Visit>
void forRange(const OutRow& row, size_t from, size_t length, Visit visit) {
  for (size_t i = 0; i < row.partCount && length > 0; i++) {
    const size_t size = row.parts[i].iov_len;
    if (from >= size) {
      from -= size;
      continue;
    }
    const size_t take = size - from < length ? size - from : length;
    visit(static_cast<const uint8_t*>(row.parts[i].iov_base) + from, take);
    from = 0;
    length -= take;
  }
}

}  // namespace

size_t gsoHeaderLength(const OutRow& row) {
  if (!checksumInHeaders(row)) return 0;
  const uint8_t* packet = row.headers();
  const int version = packet[0] >> 4;
  const bool udp = row.gsoType == GSO_UDP;
  if (row.gsoType == GSO_TCP4 ? version != 4 : row.gsoType == GSO_TCP6 ? version != 6 : !udp) return 0;
  if (version != 4 && version != 6) return 0;

  // No extension headers with GSO: the transport header follows the IP header.
  if (row.csumStart != (version == 4 ? (packet[0] & 15) * 4u : 40u)) return 0;
  if (packet[version == 4 ? 9 : 6] != (udp ? IPPROTO_UDP4 : IPPROTO_TCP4)) return 0;
  if (row.csumOffset != (udp ? UDP_CSUM : TCP_CSUM)) return 0;

  const size_t transport = udp ? 8 : (packet[row.csumStart + 12] >> 4) * 4u;
  const size_t length = row.csumStart + transport;
  if (transport < (udp ? 8u : 20u) || length > row.headerRoom() || length > sizeof(Outgoing::scratch)) return 0;
  return length;
}

bool withVnetHeader(const OutRow& row, size_t vnetLength, Outgoing& out) {
  VnetHeader header{};
  const bool partial = row.flags & CSUM_PARTIAL;
  if (partial) {
    if (!checksumInHeaders(row)) return false;
    header.flags = VNET_NEEDS_CSUM;
    header.csumStart = static_cast<uint16_t>(row.csumStart);
    header.csumOffset = static_cast<uint16_t>(row.csumOffset);
  }
  if (row.gsoSize > 0) {
    const size_t headerLength = partial ? gsoHeaderLength(row) : 0;
    if (headerLength == 0 || row.gsoSize > 0xffff) return false;
    // A "super-segment" of one segment is none.
    if (row.total - headerLength > row.gsoSize) {
      header.gsoType = row.gsoType == GSO_TCP4 ? VNET_GSO_TCP4 : row.gsoType == GSO_TCP6 ? VNET_GSO_TCP6 : VNET_GSO_UDP_L4;
      header.gsoSize = static_cast<uint16_t>(row.gsoSize);
      header.headerLength = static_cast<uint16_t>(headerLength);
    }
  }
  std::memset(out.scratch, 0, vnetLength);
  std::memcpy(out.scratch, &header, VNET_HEADER);
  out.count = 0;
  append(out, out.scratch, vnetLength);
  append(out, row.headers(), row.headerRoom());
  appendPieces(row, out);
  return true;
}

bool withChecksum(const OutRow& row, Outgoing& out) {
  out.count = 0;
  if (!(row.flags & CSUM_PARTIAL)) {
    append(out, row.headers(), row.headerRoom());
    appendPieces(row, out);
    return true;
  }
  if (!checksumInHeaders(row)) return false;
  Sum sum;  // the field itself holds the pseudo header's share
  forRange(row, row.csumStart, row.total - row.csumStart, [&](const uint8_t* bytes, size_t length) { sum.add(bytes, length); });
  uint16_t checksum = sum.complement();
  if (checksum == 0 && row.csumOffset == UDP_CSUM) checksum = 0xffff;  // RFC 768: zero would mean "none"
  std::memcpy(out.scratch, &checksum, 2);

  // The headers around the field, and the field from the scratch: the row stays as it was.
  const size_t field = row.csumStart + row.csumOffset;
  append(out, row.headers(), field);
  append(out, out.scratch, 2);
  append(out, row.headers() + field + 2, row.headerRoom() - field - 2);
  appendPieces(row, out);
  return true;
}

size_t segmentCount(const OutRow& row, size_t headerLength) {
  const size_t payload = row.total - headerLength;
  return payload == 0 ? 1 : (payload + row.gsoSize - 1) / row.gsoSize;
}

void cutSegment(const OutRow& row, size_t headerLength, size_t index, Outgoing& out) {
  const size_t payload = row.total - headerLength;
  const size_t from = index * row.gsoSize;
  const size_t length = payload - from < row.gsoSize ? payload - from : row.gsoSize;
  const bool last = from + length == payload;
  uint8_t* header = out.scratch;
  std::memcpy(header, row.headers(), headerLength);
  uint8_t* transport = header + row.csumStart;
  const size_t transportLength = headerLength - row.csumStart + length;

  if (header[0] >> 4 == 4) {
    store16(header + 2, headerLength + length);
    store16(header + 4, (load32(header + 4) >> 16) + index);
    store16(header + 10, 0);
    Sum sum;
    sum.add(header, row.csumStart);
    const uint16_t checksum = sum.complement();
    std::memcpy(header + 10, &checksum, 2);
  } else {
    store16(header + 4, transportLength);
  }

  const bool udp = row.gsoType == GSO_UDP;
  if (udp) {
    store16(transport + 4, transportLength);
  } else {
    store32(transport + 4, load32(transport + 4) + static_cast<uint32_t>(from));
    if (!last) transport[13] &= static_cast<uint8_t>(~(TCP_FIN | TCP_PSH));
    if (index > 0) transport[13] &= static_cast<uint8_t>(~TCP_CWR);
  }

  store16(transport + row.csumOffset, 0);
  out.count = 0;
  append(out, header, headerLength);
  Sum sum;
  addPseudoHeader(sum, header, udp ? IPPROTO_UDP4 : IPPROTO_TCP4, transportLength);
  sum.add(transport, headerLength - row.csumStart);
  forRange(row, headerLength + from, length, [&](const uint8_t* bytes, size_t size) {
    sum.add(bytes, size);
    append(out, bytes, size);
  });
  uint16_t checksum = sum.complement();
  if (checksum == 0 && udp) checksum = 0xffff;
  std::memcpy(transport + row.csumOffset, &checksum, 2);
}

}  // namespace tun
