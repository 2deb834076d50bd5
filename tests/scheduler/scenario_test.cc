// Plans as text: every file in scenarios/ is a script of what happens to a
// scheduler, with what it must plan printed below each turn.
//
//   device d0 prefill pool 0 rows 64     a device; role, pool, rows of a step
//   pool 0 blocks 32                     split on|off|auto, chunk N, context N,
//                                        running N, queued N, lend on|off,
//                                        cache on|off, roles static
//   class fast ttft 2 tpot 0.1 queued 8  best first; without any: one patient
//   steps base 0.002 token 0.0005 ...    what steps take, as if measured: also
//                                        attended, row, context, stream
//   set nested|published 4               PARSCALE weights for so many streams
//   arrive r1 prompt a:64,b:36 output 8  64 tokens of the text `a`, 36 of `b`;
//                                        also: score (all must be computed),
//                                        class N, tenant N, priority N,
//                                        deadline SECONDS from now, streams
//                                        MODE, max N, min N; best-of N
//   at 1.5 / wait 0.1                    the time; at first 0
//   turn                                 looks after the queue, plans every
//   idle
//                                        device and applies what is not empty
//   done d0 [in 0.1]                     its step ends, after that many seconds
//                                        (and the time moves on by them)
//   failed d0                            its step ends without a result
//   arrived r1 / lost r1                 its transfer ends
//   sends                                streams computed elsewhere, c1 and so
//                                        on, that are sent now, or not any more
//   landed c1 / damaged c1               their transfers end
//   finish r1
//   complete r1 2                        its candidate 2 is
//   linger r1                            its own answer is; candidates go on
//   down d0 [memory] / up d0             the device is lost, comes back
//   avoid 0 1 SECONDS                    no hand-over between the pools
//   books                                blocks of each pool, by state
//   why                                  decisions since last asked
//   streams / candidates                 what became of idle rows
//   = text                               what the command above has printed
//
// With BRAID_REWRITE_SCENARIOS=1 in the environment the files are rewritten
// with what is printed now; read the difference before you believe it.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// "d1", "r1" and "c1" too.
uint32_t Number(const std::string& text) {
  return static_cast<uint32_t>(
      std::stoul(std::isdigit(text[0]) ? text : text.substr(1)));
}

Duration Seconds(const std::string& text) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::stod(text)));
}

// The word behind `name`; empty when there is none.
std::string Option(const std::vector<std::string>& words,
                   const std::string& name) {
  const auto it = std::ranges::find(words, name);
  return it == words.end() || it + 1 == words.end() ? "" : *(it + 1);
}

class Scenario {
 public:
  std::vector<std::string> Run(const std::vector<std::string>& words) {
    const std::string& verb = words[0];
    if (scheduler_ == nullptr && Configure(words)) return {};
    if (scheduler_ == nullptr) Start();
    std::vector<std::string> out;
    const auto request = [&] { return RequestId(Number(words[1])); };
    const auto device = [&] { return DeviceId(Number(words[1])); };
    if (verb == "arrive") {
      out = Arrive(words);
    } else if (verb == "at") {
      now_ = TimePoint(Seconds(words[1]));
    } else if (verb == "wait") {
      now_ += Seconds(words[1]);
    } else if (verb == "turn") {
      out = Turn();
    } else if (verb == "done" || verb == "failed") {
      Done(words);
    } else if (verb == "arrived") {
      scheduler_->CompleteTransfer(request(), now_);
    } else if (verb == "lost") {
      scheduler_->FailTransfer(request(), now_);
    } else if (verb == "sends") {
      out = Sends();
    } else if (verb == "landed") {
      scheduler_->CompleteSend(CatchUpId(Number(words[1])), now_);
    } else if (verb == "damaged") {
      scheduler_->FailSend(CatchUpId(Number(words[1])), now_);
    } else if (verb == "finish") {
      scheduler_->Finish(request());
    } else if (verb == "down") {
      for (RequestId id :
           scheduler_->LoseDevice(device(), words.size() > 2, now_)) {
        out.push_back(absl::StrCat("put back r", id.value()));
      }
    } else if (verb == "up") {
      scheduler_->RestoreDevice(device(), now_);
    } else if (verb == "avoid") {
      scheduler_->AvoidPair(PoolId(Number(words[1])), PoolId(Number(words[2])),
                            now_ + Seconds(words[3]));
    } else if (verb == "books") {
      out = Books();
    } else if (verb == "streams") {
      const StreamStats stats = scheduler_->stream_stats();
      out.push_back(absl::StrFormat(
          "offered %d filled %d caught up %d shed %d dropped %d active %d "
          "blocks %d gain %.3f gang %d shed in %d/%d most %d",
          stats.offered, stats.filled, stats.caught_up, stats.shed,
          stats.dropped, stats.active, stats.blocks, stats.gain,
          stats.gang_rows, stats.shed_steps, stats.pressures,
          stats.most_shed_steps));
    } else if (verb == "complete") {
      scheduler_->CompleteCandidate(request(), Number(words[2]));
    } else if (verb == "linger") {
      scheduler_->Linger(request(), now_);
    } else if (verb == "candidates") {
      const BestOfStats& stats = scheduler_->best_of_stats();
      out.push_back(absl::StrFormat(
          "started %d offered %d filled %d caught up %d evicted %d",
          stats.started, stats.offered, stats.filled, stats.caught_up,
          stats.evicted));
    } else if (verb == "why") {
      for (const Decision& decision : scheduler_->decisions().Since(told_)) {
        out.push_back(ToString(decision));
      }
      told_ = scheduler_->decisions().last_sequence();
    } else {
      ADD_FAILURE() << "unknown command " << verb;
    }
    scheduler_->CheckInvariants();
    return out;
  }

 private:
  bool Configure(const std::vector<std::string>& w) {
    if (w[0] == "device") {
      config_.devices.push_back(
          {.id = DeviceId(Number(w[1])),
           .role = w[2] == "prefill"  ? DeviceRole::kPrefill
                   : w[2] == "decode" ? DeviceRole::kDecode
                                      : DeviceRole::kBoth,
           .pool = PoolId(Number(w[4])),
           .max_rows = Number(w[6])});
    } else if (w[0] == "pool") {
      config_.pool_blocks.push_back(Number(w[3]));
    } else if (w[0] == "split") {
      config_.split = w[1] == "on"    ? SplitMode::kOn
                      : w[1] == "off" ? SplitMode::kOff
                                      : SplitMode::kAuto;
    } else if (w[0] == "chunk") {
      config_.prefill_chunk = Number(w[1]);
    } else if (w[0] == "context") {
      config_.max_context = Number(w[1]);
    } else if (w[0] == "running") {
      config_.max_running = Number(w[1]);
    } else if (w[0] == "queued") {
      config_.max_queued = Number(w[1]);
    } else if (w[0] == "lend") {
      config_.lend_cores = w[1] == "on";
    } else if (w[0] == "cache") {
      config_.prefix_cache = w[1] == "on";
    } else if (w[0] == "roles") {
      config_.static_roles = w[1] == "static";
    } else if (w[0] == "class") {
      classes_.push_back({.name = w[1],
                          .ttft = Seconds(Option(w, "ttft")),
                          .tpot = Seconds(Option(w, "tpot")),
                          .max_queued = Number(Option(w, "queued"))});
    } else if (w[0] == "steps") {
      const auto term = [&](const char* name) {
        const std::string text = Option(w, name);
        return text.empty() ? 0.0 : std::stod(text);
      };
      steps_ = StepTimeModel::Prior{.base = term("base"),
                                    .chunk_token = term("token"),
                                    .chunk_attended = term("attended"),
                                    .decode_row = term("row"),
                                    .decode_attended = term("context"),
                                    .stream_row = term("stream")};
    } else if (w[0] == "set") {
      StreamSet set{.id = static_cast<uint32_t>(config_.stream_sets.size()) + 1,
                    .streams = Number(w[2]),
                    .elastic = w[1] == "nested",
                    .fingerprint = config_.stream_sets.size() + 1};
      // 1/p more with every stream.
      for (uint32_t p = 1; p <= set.streams; ++p) {
        set.gain.push_back(p == 1 ? 0 : set.gain.back() + 0.06 / p);
      }
      config_.stream_sets.push_back(std::move(set));
    } else {
      return false;
    }
    return true;
  }

  void Start() {
    if (classes_.empty()) {
      classes_ = {{.name = "patient",
                   .ttft = std::chrono::minutes(10),
                   .tpot = std::chrono::minutes(1),
                   .max_queued = 1024}};
    }
    config_.classes = classes_;
    if (steps_) {
      for (SchedulerDevice& device : config_.devices) {
        device.prior = *steps_;
        device.prior_measured = true;
      }
    }
    ASSERT_TRUE(Scheduler::Validate(config_).ok())
        << Scheduler::Validate(config_);
    scheduler_ = std::make_unique<Scheduler>(config_);
  }

  std::vector<std::string> Arrive(const std::vector<std::string>& w) {
    const auto number = [&](const char* name) {
      const std::string text = Option(w, name);
      return text.empty() ? 0 : std::stoi(text);
    };
    RequestInput input{.id = RequestId(Number(w[1])),
                       .max_output = Number(w[5]),
                       .skip_cached = std::ranges::find(w, "score") == w.end(),
                       .arrival = now_ + Duration(++arrivals_),
                       .priority = number("priority"),
                       .service_class = static_cast<uint32_t>(number("class")),
                       .tenant = static_cast<uint64_t>(number("tenant"))};
    if (const std::string deadline = Option(w, "deadline"); !deadline.empty()) {
      input.deadline = now_ + Seconds(deadline);
    }
    if (const std::string mode = Option(w, "streams"); !mode.empty()) {
      input.streams.mode =
          mode == "fixed" ? StreamMode::kFixed : StreamMode::kAuto;
      input.streams.max = static_cast<uint32_t>(number("max"));
      input.streams.min = static_cast<uint32_t>(std::max(number("min"), 1));
    }
    if (const std::string n = Option(w, "best-of"); !n.empty()) {
      input.best_of = Number(n);
    }
    for (absl::string_view part : absl::StrSplit(w[3], ',')) {
      const std::vector<std::string> text = absl::StrSplit(part, ':');
      for (uint32_t i = 0; i < Number(text[1]); ++i) {
        input.prompt.push_back(text[0][0] * 1000 + static_cast<TokenId>(i));
      }
    }
    const auto refusal = scheduler_->Offer(std::move(input), now_);
    if (!refusal) return {};
    return {Text(*refusal)};
  }

  static std::string Text(const Refusal& refusal) {
    return absl::StrFormat(
        "refused r%d %s, first token in %.3f s, retry in "
        "%.3f s",
        refusal.request.value(), ToString(refusal.reason),
        refusal.predicted_ttft, refusal.retry_after);
  }

  std::vector<std::string> Turn() {
    std::vector<std::string> out;
    std::vector<Refusal> refused;
    scheduler_->TakeRefused(now_, refused);
    for (const Refusal& refusal : refused) {
      out.push_back(Text(refusal));
      scheduler_->Finish(refusal.request);
    }
    std::vector<SchedulerDevice> order = config_.devices;
    std::stable_partition(order.begin(), order.end(),
                          [](const SchedulerDevice& device) {
                            return device.role == DeviceRole::kDecode;
                          });
    for (const SchedulerDevice& device : order) {
      if (!scheduler_->available(device.id)) continue;
      const StepPlan plan = scheduler_->Plan(device.id, now_);
      EXPECT_EQ(plan, scheduler_->Plan(device.id, now_)) << "not deterministic";
      if (plan.empty()) continue;
      scheduler_->Apply(plan, now_);
      if (!plan.rows.empty()) running_[device.id] = plan;
      out.push_back(ToString(plan));
    }
    return out;
  }

  void Done(const std::vector<std::string>& w) {
    const StepPlan plan = running_.at(DeviceId(Number(w[1])));
    running_.erase(plan.device);
    const double seconds = w.size() > 3 ? std::stod(w[3]) : 0.005;
    if (w.size() > 3) now_ += Seconds(w[3]);
    std::vector<std::optional<TokenId>> drawn;
    for (const PlannedRows& rows : plan.rows) {
      drawn.push_back(rows.draws ? std::optional<TokenId>(++drawn_count_)
                                 : std::nullopt);
    }
    if (w[0] == "failed") drawn.clear();
    // Where it is said what steps take, they teach nothing else.
    scheduler_->Commit(plan, drawn, steps_ ? 0 : seconds, now_);
  }

  std::vector<std::string> Sends() {
    std::vector<std::string> out;
    std::vector<CatchUpId> ids;
    scheduler_->TakeAbandonedSends(ids);
    for (CatchUpId id : ids) out.push_back(absl::StrCat("stop c", id.value()));
    ids.clear();
    scheduler_->TakeSends(now_, ids);
    for (CatchUpId id : ids) {
      const StreamCatchUp& one = *scheduler_->FindCatchUp(id);
      out.push_back(absl::StrFormat(
          "send c%d r%d.%d %d+%d of %d blocks", id.value(), one.request.value(),
          one.stream, one.landed, one.sending, one.blocks.blocks().size()));
    }
    return out;
  }

  std::vector<std::string> Books() const {
    std::vector<std::string> out;
    for (uint32_t i = 0; i < scheduler_->pool_count(); ++i) {
      std::string line = absl::StrCat("pool ", i);
      for (int state = 0; state < kBlockStateCount; ++state) {
        const uint32_t n =
            scheduler_->pool(PoolId(i)).count(static_cast<BlockState>(state));
        if (n > 0) {
          absl::StrAppend(&line, " ", ToString(static_cast<BlockState>(state)),
                          " ", n);
        }
      }
      out.push_back(line);
    }
    return out;
  }

  SchedulerConfig config_;
  std::vector<ServiceClass> classes_;
  std::optional<StepTimeModel::Prior> steps_;
  TimePoint now_;
  uint64_t told_ = 0;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<DeviceId, StepPlan> running_;
  int64_t arrivals_ = 0;
  TokenId drawn_count_ = 0;
};

std::filesystem::path Folder() {
  return std::filesystem::path(BRAID_SOURCE_DIR) / "tests/scheduler/scenarios";
}

std::vector<std::string> Files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

class ScenarioTest : public testing::TestWithParam<std::string> {};

TEST_P(ScenarioTest, PlansWhatTheFileSays) {
  const std::filesystem::path path = Folder() / (GetParam() + ".txt");
  std::ifstream file(path);
  ASSERT_TRUE(file.good());
  Scenario scenario;
  std::string line, expected, actual;
  while (std::getline(file, line)) {
    absl::StrAppend(&expected, line, "\n");
    if (line.starts_with("= ")) continue;
    absl::StrAppend(&actual, line, "\n");
    if (line.empty() || line[0] == '#') continue;
    for (const std::string& printed :
         scenario.Run(absl::StrSplit(line, ' ', absl::SkipWhitespace()))) {
      absl::StrAppend(&actual, "= ", printed, "\n");
    }
  }
  EXPECT_EQ(expected, actual) << path;
  if (std::getenv("BRAID_REWRITE_SCENARIOS") != nullptr) {
    std::ofstream(path) << actual;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ScenarioTest, testing::ValuesIn(Files()),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace braid
