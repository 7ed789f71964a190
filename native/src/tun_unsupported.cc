// Owns: the addon on systems without a driver here: it loads, and open() says so.

#include <cerrno>

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

}  // namespace tun
