// Owns: the data path of Windows: packets copied out of Wintun's ring into the caller's slab, rows copied into the other. Nothing of
// Windows is called here but by the ring; native/test/wintun.test.ts runs it on Linux.

#include "tun_windows.h"

#include <cerrno>
#include <cstring>

#include "uv_poll.h"

namespace tun {

/** WINTUN_MAX_IP_PACKET_SIZE */
constexpr size_t LONGEST = 0xffff;

size_t WindowsTun::read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) {
  if (!beginRead(batch, used)) return count;
  packets->drained = false;
  while (count < batch.capacity && slabLength - used >= READ_ROOM) {
    uint32_t length = 0, error = 0;
    const uint8_t* packet = packets->receive(length, error);
    if (packet == nullptr) {
      packets->drained = error == WIN_NO_MORE_ITEMS;
      batch.status = packets->drained ? BLOCKED : error == WIN_HANDLE_EOF ? GONE : FAILED;
      if (!packets->drained) batch.error = errnoOf(static_cast<int>(error));
      break;
    }
    const size_t start = alignedStart(slab, used);
    const bool whole = length <= LONGEST;
    const size_t copied = whole ? length : 0;
    std::memcpy(slab + start, packet, copied);
    packets->release(packet);
    beginRow(batch, count, start, copied);
    batch.flags(count) = whole ? verifyChecksum(slab + start, copied) : int32_t{ROW_INVALID};
    used = start + copied;
    count++;
  }
  endRead(batch, used);
  return count;
}

int WindowsTun::send(Outgoing& packet) {
  size_t length = 0;
  for (size_t i = 0; i < packet.count; i++) length += packet.vectors[i].iov_len;
  if (length > LONGEST) return WIN_INVALID_PARAMETER;
  uint32_t error = 0;
  uint8_t* at = packets->allocate(static_cast<uint32_t>(length), error);
  if (at == nullptr) return static_cast<int>(error);
  uint8_t* to = at;
  for (size_t i = 0; i < packet.count; i++) {
    std::memcpy(to, packet.vectors[i].iov_base, packet.vectors[i].iov_len);
    to += packet.vectors[i].iov_len;
  }
  packets->send(at);
  return 0;
}

// OK here: the row alone was refused.
int32_t WindowsTun::writeStatus(int error) const {
  switch (static_cast<uint32_t>(error)) {
    case WIN_BUFFER_OVERFLOW:
      return BLOCKED;
    case WIN_HANDLE_EOF:
      return GONE;
    case WIN_INVALID_PARAMETER:
      return OK;
    default:
      return FAILED;
  }
}

int WindowsTun::errnoOf(int error) const { return -uv_translate_sys_error(error); }

}  // namespace tun
