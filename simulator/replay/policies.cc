#include "simulator/replay/policies.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "scheduler/placement_cost.h"

namespace braid {
namespace {

struct Known {
  const char* name;
  std::vector<const char*> parameters;
};

const std::vector<Known>& AllPolicies() {
  static const std::vector<Known> known = {
      {"braid", {"late", "slack", "harm", "work", "role", "turn"}},
      {"round-robin", {"refuse"}},
      {"least-load", {"refuse"}},
      {"dynamo", {"overlap", "refuse"}},
      {"mooncake", {"refuse"}},
      {"sticky", {"saturation", "refuse"}},
      {"aggregated", {"router", "overlap", "saturation", "refuse"}},
  };
  return known;
}

constexpr absl::string_view kRouters[] = {"round-robin", "least-load", "dynamo",
                                          "sticky"};

// A predicted TTFT that no target allows, seconds.
constexpr double kTooLate = 1e9;

double Number(const PolicySpec& spec, const std::string& key, double value) {
  const auto it = spec.parameters.find(key);
  if (it != spec.parameters.end()) {
    BRAID_CHECK(absl::SimpleAtod(it->second, &value));
  }
  return value;
}

uint32_t Uncached(const PlacementQuery& query, const DeviceView& device) {
  // The last token is always computed: its logits are wanted.
  return query.prompt_tokens -
         std::min(device.cached_tokens, query.prompt_tokens - 1);
}

// Seconds of the prompt's own steps on that device, next to nothing else.
double PrefillSeconds(const PlacementQuery& query, const DeviceView& device) {
  const uint32_t first = query.prompt_tokens - Uncached(query, device);
  double seconds = 0;
  for (uint32_t at = first; at < query.prompt_tokens;) {
    const uint32_t count =
        std::min(std::max(query.max_chunk, 1u), query.prompt_tokens - at);
    StepShape shape;
    shape.AddChunk(at, count);
    seconds += device.time->Predict(shape);
    at += count;
  }
  return seconds;
}

double DecodeStepSeconds(const PlacementQuery& query,
                         const DeviceView& device) {
  StepShape shape{.decode_rows = device.decode_rows,
                  .decode_attended = device.decode_attended};
  shape.AddDecodeRow(query.prompt_tokens);
  return device.time->Predict(shape);
}

bool Fits(const PlacementQuery& query, const DeviceView& device) {
  return device.up && query.blocks <= device.all_blocks;
}

bool MayPrefill(const PlacementQuery& query, const DeviceView& device) {
  return Fits(query, device) &&
         (query.split != SplitMode::kOn || device.role != DeviceRole::kDecode);
}

bool MayDecode(const PlacementQuery& query, const DeviceView& device) {
  return Fits(query, device) &&
         (query.split != SplitMode::kOn || device.role != DeviceRole::kPrefill);
}

// What a baseline says of a device; the smallest wins, of equals the first.
using Score = std::function<double(const PlacementQuery&, const DeviceView&)>;

struct Baseline {
  Score prefill, decode;
  Score both;  // when one device does the two phases
  // Told what was chosen.
  std::function<void(const Placement&)> chosen = [](const Placement&) {};
  bool refuse = false;
  bool refuse_tpot = false;  // a step that would be too long is a reason too
};

template <typename Fits>
const DeviceView* Least(const PlacementQuery& query, const Score& score,
                        Fits fits) {
  const DeviceView* best = nullptr;
  double least = 0;
  for (const DeviceView& device : query.devices) {
    if (!fits(device)) continue;
    const double value = score(query, device);
    if (best == nullptr || value < least) {
      best = &device;
      least = value;
    }
  }
  return best;
}

double QueuedTokens(const PlacementQuery& query, const DeviceView& device) {
  return static_cast<double>(device.queued_tokens) + Uncached(query, device);
}

// Requests that run there; of equals the tokens they attend to.
double Requests(const PlacementQuery&, const DeviceView& device) {
  return device.decode_rows +
         static_cast<double>(device.decode_attended) * 1e-12;
}

// Tokens that are queued there or attended to.
double Tokens(const PlacementQuery&, const DeviceView& device) {
  return static_cast<double>(device.queued_tokens) +
         static_cast<double>(device.decode_attended);
}

Baseline RoundRobin() {
  // The device that was chosen least often has its turn.
  struct Turns {
    std::map<DeviceId, uint64_t> prefill, decode;
  };
  auto turns = std::make_shared<Turns>();  // of the scores and of `chosen`
  const Score prefill = [turns](const auto&, const DeviceView& device) {
    return static_cast<double>(turns->prefill[device.id]);
  };
  const Score decode = [turns](const auto&, const DeviceView& device) {
    return static_cast<double>(turns->decode[device.id]);
  };
  return {.prefill = prefill,
          .decode = decode,
          .both = prefill,
          .chosen = [turns](const Placement& placement) {
            ++turns->prefill[placement.prefill];
            ++turns->decode[placement.decode];
          }};
}

Baseline LeastLoad() {
  return {.prefill =
              [](const auto&, const DeviceView& device) {
                return static_cast<double>(device.queued_tokens);
              },
          .decode = Requests,
          .both = Tokens};
}

Baseline Dynamo(double overlap, uint32_t block_tokens) {
  const Score decode = [block_tokens](const PlacementQuery& query,
                                      const DeviceView& device) {
    return (static_cast<double>(device.decode_attended) + query.prompt_tokens) /
           block_tokens;
  };
  const Score both = [=](const PlacementQuery& query,
                         const DeviceView& device) {
    return overlap * QueuedTokens(query, device) / block_tokens +
           decode(query, device);
  };
  return {.prefill = both, .decode = decode, .both = both};
}

Baseline Mooncake() {
  const Score prefill = [](const PlacementQuery& query,
                           const DeviceView& device) {
    return device.prefill_wait + PrefillSeconds(query, device);
  };
  return {.prefill = prefill,
          .decode = Requests,
          .both = prefill,
          .refuse_tpot = true};
}

Baseline Sticky(double saturation) {
  // Prefix first; without one, or when saturated, the load decides.
  const auto affine = [saturation](const Score& load) -> Score {
    return [=](const PlacementQuery& query, const DeviceView& device) {
      const bool saturated =
          static_cast<double>(device.queued_tokens) > saturation;
      const double value = load(query, device);
      return saturated || device.cached_tokens == 0
                 ? value
                 : value * 1e-9 - device.cached_tokens;
    };
  };
  return {.prefill = affine([](const auto&, const DeviceView& device) {
            return static_cast<double>(device.queued_tokens);
          }),
          .decode = Requests,
          .both = affine(Tokens)};
}

Baseline BaselineOf(absl::string_view name, const PolicySpec& spec,
                    uint32_t block_tokens) {
  if (name == "round-robin") return RoundRobin();
  if (name == "least-load") return LeastLoad();
  if (name == "dynamo") return Dynamo(Number(spec, "overlap", 1), block_tokens);
  if (name == "mooncake") return Mooncake();
  BRAID_CHECK(name == "sticky");
  return Sticky(Number(spec, "saturation", 35 * 8192));
}

std::optional<Placement> Choose(const Baseline& baseline,
                                const PlacementQuery& query) {
  const DeviceView* prefill = nullptr;
  const DeviceView* decode = nullptr;
  Placement placement;
  if (query.split == SplitMode::kOff) {
    prefill = decode = Least(query, baseline.both, [&](const DeviceView& view) {
      return Fits(query, view);
    });
    placement.reason = PlacementReason::kOneDevice;
  } else {
    prefill = Least(query, baseline.prefill, [&](const DeviceView& view) {
      return MayPrefill(query, view);
    });
    placement.reason = PlacementReason::kSplitForced;
    if (prefill != nullptr && query.expected_output <= 1) {
      decode = prefill;
      placement.reason = PlacementReason::kNoDecode;
    } else if (prefill != nullptr) {
      decode = Least(query, baseline.decode, [&](const DeviceView& view) {
        return MayDecode(query, view) &&
               (view.pool == prefill->pool ||
                query.transfer(prefill->pool, view.pool, query.prompt_tokens) !=
                    kNoLink);
      });
    }
  }
  if (prefill == nullptr || decode == nullptr) return std::nullopt;
  placement.prefill = prefill->id;
  placement.decode = decode->id;
  placement.tpot = DecodeStepSeconds(query, *decode);
  if (baseline.refuse) {
    placement.ttft = std::max(prefill->prefill_wait, decode->credit_wait) +
                     PrefillSeconds(query, *prefill);
    if (baseline.refuse_tpot && placement.tpot > query.tpot_target) {
      placement.ttft = kTooLate;
    }
  }
  baseline.chosen(placement);
  return placement;
}

}  // namespace

std::string PolicySpec::ToString() const {
  if (parameters.empty()) return name;
  return absl::StrCat(name, ":",
                      absl::StrJoin(parameters, ",", absl::PairFormatter("=")));
}

std::vector<std::string> PolicyNames() {
  std::vector<std::string> names;
  for (const Known& known : AllPolicies()) names.push_back(known.name);
  return names;
}

absl::StatusOr<PolicySpec> ParsePolicy(absl::string_view text) {
  const std::vector<std::string> halves =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  PolicySpec spec{.name = halves[0]};
  const auto known = std::ranges::find(AllPolicies(), spec.name, &Known::name);
  if (known == AllPolicies().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy \"", spec.name, "\": expected one of ",
                     absl::StrJoin(PolicyNames(), ", ")));
  }
  if (halves.size() == 1) return spec;
  for (absl::string_view item : absl::StrSplit(halves[1], ',')) {
    const std::vector<std::string> pair =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    const auto bad = [&](absl::string_view message) {
      return absl::InvalidArgumentError(
          absl::StrCat("policy ", spec.name, ": \"", item, "\": ", message));
    };
    if (pair.size() != 2) return bad("expected key=value");
    if (std::ranges::find(known->parameters, absl::string_view(pair[0])) ==
        known->parameters.end()) {
      return bad(
          absl::StrCat("it knows ", absl::StrJoin(known->parameters, ", ")));
    }
    double number = 0;
    if (pair[0] == "router") {
      if (std::ranges::find(kRouters, absl::string_view(pair[1])) ==
          std::end(kRouters)) {
        return bad(absl::StrCat("expected ", absl::StrJoin(kRouters, ", ")));
      }
    } else if (!absl::SimpleAtod(pair[1], &number) || !(number >= 0)) {
      return bad("expected a number >= 0");
    }
    spec.parameters[pair[0]] = pair[1];
  }
  return spec;
}

PlacementPolicy MakePolicy(const PolicySpec& spec, uint32_t block_tokens) {
  if (spec.name == "braid") {
    if (spec.parameters.empty()) return ChoosePlacement;
    PlacementWeights weights;
    weights.late = Number(spec, "late", weights.late);
    weights.slack = Number(spec, "slack", weights.slack);
    weights.harm = Number(spec, "harm", weights.harm);
    weights.work = Number(spec, "work", weights.work);
    weights.role = Number(spec, "role", weights.role);
    weights.turn = Number(spec, "turn", weights.turn);
    return [weights](const PlacementQuery& query) {
      return PlaceByCost(query, weights);
    };
  }
  const bool aggregated = spec.name == "aggregated";
  const auto router = spec.parameters.find("router");
  const std::string name = !aggregated                       ? spec.name
                           : router == spec.parameters.end() ? "least-load"
                                                             : router->second;
  Baseline baseline = BaselineOf(name, spec, block_tokens);
  // Mooncake's early rejection is part of its algorithm.
  baseline.refuse = Number(spec, "refuse", name == "mooncake" ? 1 : 0) != 0;
  return [baseline](const PlacementQuery& query) {
    return Choose(baseline, query);
  };
}

}  // namespace braid
