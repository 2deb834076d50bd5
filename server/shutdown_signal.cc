#include "server/shutdown_signal.h"

#include <cstdlib>

#include <pthread.h>
#include <signal.h>

namespace braid::server {
namespace {

// Ends the signal thread; nobody else sends it.
constexpr int kEndSignal = SIGUSR1;

sigset_t WaitedSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, kEndSignal);
  return set;
}

}  // namespace

ShutdownSignal::ShutdownSignal() {
  signal(SIGPIPE, SIG_IGN);  // A lost client is an error of a write.
  const sigset_t set = WaitedSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { Run(); });
}

ShutdownSignal::~ShutdownSignal() {
  pthread_kill(thread_.native_handle(), kEndSignal);
  thread_.join();
}

void ShutdownSignal::Run() {
  const sigset_t set = WaitedSignals();
  bool first = true;
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0) continue;
    if (number == kEndSignal) return;
    if (!first) std::_Exit(128 + number);
    first = false;
    first_.set_value(number);
  }
}

}  // namespace braid::server
