// Turns a Scheduler in virtual time: steps take exactly what the devices'
// priors say, or what is given by the number of devices that lend a step their
// cores; hand-overs a fixed time, and every request runs to its full length.
// One that asks for candidates lingers for half as long again. Devices that
// shed in flight, or end a step that gives way, do so a layer later.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"

namespace braid {

class TimedDriver {
 public:
  struct Client {
    TimePoint arrival, first_token = kNever, finished = kNever;
    TimePoint last_token;
    uint32_t output = 0, preempted = 0;
    uint64_t streams = 0;     // summed over its tokens
    uint32_t candidates = 0;  // further ones that were complete at the end
    Duration longest_gap{0};
    std::optional<Refusal> refused;
  };

  explicit TimedDriver(SchedulerConfig config)
      : config_(std::move(config)), scheduler_(config_) {}
  // Steps on that many lent devices' cores, of every device; up to that share
  // more or less by `noise`. The scheduler is told how long each took, as the
  // engine would: it has to learn.
  TimedDriver(SchedulerConfig config, std::vector<StepTimeModel> by_lent,
              Duration hand_over = std::chrono::milliseconds(1),
              double noise = 0)
      : config_(std::move(config)),
        by_lent_(std::move(by_lent)),
        hand_over_(hand_over),
        noise_(noise),
        scheduler_(config_) {}

  Scheduler& scheduler() { return scheduler_; }
  TimePoint now() const { return now_; }
  const Client& client(RequestId id) const { return clients_.at(id); }
  const std::map<RequestId, Client>& clients() const { return clients_; }

  // Of its own text, unless told otherwise.
  RequestInput Input(uint32_t prompt, uint32_t output, uint32_t of_class = 0) {
    RequestInput input{.id = RequestId(++last_id_),
                       .max_output = output,
                       .arrival = now_,
                       .service_class = of_class};
    for (uint32_t i = 0; i < prompt; ++i) {
      input.prompt.push_back(static_cast<TokenId>(last_id_ * 1000 + i));
    }
    return input;
  }
  const Client& Offer(RequestInput input) {
    Client& client = clients_[input.id];
    client.arrival = now_;
    client.refused = scheduler_.Offer(std::move(input), now_);
    return client;
  }

  bool busy() const {
    return std::ranges::any_of(clients_, [](const auto& item) {
      return item.second.finished == kNever && !item.second.refused;
    });
  }

  // Until nothing can happen any more, or `until`.
  void Run(TimePoint until = kNever) {
    for (int events = 0; events < 2000000; ++events) {
      Turn();
      const TimePoint next = NextEvent();
      if (next == kNever || next > until) break;
      now_ = next;
      Fire();
      // It counts everything.
      if (events % 32 == 0) scheduler_.CheckInvariants();
    }
    if (until != kNever) now_ = std::max(now_, until);
  }

 private:
  struct Step {
    StepPlan plan;
    TimePoint begin, end;
    bool shed = false;
  };
  static constexpr double kLayers = 30;

  void Turn() {
    std::erase_if(lingering_, [this](const auto& item) {
      const Request& request = *scheduler_.Find(item.first);
      const bool over = item.second <= now_ || !request.waits_for_candidates();
      if (over) scheduler_.Finish(item.first);
      return over;
    });
    refused_.clear();
    scheduler_.TakeRefused(now_, refused_);
    for (const Refusal& refusal : refused_) {
      clients_.at(refusal.request).refused = refusal;
      scheduler_.Finish(refusal.request);
    }
    for (const SchedulerDevice& device : config_.devices) {
      if (!scheduler_.available(device.id)) continue;
      StepPlan plan = scheduler_.Plan(device.id, now_);
      if (plan.empty()) continue;
      scheduler_.Apply(plan, now_);
      for (const Preemption& preemption : plan.preempted) {
        ++clients_.at(preemption.request).preempted;
      }
      if (plan.rows.empty()) continue;
      Duration length = Length(plan, /*streams=*/true);
      if (noise_ > 0) {
        const double factor = 1 + noise_ * (2 * rng_.Uniform() - 1);
        length = std::chrono::duration_cast<Duration>(factor * length);
      }
      const TimePoint end = now_ + length;
      steps_.emplace(device.id, Step{std::move(plan), now_, end});
    }
    for (auto& [device, step] : steps_) {
      if (Prior(device).sheds_in_flight && !step.shed &&
          scheduler_.WantsShed(step.plan)) {
        Shed(step);
      }
    }
  }

  // What is left of the step is done without streams, or not at all where it
  // gives way, but for the layer that it is in.
  void Shed(Step& step) {
    const Duration whole = step.end - step.begin;
    const double left = ToSeconds(step.end - now_) / ToSeconds(whole);
    const double layer = std::min(left, 1 / kLayers);
    const Duration plain = step.plan.gives_way
                               ? Duration(0)
                               : Length(step.plan, /*streams=*/false);
    step.end = now_ + std::chrono::duration_cast<Duration>(
                          layer * whole + (left - layer) * plain);
    step.shed = true;
  }

  Duration Length(const StepPlan& plan, bool streams) const {
    StepShape shape;
    for (const PlannedRows& rows : plan.rows) {
      if (streams || rows.kind != RowKind::kStream) AddRows(rows, shape);
    }
    const double seconds =
        (by_lent_.empty() ? StepTimeModel(Prior(plan.device).prior)
                          : by_lent_.at(plan.lent.size()))
            .Predict(shape);
    return std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(seconds));
  }

  const SchedulerDevice& Prior(DeviceId id) const {
    return *std::ranges::find(config_.devices, id, &SchedulerDevice::id);
  }

  TimePoint NextEvent() const {
    TimePoint next = kNever;
    for (const auto& [device, step] : steps_) next = std::min(next, step.end);
    for (const auto& [id, at] : transfers_) next = std::min(next, at);
    for (const auto& [id, until] : lingering_) next = std::min(next, until);
    return next;
  }

  void Fire() {
    for (auto it = steps_.begin(); it != steps_.end();) {
      if (it->second.end > now_) {
        ++it;
        continue;
      }
      const Step step = std::move(it->second);
      it = steps_.erase(it);
      End(step);
    }
    for (auto it = transfers_.begin(); it != transfers_.end();) {
      if (it->second > now_) {
        ++it;
        continue;
      }
      const Request* request = scheduler_.Find(it->first);
      if (request != nullptr && request->state == RequestState::kTransferring) {
        scheduler_.CompleteTransfer(it->first, now_);
      }
      it = transfers_.erase(it);
    }
  }

  void End(const Step& step) {
    const StepPlan& plan = step.plan;
    const bool gave_way = step.shed && plan.gives_way;
    std::vector<std::optional<TokenId>> drawn;
    for (const PlannedRows& rows : plan.rows) {
      const bool draws = rows.draws && !gave_way;
      drawn.push_back(draws ? std::optional<TokenId>(1) : std::nullopt);
    }
    const double seconds = by_lent_.empty() ? 0 : ToSeconds(now_ - step.begin);
    scheduler_.Commit(plan, drawn, seconds, now_, step.shed);
    if (gave_way) return;
    for (const PlannedRows& rows : plan.rows) {
      const Request* request = scheduler_.Find(rows.request);
      Client& client = clients_.at(rows.request);
      if (rows.kind == RowKind::kCandidate && request != nullptr) {
        EndCandidate(*request, rows.stream, client);
      }
      if (rows.stream > 0) continue;
      if (rows.draws) {
        client.streams += step.shed && request->elastic() ? 1 : rows.gang;
        if (client.first_token == kNever) {
          client.first_token = now_;
        } else {
          client.longest_gap =
              std::max(client.longest_gap, now_ - client.last_token);
        }
        client.last_token = now_;
        ++client.output;
      }
      if (client.output == request->max_output) {
        client.finished = now_;
        if (request->state == RequestState::kDecoding &&
            request->waits_for_candidates()) {
          scheduler_.Linger(rows.request, now_);
          lingering_.emplace(rows.request,
                             now_ + (now_ - client.first_token) / 2);
        } else {
          scheduler_.Finish(rows.request);
        }
      } else if (request->state == RequestState::kTransferring) {
        transfers_.emplace(rows.request, now_ + hand_over_);
      }
    }
  }

  void EndCandidate(const Request& request, uint32_t index, Client& client) {
    const size_t size = request.candidates[index - 1].tokens.size();
    if (size < request.prompt_size + request.max_output) return;
    scheduler_.CompleteCandidate(request.id, index);
    ++client.candidates;
  }

  const SchedulerConfig config_;
  const std::vector<StepTimeModel> by_lent_;
  const Duration hand_over_ = std::chrono::milliseconds(1);
  const double noise_ = 0;
  Scheduler scheduler_;
  Rng rng_{1};
  TimePoint now_;
  uint64_t last_id_ = 0;
  std::map<RequestId, Client> clients_;
  std::map<DeviceId, Step> steps_;
  std::map<RequestId, TimePoint> transfers_, lingering_;
  std::vector<Refusal> refused_;
};

}  // namespace braid
