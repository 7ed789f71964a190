// Owns: the addon on systems without a driver here: it loads, and open() says so.

#include <cerrno>

#include "descriptors.h"
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

}  // namespace tun
