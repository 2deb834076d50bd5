#include "cpu/core_team.h"

#include <string>

#include <pthread.h>
#include <sched.h>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid::cpu {
namespace {

// Longer than threads of one step are ever apart on cores of their own. On a
// core with a busy neighbour to wait longer is to lose: the one waited for gets
// its turn while this one burns its own, and the other way round.
constexpr std::chrono::microseconds kBarrierSpin{25};

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

absl::Status CheckCores(const std::vector<int>& cores, bool pin) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const bool known = sched_getaffinity(0, sizeof(allowed), &allowed) == 0;
  absl::flat_hash_set<int> seen;
  for (const int core : cores) {
    if (core < 0 || core >= CPU_SETSIZE) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no processor core ", core));
    }
    if (!seen.insert(core).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "core ", core, " is named twice: give each to one device"));
    }
    if (pin && known && !CPU_ISSET(core, &allowed)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "core ", core, " does not exist or is not allowed to this process; ",
          "it may use ", CPU_COUNT(&allowed),
          " cores: name others, or do not pin threads"));
    }
  }
  return absl::OkStatus();
}

void PinTo(std::thread& thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  // CheckCores has seen that it is allowed; should that have changed since, the
  // thread runs where the system puts it.
  (void)pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
}

}  // namespace

void SpinBarrier::Wait() {
  if (size_ == 1) return;
  // Read before arriving: the last to arrive moves it on.
  const uint32_t generation = generation_.value();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.Advance();
    return;
  }
  generation_.Await(generation, kBarrierSpin);
}

absl::StatusOr<std::unique_ptr<CoreThreads>> CoreThreads::Start(
    const std::vector<int>& cores, const Options& options) {
  if (absl::Status status = CheckCores(cores, options.pin); !status.ok()) {
    return status;
  }
  std::unique_ptr<CoreThreads> team(new CoreThreads(cores.size(), options));
  for (size_t i = 0; i < cores.size(); ++i) {
    team->threads_.emplace_back(
        [team = team.get(), i] { team->Serve(team->mailboxes_[i]); });
    const std::string name = absl::StrCat("braid-cpu", cores[i]);
    pthread_setname_np(team->threads_.back().native_handle(), name.c_str());
    if (options.pin) PinTo(team->threads_.back(), cores[i]);
  }
  return team;
}

CoreThreads::~CoreThreads() {
  for (Mailbox& mailbox : mailboxes_) {
    mailbox.stop.store(true, std::memory_order_relaxed);
    mailbox.posted.Advance();
  }
  for (std::thread& thread : threads_) thread.join();
}

void CoreThreads::Post(int core, Work work, void* context, int index) {
  Mailbox& mailbox = mailboxes_[core];
  mailbox.work = work;
  mailbox.context = context;
  mailbox.index = index;
  mailbox.posted.Advance();
}

void CoreThreads::AwaitIdle(int core) const {
  const Mailbox& mailbox = mailboxes_[core];
  const uint32_t posted = mailbox.posted.value();
  for (uint32_t done = mailbox.done.value(); done != posted;
       done = mailbox.done.value()) {
    mailbox.done.Await(done, kBarrierSpin);
  }
}

void CoreThreads::Serve(Mailbox& mailbox) const {
  for (uint32_t served = 0;; ++served) {
    AwaitPost(mailbox, served);
    if (mailbox.stop.load(std::memory_order_relaxed)) return;
    mailbox.work(mailbox.context, mailbox.index);
    mailbox.done.Advance();
  }
}

void CoreThreads::AwaitPost(const Mailbox& mailbox, uint32_t seen) const {
  const auto posted = [&] { return mailbox.posted.value() != seen; };
  if (posted()) return;
  const auto sleep_at = std::chrono::steady_clock::now() + options_.spin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (posted()) return;
      Pause();
    }
    // The engine's thread may want this very core to launch the next step.
    sched_yield();
  } while (std::chrono::steady_clock::now() < sleep_at);
  mailbox.posted.Await(seen, std::chrono::microseconds(0));
}

}  // namespace braid::cpu
