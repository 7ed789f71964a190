// Owns: opening, describing, configuring and closing a utun: a kernel control socket whose interface lives as long as it does, so there
// is nothing to attach to and nothing that stays. Root only. Read first: net/if_utun.h and sys/kern_control.h; bsd/net/if_utun.c and
// in6_update_ifa in bsd/netinet6/in6.c of XNU; netintro(4).

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_utun.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/kern_control.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#if __has_include(<sys/sys_domain.h>)
#include <sys/sys_domain.h>
#endif

#include "tun_darwin.h"

// sys/sys_domain.h is not among the headers of every toolchain.
#ifndef SYSPROTO_CONTROL
#define SYSPROTO_CONTROL 2
#endif
#ifndef AF_SYS_CONTROL
#define AF_SYS_CONTROL 2
#endif
#ifndef UTUN_OPT_MAX_PENDING_PACKETS
#define UTUN_OPT_MAX_PENDING_PACKETS 16
#endif

namespace tun {

static_assert(AF_INET == DARWIN_INET && AF_INET6 == DARWIN_INET6, "utun.h numbers the families as the kernel does");

namespace {

/** Of a control socket's queue at most; it has 512 KiB by itself, and kern.ipc.maxsockbuf bounds it. */
constexpr int MAX_ROOM = 4 << 20;
/** Of a socket device's queues, where net.local.dgram gives 4 KiB to receive and 2 KiB to send: one or two packets, none of them long. */
constexpr int SOCKET_ROOM = 1 << 20;

/** struct in6_aliasreq of netinet6/in6_var.h, which is not in the SDK's public part. */
struct AliasRequest6 {
  char name[IFNAMSIZ];
  sockaddr_in6 address;
  sockaddr_in6 destination;
  sockaddr_in6 mask;
  int flags;
  struct {
    int64_t expires;
    int64_t preferred;
    uint32_t validFor;
    uint32_t preferredFor;
  } lifetime;
};
static_assert(sizeof(AliasRequest6) == 128, "struct in6_aliasreq has 128 bytes");
constexpr unsigned long ADD_ADDRESS6 = _IOW('i', 26, AliasRequest6);  // SIOCAIFADDR_IN6
static_assert(ADD_ADDRESS6 == 0x8080691a, "SIOCAIFADDR_IN6");
constexpr int IN6_NODAD = 0x0020, IN6_SECURED = 0x0400;
constexpr uint32_t FOR_EVER = 0xffffffff;

bool nameOfUtun(int fd, std::string& name) {
  char text[IFNAMSIZ] = {};
  socklen_t length = sizeof text;
  if (getsockopt(fd, SYSPROTO_CONTROL, UTUN_OPT_IFNAME, text, &length) < 0) return false;
  text[IFNAMSIZ - 1] = 0;
  name = text;
  return name.compare(0, 4, "utun") == 0;  // the control of IPsec has this option, too, and packets of another form
}

/** SO_RCVBUF or SO_SNDBUF, half as much where that is too much; what there is in the end. */
int makeRoom(int fd, int option, int wanted) {
  int room = 0;
  socklen_t length = sizeof room;
  getsockopt(fd, SOL_SOCKET, option, &room, &length);
  for (; wanted > room; wanted /= 2) {
    if (setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof wanted) == 0) break;
  }
  length = sizeof room;
  return getsockopt(fd, SOL_SOCKET, option, &room, &length) == 0 ? room : 0;
}

void setMask(uint8_t* bytes, int prefix) {
  for (int bit = 0; bit < prefix; bit++) bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] | 0x80 >> bit % 8);
}

}  // namespace

std::unique_ptr<Tun> Tun::open(const OpenRequest& request, Failure& failure) {
  auto tun = std::make_unique<DarwinTun>();
  const bool opened = request.name.empty() ? tun->openDescriptor(request, failure) : tun->openNext(request, failure);
  if (!opened) return nullptr;
  return tun;
}

bool DarwinTun::openNext(const OpenRequest& request, Failure& failure) {
  errno = EINVAL;
  if (request.name != "utun") return fail(failure, "connect", "numbered");
  fd = ::socket(PF_SYSTEM, SOCK_DGRAM, SYSPROTO_CONTROL);
  if (fd < 0) return fail(failure, "socket");
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  ctl_info info{};
  static_assert(sizeof UTUN_CONTROL_NAME <= sizeof info.ctl_name, "the control's name fits");
  memcpy(info.ctl_name, UTUN_CONTROL_NAME, sizeof UTUN_CONTROL_NAME);
  if (ioctl(fd, CTLIOCGINFO, &info) < 0) return fail(failure, "CTLIOCGINFO");
  sockaddr_ctl address{};
  address.sc_len = sizeof address;
  address.sc_family = AF_SYSTEM;
  address.ss_sysaddr = AF_SYS_CONTROL;
  address.sc_id = info.ctl_id;
  address.sc_unit = 0;  // the next free number; N + 1 would be utunN
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return fail(failure, "connect");
  if (!nameOfUtun(fd, name)) return fail(failure, "UTUN_OPT_IFNAME");
  created = true;
  return prepare(request, failure) && configure(request, failure);
}

bool DarwinTun::openDescriptor(const OpenRequest& request, Failure& failure) {
  struct stat status;
  if (fstat(request.fd, &status) < 0) return fail(failure, "fstat");
  lend(request.fd);
  if (!S_ISSOCK(status.st_mode)) {
    errno = ENOTSOCK;
    return fail(failure, "getsockopt", kindOfFile(status.st_mode));
  }
  if (!nameOfUtun(fd, name) && !openSocket(failure)) return false;
  if (!duplicate(request, failure) || !prepare(request, failure) || !configure(request, failure)) return false;
  keep(request);
  return true;
}

/** One IP packet a datagram. */
bool DarwinTun::openSocket(Failure& failure) {
  int family = 0, type = 0;
  if (!describeSocket(fd, family, type, failure) || !requirePacketSocket(fd, family, type, failure)) return false;
  socket = true;
  name = "fd" + std::to_string(fd);
  return true;
}

bool DarwinTun::prepare(const OpenRequest& request, Failure& failure) {
  if (!makeNonBlocking(failure)) return false;
  configuredMtu = request.mtu > 0 ? request.mtu : DEFAULT_MTU;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
  if (socket) {
    makeRoom(fd, SO_RCVBUF, SOCKET_ROOM);
    makeRoom(fd, SO_SNDBUF, SOCKET_ROOM);
    return true;
  }
  control = ::socket(AF_INET, SOCK_DGRAM, 0);
  if (control < 0) return fail(failure, "socket");
  fcntl(control, F_SETFD, FD_CLOEXEC);
  return true;
}

bool DarwinTun::configure(const OpenRequest& request, Failure& failure) {
  if (socket) return true;
  if (request.mtu > 0 && request.mtu != mtu()) {
    ifreq change{};
    copyName(change.ifr_name, name);
    change.ifr_mtu = request.mtu;
    if (ioctl(control, SIOCSIFMTU, &change) < 0) {
      // Somebody else's NIC is configured by somebody else.
      if (created || errno != EPERM) return fail(failure, "SIOCSIFMTU");
      mtuDenied = true;
    }
  }
  // One packet a wake-up without this. Each has a header of its own.
  const int64_t bytes = static_cast<int64_t>(UTUN_WAITING) * (mtu() + static_cast<int>(UTUN_HEADER));
  const uint32_t pending = static_cast<uint32_t>(
      utunPending(makeRoom(fd, SO_RCVBUF, bytes < MAX_ROOM ? static_cast<int>(bytes) : MAX_ROOM), mtu()));
  setsockopt(fd, SYSPROTO_CONTROL, UTUN_OPT_MAX_PENDING_PACKETS, &pending, sizeof pending);
  for (const NicAddress& address : request.addresses) {
    if (!addAddress(address, failure)) return false;
  }
  if (request.up && !isUp()) {
    ifreq change{};
    copyName(change.ifr_name, name);
    if (ioctl(control, SIOCGIFFLAGS, &change) < 0) return fail(failure, "SIOCGIFFLAGS");
    change.ifr_flags = static_cast<short>(change.ifr_flags | IFF_UP);
    if (ioctl(control, SIOCSIFFLAGS, &change) < 0 && created) return fail(failure, "SIOCSIFFLAGS");
  }
  return true;
}

bool DarwinTun::addAddress(const NicAddress& address, Failure& failure) {
  if (!address.v6) {
    sockaddr_in own{};
    own.sin_len = sizeof own;
    own.sin_family = AF_INET;
    memcpy(&own.sin_addr, address.bytes, 4);
    sockaddr_in mask = own;
    memset(&mask.sin_addr, 0, 4);
    setMask(reinterpret_cast<uint8_t*>(&mask.sin_addr), address.prefix);
    // Point to point: the far end may be ourselves, and then nothing but routes leads anybody in.
    ifaliasreq request{};
    copyName(request.ifra_name, name);
    memcpy(&request.ifra_addr, &own, sizeof own);
    memcpy(&request.ifra_broadaddr, &own, sizeof own);
    memcpy(&request.ifra_mask, &mask, sizeof mask);
    return ioctl(control, SIOCAIFADDR, &request) == 0 || fail(failure, "SIOCAIFADDR");
  }
  AliasRequest6 request{};
  copyName(request.name, name);
  request.address.sin6_len = sizeof request.address;
  request.address.sin6_family = AF_INET6;
  memcpy(&request.address.sin6_addr, address.bytes, 16);
  request.mask.sin6_len = sizeof request.mask;
  request.mask.sin6_family = AF_INET6;
  setMask(reinterpret_cast<uint8_t*>(&request.mask.sin6_addr), address.prefix);
  request.flags = IN6_NODAD | IN6_SECURED;  // nobody else is on this link, and it is usable at once
  request.lifetime.validFor = FOR_EVER;
  request.lifetime.preferredFor = FOR_EVER;
  const int probe = ::socket(AF_INET6, SOCK_DGRAM, 0);
  if (probe < 0) return fail(failure, "socket");
  const bool added = ioctl(probe, ADD_ADDRESS6, &request) == 0 || fail(failure, "SIOCAIFADDR_IN6");
  ::close(probe);
  return added;
}

int DarwinTun::mtu() {
  ifreq request{};
  copyName(request.ifr_name, name);
  if (socket || control < 0 || ioctl(control, SIOCGIFMTU, &request) < 0) return configuredMtu;
  return request.ifr_mtu;
}

bool DarwinTun::isUp() {
  if (fd < 0) return false;
  if (socket || control < 0) return true;
  ifreq request{};
  copyName(request.ifr_name, name);
  return ioctl(control, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

}  // namespace tun
