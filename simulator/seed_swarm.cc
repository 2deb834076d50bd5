#include "simulator/seed_swarm.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <new>
#include <vector>

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "simulator/shrink.h"
#include "simulator/simulation.h"

namespace braid {
namespace {

// Of processor time, for one seed.
constexpr int kMostSeconds = 60;

// Lines of the pipe that are not part of a violation's text begin so.
constexpr char kStarted = '>';
constexpr char kFinished = '=';

// What the worker is at, for its signal handler.
Simulation* current = nullptr;

void WriteAll(int descriptor, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(descriptor, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

void WriteViolation(int descriptor, const Simulation& simulation,
                    const std::string& what) {
  std::string text = absl::StrCat("violation: ", what, "\n");
  absl::StrAppend(&text, "  ", simulation.Describe(), "\n");
  for (const std::string& line : simulation.log().LastLines()) {
    absl::StrAppend(&text, "  ", line, "\n");
  }
  WriteAll(descriptor, text);
}

// SIGABRT comes from a failed CHECK, on the thread that failed, so what is
// called here need not be signal-safe. SIGVTALRM: the seed takes for ever; it
// will be killed in any case.
void OnSignal(int signal) {
  if (current != nullptr) {
    WriteViolation(STDERR_FILENO, *current,
                   signal == SIGABRT ? "a CHECK failed (above)"
                   : signal == SIGVTALRM
                       ? absl::StrCat("took more than ", kMostSeconds,
                                      " s of processor time")
                       : absl::StrCat("signal ", signal));
  }
  _exit(1);
}

void BecomeWorker(int descriptor) {
  dup2(descriptor, STDERR_FILENO);  // A CHECK says there what failed.
  for (int signal : {SIGABRT, SIGVTALRM, SIGSEGV, SIGBUS, SIGFPE}) {
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(signal, &action, nullptr);
  }
}

void BoundTime() {
  itimerval limit{};
  limit.it_value.tv_sec = kMostSeconds;
  setitimer(ITIMER_VIRTUAL, &limit, nullptr);
}

// One seed, in this process. False: violated, and said so.
bool RunSeed(uint64_t seed, const SimulationOptions& options, int descriptor) {
  BoundTime();
  Simulation simulation(seed, options);
  current = &simulation;
  simulation.Run();
  current = nullptr;
  if (simulation.log().violated()) {
    WriteViolation(descriptor, simulation, simulation.log().violation());
    // What it holds is in no state to be taken down.
    _exit(1);
  }
  WriteAll(descriptor, absl::StrFormat("%c%d %d %d %016x\n", kFinished, seed,
                                       simulation.events(), simulation.faults(),
                                       simulation.log().digest()));
  return true;
}

struct Worker {
  pid_t process = 0;
  int pipe = -1;
  std::string unread;  // the beginning of a line
  uint64_t seed = 0;   // at work on
  std::string text;    // of a violation
};

class Swarm {
 public:
  Swarm(const SwarmOptions& options, std::FILE* out)
      : options_(options), out_(out) {
    void* shared = mmap(nullptr, sizeof(*next_), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    BRAID_CHECK(shared != MAP_FAILED);
    next_ = new (shared) std::atomic<uint64_t>(options.from);
  }
  ~Swarm() { munmap(next_, sizeof(*next_)); }

  SwarmTotals Run() {
    for (uint32_t i = 0; i < options_.jobs; ++i) workers_.push_back(Start());
    while (!workers_.empty()) {
      std::vector<pollfd> polled;
      for (const Worker& worker : workers_) {
        polled.push_back({.fd = worker.pipe, .events = POLLIN});
      }
      if (poll(polled.data(), polled.size(), -1) < 0) continue;
      for (size_t i = polled.size(); i-- > 0;) {
        if (polled[i].revents == 0) continue;
        if (!Read(workers_[i])) Reap(i);
      }
    }
    for (const auto& [seed, digest] : digests_) {
      std::fprintf(out_, "seed %llu digest %s\n",
                   static_cast<unsigned long long>(seed), digest.c_str());
    }
    return totals_;
  }

 private:
  Worker Start() {
    int ends[2];
    BRAID_CHECK(pipe(ends) == 0);
    std::fflush(out_);
    const pid_t process = fork();
    BRAID_CHECK(process >= 0);
    if (process == 0) {
      close(ends[0]);
      BecomeWorker(ends[1]);
      while (true) {
        const uint64_t seed = next_->fetch_add(1);
        if (seed > options_.to) _exit(0);
        WriteAll(ends[1], absl::StrFormat("%c%d\n", kStarted, seed));
        RunSeed(seed, options_.simulation, ends[1]);
      }
    }
    close(ends[1]);
    return {.process = process, .pipe = ends[0]};
  }

  // False: the pipe is closed.
  bool Read(Worker& worker) {
    char buffer[1 << 16];
    const ssize_t n = read(worker.pipe, buffer, sizeof(buffer));
    if (n <= 0) return false;
    worker.unread.append(buffer, static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end;
         (end = worker.unread.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      Take(worker, worker.unread.substr(begin, end - begin));
    }
    worker.unread.erase(0, begin);
    return true;
  }

  void Take(Worker& worker, const std::string& line) {
    if (!line.empty() && line[0] == kStarted) {
      worker.text.clear();
      BRAID_CHECK(absl::SimpleAtoi(line.substr(1), &worker.seed));
    } else if (!line.empty() && line[0] == kFinished) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ');
      uint64_t events = 0, faults = 0;
      BRAID_CHECK(fields.size() == 4 && absl::SimpleAtoi(fields[1], &events) &&
                  absl::SimpleAtoi(fields[2], &faults));
      ++totals_.seeds;
      totals_.events += events;
      totals_.faults += faults;
      if (options_.digests) digests_.emplace(worker.seed, fields[3]);
    } else {
      absl::StrAppend(&worker.text, line, "\n");
    }
  }

  void Reap(size_t index) {
    Worker worker = std::move(workers_[index]);
    workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
    close(worker.pipe);
    int status = 0;
    waitpid(worker.process, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    ++totals_.seeds;
    ++totals_.violations;
    Report(worker);
    if (totals_.violations >= options_.most_violations) {
      *next_ = options_.to + 1;
    } else {
      workers_.push_back(Start());
    }
  }

  void Report(const Worker& worker) {
    const std::string replay = ReplayCommand(worker.seed, options_.simulation);
    if (totals_.violations > options_.shown) {
      std::fprintf(out_, "seed %llu violates as well: %s\n",
                   static_cast<unsigned long long>(worker.seed),
                   replay.c_str());
      return;
    }
    std::fprintf(out_, "seed %llu\n%sreplay with: %s\n",
                 static_cast<unsigned long long>(worker.seed),
                 worker.text.c_str(), replay.c_str());
    std::fflush(out_);
    if (!options_.shrink) return;
    const Shrunk shrunk = Shrink(worker.seed, options_.simulation,
                                 [&](const SimulationOptions& smaller) {
                                   return RunAlone(worker.seed, smaller);
                                 });
    std::fprintf(out_, "shrunk in %u runs:\n%sreplay with: %s\n", shrunk.runs,
                 shrunk.text.c_str(),
                 ReplayCommand(worker.seed, shrunk.options).c_str());
    std::fflush(out_);
  }

  const SwarmOptions& options_;
  std::FILE* const out_;
  std::atomic<uint64_t>* next_ = nullptr;  // shared with the workers
  std::vector<Worker> workers_;
  std::map<uint64_t, std::string> digests_;
  SwarmTotals totals_;
};

}  // namespace

SwarmTotals RunSwarm(const SwarmOptions& options, std::FILE* out) {
  return Swarm(options, out).Run();
}

std::optional<std::string> RunAlone(uint64_t seed,
                                    const SimulationOptions& options) {
  int ends[2];
  BRAID_CHECK(pipe(ends) == 0);
  const pid_t process = fork();
  BRAID_CHECK(process >= 0);
  if (process == 0) {
    close(ends[0]);
    BecomeWorker(ends[1]);
    RunSeed(seed, options, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[1 << 16];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  waitpid(process, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::nullopt;
  return text;
}

std::string ReplayCommand(uint64_t seed, const SimulationOptions& options) {
  return absl::StrCat("braid simulate --seeds ", seed, ":", seed,
                      ToFlags(options));
}

}  // namespace braid
