// Owns: a command in namespaces of its own: user (unless root may do without), network, mount. A child makes them, opens the
// TUN in there (a TUN belongs to the network namespace in which /dev/net/tun was opened), hands it out, waits, and becomes the command.
// Between fork and exec only async-signal-safe calls are made: the parent has threads. namespaces(7), user_namespaces(7), fork(2).

#include "isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>

#include "descriptors.h"

namespace tun {

namespace {

// netdevice(7); <linux/ipv6.h> has it, which does not go together with <netinet/in.h> everywhere.
struct Address6Request {
  in6_addr address;
  uint32_t prefix;
  int index;
};

constexpr int ROUTE6_METRIC = 1024;  // IP6_RT_PRIO_USER
constexpr int VNET_HEADER = 12;      // virtio_net_hdr_v1, as open_linux.cc takes it
constexpr int EXEC_FAILED = 127;     // POSIX, Shell Command Language 2.8.2
constexpr int FIRST_FREE = 3;        // what is below becomes the command's standard input and output
constexpr int UNKNOWN_END = 0xff00;  // exit code 255, as waitpid(2) writes it
constexpr unsigned long TMPFS_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/** What the child says when something failed; `syscall` and `detail` are literals, the same in parent and child. */
struct Report {
  int error;
  const char* syscall;
  const char* detail;
};

[[noreturn]] void giveUp(int channel, const char* syscall, const char* detail) {
  const Report report{errno, syscall, detail};
  // Without a descriptor: that is how the parent tells it from success.
  while (send(channel, &report, sizeof report, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
  _exit(EXEC_FAILED);
}

bool writeFile(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t length = static_cast<ssize_t>(strlen(text));
  const bool done = ::write(fd, text, static_cast<size_t>(length)) == length;
  const int error = errno;
  ::close(fd);
  errno = error;
  return done;
}

/** Of this thread: to make namespaces, and a NIC in them. In doubt it may. capabilities(7) */
bool mayIsolate() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (syscall(SYS_capget, &header, sets) < 0) return true;
  constexpr uint32_t NEEDED = 1u << CAP_NET_ADMIN | 1u << CAP_SYS_ADMIN;
  return (sets[0].effective & NEEDED) == NEEDED;
}

/** Everything that needs memory, made before the fork. */
struct Prepared {
  explicit Prepared(const IsolateRequest& request) : request(request) {
    for (const std::string& word : request.command) argv.push_back(const_cast<char*>(word.c_str()));
    for (const std::string& word : request.env) envp.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    const unsigned uid = geteuid(), gid = getegid();
    root = uid == 0 && mayIsolate();
    snprintf(uidMap, sizeof uidMap, "%u %u 1\n", uid, uid);
    snprintf(gidMap, sizeof gidMap, "%u %u 1\n", gid, gid);
    snprintf(pingGroups, sizeof pingGroups, "%u %u\n", gid, gid);
  }

  const IsolateRequest& request;
  std::vector<char*> argv, envp;
  bool root;
  char uidMap[40], gidMap[40], pingGroups[40];
};

void enterNamespaces(const Prepared& prepared, int channel) {
  // Root needs no user namespace – and in a container without CAP_SYS_ADMIN or CAP_NET_ADMIN is as anybody else.
  if (prepared.root) {
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) == 0) return;
    if (errno != EPERM) giveUp(channel, "unshare", "namespaces");
  }
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0) giveUp(channel, "unshare", "user-namespace");
  // One's own ids stay what they are; that is all an unprivileged process may map. user_namespaces(7)
  writeFile("/proc/self/setgroups", "deny");
  if (!writeFile("/proc/self/gid_map", prepared.gidMap)) giveUp(channel, "write", "user-namespace");
  if (!writeFile("/proc/self/uid_map", prepared.uidMap)) giveUp(channel, "write", "user-namespace");
}

void named(ifreq& request, const char* name) {
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
}

int openTun(const Prepared& prepared, int channel) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) giveUp(channel, "open", "device-node");
  ifreq request;
  named(request, prepared.request.name.c_str());
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) < 0) giveUp(channel, "TUNSETIFF", "tun");
  int size = VNET_HEADER;
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) giveUp(channel, "TUNSETVNETHDRSZ", "tun");
  return fd;
}

bool bringUp(int control, const char* name) {
  ifreq request;
  named(request, name);
  if (ioctl(control, SIOCGIFFLAGS, &request) < 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

void setInet(sockaddr& address, in_addr value) {
  sockaddr_in inet{};
  inet.sin_family = AF_INET;
  inet.sin_addr = value;
  memcpy(&address, &inet, sizeof address);
}

void configure4(const Prepared& prepared, int channel) {
  const IsolateRequest& wanted = prepared.request;
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) giveUp(channel, "socket", "network");
  if (!bringUp(control, "lo")) giveUp(channel, "SIOCSIFFLAGS", "network");
  ifreq request;
  named(request, wanted.name.c_str());
  request.ifr_mtu = wanted.mtu;
  if (ioctl(control, SIOCSIFMTU, &request) < 0) giveUp(channel, "SIOCSIFMTU", "network");
  request.ifr_qlen = TRANSMIT_QUEUE;
  ioctl(control, SIOCSIFTXQLEN, &request);
  setInet(request.ifr_addr, wanted.address4);
  if (ioctl(control, SIOCSIFADDR, &request) < 0) giveUp(channel, "SIOCSIFADDR", "network");
  setInet(request.ifr_netmask, {htonl(wanted.prefix4 == 0 ? 0 : ~0u << (32 - wanted.prefix4))});
  if (ioctl(control, SIOCSIFNETMASK, &request) < 0) giveUp(channel, "SIOCSIFNETMASK", "network");
  if (!bringUp(control, wanted.name.c_str())) giveUp(channel, "SIOCSIFFLAGS", "network");
  rtentry route{};
  setInet(route.rt_dst, {});
  setInet(route.rt_genmask, {});
  route.rt_flags = RTF_UP;
  route.rt_dev = const_cast<char*>(wanted.name.c_str());
  if (ioctl(control, SIOCADDRT, &route) < 0) giveUp(channel, "SIOCADDRT", "network");
  ::close(control);
}

/** A kernel without IPv6 leaves the command with IPv4. */
void configure6(const Prepared& prepared, int channel) {
  const IsolateRequest& wanted = prepared.request;
  writeFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
  const int control = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) return;
  ifreq request;
  named(request, wanted.name.c_str());
  if (ioctl(control, SIOCGIFINDEX, &request) < 0) giveUp(channel, "SIOCGIFINDEX", "network");
  const Address6Request address{wanted.address6, static_cast<uint32_t>(wanted.prefix6), request.ifr_ifindex};
  in6_rtmsg route{};
  route.rtmsg_metric = ROUTE6_METRIC;
  route.rtmsg_flags = RTF_UP;
  route.rtmsg_ifindex = request.ifr_ifindex;
  if (ioctl(control, SIOCSIFADDR, &address) == 0 && ioctl(control, SIOCADDRT, &route) < 0) giveUp(channel, "SIOCADDRT", "network");
  ::close(control);
}

/** How much of `path` is the mask that it lies in; 0: it is in none. */
size_t maskOf(const Prepared& prepared, const std::string& path) {
  for (const std::string& mask : prepared.request.masks) {
    if (path.compare(0, mask.size(), mask) == 0 && path[mask.size()] == '/') return mask.size();
  }
  return 0;
}

/** Makes an empty file, and the directories that lead to it from path[from] on. */
bool makeFile(const char* path, size_t from) {
  char part[PATH_MAX];
  const size_t length = strlen(path);
  if (length >= sizeof part) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(part, path, length + 1);
  for (char* slash = strchr(part + from + 1, '/'); slash != nullptr; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(part, 0755) < 0 && errno != EEXIST) return false;
    *slash = '/';
  }
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  ::close(fd);
  return true;
}

bool bindFile(const char* source, const std::string& target) { return mount(source, target.c_str(), nullptr, MS_BIND, nullptr) == 0; }

void mountTmpfs(const char* where, int channel) {
  if (mount("tmpfs", where, "tmpfs", TMPFS_FLAGS, "mode=0755,size=1m") < 0) giveUp(channel, "mount", "mount");
}

void arrangeFiles(const Prepared& prepared, int channel) {
  // What we mount stays here; what the host mounts later is seen here, too. mount_namespaces(7)
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) giveUp(channel, "mount", "mount");
  const mode_t usersMask = umask(022);  // a command that drops its user must read them, too
  for (const std::string& directory : prepared.request.masks) mountTmpfs(directory.c_str(), channel);
  // The files are made in a tmpfs over a directory that every system has and none of their places is in. So nothing lies on the
  // host, and they keep their names: over a file without one nothing can be mounted (ENOENT), and another tun exec in here may want to.
  static constexpr char STAGE[] = "/dev";
  char source[] = "/dev/a";
  mountTmpfs(STAGE, channel);
  for (const auto& [target, text] : prepared.request.files) {
    if (!makeFile(source, strlen(STAGE)) || !writeFile(source, text.c_str())) giveUp(channel, "write", "mount");
    if (!bindFile(source, target)) {
      // resolv.conf is a link into a masked directory: it is made there, in our tmpfs. Only there: elsewhere it would be the host's.
      const size_t mask = errno == ENOENT ? maskOf(prepared, target) : 0;
      if (mask == 0) giveUp(channel, "mount", "mount");
      if (!makeFile(target.c_str(), mask) || !bindFile(source, target)) giveUp(channel, "mount", "mount");
    }
    source[sizeof source - 2]++;
  }
  if (umount2(STAGE, MNT_DETACH) < 0) giveUp(channel, "umount2", "mount");
  umask(usersMask);
}

void arrangeStdio(const int (&wanted)[3], int channel) {
  int copies[3];
  for (int i = 0; i < 3; i++) {
    const int null = wanted[i] < 0 ? ::open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    // Below, the next dup2 would put another one over it, or leave it close-on-exec.
    copies[i] = fcntl(wanted[i] < 0 ? null : wanted[i], F_DUPFD_CLOEXEC, FIRST_FREE);
    // One that is closed here is closed there.
    if (copies[i] < 0 && !(errno == EBADF && wanted[i] == i)) giveUp(channel, "fcntl", "child");
    if (null >= 0) ::close(null);
  }
  for (int i = 0; i < 3; i++) {
    if (copies[i] >= 0 && dup2(copies[i], i) < 0) giveUp(channel, "dup2", "child");
  }
}

/** Handlers are the parent's: libuv's write into its pipe. What is ignored stays so (nohup), but for what Node itself ignores. */
void resetSignals() {
  for (int signal = 1; signal < NSIG; signal++) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) < 0 || action.sa_handler == SIG_DFL) continue;
    if (action.sa_handler == SIG_IGN && signal != SIGPIPE && signal != SIGXFSZ) continue;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
  }
}

[[noreturn]] void becomeCommand(const Prepared& prepared, int channel) {
  resetSignals();
  enterNamespaces(prepared, channel);
  const int device = openTun(prepared, channel);
  configure4(prepared, channel);
  configure6(prepared, channel);
  writeFile("/proc/sys/net/ipv4/ping_group_range", prepared.pingGroups);  // ping without its capability; a convenience
  arrangeFiles(prepared, channel);
  Failure failure;
  if (!sendDescriptor(channel, device, failure)) giveUp(channel, failure.syscall, "child");
  ::close(device);

  char go;
  ssize_t length;
  do length = recv(channel, &go, 1, 0);
  while (length < 0 && errno == EINTR);
  if (length != 1) _exit(EXEC_FAILED);  // the parent gave up, or is gone
  arrangeStdio(prepared.request.stdio, channel);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  environ = const_cast<char**>(prepared.envp.data());
  execvp(prepared.argv[0], const_cast<char* const*>(prepared.argv.data()));
  giveUp(channel, "execve", "command");
}

/** Not 0, 1 or 2, even if those are closed here: what is there is taken for standard input and output, of this command or the next. */
int outOfTheWay(int fd) {
  if (fd < 0 || fd >= FIRST_FREE) return fd;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

bool makeChannel(int (&ends)[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  for (int& end : ends) end = outOfTheWay(end);
  if (ends[0] >= 0 && ends[1] >= 0) return true;
  const int error = errno;
  for (const int end : ends) {
    if (end >= 0) ::close(end);
  }
  errno = error;
  return false;
}

void reap(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool receiveReport(int channel, Failure& failure) {
  Report report{};
  ssize_t length;
  do length = recv(channel, &report, sizeof report, 0);
  while (length < 0 && errno == EINTR);
  if (length == 0) return false;
  if (length == sizeof report) failure = {report.error, report.syscall, report.detail};
  else failure = {length < 0 ? errno : EPROTO, "recv", "child"};
  return true;
}

/** The TUN, or why there is none: the first byte of a report would be taken for a TUN's, so it is looked at before. */
int receiveTun(int channel, Failure& failure) {
  char peeked[sizeof(Report)];
  ssize_t length;
  do length = recv(channel, peeked, sizeof peeked, MSG_PEEK);
  while (length < 0 && errno == EINTR);
  if (length == 1) {
    const int received = receiveDescriptor(channel, -1, failure);
    const int tun = outOfTheWay(received);
    if (received >= 0 && tun < 0) fail(failure, "fcntl", "child");
    return tun;
  }
  if (!receiveReport(channel, failure)) failure = {ECONNRESET, "recv", "child"};  // killed while it prepared
  return -1;
}

}  // namespace

bool isolate(const IsolateRequest& request, Isolated& isolated, Failure& failure) {
  const Prepared prepared(request);
  // One at a time: a child forked by another thread meanwhile would keep a copy of the end whose closing says that exec worked.
  static std::mutex forking;
  std::unique_lock<std::mutex> alone(forking);
  int ends[2];
  if (!makeChannel(ends)) return fail(failure, "socketpair", "child");

  // Or a signal in the child would run a handler of the parent's before the child has dropped them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) {
    ::close(ends[0]);  // or it would never see that the parent has gone
    becomeCommand(prepared, ends[1]);
  }
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  alone.unlock();
  if (pid < 0) {
    ::close(ends[0]);
    errno = error;
    return fail(failure, "fork", "child");
  }

  isolated.pid = pid;
  isolated.channel = ends[0];
  isolated.tun = receiveTun(ends[0], failure);
  if (isolated.tun < 0) {
    closeIsolated(isolated);
    return false;
  }
  isolated.pidfd = outOfTheWay(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by itself
  if (isolated.pidfd < 0) {
    fail(failure, "pidfd_open", "child");
    ::close(isolated.tun);
    closeIsolated(isolated);
    return false;
  }
  return true;
}

bool startIsolated(Isolated& isolated, Failure& failure) {
  const char go = 1;
  ssize_t length;
  do length = send(isolated.channel, &go, 1, MSG_NOSIGNAL);
  while (length < 0 && errno == EINTR);
  const bool refused = receiveReport(isolated.channel, failure);  // the end of the channel is exec's work
  ::close(isolated.channel);
  isolated.channel = -1;
  if (refused) reap(isolated.pid);
  return !refused;
}

bool reapIsolated(Isolated& isolated, int& status) {
  if (isolated.pid < 0 || isolated.channel >= 0) return false;
  const pid_t ended = waitpid(isolated.pid, &status, WNOHANG);
  if (ended == 0) return false;
  if (ended < 0) status = UNKNOWN_END;  // somebody else has reaped it
  isolated.pid = -1;
  return true;
}

bool signalIsolated(const Isolated& isolated, int signal, Failure& failure) {
  if (syscall(SYS_pidfd_send_signal, isolated.pidfd, signal, nullptr, 0) < 0) return fail(failure, "pidfd_send_signal", "child");
  return true;
}

void closeIsolated(Isolated& isolated) {
  if (isolated.channel >= 0) {
    // Closing does not tell it: children forked since have copies of this end until they have become their commands.
    shutdown(isolated.channel, SHUT_RDWR);
    ::close(isolated.channel);
    isolated.channel = -1;
    reap(isolated.pid);
    isolated.pid = -1;
  }
  if (isolated.pidfd >= 0) ::close(isolated.pidfd);
  isolated.pidfd = -1;
}

}  // namespace tun
