/* Shared by sink.c and load.c: the ports, the bytes that are carried and how they are checked, the page both ends see. */
#ifndef TUN_BENCH_COMMON_H
#define TUN_BENCH_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REFUSED = 1, ECHO = 7, DISCARD = 9, SOURCE = 19 };
enum { PIECE = 256 << 10, SAMPLE = 64 };

/* Streams are pieces of this: longer than a cache, so that no chunk of it is hot, and each address has its own place to begin. */
#define PATTERN (16u << 20)
static unsigned char *pattern;

/* What the far end counts, in a file that both map. */
struct counts {
  _Atomic uint64_t ready, discarded, wrong, datagrams;
};

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline void make_pattern(void) {
  pattern = malloc(PATTERN + SAMPLE);
  if (!pattern) die("malloc");
  uint64_t state = 7;
  for (uint64_t *p = (uint64_t *)pattern, *end = p + PATTERN / 8; p < end; p++) { /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    *p = state;
  }
  memcpy(pattern + PATTERN, pattern, SAMPLE);
}

static inline uint64_t first_of(uint32_t address) { return (uint64_t)(address & 0xffff) * 262147 % PATTERN; }

/* Every piece is compared at its ends and each 16 KiB: a chunk lost, repeated, overwritten or another stream's does not pass. */
static inline int is_right(const unsigned char *bytes, size_t n, uint64_t at) {
  for (size_t i = 0; i + SAMPLE <= n; i += 16 << 10) {
    if (memcmp(bytes + i, pattern + (at + i) % PATTERN, SAMPLE)) return 0;
  }
  return n < SAMPLE || !memcmp(bytes + n - SAMPLE, pattern + (at + n - SAMPLE) % PATTERN, SAMPLE);
}

/* One piece of the stream from `at` on: what send(2) took, or its error. */
static inline ssize_t send_piece(int fd, uint64_t at) {
  size_t from = at % PATTERN;
  return send(fd, pattern + from, from + PIECE > PATTERN ? PATTERN - from : PIECE, MSG_NOSIGNAL);
}

static inline struct counts *map_counts(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(struct counts)) < 0) die(path);
  void *page = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) die("mmap");
  close(fd);
  return page;
}

static inline void raise_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void set(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

static inline struct sockaddr_in at(uint32_t address, uint16_t port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
}

static inline void follow(int poll, int how, int fd, uint32_t events, void *what) {
  struct epoll_event event = {.events = events, .data.ptr = what};
  if (epoll_ctl(poll, how, fd, &event) < 0) die("epoll_ctl");
}
#endif
