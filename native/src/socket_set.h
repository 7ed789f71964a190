// Owns: the sockets of a thread behind one epoll descriptor, numbered by slots: one wake-up of the event loop tells of all that are ready.
// What TcpSockets and UdpSockets stand on. Read epoll(7).

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tun.h"

namespace tun {

/** A slot is a socket's number, and -EBADF is what any other one gets. */
class SocketSet {
 public:
  static constexpr int EVENT_WORDS = 2;

  /** Fills pairs of slot and events, and answers how many, or a negative errno; it never waits. */
  int wait(int32_t* events, size_t capacity);
  int address(size_t slot, bool peer, std::string& text, int& port) const;
  /** All of them. */
  void close();

  int epoll = -1;

 protected:
  /** `meaning`: what events of epoll are called to JavaScript. */
  explicit SocketSet(int32_t (*meaning)(uint32_t bits)) : meaning(meaning) {}
  ~SocketSet() { close(); }

  bool begin(Failure& failure);
  int descriptor(size_t slot) const { return slot < entries.size() ? entries[slot].fd : -1; }
  /** Answers the slot, or -1: `fd` is closed then. */
  int add(int fd, uint32_t events, Failure& failure);
  /** 0, or a negative errno. */
  int listen(size_t slot, uint32_t events);
  /** The slot may be given to another socket once no answer of wait() names it. */
  int remove(size_t slot);

 private:
  struct Entry {
    int fd;
    /** The answer of wait() that named it last. */
    uint32_t answer;
  };

  int32_t (*meaning)(uint32_t bits);
  std::vector<Entry> entries;
  std::vector<uint32_t> unused;
  /** Closed, but the last answer of wait() names them: theirs must not be taken for another one's. */
  std::vector<uint32_t> retired;
  uint32_t answers = 0;
};

}  // namespace tun
