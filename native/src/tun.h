// Owns: what a platform gives the N-API glue. One Tun is one descriptor; no global state, so any number of
// environments (workers) may load the addon.

#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "batch.h"

namespace tun {

enum class Ownership { TAKE, BORROW, DUP };

/** An address of the NIC, in network order, and the length of its prefix. */
struct NicAddress {
  bool v6 = false;
  uint8_t bytes[16] = {};
  int prefix = 0;
};

struct OpenRequest {
  /** Open by name; if empty, `fd`. */
  std::string name;
  int fd = -1;
  Ownership ownership = Ownership::TAKE;
  bool offload = true;
  /** 0: leave it. */
  int mtu = 0;
  bool up = false;
  /** Given to a NIC that was opened by name. Not on Linux. */
  std::vector<NicAddress> addresses;
  /** Windows: the adapter's GUID, 16 bytes in network order, so that the system knows it again; or empty. */
  std::vector<uint8_t> guid;
};

/** Why a call failed: errno, the system call, and what the descriptor or NIC is if that is the reason. Windows: its own number as well. */
struct Failure {
  int error = 0;
  const char* syscall = "";
  const char* detail = "";
  unsigned win32 = 0;
};

/**
 * Packets that a NIC of ours may hold for us, where Linux gives 500: four uploads fill those, and then whatever else begins is lost with
 * them. What it holds is bounded by its senders' windows and socket buffers, not by this.
 */
constexpr int TRANSMIT_QUEUE = 4096;

/** With the errno of the call that has just failed; always false. */
inline bool fail(Failure& failure, const char* syscall, const char* detail = "") {
  failure = {errno, syscall, detail};
  return false;
}

struct Span {
  const uint8_t* bytes;
  size_t length;
};

class PacketRing;

/** Offloads in force; TX ones are cut natively where missing. */
struct Offload {
  bool vnet = false;
  bool udp = false;
  /** What TUNSETOFFLOAD was given at last. */
  unsigned set = 0;
};

class Tun {
 public:
  virtual ~Tun() = default;

  static std::unique_ptr<Tun> open(const OpenRequest& request, Failure& failure);

  /** Rows from `count` on; answers the new number of rows. */
  virtual size_t read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) = 0;
  /** Rows [first, count) whose headers lie in `headers`; answers how many are done. */
  virtual size_t write(Span headers, const std::vector<Span>& pieces, Batch& batch, size_t first, size_t count) = 0;
  virtual void close() = 0;

  virtual bool isOpen() const = 0;
  /** -1 where there is none: then there is a ring. */
  virtual int descriptor() const = 0;
  virtual PacketRing* ring() { return nullptr; }
  virtual int mtu() = 0;
  virtual bool isUp() = 0;

  std::string name;
  /** The NIC's number, 0 if it cannot be told. */
  int index = 0;
  bool socket = false;
  bool created = false;
  bool persistent = false;
  bool mtuDenied = false;
  Offload offload;
  /** Somebody else has it now: closing leaves its state alone. */
  bool handedOver = false;
  /** The last read or write ended with GONE, EOF or FAILED: polling would only spin. */
  bool ended = false;
};

/** Both ends of a socket device (tests, sandboxes): `type` is "dgram", "seqpacket" or "stream". */
bool makeSocketPair(const std::string& type, int ends[2], Failure& failure);

}  // namespace tun
