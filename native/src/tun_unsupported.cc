// Owns: the addon on systems without a driver here: it loads, and open() says so.

#include <cerrno>

#include "descriptors.h"
#include "packet.h"
#include "signals.h"
#include "tun.h"

namespace tun {

std::unique_ptr<Tun> Tun::open(const OpenRequest&, Failure& failure) {
  failure = {ENOSYS, "open", "unsupported-platform"};
  return nullptr;
}

bool makeSocketPair(const std::string&, int[2], Failure& failure) {
  failure = {ENOSYS, "socketpair", "unsupported-platform"};
  return false;
}

bool sendDescriptor(int, int, Failure& failure) {
  failure = {ENOSYS, "sendmsg", "unsupported-platform"};
  return false;
}

int receiveDescriptor(int, int, Failure& failure) {
  failure = {ENOSYS, "recvmsg", "unsupported-platform"};
  return -1;
}

int openPacketSocket(const std::string&, Failure& failure) {
  failure = {ENOSYS, "socket", "unsupported-platform"};
  return -1;
}

bool packetDrops(int, unsigned&, Failure& failure) {
  failure = {ENOSYS, "getsockopt", "unsupported-platform"};
  return false;
}

bool countSenders(int, Failure& failure) {
  failure = {ENOSYS, "sigaction", "unsupported-platform"};
  return false;
}

Senders takeSenders(int) { return {0, 0}; }

}  // namespace tun
