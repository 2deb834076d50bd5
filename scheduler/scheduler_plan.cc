// Scheduler::Plan: what a device does next. Everything here is const.
#include <algorithm>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// How many waiting requests a device that is not theirs looks past in order to
// find one of its own.
constexpr size_t kLookahead = 64;

}  // namespace

StepPlan Scheduler::Plan(DeviceId id, TimePoint, StepPlan plan) const {
  const Device& own = device(id);
  BRAID_CHECK(available(id));
  plan.device = id;
  plan.preempted.clear();
  plan.admissions.clear();
  plan.rows.clear();
  plan.lent.clear();
  PlanRows(own, plan);
  if (config_.lend_cores && !plan.rows.empty()) PlanLending(own, plan);
  return plan;
}

// Decode rows first: they are what a user watches. What is left goes to prompt
// chunks, in order of admission, and then to new requests.
void Scheduler::PlanRows(const Device& own, StepPlan& plan) const {
  for (const Request* request : own.decoding) {
    plan.rows.push_back({.request = request->id,
                         .kind = RowKind::kDecode,
                         .first = request->computed});
  }
  // Fewer than max_rows requests are ever bound to a device, so a chunk always
  // finds a row.
  const auto decode_rows = static_cast<uint32_t>(plan.rows.size());
  uint32_t budget =
      std::min(config_.prefill_chunk, own.config.max_rows - decode_rows);
  for (const Request* request : own.prefilling) {
    if (budget == 0) break;
    const auto left =
        static_cast<uint32_t>(request->tokens.size()) - request->computed;
    const uint32_t count = std::min(budget, left);
    plan.rows.push_back({.request = request->id,
                         .kind = RowKind::kChunk,
                         .first = request->computed,
                         .count = count,
                         .draws = count == left && request->max_output > 0});
    budget -= count;
  }
  if (budget > 0) PlanAdmissions(own, budget, plan);
}

void Scheduler::PlanAdmissions(const Device& own, uint32_t budget,
                               StepPlan& plan) const {
  if (waiting_.empty()) return;
  if (config_.split == SplitMode::kOn && !MayPrefill(own)) return;
  Ledger ledger;
  for (const auto& pool : pools_)
    ledger.blocks.push_back(pool->index.available());
  for (const Device& device : devices_) ledger.bound.push_back(device.bound);
  ledger.running = count(RequestState::kPrefilling) +
                   count(RequestState::kTransferring) +
                   count(RequestState::kDecoding);
  ledger.backlog = PrefillBacklog();

  size_t passed_over = 0;
  for (const Request* request : waiting_) {
    if (budget == 0 || passed_over == kLookahead) return;
    if (ledger.running >= config_.max_running) return;
    Admission admission = Place(*request, own, ledger);
    // Whoever does not fit stops all behind it: they could take forever what
    // it waits for.
    if (!Fit(*request, admission, ledger)) return;
    if (admission.prefill != own.config.id) {
      // It is another device's to start. What it needs stays on the ledger.
      ++passed_over;
      continue;
    }
    const auto first =
        static_cast<uint32_t>(admission.shared.size()) * config_.block_tokens;
    const uint32_t left = request->size() - first;
    const uint32_t count = std::min(budget, left);
    plan.rows.push_back({.request = request->id,
                         .kind = RowKind::kChunk,
                         .first = first,
                         .count = count,
                         .draws = count == left && request->max_output > 0});
    plan.admissions.push_back(std::move(admission));
    budget -= count;
  }
}

// Where a waiting request would run, if `own` asks for work now.
Admission Scheduler::Place(const Request& request, const Device& own,
                           const Ledger& ledger) const {
  Admission admission{.request = request.id};
  const auto on_one_device = [&](const Device& where, PlacementReason reason) {
    admission.prefill = admission.decode = where.config.id;
    admission.reason = reason;
    // The last token is always computed: its logits are wanted.
    admission.shared =
        MatchPrefix(request, where.config.pool, request.size() - 1);
    return admission;
  };
  if (one_device()) {
    return on_one_device(LeastBound(ledger, own.config.id),
                         PlacementReason::kOneDevice);
  }
  // A device that may not prefill asks for what could bypass the others.
  const auto prefill = MayPrefill(own)
                           ? devices_.begin() + (&own - devices_.data())
                           : std::ranges::find_if(devices_, MayPrefill);
  if (request.max_output <= 1) {
    return on_one_device(*prefill, PlacementReason::kNoDecode);
  }
  const Device& decode = LeastBound(ledger, prefill->config.id);
  admission.reason = PlacementReason::kSplitForced;
  if (config_.split == SplitMode::kAuto) {
    std::vector<BlockId> shared =
        MatchPrefix(request, decode.config.pool, request.size() - 1);
    const auto cached =
        static_cast<uint32_t>(shared.size()) * config_.block_tokens;
    admission.reason = ChoosePlacement(
        {.uncached_tokens = request.size() - cached,
         .prefill_backlog_tokens = ledger.backlog,
         .decode_rows = static_cast<uint32_t>(decode.decoding.size())},
        cost_);
    if (admission.reason == PlacementReason::kBypassFaster) {
      admission.prefill = admission.decode = decode.config.id;
      admission.shared = std::move(shared);
      return admission;
    }
  }
  admission.prefill = prefill->config.id;
  admission.decode = decode.config.id;
  admission.shared =
      MatchPrefix(request, prefill->config.pool, request.size() - 1);
  if (decode.config.pool != prefill->config.pool) {
    admission.landing_shared =
        MatchPrefix(request, decode.config.pool, request.size());
  }
  return admission;
}

// Whether its blocks can be taken; if so they are, from the ledger.
bool Scheduler::Fit(const Request& request, Admission& admission,
                    Ledger& ledger) const {
  const auto blocks_for = [&](uint64_t tokens) {
    return static_cast<uint32_t>((tokens + config_.block_tokens - 1) /
                                 config_.block_tokens);
  };
  // Sharing a cached block takes it from what could be evicted.
  const auto revived = [&](const std::vector<BlockId>& shared, PoolId pool) {
    return static_cast<uint32_t>(
        std::ranges::count_if(shared, [&](BlockId block) {
          return this->pool(pool).state(block) == BlockState::kCached;
        }));
  };
  const PoolId prefill = pool_of(admission.prefill);
  const PoolId decode = pool_of(admission.decode);
  uint32_t& bound = ledger.bound[&device(admission.decode) - devices_.data()];
  if (bound + 1 >= device(admission.decode).config.max_rows) return false;

  const uint32_t all = blocks_for(request.positions());
  uint32_t& in_prefill = ledger.blocks[prefill.value()];
  const bool two_pools = prefill != decode;
  admission.taken = (two_pools ? blocks_for(request.size()) : all) -
                    static_cast<uint32_t>(admission.shared.size());
  const uint32_t need = admission.taken + revived(admission.shared, prefill);
  if (need > in_prefill) return false;
  if (two_pools) {
    uint32_t& in_decode = ledger.blocks[decode.value()];
    admission.landing_taken =
        all - static_cast<uint32_t>(admission.landing_shared.size());
    const uint32_t landing_need =
        admission.landing_taken + revived(admission.landing_shared, decode);
    if (landing_need > in_decode) return false;
    in_decode -= landing_need;
  }
  in_prefill -= need;
  ++bound;
  ++ledger.running;
  if (admission.reason != PlacementReason::kBypassFaster) {
    ledger.backlog +=
        request.size() - admission.shared.size() * config_.block_tokens;
  }
  return true;
}

// The decode device with the fewest requests bound to it; of equals not
// `avoid`, then the first.
const Scheduler::Device& Scheduler::LeastBound(const Ledger& ledger,
                                               DeviceId avoid) const {
  const bool any = one_device();
  const Device* best = nullptr;
  size_t best_index = 0;
  for (size_t i = 0; i < devices_.size(); ++i) {
    const Device& device = devices_[i];
    if (!any && !MayDecode(device)) continue;
    if (best == nullptr || ledger.bound[i] < ledger.bound[best_index] ||
        (!any && ledger.bound[i] == ledger.bound[best_index] &&
         best->config.id == avoid)) {
      best = &device;
      best_index = i;
    }
  }
  return *best;
}

// Prompt tokens ahead of a new request, on the prefill device with the fewest.
uint64_t Scheduler::PrefillBacklog() const {
  uint64_t least = ~uint64_t{0};
  for (const Device& device : devices_) {
    if (!MayPrefill(device)) continue;
    uint64_t backlog = 0;
    for (const Request* request : device.prefilling) {
      backlog += request->tokens.size() - request->computed;
    }
    least = std::min(least, backlog);
  }
  return least;
}

std::vector<BlockId> Scheduler::MatchPrefix(const Request& request, PoolId id,
                                            uint32_t tokens) const {
  // A landing prefix is only not sent again; nothing is skipped because of it.
  const bool computes_all = !request.skip_cached && request.output().empty() &&
                            tokens < request.size();
  if (!config_.prefix_cache || computes_all) return {};
  return index(id)
      .Match(request.prefix_seed, std::span(request.tokens).first(tokens))
      .blocks;
}

// An idle device with nothing to run, and nothing on its way to it, lends its
// cores. It is without them until this step ends, which is why a step is no
// longer than a chunk.
void Scheduler::PlanLending(const Device& own, StepPlan& plan) const {
  StepPlan other_plan;
  for (const Device& other : devices_) {
    if (&other == &own || !available(other.config.id)) continue;
    if (other.transferring > 0) continue;
    other_plan.rows.clear();
    other_plan.admissions.clear();
    PlanRows(other, other_plan);
    const bool nothing_of_its_own = std::ranges::all_of(
        other_plan.admissions, [&](const Admission& admission) {
          return std::ranges::find(plan.admissions, admission.request,
                                   &Admission::request) !=
                 plan.admissions.end();
        });
    const bool no_old_rows =
        other_plan.rows.size() == other_plan.admissions.size();
    if (nothing_of_its_own && no_old_rows) plan.lent.push_back(other.config.id);
  }
}

}  // namespace braid
