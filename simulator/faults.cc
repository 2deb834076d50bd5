#include "simulator/faults.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace braid {
namespace {

struct KindText {
  const char* name;
  const char* what;
};

constexpr std::array<KindText, kFaultKindCount> kKinds = {{
    {"message-loss", "a message with KV bytes never arrives"},
    {"message-delay", "a message arrives much later"},
    {"message-duplicate", "a message arrives twice"},
    {"message-reorder", "a message is overtaken by those behind it"},
    {"transfer-failure", "a transfer breaks off"},
    {"open-refused", "a transfer cannot be opened"},
    {"byte-flip", "a byte changes on the wire"},
    {"device-crash", "a device loses its memory, and returns later"},
    {"node-crash", "all devices of a node are gone, and its requests"},
    {"step-failure", "one step of a device fails"},
    {"slow-device", "a device takes many times longer for a while"},
    {"full-pool", "a pool holds hardly more than the largest request"},
    {"cancel", "a client cancels, at any stage"},
    {"deadline", "a request has a deadline that it may not meet"},
    {"slow-reader", "a client does not take its tokens"},
    {"clock-jump", "a clock jumps ahead"},
    {"late-completion", "a step or transfer is reported late"},
    {"duplicate-completion", "progress and wake-ups are told twice"},
}};

}  // namespace

absl::string_view ToString(FaultKind kind) {
  return kKinds[static_cast<size_t>(kind)].name;
}

absl::string_view Describe(FaultKind kind) {
  return kKinds[static_cast<size_t>(kind)].what;
}

absl::StatusOr<FaultSet> FaultSet::Parse(absl::string_view list) {
  if (list == "all") return All();
  if (list == "none" || list.empty()) return None();
  FaultSet set = None();
  std::string known_names;
  for (const KindText& kind : kKinds) {
    absl::StrAppend(&known_names, ", ", kind.name);
  }
  for (absl::string_view name : absl::StrSplit(list, ',')) {
    bool known = false;
    for (int i = 0; i < kFaultKindCount; ++i) {
      if (name != kKinds[i].name) continue;
      set.bits_ |= 1u << i;
      known = true;
    }
    if (!known) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown fault '", name, "'; known are all, none", known_names));
    }
  }
  return set;
}

std::string ToString(FaultSet faults) {
  if (faults.empty()) return "none";
  if (faults == FaultSet::All()) return "all";
  std::string list;
  for (int i = 0; i < kFaultKindCount; ++i) {
    if (!faults.contains(static_cast<FaultKind>(i))) continue;
    absl::StrAppend(&list, list.empty() ? "" : ",", kKinds[i].name);
  }
  return list;
}

FaultSource::FaultSource(uint64_t seed, FaultSet allowed, uint64_t limit)
    : limit_(limit) {
  for (int i = 0; i < kFaultKindCount; ++i) {
    Stream& stream = streams_[i];
    stream.rng = Rng(seed * 1000003 + 17 * static_cast<uint64_t>(i) + 5);
    const bool taken = stream.rng.Below(3) != 0;
    // From a third of the nominal rate to three times it.
    const double rate = std::pow(3.0, 2 * stream.rng.Uniform() - 1);
    if (taken && allowed.contains(static_cast<FaultKind>(i))) {
      stream.rate = rate;
    }
  }
}

bool FaultSource::on(FaultKind kind) const {
  return streams_[static_cast<size_t>(kind)].rate > 0;
}

bool FaultSource::Happens(FaultKind kind, double share) {
  Stream& own = stream(kind);
  if (own.rate == 0 || injected_ >= limit_) return false;
  if (own.rng.Uniform() >= share * own.rate) return false;
  ++injected_;
  ++by_kind_[static_cast<size_t>(kind)];
  return true;
}

uint64_t FaultSource::Below(FaultKind kind, uint64_t bound) {
  return stream(kind).rng.Below(bound);
}

double FaultSource::Uniform(FaultKind kind) {
  return stream(kind).rng.Uniform();
}

}  // namespace braid
