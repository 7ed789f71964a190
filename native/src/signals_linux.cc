// Owns: a handler before libuv's that looks at si_code. sigaction(2): SI_KERNEL is above 0, what a process sends is not.

#include "signals.h"

#include <errno.h>
#include <signal.h>

#include <atomic>

namespace tun {

namespace {

std::atomic<unsigned> fromKernel[NSIG], fromProcesses[NSIG];
// Written before the handler that reads it is installed.
std::atomic<void (*)(int)> next[NSIG];

void handle(int signal, siginfo_t* info, void*) {
  (info->si_code > 0 ? fromKernel : fromProcesses)[signal].fetch_add(1, std::memory_order_relaxed);
  if (void (*const handler)(int) = next[signal].load(std::memory_order_acquire)) handler(signal);
}

}  // namespace

bool countSenders(int signal, Failure& failure) {
  struct sigaction action;
  const bool known = signal > 0 && signal < NSIG;
  if (!known) errno = EINVAL;
  if (!known || sigaction(signal, nullptr, &action) < 0) return fail(failure, "sigaction");
  if (action.sa_flags & SA_SIGINFO) return true;  // ours, as libuv's has no need of it
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
    failure = {EINVAL, "sigaction", "no-handler"};
    return false;
  }
  next[signal].store(action.sa_handler, std::memory_order_release);
  action.sa_sigaction = handle;
  action.sa_flags |= SA_SIGINFO;
  return sigaction(signal, &action, nullptr) == 0 || fail(failure, "sigaction");
}

Senders takeSenders(int signal) {
  if (signal <= 0 || signal >= NSIG) return {0, 0};
  return {fromKernel[signal].exchange(0, std::memory_order_relaxed), fromProcesses[signal].exchange(0, std::memory_order_relaxed)};
}

}  // namespace tun
