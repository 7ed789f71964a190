// Owns: what isolate_linux.cc gives the glue: one command in namespaces of its own, with a TUN as its only way out.

#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "tun.h"

namespace tun {

struct IsolateRequest {
  /** The program (looked for in PATH of `env`) and its arguments; at least one. */
  std::vector<std::string> command;
  std::vector<std::string> env;
  /** Become 0, 1 and 2 of the command; -1 is /dev/null. */
  int stdio[3] = {0, 1, 2};
  std::string name = "tun0";
  int mtu = 1500;
  in_addr address4{};
  int prefix4 = 0;
  in6_addr address6{};
  int prefix6 = 0;
  /** Directories of the host that the command finds empty. */
  std::vector<std::string> masks;
  /** Files that the command finds instead of the host's: path, content. One that a mask has removed is made. At most 26. */
  std::vector<std::pair<std::string, std::string>> files;
};

/** A child that has made everything and waits to become the command. */
struct Isolated {
  pid_t pid = -1;
  /** Readable when the child has ended. */
  int pidfd = -1;
  /** The TUN, opened in there. */
  int tun = -1;
  /** To the waiting child; -1 once it has started. */
  int channel = -1;
};

/**
 * Forks and prepares; blocks until the TUN is there, some milliseconds. Not for the hot path.
 * `failure.detail` is the step: "user-namespace", "namespaces", "device-node", "tun", "network", "mount", "child".
 */
bool isolate(const IsolateRequest& request, Isolated& isolated, Failure& failure);

/** The child becomes the command; false: it could not, and is gone. */
bool startIsolated(Isolated& isolated, Failure& failure);

/** Reaps the child if it has ended: true, and what waitpid(2) says of it. */
bool reapIsolated(Isolated& isolated, int& status);

bool signalIsolated(const Isolated& isolated, int signal, Failure& failure);

/** Gives a child that still waits up; a command that runs is left alone. Closes what is open, but not `tun`. */
void closeIsolated(Isolated& isolated);

}  // namespace tun
