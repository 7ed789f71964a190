// Owns: what opening is alike on Linux and macOS: whose a descriptor is, O_NONBLOCK, what it is if it is no TUN, names in requests to the
// kernel. fcntl(2), unix(7) or unix(4), netdevice(7) or netintro(4).

#pragma once

#include <net/if.h>
#include <sys/types.h>

#include <string>

#include "row_device.h"

namespace tun {

/** For a socket device, or a NIC that does not tell. */
constexpr int DEFAULT_MTU = 1500;

/** A name in an ifreq and its like; what is too long is cut. */
void copyName(char (&to)[IFNAMSIZ], const std::string& name);

/** In the words of errors: "file", "pipe", "directory", "other-device". */
const char* kindOfFile(mode_t mode);

/** Family and type of a socket; false and `failure` if it has none, or is none. */
bool describeSocket(int fd, int& family, int& type, Failure& failure);

/** A connected AF_UNIX socket that keeps packets apart, or `failure`. (macOS has SOCK_SEQPACKET, but none of AF_UNIX.) */
bool requirePacketSocket(int fd, int family, int type, Failure& failure);

class DescriptorDevice : public RowDevice {
 public:
  bool isOpen() const override { return fd >= 0; }
  int descriptor() const override { return fd; }

 protected:
  /** The caller's until keep(): a failed open leaves it alone. */
  void lend(int theirs);
  /** Ownership::DUP: a copy from here on, which is ours. */
  bool duplicate(const OpenRequest& request, Failure& failure);
  /** Ownership::TAKE: all went well, and it is ours. */
  void keep(const OpenRequest& request);
  /** O_NONBLOCK. closeDescriptors() undoes it on what was lent: it is shared with whoever has the descriptor or a copy of it. */
  bool makeNonBlocking(Failure& failure);
  /** What is ours. */
  void closeDescriptors();

  int fd = -1;
  /** A socket for requests about the NIC (SIOCGIFMTU and the like), in its namespace; -1 if there is none to be had. */
  int control = -1;
  int configuredMtu = 0;

 private:
  bool lent = false;
  bool closesDescriptor = true;
  bool restoresBlocking = false;
};

}  // namespace tun
