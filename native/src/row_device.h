// Owns: the way of a batch's rows to a device, the same on every platform: rows checked, checksums completed, super-segments cut where
// the NIC does not do it; and how a read begins and ends. A platform says how one packet comes and leaves, and what its errors mean.

#pragma once

#include "segment.h"
#include "tun.h"

namespace tun {

/** Beside errnos, which are positive: the row contradicts itself. */
constexpr int INVALID_ROW = -1;

class RowDevice : public Tun {
 public:
  size_t write(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t first, size_t count) override;

 protected:
  /** One whole packet: 0, or an errno (of the platform's own numbering: see errnoOf). */
  virtual int send(Outgoing& packet) = 0;
  /** What an errno of send() means; OK: that row alone was refused. */
  virtual int32_t writeStatus(int error) const = 0;
  /** A number of send() as libuv's errno, positive. */
  virtual int errnoOf(int error) const { return error; }
  /** Puts before a packet what the device wants there; a super-segment with a vnet header is not asked about. */
  virtual void frame(Outgoing&) const {}

  /** False: the device has ended, or is closed, and the batch says so. */
  bool beginRead(Batch& batch, size_t used);
  /** What of the slab is used now; and a status that is an end stays. */
  void endRead(Batch& batch, size_t used);

  /** Bytes of the vnet header of each packet, 0 without. */
  size_t vnetLength = 0;

 private:
  bool gatherRow(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t row);
  int writeRow(Batch& batch, bool resumed);
  int writeSegments(Batch& batch, bool resumed, size_t headerLength, size_t segments);

  int32_t endStatus = OK;
  int endError = 0;

  // One row at a time; kept here because they are too large for the stack of a small worker.
  iovec parts[MAX_PIECES + 1];
  OutRow out{};
  Outgoing outgoing{};
};

/** `length` bytes at `bytes` go before a packet. Room is there: see Outgoing. */
void prepend(Outgoing& packet, const uint8_t* bytes, size_t length);

/** Behind `from`, and such that headers begin where NICs put them and checksums are fast: 16-aligned. */
size_t alignedStart(const uint8_t* slab, size_t from);

/** A received packet's row, with nothing said about offload and checksum. */
void beginRow(Batch& batch, size_t row, size_t start, size_t length);

}  // namespace tun
