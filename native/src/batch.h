// Owns: the C++ view of a PacketBatch table (packages/stack/src/memory/packet-batch.ts): header words, then one column
// per field. Every number here must agree with that file.

#pragma once

#include <cstddef>
#include <cstdint>

namespace tun {

enum Status : int32_t { OK = 0, BLOCKED = 1, DOWN = 2, GONE = 3, END_OF_FILE = 4, FAILED = 5 };

enum RowFlag : int32_t { CSUM_PARTIAL = 1, CSUM_GOOD = 2, CSUM_BAD = 4, ROW_INVALID = 8 };

enum GsoType : int32_t { GSO_NONE = 0, GSO_TCP4 = 1, GSO_TCP6 = 2, GSO_UDP = 3 };

/** The largest IPv6 packet without a jumbogram option: 40 + 65,535. */
constexpr size_t MAX_PACKET = 65575;

/** A read is only begun with this much room in the slab: the largest packet, the largest vnet header (64) and alignment. */
constexpr size_t READ_ROOM = MAX_PACKET + 64 + 15;

class Batch {
 public:
  static constexpr size_t HEADER_WORDS = 8;
  static constexpr size_t ROW_COLUMNS = 9;

  Batch(int32_t* words, size_t capacity, size_t pieceCapacity)
      : status(words[0]),
        error(words[1]),
        used(words[2]),
        refused(words[3]),
        segmentsDone(words[4]),
        rows(words + HEADER_WORDS),
        capacity(capacity),
        pieceCapacity(pieceCapacity) {}

  static size_t wordsNeeded(size_t capacity, size_t pieceCapacity) {
    return HEADER_WORDS + ROW_COLUMNS * capacity + 2 * pieceCapacity;
  }

  int32_t& status;
  /** errno of FAILED, positive. */
  int32_t& error;
  /** After a read: bytes of the slab in use. */
  int32_t& used;
  /** After a write: rows of this call that the NIC would not take. */
  int32_t& refused;
  /** After a write that ended BLOCKED: segments of the first unwritten row which are out already. */
  int32_t& segmentsDone;

  int32_t& start(size_t row) { return rows[row]; }
  int32_t& length(size_t row) { return rows[capacity + row]; }
  int32_t& gsoType(size_t row) { return rows[2 * capacity + row]; }
  int32_t& gsoSize(size_t row) { return rows[3 * capacity + row]; }
  int32_t& csumStart(size_t row) { return rows[4 * capacity + row]; }
  int32_t& csumOffset(size_t row) { return rows[5 * capacity + row]; }
  int32_t& flags(size_t row) { return rows[6 * capacity + row]; }
  int32_t& pieceAt(size_t row) { return rows[7 * capacity + row]; }
  int32_t& pieceCount(size_t row) { return rows[8 * capacity + row]; }
  int32_t& pieceStart(size_t piece) { return rows[9 * capacity + piece]; }
  int32_t& pieceLength(size_t piece) { return rows[9 * capacity + pieceCapacity + piece]; }

 private:
  int32_t* rows;

 public:
  const size_t capacity;
  const size_t pieceCapacity;
};

}  // namespace tun
