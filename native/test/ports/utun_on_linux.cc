// Owns: what open_darwin.cc gives the data path of macOS, for a Linux where utun.test.ts runs that data path: a descriptor opened by the
// name "utun:N" is the user's end of a utun, one opened as fd:// a socket device. No ioctl: MTU and state are made up.

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/tun_darwin.h"

namespace tun {

std::unique_ptr<Tun> Tun::open(const OpenRequest& request, Failure& failure) {
  auto tun = std::make_unique<DarwinTun>();
  const bool opened = request.name.empty() ? tun->openDescriptor(request, failure) : tun->openNext(request, failure);
  if (!opened) return nullptr;
  return tun;
}

bool DarwinTun::openNext(const OpenRequest& request, Failure&) {
  name = "utun9";
  fd = std::stoi(request.name.substr(5));
  return true;
}

bool DarwinTun::openDescriptor(const OpenRequest& request, Failure&) {
  socket = true;
  fd = request.fd;
  return true;
}

int DarwinTun::mtu() { return 1500; }
bool DarwinTun::isUp() { return fd >= 0; }

}  // namespace tun
