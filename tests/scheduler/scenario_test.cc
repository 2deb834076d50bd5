// Plans as text: every file in scenarios/ is a script of what happens to a
// scheduler, with what it must plan printed below each turn.
//
//   device d0 prefill pool 0 rows 64     a device; role, pool, rows of a step
//   pool 0 blocks 32                     split on|off|auto, chunk N, context N,
//                                        running N, lend on|off, cache on|off
//   arrive r1 prompt a:64,b:36 output 8  64 tokens of the text `a`, 36 of `b`
//                                        (and `score`: all must be computed)
//   turn                                 plans every idle device as the engine
//                                        does, and applies what is not empty
//   done d0 [in 0.1]                     its step ends (after that many
//   seconds) failed d0                            its step ends without a
//   result arrived r1 / lost r1                 its transfer ends finish r1
//   books                                blocks of each pool, by state
//   = text                               what the command above has printed
//
// With BRAID_REWRITE_SCENARIOS=1 in the environment the files are rewritten
// with what is printed now; read the difference before you believe it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

constexpr TimePoint kNow;

// "d1" and "r1" too.
uint32_t Number(const std::string& text) {
  return static_cast<uint32_t>(
      std::stoul(text[0] == 'd' || text[0] == 'r' ? text.substr(1) : text));
}

class Scenario {
 public:
  std::vector<std::string> Run(const std::vector<std::string>& words) {
    const std::string& verb = words[0];
    if (scheduler_ == nullptr && Configure(words)) return {};
    if (scheduler_ == nullptr) {
      EXPECT_TRUE(Scheduler::Validate(config_).ok())
          << Scheduler::Validate(config_);
      scheduler_ = std::make_unique<Scheduler>(config_);
    }
    std::vector<std::string> out;
    if (verb == "arrive") {
      Arrive(words);
    } else if (verb == "turn") {
      out = Turn();
    } else if (verb == "done" || verb == "failed") {
      Done(words);
    } else if (verb == "arrived") {
      scheduler_->CompleteTransfer(RequestId(Number(words[1])), kNow);
    } else if (verb == "lost") {
      scheduler_->FailTransfer(RequestId(Number(words[1])), kNow);
    } else if (verb == "finish") {
      scheduler_->Finish(RequestId(Number(words[1])));
    } else if (verb == "books") {
      out = Books();
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
    } else if (w[0] == "lend") {
      config_.lend_cores = w[1] == "on";
    } else if (w[0] == "cache") {
      config_.prefix_cache = w[1] == "on";
    } else {
      return false;
    }
    return true;
  }

  void Arrive(const std::vector<std::string>& w) {
    RequestInput input{.id = RequestId(Number(w[1])),
                       .max_output = Number(w[5]),
                       .arrival = TimePoint(Duration(++arrivals_))};
    for (absl::string_view part : absl::StrSplit(w[3], ',')) {
      const std::vector<std::string> text = absl::StrSplit(part, ':');
      for (uint32_t i = 0; i < Number(text[1]); ++i) {
        input.prompt.push_back(text[0][0] * 1000 + static_cast<TokenId>(i));
      }
    }
    input.skip_cached = w.size() < 7;
    EXPECT_FALSE(scheduler_->Offer(std::move(input), kNow).has_value());
  }

  std::vector<std::string> Turn() {
    std::vector<std::string> out;
    std::vector<SchedulerDevice> order = config_.devices;
    std::stable_partition(order.begin(), order.end(),
                          [](const SchedulerDevice& device) {
                            return device.role == DeviceRole::kDecode;
                          });
    for (const SchedulerDevice& device : order) {
      if (!scheduler_->available(device.id)) continue;
      const StepPlan plan = scheduler_->Plan(device.id, kNow);
      EXPECT_EQ(plan, scheduler_->Plan(device.id, kNow)) << "not deterministic";
      if (plan.rows.empty()) continue;
      scheduler_->Apply(plan, kNow);
      running_[device.id] = plan;
      out.push_back(ToString(plan));
    }
    return out;
  }

  void Done(const std::vector<std::string>& w) {
    const StepPlan plan = running_.at(DeviceId(Number(w[1])));
    running_.erase(plan.device);
    const double seconds = w.size() > 3 ? std::stod(w[3]) : 0.005;
    std::vector<std::optional<TokenId>> drawn;
    for (const PlannedRows& rows : plan.rows) {
      drawn.push_back(rows.draws ? std::optional<TokenId>(++drawn_count_)
                                 : std::nullopt);
    }
    if (w[0] == "failed") drawn.clear();
    scheduler_->Commit(plan, drawn, seconds, kNow);
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
