// Owns: the data path: packets into the caller's slab, rows out of it, and which errno means what.
// Read first: tun_get_user and tun_do_read in drivers/net/tun.c, unix(7).

#include "tun_linux.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tun {

size_t LinuxTun::read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) {
  if (!beginRead(batch, used)) return count;
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
    beginRow(batch, count, start, length);
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
  endRead(batch, used);
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
int32_t LinuxTun::writeStatus(int error) const {
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

/** A header that says nothing: no offload, checksum complete. */
void LinuxTun::frame(Outgoing& packet) const {
  static const uint8_t empty[VNET_HEADER_MAX] = {};
  if (vnetLength > 0) prepend(packet, empty, vnetLength);
}

int LinuxTun::send(Outgoing& packet) {
  ssize_t n;
  if (!socket) {
    do n = ::writev(fd, packet.vectors, static_cast<int>(packet.count));
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
  }
  msghdr message{};
  message.msg_iov = packet.vectors;
  message.msg_iovlen = packet.count;
  do n = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

}  // namespace tun
