// Who runs its PARSCALE streams in lock-step, and what the KV of a stream may
// be shared by.
#include <algorithm>

#include "base/hash.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// A gang is chosen where its prompt takes no more of the TTFT target than this,
// and its step no more of the token target.
constexpr double kGangTtftShare = 0.5, kGangTpotShare = 0.8;

}  // namespace

// The set with which a fixed gang runs; null: there is none for it.
const StreamSet* Scheduler::GangSet(const StreamTerms& terms) const {
  for (const StreamSet& set : config_.stream_sets) {
    if (set.streams == terms.max || (set.elastic && set.streams > terms.max)) {
      return &set;
    }
  }
  return nullptr;
}

// Whether a prefix may be shared: KV depends on the set and the stream. Elastic
// streams share among themselves alone, so that what they hold can always be
// taken from them; and those with a layer 0 of their own (`apart`) again among
// themselves, as the others' blocks lack it.
PrefixKeys Scheduler::KeysOf(const Request& request, uint32_t stream,
                             bool apart) const {
  uint64_t seed = request.prefix_seed;
  const StreamSet* set = request.set;
  if (set != nullptr && (stream > 0 || !set->elastic)) {
    seed = Hash64Of(std::span<const uint64_t>({seed, set->fingerprint, stream,
                                               apart              ? 2u
                                               : request.gang > 1 ? 1u
                                                                  : 0u}));
  }
  return PrefixKeys(seed, config_.block_tokens,
                    /*spare=*/stream > 0 && request.elastic());
}

void Scheduler::ExtendKeys(Request& request) const {
  if (!config_.prefix_cache) return;
  // As its answer grows, nothing is allocated.
  const size_t tokens = size_t{request.prompt_size} + request.max_output;
  request.keys.Reserve(tokens);
  request.keys.Extend(request.tokens);
  for (RequestStream& stream : request.streams) {
    stream.keys.Reserve(tokens);
    stream.keys.Extend(request.tokens);
  }
}

void Scheduler::SetGang(Request& request, const StreamSet* set, uint32_t gang) {
  request.set = set;
  request.gang = gang;
  request.streams.clear();
  for (uint32_t stream = 1; stream < gang; ++stream) {
    request.streams.emplace_back().keys = KeysOf(request, stream);
  }
  request.keys = KeysOf(request, 0);
  ExtendKeys(request);
}

// On arrival. A fixed gang is what was asked for; of sets with one P, the
// largest that idle rows and blocks carry.
void Scheduler::ChooseGang(Request& request) {
  const StreamTerms& terms = request.terms;
  const bool streams = terms.mode != StreamMode::kOff && terms.max > 1;
  if (!streams || config_.stream_sets.empty()) {
    return SetGang(request, nullptr, 1);
  }
  if (terms.mode == StreamMode::kFixed) {
    return SetGang(request, GangSet(terms), terms.max);
  }
  const StreamSet* largest = nullptr;
  bool smaller = false;  // there is one that does not fit
  for (const StreamSet& set : config_.stream_sets) {
    if (set.elastic) return SetGang(request, &set, 1);
    if (set.streams > terms.max) continue;
    if (largest != nullptr && set.streams <= largest->streams) continue;
    if (GangFits(request, set.streams)) {
      largest = &set;
    } else {
      smaller = true;
    }
  }
  SetGang(request, largest, largest == nullptr ? 1 : largest->streams);
  Log(DecisionKind::kStreams,
      largest == nullptr ? "full-house"
      : smaller          ? "smaller-gang"
                         : "gang",
      request, request.gang, BlocksOf(request));
}

bool Scheduler::GangFits(const Request& request, uint32_t gang) const {
  if (queue_.size() > 0) return false;
  const uint64_t blocks = uint64_t{gang} * BlocksFor(request.positions());
  return std::ranges::any_of(devices_, [&](const DeviceState& device) {
    if (!device.up || !MayRunGang(device, gang) || !device.HasRows(gang) ||
        blocks > PoolOf(device.config.pool).available()) {
      return false;
    }
    if (!IsWarm(device)) return running() == 0;
    const PromptWork prompt = PromptWork::Of(0, request.size(), gang);
    if (PrefillWait(device, PromptWork()) + PromptSeconds(device, prompt) >
        kGangTtftShare * ToSeconds(ClassOf(request).ttft)) {
      return false;
    }
    StepShape step = device.DecodeShape();
    step.AddDecodeRow(request.size());
    for (uint32_t i = 1; i < gang; ++i) {
      step.AddStreamRows(request.size() - 1, 1);
    }
    return TimeOf(device).Predict(step) <=
           kGangTpotShare * TpotWith(device, request);
  });
}

// It may run as one stream too.
bool Scheduler::IsOptionalGang(const Request& request) const {
  return request.gang > 1 && request.terms.mode == StreamMode::kAuto;
}

// Waiting: the house is full.
void Scheduler::GiveUpGang(Request& request) {
  Unbind(request);
  SetGang(request, nullptr, 1);
  Log(DecisionKind::kStreams, "full-house", request, 1, BlocksOf(request));
}

}  // namespace braid
