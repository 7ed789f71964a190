// Owns: the data path: packets into the caller's slab, rows out of it, and which errno means what.
// Read first: tun_get_user and tun_do_read in drivers/net/tun.c, unix(7).

#include "tun_linux.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tun {

namespace {

// 16-aligned, so that the stack and the checksum meet IP headers the way NICs put them.
size_t alignedStart(const uint8_t* slab, size_t from) {
  const auto address = reinterpret_cast<uintptr_t>(slab + from);
  return from + ((16 - (address & 15)) & 15);
}

}  // namespace

size_t LinuxTun::read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) {
  batch.error = 0;
  batch.status = OK;
  if (ended || fd < 0) {
    batch.status = fd < 0 ? int32_t{GONE} : endStatus;
    batch.error = fd < 0 ? EBADF : endError;
    batch.used = static_cast<int32_t>(used);
    return count;
  }
  while (count < batch.capacity && slabLength - used >= READ_ROOM) {
    const size_t start = alignedStart(slab, used + vnetLength);
    const size_t room = slabLength - start < MAX_PACKET ? slabLength - start : MAX_PACKET;
    bool truncated = false;
    const ssize_t n = receive(slab + start - vnetLength, vnetLength + room, truncated);
    if (n < 0) {
      batch.status = readStatus(errno);
      if (batch.status != BLOCKED) batch.error = errno;
      break;
    }
    if (n == 0 && socket) {
      // An empty datagram, or the other end is gone: only the poll flags tell.
      pollfd state = {fd, POLLRDHUP, 0};
      if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP))) {
        batch.status = END_OF_FILE;
        break;
      }
      break;  // OK: there may be more, and a sender of empty datagrams does not keep us here
    }
    if (static_cast<size_t>(n) < vnetLength) continue;
    const size_t length = static_cast<size_t>(n) - vnetLength;
    batch.start(count) = static_cast<int32_t>(start);
    batch.length(count) = static_cast<int32_t>(length);
    batch.gsoType(count) = GSO_NONE;
    batch.gsoSize(count) = 0;
    batch.csumStart(count) = 0;
    batch.csumOffset(count) = 0;
    batch.pieceAt(count) = 0;
    batch.pieceCount(count) = 0;
    if (truncated) {
      batch.flags(count) = ROW_INVALID;
    } else if (vnetLength > 0) {
      readVnetHeader(slab + start - vnetLength, slab + start, batch, count);
    } else {
      batch.flags(count) = verifyChecksum(slab + start, length);
    }
    used = start + length;
    count++;
  }
  batch.used = static_cast<int32_t>(used);
  if (batch.status > BLOCKED) {
    ended = true;
    endStatus = batch.status;
    endError = batch.error;
  }
  return count;
}

ssize_t LinuxTun::receive(uint8_t* at, size_t room, bool& truncated) {
  ssize_t n;
  if (!socket) {
    do n = ::read(fd, at, room);
    while (n < 0 && errno == EINTR);
    return n;
  }
  iovec vector = {at, room};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  do n = ::recvmsg(fd, &message, MSG_DONTWAIT);  // no control buffer: descriptors sent along are closed by the kernel
  while (n < 0 && errno == EINTR);
  truncated = message.msg_flags & MSG_TRUNC;
  return n;
}

int32_t LinuxTun::readStatus(int error) {
  switch (error) {
    case EAGAIN:  // also on a NIC that is down
      return BLOCKED;
    case ENOBUFS:
      return socket ? BLOCKED : FAILED;
    case EBADFD:  // the NIC was deleted
    case EBADF:
    case EIO:
    case ENODEV:
      return GONE;
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
    case EPIPE:
      return socket ? END_OF_FILE : FAILED;
    default:
      return FAILED;
  }
}

// OK here: the row alone was refused.
int32_t LinuxTun::writeStatus(int error) {
  switch (error) {
    case EAGAIN:
      return BLOCKED;
    case ENOBUFS:
      return socket ? BLOCKED : OK;
    case EIO:
      return socket ? FAILED : DOWN;
    case EBADFD:
    case EBADF:
    case ENODEV:
      return GONE;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return socket ? END_OF_FILE : FAILED;
    case EINVAL:
    case EMSGSIZE:
    case ENOMEM:
      return OK;
    default:
      return FAILED;
  }
}

size_t LinuxTun::write(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t first, size_t count) {
  // The batch's status says whether its first row was left half cut: PacketBatch.reset() sets OK, a blocked write BLOCKED.
  const bool continued = batch.status == BLOCKED && batch.segmentsDone > 0;
  if (!continued) batch.segmentsDone = 0;
  batch.status = OK;
  batch.error = 0;
  batch.refused = 0;
  if (fd < 0) {
    batch.status = GONE;
    batch.error = EBADF;
    return 0;
  }
  size_t row = first;
  for (; row < count; row++) {
    int error = EINVAL;
    const bool done = gatherRow(headers, pieces, batch, row) && writeRow(batch, continued && row == first, error);
    if (done) continue;
    batch.status = writeStatus(error);
    if (batch.status == OK) {
      batch.refused++;
      batch.segmentsDone = 0;
      continue;
    }
    if (batch.status == BLOCKED) return row - first;
    batch.segmentsDone = 0;
    if (batch.status == DOWN) return count - first;
    // Reading is not ended by this: what the other end sent before it went can still be read.
    batch.error = error;
    return row - first;
  }
  return row - first;
}

bool LinuxTun::gatherRow(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t row) {
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

/** A header that says nothing: no offload, checksum complete. */
static void prependEmptyVnet(size_t vnetLength, Outgoing& packet) {
  static const uint8_t empty[VNET_HEADER_MAX] = {};
  for (size_t v = packet.count++; v > 0; v--) packet.vectors[v] = packet.vectors[v - 1];
  packet.vectors[0] = {const_cast<uint8_t*>(empty), vnetLength};
}

bool LinuxTun::writeRow(Batch& batch, bool resumed, int& error) {
  const bool nicCuts = offload.vnet && (out.gsoType != GSO_UDP || offload.udp);
  bool whole = out.gsoSize == 0;
  if (!whole) {
    const size_t headerLength = gsoHeaderLength(out);
    if (headerLength == 0 || !(out.flags & CSUM_PARTIAL)) return false;
    const size_t segments = segmentCount(out, headerLength);
    if (segments == 1) {
      whole = true;
      out.gsoSize = 0;
    } else if (!nicCuts) {
      for (size_t i = resumed ? static_cast<size_t>(batch.segmentsDone) : 0; i < segments; i++) {
        cutSegment(out, headerLength, i, outgoing);
        if (vnetLength > 0) prependEmptyVnet(vnetLength, outgoing);
        if (send(outgoing) < 0) {
          error = errno;
          batch.segmentsDone = static_cast<int32_t>(i);
          return false;
        }
      }
      batch.segmentsDone = 0;
      return true;
    }
  }
  // A packet that is not cut leaves with its checksum complete, also where the NIC would take it without: summing a packet costs
  // less than telling who relies on it (taps, forwarding, a peer behind another NIC) that it is not to be looked at.
  if (!(whole ? withChecksum(out, outgoing) : withVnetHeader(out, vnetLength, outgoing))) return false;
  if (whole && vnetLength > 0) prependEmptyVnet(vnetLength, outgoing);
  if (send(outgoing) >= 0) return true;
  error = errno;
  return false;
}

ssize_t LinuxTun::send(Outgoing& packet) {
  ssize_t n;
  if (!socket) {
    do n = ::writev(fd, packet.vectors, static_cast<int>(packet.count));
    while (n < 0 && errno == EINTR);
    return n;
  }
  msghdr message{};
  message.msg_iov = packet.vectors;
  message.msg_iovlen = packet.count;
  do n = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n;
}

}  // namespace tun
