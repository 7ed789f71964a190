// Owns: opening, describing, configuring and closing. Order of calls: open, TUNSETIFF, O_NONBLOCK, only then poll
// (polling before TUNSETIFF reports EPOLLERR). Header size and offloads are state of the NIC that outlives us.
// Read first: __tun_chr_ioctl and tun_set_iff in drivers/net/tun.c, netdevice(7).

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <system_error>
#include <thread>

#include "netlink.h"
#include "tun_linux.h"

#ifndef TUNGETDEVNETNS  // Linux 5.2
#define TUNGETDEVNETNS _IO('T', 227)
#endif

namespace tun {

namespace {

// Linux 6.2; older headers lack them.
constexpr unsigned USO4 = 0x20, USO6 = 0x40;
constexpr unsigned OFFLOADS[] = {TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | USO4 | USO6, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, TUN_F_CSUM, 0};

/** What a NIC of this name is: "" none, "tun", "tap" or "other". */
const char* kindOfNic(const std::string& name) {
  const int probe = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return "";
  ifreq request{};
  copyName(request.ifr_name, name);
  const char* kind = "";
  if (ioctl(probe, SIOCGIFFLAGS, &request) == 0) {
    kind = "other";
    ethtool_drvinfo driver{};
    driver.cmd = ETHTOOL_GDRVINFO;
    request.ifr_data = reinterpret_cast<char*>(&driver);
    if (ioctl(probe, SIOCETHTOOL, &request) == 0 && strcmp(driver.driver, "tun") == 0) {
      kind = strcmp(driver.bus_info, "tap") == 0 ? "tap" : "tun";
    }
  }
  ::close(probe);
  return kind;
}

/** A socket in the network namespace `ns`, made by a thread which goes there and ends. */
int socketIn(int ns, int domain, int type, int protocol) {
  int made = -1;
  int error = EAGAIN;
  try {
    std::thread visitor([&] {
      if (setns(ns, CLONE_NEWNET) == 0) made = ::socket(domain, type, protocol);
      error = errno;
    });
    visitor.join();
  } catch (const std::system_error&) {
    // EAGAIN: no thread to be had. N-API would end the process with it; without the socket, MTU and up-state are not known.
  }
  errno = error;
  return made;
}

}  // namespace

// An inherited TUN may live in another network namespace, where its name means another NIC or none.
int socketOfNic(int nic, int domain, int type, int protocol) {
  const int theirs = ioctl(nic, TUNGETDEVNETNS);
  if (theirs < 0) return ::socket(domain, type, protocol);
  struct stat here, there;
  const bool same = stat("/proc/thread-self/ns/net", &here) == 0 && fstat(theirs, &there) == 0 && here.st_ino == there.st_ino;
  const int made = same ? ::socket(domain, type, protocol) : socketIn(theirs, domain, type, protocol);
  const int error = errno;
  ::close(theirs);
  errno = error;
  return made;
}

std::unique_ptr<Tun> Tun::open(const OpenRequest& request, Failure& failure) {
  auto tun = std::make_unique<LinuxTun>();
  const bool opened = request.name.empty() ? tun->openDescriptor(request, failure) : tun->openName(request, failure);
  if (!opened) return nullptr;
  return tun;
}

bool LinuxTun::openName(const OpenRequest& request, Failure& failure) {
  if (request.name.size() >= IFNAMSIZ) {
    errno = ENAMETOOLONG;
    return fail(failure, "TUNSETIFF");
  }
  const char* existing = kindOfNic(request.name);
  fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(failure, "open");

  int error = 0;
  bool vnet = request.offload;
  bool attached = attach(request.name, static_cast<short>(IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0)), error);
  if (!attached && vnet && error == EINVAL) {
    vnet = false;
    attached = attach(request.name, IFF_TUN | IFF_NO_PI, error);
  }
  if (!attached) {
    errno = error;
    return fail(failure, "TUNSETIFF", existing);
  }
  created = existing[0] == 0;
  offload.vnet = vnet;

  ifreq flags{};
  persistent = ioctl(fd, TUNGETIFF, &flags) == 0 && (flags.ifr_flags & IFF_PERSIST);
  int size = static_cast<int>(VNET_HEADER);
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 && vnet) return fail(failure, "TUNSETVNETHDRSZ");
  negotiateOffload(vnet);
  vnetLength = vnet ? VNET_HEADER : 0;

  if (!makeNonBlocking(failure)) return false;
  openControl(false);
  return configure(request, failure);
}

bool LinuxTun::attach(const std::string& wanted, short flags, int& error) {
  ifreq request{};
  copyName(request.ifr_name, wanted);
  request.ifr_flags = flags;
  if (ioctl(fd, TUNSETIFF, &request) < 0) {
    error = errno;
    return false;
  }
  name = request.ifr_name;
  return true;
}

void LinuxTun::negotiateOffload(bool wanted) {
  if (!wanted) {
    ioctl(fd, TUNSETOFFLOAD, 0ul);
    return;
  }
  for (const unsigned set : OFFLOADS) {
    if (ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(set)) < 0) continue;
    offload.set = set;
    offload.udp = set & USO4;
    return;
  }
}

bool LinuxTun::openDescriptor(const OpenRequest& request, Failure& failure) {
  struct stat status;
  if (fstat(request.fd, &status) < 0) return fail(failure, "fstat");
  lend(request.fd);
  if (!(S_ISSOCK(status.st_mode) ? openSocket(failure) : describeDescriptor(failure))) {
    if (failure.detail[0] == 0) failure.detail = kindOfFile(status.st_mode);
    return false;
  }
  if (!duplicate(request, failure) || !makeNonBlocking(failure)) return false;
  if (!socket) {
    negotiateOffload(inheritedVnet && request.offload);
    offload.vnet = inheritedVnet;
    openControl(true);
  }
  if (!configure(request, failure)) return false;
  keep(request);
  return true;
}

bool LinuxTun::describeDescriptor(Failure& failure) {
  ifreq request{};
  if (ioctl(fd, TUNGETIFF, &request) < 0) return fail(failure, "TUNGETIFF", errno == EBADFD ? "unattached" : "");
  errno = EINVAL;
  const int flags = static_cast<uint16_t>(request.ifr_flags);
  if (!(flags & IFF_TUN)) return fail(failure, "TUNGETIFF", "tap");
  if (!(flags & IFF_NO_PI)) return fail(failure, "TUNGETIFF", "packet-info");
  name = request.ifr_name;
  persistent = flags & IFF_PERSIST;
  if (flags & IFF_VNET_HDR) {
    int size = 0;
    if (ioctl(fd, TUNGETVNETHDRSZ, &size) < 0) return fail(failure, "TUNGETVNETHDRSZ");
    errno = EINVAL;
    if (size < static_cast<int>(VNET_HEADER) || size > static_cast<int>(VNET_HEADER_MAX)) {
      return fail(failure, "TUNGETVNETHDRSZ", "vnet-header-size");
    }
    inheritedVnet = true;
    vnetLength = static_cast<size_t>(size);
  }
  return true;
}

bool LinuxTun::openSocket(Failure& failure) {
  int family = 0, type = 0;
  if (!describeSocket(fd, family, type, failure)) return false;
  const bool observer = family == AF_PACKET && type == SOCK_DGRAM;  // openPacketSocket(): it is only read from
  if (!observer && !requirePacketSocket(fd, family, type, failure)) return false;
  socket = true;
  name = "fd" + std::to_string(fd);
  return true;
}

void LinuxTun::openControl(bool inherited) {
  const int type = SOCK_DGRAM | SOCK_CLOEXEC;
  control = inherited ? socketOfNic(fd, AF_INET, type, 0) : ::socket(AF_INET, type, 0);
  ifreq request{};
  copyName(request.ifr_name, name);
  if (control >= 0 && ioctl(control, SIOCGIFINDEX, &request) == 0) index = request.ifr_ifindex;
}

bool LinuxTun::configure(const OpenRequest& request, Failure& failure) {
  configuredMtu = request.mtu > 0 ? request.mtu : DEFAULT_MTU;
  if (socket || control < 0) return true;
  if (request.mtu > 0 && request.mtu != mtu()) {
    ifreq change{};
    copyName(change.ifr_name, name);
    change.ifr_mtu = request.mtu;
    if (ioctl(control, SIOCSIFMTU, &change) < 0) {
      // Somebody else's NIC is configured by somebody else.
      if (created || (errno != EPERM && errno != ENODEV)) return fail(failure, "SIOCSIFMTU");
      mtuDenied = true;
    }
  }
  if (created) {
    // Not an error where it is refused: only the bursts that fit are smaller.
    ifreq change{};
    copyName(change.ifr_name, name);
    change.ifr_qlen = TRANSMIT_QUEUE;
    ioctl(control, SIOCSIFTXQLEN, &change);
  }
  if (request.up && !isUp()) {
    ifreq change{};
    copyName(change.ifr_name, name);
    if (ioctl(control, SIOCGIFFLAGS, &change) == 0) {
      change.ifr_flags = static_cast<short>(change.ifr_flags | IFF_UP);
      if (ioctl(control, SIOCSIFFLAGS, &change) < 0 && created) return fail(failure, "SIOCSIFFLAGS");
    }
  }
  return true;
}

bool LinuxTun::ask(unsigned long what, ifreq& request) {
  if (socket || control < 0) return false;
  copyName(request.ifr_name, name);
  if (ioctl(control, what, &request) == 0) return true;
  // It may have been renamed; the descriptor knows its name.
  if (errno != ENODEV || ioctl(fd, TUNGETIFF, &request) < 0 || name == request.ifr_name) return false;
  name = request.ifr_name;
  return ioctl(control, what, &request) == 0;
}

int LinuxTun::mtu() {
  ifreq request{};
  return ask(SIOCGIFMTU, request) ? request.ifr_mtu : configuredMtu;
}

bool LinuxTun::isUp() {
  if (fd < 0) return false;
  if (socket || control < 0) return true;
  ifreq request{};
  return ask(SIOCGIFFLAGS, request) && (request.ifr_flags & IFF_UP);
}

void LinuxTun::close() {
  if (fd < 0) return;
  if (!socket && offload.vnet && !handedOver) {
    // The next user of the NIC, or of a lent descriptor, must not get unfinished checksums it did not ask for.
    ioctl(fd, TUNSETOFFLOAD, 0ul);
    int size = static_cast<int>(VNET_HEADER);
    if (!inheritedVnet) ioctl(fd, TUNSETVNETHDRSZ, &size);
  }
  closeDescriptors();
}

}  // namespace tun
