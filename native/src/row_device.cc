// Owns: row_device.h. Bounds are checked here, once, for every platform; what leaves is a complete packet or a row with a vnet header.

#include "row_device.h"

#include <cerrno>

namespace tun {

size_t alignedStart(const uint8_t* slab, size_t from) {
  const auto address = reinterpret_cast<uintptr_t>(slab + from);
  return from + ((16 - (address & 15)) & 15);
}

void beginRow(Batch& batch, size_t row, size_t start, size_t length) {
  batch.start(row) = static_cast<int32_t>(start);
  batch.length(row) = static_cast<int32_t>(length);
  batch.gsoType(row) = GSO_NONE;
  batch.gsoSize(row) = 0;
  batch.csumStart(row) = 0;
  batch.csumOffset(row) = 0;
  batch.flags(row) = 0;
  batch.pieceAt(row) = 0;
  batch.pieceCount(row) = 0;
}

void prepend(Outgoing& packet, const uint8_t* bytes, size_t length) {
  for (size_t v = packet.count++; v > 0; v--) packet.vectors[v] = packet.vectors[v - 1];
  packet.vectors[0].iov_base = const_cast<uint8_t*>(bytes);
  packet.vectors[0].iov_len = length;
}

bool RowDevice::beginRead(Batch& batch, size_t used) {
  const bool open = isOpen();
  batch.status = !open ? int32_t{GONE} : endStatus;
  batch.error = !open ? EBADF : endError;
  batch.used = static_cast<int32_t>(used);
  return open && !ended;
}

void RowDevice::endRead(Batch& batch, size_t used) {
  batch.used = static_cast<int32_t>(used);
  if (batch.status <= BLOCKED) return;
  ended = true;
  endStatus = batch.status;
  endError = batch.error;
}

size_t RowDevice::write(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t first, size_t count) {
  // The batch's status says whether its first row was left half cut: PacketBatch.reset() sets OK, a blocked write BLOCKED.
  const bool continued = batch.status == BLOCKED && batch.segmentsDone > 0;
  if (!continued) batch.segmentsDone = 0;
  batch.status = OK;
  batch.error = 0;
  batch.refused = 0;
  if (!isOpen()) {
    batch.status = GONE;
    batch.error = EBADF;
    return 0;
  }
  size_t row = first;
  for (; row < count; row++) {
    const bool valid = gatherRow(headers, pieces, batch, row);
    const int error = valid ? writeRow(batch, continued && row == first) : 0;
    if (valid && error == 0) continue;
    batch.status = valid && error != INVALID_ROW ? writeStatus(error) : OK;
    if (batch.status == OK) {
      batch.refused++;
      batch.segmentsDone = 0;
      continue;
    }
    if (batch.status == BLOCKED) return row - first;
    batch.segmentsDone = 0;
    if (batch.status == DOWN) return count - first;
    // Reading is not ended by this: what the other end sent before it went can still be read.
    batch.error = errnoOf(error);
    return row - first;
  }
  return row - first;
}

bool RowDevice::gatherRow(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t row) {
  const int64_t start = batch.start(row), length = batch.length(row);
  const int64_t pieceAt = batch.pieceAt(row), pieceCount = batch.pieceCount(row);
  if (start < 0 || length < 20 || start + length > static_cast<int64_t>(headers.length)) return false;
  if (pieceCount < 0 || pieceCount > static_cast<int64_t>(MAX_PIECES)) return false;
  if (pieceCount > 0 && (pieceAt < 0 || pieceAt + pieceCount > static_cast<int64_t>(pieces.size()))) return false;
  if (pieceCount > 0 && pieceAt + pieceCount > static_cast<int64_t>(batch.pieceCapacity)) return false;

  parts[0] = {const_cast<uint8_t*>(headers.bytes + start), static_cast<size_t>(length)};
  size_t total = static_cast<size_t>(length);
  for (int64_t i = 0; i < pieceCount; i++) {
    const size_t piece = static_cast<size_t>(pieceAt + i);
    const int64_t from = batch.pieceStart(piece), size = batch.pieceLength(piece);
    if (from < 0 || size < 0 || from + size > static_cast<int64_t>(pieces[piece].length)) return false;
    parts[i + 1] = {const_cast<uint8_t*>(pieces[piece].bytes + from), static_cast<size_t>(size)};
    total += static_cast<size_t>(size);
  }
  if (total > MAX_PACKET) return false;
  if (batch.gsoSize(row) < 0 || batch.csumStart(row) < 0 || batch.csumOffset(row) < 0) return false;
  if (batch.csumStart(row) > 0xffff || batch.csumOffset(row) > 0xffff) return false;
  out.parts = parts;
  out.partCount = static_cast<size_t>(pieceCount) + 1;
  out.total = total;
  out.gsoType = batch.gsoType(row);
  out.gsoSize = out.gsoType == GSO_NONE ? 0 : static_cast<size_t>(batch.gsoSize(row));
  out.csumStart = static_cast<size_t>(batch.csumStart(row));
  out.csumOffset = static_cast<size_t>(batch.csumOffset(row));
  out.flags = batch.flags(row);
  return true;
}

int RowDevice::writeRow(Batch& batch, bool resumed) {
  if (out.gsoSize > 0) {
    const size_t headerLength = gsoHeaderLength(out);
    if (headerLength == 0 || !(out.flags & CSUM_PARTIAL)) return INVALID_ROW;
    const size_t segments = segmentCount(out, headerLength);
    const bool nicCuts = offload.vnet && (out.gsoType != GSO_UDP || offload.udp);
    if (segments > 1 && !nicCuts) return writeSegments(batch, resumed, headerLength, segments);
    if (segments > 1) return withVnetHeader(out, vnetLength, outgoing) ? send(outgoing) : INVALID_ROW;
    out.gsoSize = 0;
  }
  // A packet that is not cut leaves with its checksum complete, also where the NIC would take it without: summing a packet costs
  // less than telling who relies on it (taps, forwarding, a peer behind another NIC) that it is not to be looked at.
  if (!withChecksum(out, outgoing)) return INVALID_ROW;
  frame(outgoing);
  return send(outgoing);
}

int RowDevice::writeSegments(Batch& batch, bool resumed, size_t headerLength, size_t segments) {
  for (size_t i = resumed ? static_cast<size_t>(batch.segmentsDone) : 0; i < segments; i++) {
    cutSegment(out, headerLength, i, outgoing);
    frame(outgoing);
    const int error = send(outgoing);
    if (error == 0) continue;
    batch.segmentsDone = static_cast<int32_t>(i);
    return error;
  }
  batch.segmentsDone = 0;
  return 0;
}

}  // namespace tun
