/* The applications of bench/tun.mjs: sockets of the kernel in front of a TUN. Each kind of work prints one line of JSON, with the CPU
   seconds that the program under test (PID, all its threads: proc_pid_stat(5)) has used meanwhile.

   load COUNTS_FILE PID WORK [ARGUMENTS]: see the table at the end. */
#include "common.h"

enum { TARGET = 0xc6120000 /* 198.18.0.0/15 */, DATAGRAMS = TARGET + 9, MANY = 64, PRICE = 1 << 20 };

static struct counts *counts;
static int program;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void rest(double seconds) {
  struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&t, NULL);
}

static double cpu(void) {
  char path[40], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", program);
  FILE *f = program ? fopen(path, "r") : NULL;
  if (!f) return 0;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  unsigned long user = 0, system = 0;
  char *behind = strrchr(text, ')');
  if (behind) sscanf(behind + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long resident(void) { /* bytes */
  char path[40];
  long pages = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", program);
  FILE *f = program ? fopen(path, "r") : NULL;
  if (!f) return 0;
  if (fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

/* Durations, in seconds, of which percentiles are printed. */
struct times {
  float *all;
  size_t n;
};

static void add(struct times *t, double seconds) {
  if (!t->all && !(t->all = malloc(PRICE * sizeof *t->all))) die("malloc");
  if (t->n < PRICE) t->all[t->n++] = (float)seconds;
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double part(struct times *t, double share) { /* µs */
  if (t->n == 0) return 0;
  qsort(t->all, t->n, sizeof *t->all, by_size);
  return 1e6 * (double)t->all[(size_t)(share * (double)(t->n - 1))];
}

/* A socket that is connected or on its way; -1 with errno. */
static int dial(int type, uint32_t address, uint16_t port) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if ((type & 15) == SOCK_STREAM) {
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* BBR's timers, where it is the default, cost the client a third */
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  }
  struct sockaddr_in to = at(address, port);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS) return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}

static void patience(int fd, double seconds) {
  struct timeval t = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

/* `n` bytes there and back on a blocking socket. */
static int ask(int fd, size_t n) {
  unsigned char back[256];
  if (send(fd, pattern, n, MSG_NOSIGNAL) != (ssize_t)n) return 0;
  for (size_t have = 0; have < n;) {
    ssize_t got = recv(fd, back + have, n - have, 0);
    if (got <= 0) return 0;
    have += (size_t)got;
  }
  return !memcmp(back, pattern, n);
}

static int ready(char **a) {
  double until = now() + atof(a[0]);
  while (now() < until) {
    int fd = dial(SOCK_STREAM, TARGET + 7, ECHO);
    if (fd >= 0) {
      patience(fd, 2);
      int answered = ask(fd, 1);
      close(fd);
      if (answered) return printf("{\"ready\":1}\n"), 0;
    }
    rest(0.005);
  }
  fprintf(stderr, "nothing came back from the far end within %s s\n", a[0]);
  return 1;
}

static int refused(void) {
  int fd = dial(SOCK_STREAM, TARGET + 7, REFUSED);
  const char *name = fd < 0 ? strerror(errno) : "connected";
  if (fd >= 0) {
    char c;
    patience(fd, 5);
    ssize_t n = recv(fd, &c, 1, 0);
    name = n == 0 ? "connected, then closed" : n < 0 && errno == ECONNRESET ? "connected, then reset" : "connected";
  }
  return printf("{\"told\":\"%s\"}\n", name), 0;
}

/* ---- request and response, alone or in a thread beside bulk ---- */

struct asking {
  double after, seconds;
  struct times times;
  int failed;
};

static void *ask_on(void *with) {
  struct asking *w = with;
  rest(w->after);
  int fd = dial(SOCK_STREAM, TARGET + 8, ECHO);
  if (fd < 0 || (patience(fd, 5), !ask(fd, 64))) return w->failed = 1, NULL;
  for (double at = now(), until = at + w->seconds; at < until;) {
    if (!ask(fd, 64)) return w->failed = 1, NULL;
    double then = now();
    add(&w->times, then - at);
    at = then;
  }
  close(fd);
  return NULL;
}

static int rr(char **a) {
  struct asking w = {.seconds = atof(a[0])};
  double used = cpu();
  ask_on(&w);
  if (w.failed) return fprintf(stderr, "an answer did not come\n"), 1;
  used = cpu() - used;
  printf("{\"done\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"cpu\":%.3f}\n", w.times.n, part(&w.times, 0.5), part(&w.times, 0.99), used);
  return 0;
}

/* ---- bulk ---- */

struct stream {
  int fd;
  uint64_t moved, begun, ended; /* bytes now, and at the window's ends */
  uint64_t at;
};

static void move(struct stream *s, int up, unsigned char *buffer, int *wrong) {
  ssize_t n = up ? send_piece(s->fd, s->at) : recv(s->fd, buffer, PIECE, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    fprintf(stderr, "a stream ended: %s\n", n ? strerror(errno) : "closed");
    exit(1);
  }
  if (n < 0) return;
  if (!up) *wrong += !is_right(buffer, (size_t)n, s->at);
  s->at += (uint64_t)n;
  s->moved += (uint64_t)n;
}

static void mark(struct stream *streams, int n, uint64_t *sum, int up, int last) {
  uint64_t all = 0;
  for (int i = 0; i < n; i++) {
    *(last ? &streams[i].ended : &streams[i].begun) = streams[i].moved;
    all += streams[i].moved;
  }
  *sum = up ? counts->discarded : all; /* what has arrived */
}

/* DIRECTION STREAMS SECONDS WARM [beside] */
static int bulk(int argc, char **a) {
  static unsigned char buffer[PIECE];
  int up = !strcmp(a[0], "up"), n = atoi(a[1]), wrong = 0;
  double seconds = atof(a[2]), warm = atof(a[3]);
  struct asking beside = {.after = warm, .seconds = seconds};
  pthread_t thread;
  struct stream streams[MANY] = {{0}};
  int poll = epoll_create1(0);
  uint64_t taken = counts->discarded, broken = counts->wrong;
  for (int i = 0; i < n; i++) {
    struct stream *s = &streams[i];
    uint32_t address = TARGET + 16 + (uint32_t)i;
    s->fd = dial(SOCK_STREAM, address, up ? DISCARD : SOURCE);
    if (s->fd < 0) die("connect");
    s->at = first_of(address);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    follow(poll, EPOLL_CTL_ADD, s->fd, up ? EPOLLOUT : EPOLLIN, s);
  }
  if (argc > 4 && pthread_create(&thread, NULL, ask_on, &beside)) die("pthread_create");
  double from = now() + warm, until = from + seconds, began = 0, used = 0;
  uint64_t first = 0, last = 0;
  for (;;) {
    struct epoll_event events[MANY];
    int some = epoll_wait(poll, events, MANY, 100);
    for (int i = 0; i < some; i++) move(events[i].data.ptr, up, buffer, &wrong);
    double t = now();
    if (!began && t >= from) {
      began = t;
      used = cpu();
      mark(streams, n, &first, up, 0);
    }
    if (t >= until) break;
  }
  mark(streams, n, &last, up, 1);
  used = cpu() - used;
  double took = now() - began;
  if (argc > 4) pthread_join(thread, NULL);
  uint64_t sent = 0;
  for (int i = 0; i < n; i++) {
    sent += streams[i].moved;
    if (up) shutdown(streams[i].fd, SHUT_WR);
  }
  double patient = now() + 5; /* until all that was sent has arrived */
  while (up && counts->discarded - taken < sent && now() < patient) rest(0.002);
  for (int i = 0; i < n; i++) close(streams[i].fd);
  if (up && counts->discarded - taken != sent) {
    fprintf(stderr, "%lu bytes were sent, %lu arrived\n", (unsigned long)sent, (unsigned long)(counts->discarded - taken));
    return 1;
  }
  if (wrong || counts->wrong != broken) return fprintf(stderr, "%s got other bytes than were sent\n", wrong ? "the application" : "the far end"), 1;
  if (beside.failed) return fprintf(stderr, "an answer did not come\n"), 1;
  double least = 1e30, most = 0;
  for (int i = 0; i < n; i++) {
    double share = (double)(streams[i].ended - streams[i].begun);
    if (share < least) least = share;
    if (share > most) most = share;
  }
  double bytes = (double)(last - first);
  if (bytes == 0) return fprintf(stderr, "nothing arrived\n"), 1;
  printf("{\"gbits\":%.4f,\"cpuPerGB\":%.4f,\"share\":%.3f,\"bytes\":%.0f", bytes * 8 / took / 1e9, used / (bytes / 1e9), most > 0 ? least / most : 0, bytes);
  if (argc > 4) printf(",\"p50\":%.1f,\"p99\":%.1f", part(&beside.times, 0.5), part(&beside.times, 0.99));
  return printf("}\n"), 0;
}

/* ---- many short connections: a byte there and back ---- */

struct call {
  int fd, sent;
  double since;
};

static uint32_t place; /* each goes to an address of its own: no port has to wait for TIME-WAIT */

static void open_call(struct call *c, int poll, int how_poll) {
  c->fd = dial(SOCK_STREAM | SOCK_NONBLOCK, TARGET + 256 + place++ % 100000, ECHO);
  if (c->fd < 0) die("connect");
  c->sent = 0;
  c->since = now();
  follow(poll, how_poll, c->fd, EPOLLOUT, c);
}

/* What is due on it; 1 = the byte is back, -1 = it failed. */
static int go_on(struct call *c, int poll) {
  char byte = 'x';
  if (!c->sent) {
    if (send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1) return errno == EAGAIN ? 0 : -1;
    c->sent = 1;
    follow(poll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    return 0;
  }
  ssize_t n = recv(c->fd, &byte, 1, 0);
  return n == 1 && byte == 'x' ? 1 : n < 0 && errno == EAGAIN ? 0 : -1;
}

/* AT_ONCE SECONDS */
static int connections(char **a) {
  struct call calls[MANY];
  struct times times = {0};
  int poll = epoll_create1(0), most = atoi(a[0]), failed = 0;
  double began = now(), until = began + atof(a[1]), used = cpu();
  for (int i = 0; i < most; i++) open_call(&calls[i], poll, EPOLL_CTL_ADD);
  while (now() < until) {
    struct epoll_event events[MANY];
    int some = epoll_wait(poll, events, MANY, 100);
    for (int i = 0; i < some; i++) {
      struct call *c = events[i].data.ptr;
      int over = go_on(c, poll);
      if (over == 0) continue;
      if (over > 0) add(&times, now() - c->since);
      failed += over < 0;
      close(c->fd);
      open_call(c, poll, EPOLL_CTL_ADD);
    }
  }
  double took = now() - began;
  used = cpu() - used;
  if (times.n == 0) return fprintf(stderr, "no connection came to its byte\n"), 1;
  printf("{\"perSecond\":%.0f,\"micros\":%.1f,\"p50\":%.0f,\"p99\":%.0f,\"failed\":%d}\n", (double)times.n / took,
         1e6 * used / (double)times.n, part(&times, 0.5), part(&times, 0.99), failed);
  return 0;
}

/* N: opens as many, holds them, asks each again */
static int idle(char **a) {
  int n = atoi(a[0]), open = 0, held = 0, alive = 0, poll = epoll_create1(0);
  struct call *calls = calloc((size_t)n, sizeof *calls);
  if (!calls) die("calloc");
  long fresh = resident();
  double began = now(), used = cpu(), until = began + 20;
  while (held < n && now() < until) {
    for (; open < n && open - held < MANY; open++) open_call(&calls[open], poll, EPOLL_CTL_ADD);
    struct epoll_event events[MANY];
    int some = epoll_wait(poll, events, MANY, 100);
    for (int i = 0; i < some; i++) {
      struct call *c = events[i].data.ptr;
      int over = go_on(c, poll);
      if (over == 0) continue;
      epoll_ctl(poll, EPOLL_CTL_DEL, c->fd, NULL);
      if (over < 0) until = 0; /* it takes no more */
      else held++;
    }
  }
  double took = now() - began, opening = cpu() - used;
  rest(1);
  long full = resident();
  used = cpu();
  rest(2);
  double quiet = (cpu() - used) / 2;
  for (int i = 0; i < open; i++) {
    fcntl(calls[i].fd, F_SETFL, 0);
    patience(calls[i].fd, 2);
    if (!ask(calls[i].fd, 1)) break;
    alive++;
  }
  printf("{\"held\":%d,\"alive\":%d,\"seconds\":%.2f,\"cpu\":%.2f,\"each\":%.0f,\"idle\":%.3f,\"fresh\":%ld}\n", held, alive, took, opening,
         held ? (double)(full - fresh) / held : 0, quiet, fresh);
  return 0;
}

/* ---- datagrams ---- */

/* SIZE SECONDS UNDER_WAY: one flow */
static int datagrams(char **a) {
  enum { SIZE = 2048 };
  static unsigned char out[MANY][SIZE], in[MANY][SIZE];
  size_t size = (size_t)atoi(a[0]);
  int most = atoi(a[2]), due = most, fd = dial(SOCK_DGRAM, DATAGRAMS, ECHO);
  set(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  patience(fd, 0.1);
  struct mmsghdr sending[MANY] = {{{0}, 0}}, coming[MANY] = {{{0}, 0}};
  struct iovec pieces[2 * MANY];
  for (int i = 0; i < MANY; i++) {
    memcpy(out[i], pattern + i * SIZE, size);
    pieces[i] = (struct iovec){out[i], size};
    pieces[MANY + i] = (struct iovec){in[i], SIZE};
    sending[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    coming[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[MANY + i], .msg_iovlen = 1};
  }
  unsigned long sent = 0, back = 0, lost = 0;
  double began = now(), until = began + atof(a[1]), used = cpu();
  while (now() < until) {
    while (due > 0) {
      for (int i = 0; i < due && i < MANY; i++) out[i][0] = (unsigned char)i; /* which one it is */
      int n = sendmmsg(fd, sending, (unsigned)(due < MANY ? due : MANY), 0);
      if (n <= 0) break;
      due -= n;
      sent += (unsigned)n;
    }
    int n = recvmmsg(fd, coming, MANY, MSG_WAITFORONE, NULL);
    if (n <= 0) { /* the rest is lost: anew */
      lost += sent - back - lost;
      due = most;
      continue;
    }
    for (int i = 0; i < n; i++) {
      unsigned char which = in[i][0];
      if (which >= MANY || coming[i].msg_len != size || memcmp(in[i] + 1, out[which] + 1, size - 1))
        return fprintf(stderr, "another datagram came back than was sent\n"), 1;
    }
    back += (unsigned)n;
    due += n;
  }
  double took = now() - began;
  used = cpu() - used;
  if (back == 0) return fprintf(stderr, "no datagram came back\n"), 1;
  printf("{\"perSecond\":%.0f,\"micros\":%.3f,\"lost\":%.3f}\n", (double)back / took, 1e6 * used / (double)back, 100.0 * (double)lost / (double)sent);
  return 0;
}

/* N: one datagram each, of a socket of its own, 64 at once */
static int flows(char **a) {
  int n = atoi(a[0]), open = 0, over = 0, back = 0, poll = epoll_create1(0);
  struct call *calls = calloc((size_t)n, sizeof *calls);
  if (!calls) die("calloc");
  double began = now(), used = cpu(), last = began;
  int oldest = 0;
  while (over < n) {
    for (; open < n && open - over < MANY; open++) {
      struct call *c = &calls[open];
      c->fd = dial(SOCK_DGRAM | SOCK_NONBLOCK, DATAGRAMS, ECHO);
      if (c->fd < 0 || send(c->fd, pattern, 64, 0) != 64) die("send");
      c->since = now();
      follow(poll, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    }
    struct epoll_event events[MANY];
    int some = epoll_wait(poll, events, MANY, 50);
    double t = now();
    for (int i = 0; i < some; i++) {
      struct call *c = events[i].data.ptr;
      unsigned char got[128];
      if (recv(c->fd, got, sizeof got, 0) != 64 || memcmp(got, pattern, 64)) continue;
      close(c->fd);
      c->fd = -1;
      back++;
      over++;
      last = t;
    }
    for (; oldest < open; oldest++) { /* a second and no answer: lost */
      struct call *c = &calls[oldest];
      if (c->fd < 0) continue;
      if (t - c->since < 1) break;
      close(c->fd);
      c->fd = -1;
      over++;
    }
  }
  used = cpu() - used;
  printf("{\"perSecond\":%.0f,\"micros\":%.1f,\"lost\":%d}\n", back ? (double)back / (last - began) : 0, 1e6 * used / n, n - back);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "load COUNTS_FILE PID WORK [ARGUMENTS]\n"), 2;
  raise_files();
  make_pattern();
  counts = map_counts(argv[1]);
  program = atoi(argv[2]);
  const char *work = argv[3];
  char **a = argv + 4;
  int n = argc - 4;
  if (!strcmp(work, "ready") && n == 1) return ready(a);                 /* SECONDS */
  if (!strcmp(work, "refused") && n == 0) return refused();              /* */
  if (!strcmp(work, "bulk") && n >= 4) return bulk(n, a);                /* up|down STREAMS SECONDS WARM [beside] */
  if (!strcmp(work, "connections") && n == 2) return connections(a);     /* AT_ONCE SECONDS */
  if (!strcmp(work, "rr") && n == 1) return rr(a);                       /* SECONDS */
  if (!strcmp(work, "datagrams") && n == 3) return datagrams(a);         /* SIZE SECONDS UNDER_WAY */
  if (!strcmp(work, "flows") && n == 1) return flows(a);                 /* N */
  if (!strcmp(work, "idle") && n == 1) return idle(a);                   /* N */
  return fprintf(stderr, "load: %s with %d arguments is no work\n", work, n), 2;
}
