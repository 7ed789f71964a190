// Owns: what Windows has not: descriptors that go from one process to another, and socket devices.

#include <cerrno>

#include "descriptors.h"
#include "tun.h"

namespace tun {

namespace {

bool unsupported(Failure& failure, const char* syscall) {
  failure = {ENOSYS, syscall, "unsupported-platform"};
  return false;
}

}  // namespace

bool makeSocketPair(const std::string&, int[2], Failure& failure) { return unsupported(failure, "socketpair"); }

bool sendDescriptor(int, int, Failure& failure) { return unsupported(failure, "sendmsg"); }

int receiveDescriptor(int, int, Failure& failure) { return unsupported(failure, "recvmsg") ? 0 : -1; }

int64_t sendNow(int, const uint8_t*, size_t, Failure& failure) { return unsupported(failure, "send") ? 0 : -1; }

}  // namespace tun
