#include "scheduler/placement_policy.h"

#include <algorithm>
#include <tuple>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "scheduler/placement_cost.h"

namespace braid {
namespace {

// A lower bound may exceed what it bounds by rounding.
constexpr double kRounding = 1 + 1e-9;

struct Candidate {
  const DeviceView* device;
  bool may_prefill, may_decode;
  PrefillCost prefill;
  DecodeCost decode;
  // No pair with it is cheaper than the sum of its sides' least.
  double least_as_prefill, least_as_decode;
};

struct Pick {
  const Candidate* prefill = nullptr;
  const Candidate* decode = nullptr;
  PairCost price;
};

class Picker {
 public:
  Picker(const PlacementQuery& query, const PlacementWeights& weights)
      : query_(query), weights_(weights) {
    for (const DeviceView& device : query.devices) Add(device);
  }

  std::optional<Placement> Run() {
    const bool one_device =
        query_.split == SplitMode::kOff || DecodedTokens(query_) == 0;
    if (one_device || query_.split == SplitMode::kAuto) PickOne();
    if (!one_device) PickTwo();
    // Roles are walls, but a device without one may do both when it is alone.
    if (best_.prefill == nullptr && !one_device) PickOne();
    if (best_.prefill == nullptr) return std::nullopt;
    return Placement{
        .prefill = best_.prefill->device->id,
        .decode = best_.decode->device->id,
        .reason = Reason(),
        .ttft = best_.price.ttft,
        .tpot = best_.decode->decode.tpot,
        .damage = best_.prefill->prefill.damage + best_.decode->decode.damage};
  }

 private:
  // Filter and score.
  void Add(const DeviceView& device) {
    if (!device.up || query_.blocks > device.all_blocks) return;
    BRAID_CHECK(device.time != nullptr);
    const bool walls = query_.split == SplitMode::kOn;
    Candidate& candidate = candidates_.emplace_back();
    candidate.device = &device;
    candidate.may_prefill = !walls || device.role != DeviceRole::kDecode;
    candidate.may_decode = !walls || device.role != DeviceRole::kPrefill;
    candidate.prefill = PrefillCostOf(query_, weights_, device);
    candidate.decode = DecodeCostOf(query_, weights_, device);
    candidate.least_as_prefill =
        PairCostOf(query_, weights_, candidate.prefill, DecodeCost(), 0, 0)
            .cost;
    candidate.least_as_decode =
        PairCostOf(query_, weights_, PrefillCost(), candidate.decode, 0, 0)
            .cost;
  }

  // Seconds of hand-over, or kNoLink.
  double Transfer(const DeviceView& from, const DeviceView& to) const {
    if (from.node != to.node) return kNoLink;
    if (from.pool == to.pool) return 0;
    if (!query_.transfer) return kNoLink;
    const uint32_t cached = std::min(to.cached_tokens, query_.prompt_tokens);
    return query_.transfer(from.pool, to.pool, query_.prompt_tokens - cached);
  }

  PairCost Price(const Candidate& p, const Candidate& d,
                 double transfer) const {
    double credit = d.decode.wait;
    if (p.device->pool != d.device->pool) {
      credit = std::max(credit, p.decode.wait);
    }
    const double hand_over = &p == &d ? 0 : transfer + d.decode.join;
    PairCost pair =
        PairCostOf(query_, weights_, p.prefill, d.decode, credit, hand_over);
    if (&p != &d && d.device->lends()) {
      // Prompts that are before its rows and do not go before it.
      pair.cost += weights_.apart * pair.own +
                   std::max(0.0, d.device->prefill_wait - pair.ttft);
    }
    return pair;
  }

  void Consider(const Candidate& p, const Candidate& d, double transfer) {
    const PairCost price = Price(p, d, transfer);
    const auto rank = [](double cost, const Candidate& a, const Candidate& b) {
      return std::tuple(cost, a.device->id, b.device->id);
    };
    if (best_.prefill == nullptr ||
        rank(price.cost, p, d) <
            rank(best_.price.cost, *best_.prefill, *best_.decode)) {
      best_ = {&p, &d, price};
    }
  }

  void PickOne() {
    for (const Candidate& x : candidates_) {
      const bool decodes = DecodedTokens(query_) > 0;
      if (x.may_prefill && (x.may_decode || !decodes)) Consider(x, x, 0);
    }
  }

  void ConsiderTwo(const Candidate& p, const Candidate& d) {
    if (&p == &d || p.device->node != d.device->node) return;
    const double transfer = Transfer(*p.device, *d.device);
    if (transfer >= 0) Consider(p, d, transfer);
  }

  bool Hopeless(double least) const {
    return best_.prefill != nullptr && least > best_.price.cost * kRounding;
  }

  // The most promising pair first; then only those that its price leaves a
  // chance.
  void PickTwo() {
    const Candidate *first_p = nullptr, *first_d = nullptr;
    for (const Candidate& x : candidates_) {
      if (x.may_prefill && (first_p == nullptr ||
                            x.least_as_prefill < first_p->least_as_prefill)) {
        first_p = &x;
      }
      if (x.may_decode && (first_d == nullptr ||
                           x.least_as_decode < first_d->least_as_decode)) {
        first_d = &x;
      }
    }
    if (first_p == nullptr || first_d == nullptr) return;
    ConsiderTwo(*first_p, *first_d);
    for (const Candidate& p : candidates_) {
      if (!p.may_prefill) continue;
      if (Hopeless(p.least_as_prefill + first_d->least_as_decode)) continue;
      for (const Candidate& d : candidates_) {
        if (!d.may_decode) continue;
        if (Hopeless(p.least_as_prefill + d.least_as_decode)) continue;
        ConsiderTwo(p, d);
      }
    }
  }

  bool CouldSplit() const {
    for (const Candidate& p : candidates_) {
      for (const Candidate& d : candidates_) {
        if (&p == &d || !p.may_prefill || !d.may_decode) continue;
        if (Transfer(*p.device, *d.device) >= 0) return true;
      }
    }
    return false;
  }

  // Whether p's prefix is what makes up for its queue: there is a device whose
  // turn is sooner and that knows less, and p would be later without it.
  bool CacheDecides() const {
    const Candidate& p = *best_.prefill;
    const Candidate* rival = nullptr;
    for (const Candidate& q : candidates_) {
      if (!q.may_prefill || q.prefill.wait >= p.prefill.wait ||
          q.device->cached_tokens >= p.device->cached_tokens) {
        continue;
      }
      if (rival == nullptr ||
          q.prefill.wait + q.prefill.compute <
              rival->prefill.wait + rival->prefill.compute) {
        rival = &q;
      }
    }
    if (rival == nullptr) return false;
    DeviceView unknowing = *p.device;
    unknowing.cached_tokens = rival->device->cached_tokens;
    const PrefillCost without = PrefillCostOf(query_, weights_, unknowing);
    return without.wait + without.compute >
           rival->prefill.wait + rival->prefill.compute;
  }

  // Whether every decode device that x could hand over to is full.
  bool OthersAreFull(const Candidate& x) const {
    bool any = false;
    for (const Candidate& d : candidates_) {
      if (&d == &x || d.device->role == DeviceRole::kPrefill) continue;
      if (Transfer(*x.device, *d.device) < 0) continue;
      if (d.decode.wait <= x.decode.wait) return false;
      any = true;
    }
    return any;
  }

  bool OneDeviceWouldBeFaster() const {
    return std::ranges::any_of(candidates_, [&](const Candidate& x) {
      return Price(x, x, 0).own < best_.price.own;
    });
  }

  PlacementReason Reason() const {
    if (query_.split == SplitMode::kOff || candidates_.size() == 1) {
      return PlacementReason::kOneDevice;
    }
    if (DecodedTokens(query_) == 0) return PlacementReason::kNoDecode;
    const bool two = best_.prefill != best_.decode;
    if (query_.split == SplitMode::kOn) {
      return two ? PlacementReason::kSplitForced : PlacementReason::kOneDevice;
    }
    if (!two && !CouldSplit()) return PlacementReason::kOneDevice;
    if (CacheDecides()) return PlacementReason::kCacheNear;
    if (two) {
      return OneDeviceWouldBeFaster() ? PlacementReason::kSplitHarmless
                                      : PlacementReason::kSplitFaster;
    }
    return OthersAreFull(*best_.prefill) ? PlacementReason::kDecodeStays
                                         : PlacementReason::kBypassFaster;
  }

  const PlacementQuery& query_;
  const PlacementWeights& weights_;
  absl::InlinedVector<Candidate, 64> candidates_;
  Pick best_;
};

}  // namespace

const char* ToString(PlacementReason reason) {
  switch (reason) {
    case PlacementReason::kOneDevice:
      return "one-device";
    case PlacementReason::kNoDecode:
      return "no-decode";
    case PlacementReason::kSplitForced:
      return "split-forced";
    case PlacementReason::kSplitFaster:
      return "split-faster";
    case PlacementReason::kSplitHarmless:
      return "split-harmless";
    case PlacementReason::kBypassFaster:
      return "bypass-faster";
    case PlacementReason::kDecodeStays:
      return "decode-stays";
    case PlacementReason::kCacheNear:
      return "cache-near";
  }
  return "?";
}

std::optional<Placement> PlaceByCost(const PlacementQuery& query,
                                     const PlacementWeights& weights) {
  BRAID_CHECK(query.prompt_tokens > 0);
  return Picker(query, weights).Run();
}

std::optional<Placement> ChoosePlacement(const PlacementQuery& query) {
  return PlaceByCost(query, PlacementWeights());
}

}  // namespace braid
