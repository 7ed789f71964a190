/* The far end of bench/tun.mjs: a SOCKS5 server (RFC 1928) that answers itself, whatever the address: port 7 echoes, 9 takes and checks,
   19 sends, 1 refuses; datagrams come back. With `direct` it also listens on these ports. Bulk has a thread of its own.

   sink SOCKS_PORT COUNTS_FILE [direct ADDRESS] */
#include "common.h"

enum role { GREETING, REQUEST, ASSOCIATED, ECHOES, TAKES, SENDS };

struct conn {
  int fd;
  enum role role;
  uint64_t at;         /* of the stream */
  unsigned char *rest; /* echo: what the socket had no room for */
  size_t have, sent;
  unsigned char head[300]; /* SOCKS5: what of a message is there */
};

struct listener {
  int fd, port; /* port 0: SOCKS5 */
};

static int quick, bulk; /* epoll */
static uint16_t udp_port;
static struct counts *counts;

static void drop(struct conn *c) {
  close(c->fd);
  free(c->rest);
  free(c);
}

/* Gives the connection its part; 0 = there is nothing behind that port. */
static int assign(struct conn *c, uint32_t address, int port) {
  c->role = port == DISCARD ? TAKES : port == SOURCE ? SENDS : ECHOES;
  c->at = first_of(address);
  c->have = 0;
  return port != REFUSED;
}

static void follow_as_assigned(struct conn *c) {
  if (c->role < TAKES) return;
  epoll_ctl(quick, EPOLL_CTL_DEL, c->fd, NULL);
  follow(bulk, EPOLL_CTL_ADD, c->fd, c->role == SENDS ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
}

/* One SOCKS5 message, if it is there; answers how many bytes it had, 0 = more are needed, -1 = the end. */
static ssize_t socks(struct conn *c) {
  unsigned char *m = c->head;
  if (c->role == GREETING) {
    if (c->have < 2 || c->have < 2u + m[1]) return 0;
    if (send(c->fd, "\5\0", 2, MSG_NOSIGNAL) != 2) return -1;
    c->role = REQUEST;
    return 2 + m[1];
  }
  if (c->have < 5) return 0;
  size_t address = m[3] == 1 ? 4 : m[3] == 4 ? 16 : 1u + m[4];
  size_t size = 4 + address + 2;
  if (c->have < size) return 0;
  uint32_t to = m[3] == 1 ? (uint32_t)m[4] << 24 | m[5] << 16 | m[6] << 8 | m[7] : 0;
  int associate = m[1] == 3;
  int port = m[size - 2] << 8 | m[size - 1];
  unsigned char answer[10] = {5, 0, 0, 1, 127, 0, 0, 1, udp_port >> 8, udp_port & 255};
  size_t have = c->have;
  int open = associate || assign(c, to, port);
  c->have = have;
  if (associate) c->role = ASSOCIATED;
  if (!open) answer[1] = 5; /* connection refused */
  if (send(c->fd, answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer || !open) return -1;
  return (ssize_t)size;
}

/* Sends what the socket takes and keeps the rest; 0 = the connection is over. */
static int echo(struct conn *c, const unsigned char *bytes, size_t n) {
  ssize_t taken = send(c->fd, bytes, n, MSG_NOSIGNAL);
  if (taken < 0 && errno != EAGAIN) return 0;
  if (taken < 0) taken = 0;
  if ((size_t)taken == n) return 1;
  c->have = n - (size_t)taken;
  c->sent = 0;
  c->rest = malloc(c->have);
  if (!c->rest) die("malloc");
  memcpy(c->rest, bytes + taken, c->have);
  follow(quick, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
  return 1;
}

static int echo_rest(struct conn *c) {
  ssize_t taken = send(c->fd, c->rest + c->sent, c->have - c->sent, MSG_NOSIGNAL);
  if (taken < 0) return errno == EAGAIN;
  c->sent += (size_t)taken;
  if (c->sent < c->have) return 1;
  free(c->rest);
  c->rest = NULL;
  c->have = 0;
  follow(quick, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
  return 1;
}

static int take(struct conn *c, const unsigned char *bytes, size_t n) {
  if (!is_right(bytes, n, c->at)) counts->wrong++;
  c->at += n;
  counts->discarded += n;
  return 1;
}

/* The application's bytes, for whoever has this part; 0 = the connection is over. */
static int payload(struct conn *c, const unsigned char *bytes, size_t n) {
  if (c->role == ECHOES) return echo(c, bytes, n);
  return c->role == TAKES ? take(c, bytes, n) : 1;
}

static int handshake(struct conn *c) {
  ssize_t n = recv(c->fd, c->head + c->have, sizeof c->head - c->have, 0);
  if (n <= 0) return n < 0 && errno == EAGAIN;
  c->have += (size_t)n;
  while (c->role < ASSOCIATED) {
    ssize_t used = socks(c);
    if (used <= 0) return used == 0 && c->have < sizeof c->head;
    c->have -= (size_t)used;
    memmove(c->head, c->head + used, c->have);
  }
  size_t early = c->have; /* payload that came with the request */
  c->have = 0;
  if (early > 0 && !payload(c, c->head, early)) return 0;
  follow_as_assigned(c); /* another thread's from here on */
  return 1;
}

static void serve(struct conn *c, uint32_t events, unsigned char *buffer) {
  int on = 1;
  if (c->role < ASSOCIATED) {
    if (!handshake(c)) drop(c);
    return;
  }
  if (c->role == ECHOES && c->rest) on = echo_rest(c);
  else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = recv(c->fd, buffer, PIECE, 0);
    if (n > 0) on = payload(c, buffer, (size_t)n);
    else on = n < 0 && errno == EAGAIN;
  }
  if (on && c->role == SENDS && events & EPOLLOUT) {
    ssize_t n = send_piece(c->fd, c->at);
    if (n > 0) c->at += (uint64_t)n;
    else on = errno == EAGAIN;
  }
  if (!on) drop(c);
}

static _Noreturn void *serve_bulk(void *unused) {
  (void)unused;
  static unsigned char buffer[PIECE];
  struct epoll_event events[64];
  for (;;) {
    int n = epoll_wait(bulk, events, 64, -1);
    for (int i = 0; i < n; i++) serve(events[i].data.ptr, events[i].events, buffer);
  }
}

static void accept_all(const struct listener *l) {
  for (int fd; (fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    struct conn *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = fd;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    follow(quick, EPOLL_CTL_ADD, fd, EPOLLIN, c);
    if (l->port == 0) continue;
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    getsockname(fd, (struct sockaddr *)&own, &size);
    assign(c, ntohl(own.sin_addr.s_addr), l->port);
    follow_as_assigned(c);
  }
}

/* A datagram's SOCKS5 header names whom it is for; as an answer, whom it is from: the same. */
static _Noreturn void *serve_datagrams(void *what) {
  enum { MANY = 64, SIZE = 2048 };
  static _Thread_local unsigned char bytes[MANY][SIZE];
  int fd = *(int *)what;
  struct mmsghdr all[MANY];
  struct iovec pieces[MANY];
  struct sockaddr_in from[MANY];
  for (;;) {
    for (int i = 0; i < MANY; i++) {
      pieces[i] = (struct iovec){bytes[i], SIZE};
      all[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, all, MANY, MSG_WAITFORONE, NULL);
    for (int i = 0; i < n; i++) pieces[i].iov_len = all[i].msg_len;
    for (int done = 0; done < n;) {
      int sent = sendmmsg(fd, all + done, (unsigned)(n - done), 0);
      done += sent > 0 ? sent : 1; /* one that cannot be sent is lost */
    }
    if (n > 0) counts->datagrams += (uint64_t)n;
  }
}

static int bound(int type, uint32_t address, int port) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  struct sockaddr_in own = at(address, (uint16_t)port);
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) die("bind");
  return fd;
}

static void listen_on(struct listener *l, int port, int socks_port) {
  *l = (struct listener){bound(SOCK_STREAM | SOCK_NONBLOCK, INADDR_ANY, socks_port ? socks_port : port), port};
  if (listen(l->fd, 4096) < 0) die("listen");
}

static void start(void *(*run)(void *), void *with) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, with)) die("pthread_create");
}

static int datagrams_at(uint32_t address, int port) {
  int fd = bound(SOCK_DGRAM, address, port);
  set(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  set(fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "sink SOCKS_PORT COUNTS_FILE [direct ADDRESS]\n"), 2;
  raise_files();
  make_pattern();
  counts = map_counts(argv[2]);
  quick = epoll_create1(EPOLL_CLOEXEC);
  bulk = epoll_create1(EPOLL_CLOEXEC);
  static struct listener listeners[4];
  int many = 1;
  listen_on(&listeners[0], 0, atoi(argv[1]));
  static int relayed, direct;
  relayed = datagrams_at(INADDR_LOOPBACK, 0);
  struct sockaddr_in own;
  socklen_t size = sizeof own;
  getsockname(relayed, (struct sockaddr *)&own, &size);
  udp_port = ntohs(own.sin_port);
  start(serve_datagrams, &relayed);
  if (argc > 4) {
    listen_on(&listeners[many++], ECHO, 0);
    listen_on(&listeners[many++], DISCARD, 0);
    listen_on(&listeners[many++], SOURCE, 0);
    direct = datagrams_at(ntohl(inet_addr(argv[4])), ECHO);
    start(serve_datagrams, &direct);
  }
  start(serve_bulk, NULL);
  for (int i = 0; i < many; i++) follow(quick, EPOLL_CTL_ADD, listeners[i].fd, EPOLLIN, &listeners[i]);
  counts->ready = 1;
  static unsigned char buffer[PIECE];
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(quick, events, 256, -1);
    for (int i = 0; i < n; i++) {
      struct listener *l = events[i].data.ptr;
      if (l >= listeners && l < listeners + 4) accept_all(l);
      else serve(events[i].data.ptr, events[i].events, buffer);
    }
  }
}
