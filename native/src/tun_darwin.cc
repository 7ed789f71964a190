// Owns: the data path of macOS: packets into the caller's slab, rows out of it, and which errno means what. One system call a packet:
// recvmsg_x and sendmsg_x, which take many, are private to Apple. POSIX only, so that native/test/utun.test.ts can run it on Linux.
// Read first: ctl_send and ctl_rcvd of bsd/kern/kern_control.c in XNU, unix(4).

#include "tun_darwin.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tun {

size_t DarwinTun::read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) {
  if (!beginRead(batch, used)) return count;
  const size_t before = headerLength();
  while (count < batch.capacity && slabLength - used >= READ_ROOM) {
    const size_t start = alignedStart(slab, used + before);
    const size_t room = slabLength - start < MAX_PACKET ? slabLength - start : MAX_PACKET;
    iovec vector = {slab + start - before, before + room};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    ssize_t n;
    do n = ::recvmsg(fd, &message, MSG_DONTWAIT);  // no control buffer: descriptors sent along are closed by the kernel
    while (n < 0 && errno == EINTR);
    if (n < 0) {
      batch.status = readStatus(errno);
      if (batch.status != BLOCKED) batch.error = errno;
      break;
    }
    if (n == 0) {
      // A utun never gives an empty packet. On a socket it may be one; only the poll flags tell it from the end.
      if (!socket) batch.status = GONE;
      else if (otherEndHasGone()) batch.status = END_OF_FILE;
      break;  // OK: there may be more, and a sender of empty datagrams does not keep us here
    }
    const size_t length = static_cast<size_t>(n) < before ? 0 : static_cast<size_t>(n) - before;
    beginRow(batch, count, start, length);
    const bool valid = !(message.msg_flags & MSG_TRUNC) && (socket || utunHeaderFits(slab + start - before, slab + start, length));
    batch.flags(count) = valid ? verifyChecksum(slab + start, length) : int32_t{ROW_INVALID};
    used = start + length;
    count++;
  }
  endRead(batch, used);
  return count;
}

bool DarwinTun::otherEndHasGone() const {
  pollfd state = {fd, POLLIN, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & POLLHUP);
}

int32_t DarwinTun::readStatus(int error) const {
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
      return BLOCKED;
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
    case EPIPE:
      return socket ? END_OF_FILE : GONE;  // the control was disconnected: the NIC was destroyed
    case EBADF:
    case ENXIO:
    case ENODEV:
      return GONE;
    default:
      return FAILED;
  }
}

// OK here: the row alone was refused. ENOBUFS is a full queue, but kqueue calls such a socket writable all the time, so waiting for it
// would spin: the row is lost, as on a full link. So is one that meets a NIC which is down, of whose return nothing tells.
int32_t DarwinTun::writeStatus(int error) const {
  switch (error) {
    case EAGAIN:
      return BLOCKED;
    case ENOBUFS:
    case ENOMEM:
    case EINVAL:
    case EMSGSIZE:
    case EAFNOSUPPORT:
    case ENETDOWN:
    case ENOSPC:  // of a utun with a ring (UTUN_OPT_ENABLE_NETIF), inherited: the ring is full
      return OK;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return socket ? END_OF_FILE : GONE;
    case EBADF:
    case ENXIO:
    case ENODEV:
      return GONE;
    default:
      return FAILED;
  }
}

void DarwinTun::frame(Outgoing& packet) const {
  if (!socket) prepend(packet, utunHeader(*static_cast<const uint8_t*>(packet.vectors[0].iov_base)), UTUN_HEADER);
}

int DarwinTun::send(Outgoing& packet) {
  msghdr message{};
  message.msg_iov = packet.vectors;
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(packet.count);
  ssize_t n;
  do n = ::sendmsg(fd, &message, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

}  // namespace tun
