#include <algorithm>

#include "simulator/replay/replay_report.h"

namespace braid {
namespace {

void CountBusy(const ReplayResult& result, const ClusterSpec& cluster,
               ReplayNumbers& numbers) {
  if (!(result.end > 0)) return;
  for (size_t i = 0; i < result.workers.size(); ++i) {
    ReplayNumbers::Busy& busy =
        numbers.roles[braid::ToString(cluster.workers[i].role)];
    ++busy.workers;
    for (const WorkerBin& bin : result.workers[i]) {
      busy.prefill += bin.prefill / result.end;
      busy.decode += bin.decode / result.end;
      busy.mixed += bin.mixed / result.end;
      busy.kv_used += bin.kv_used * result.bin_seconds / result.end;
    }
  }
  for (auto& [role, busy] : numbers.roles) {
    for (double* share :
         {&busy.prefill, &busy.decode, &busy.mixed, &busy.kv_used}) {
      *share /= busy.workers;
    }
  }
}

}  // namespace

ReplayNumbers Count(const ReplayResult& result, const Trace& trace,
                    const ClusterSpec& cluster, uint64_t feasible) {
  ReplayNumbers numbers{.requests = result.requests.size(),
                        .feasible = feasible};
  std::vector<double> ttft, tpot, queue, hand_over;
  uint64_t prompt = 0, cached = 0;
  for (const RequestOutcome& request : result.requests) {
    numbers.refused += request.end == RequestEnd::kRefused;
    numbers.shed += request.end == RequestEnd::kShed;
    numbers.too_long += request.end == RequestEnd::kTooLong;
    if (!request.served()) continue;
    ++numbers.served;
    ++numbers.reasons[braid::ToString(request.reason)];
    const bool met_ttft = MetTtft(request, cluster.ttft_target);
    const bool met_tpot = MetTpot(request, cluster.tpot_target);
    numbers.met_ttft += met_ttft;
    numbers.met_tpot += met_tpot;
    numbers.met += met_ttft && met_tpot;
    ttft.push_back(request.first_token);
    queue.push_back(request.admitted);
    if (request.output > 1) tpot.push_back(request.tpot());
    if (request.prefill != request.decode) {
      ++numbers.handed_over;
      hand_over.push_back(request.handed_over);
    }
    prompt += request.prompt;
    cached += request.cached;
  }
  const auto requests = static_cast<double>(numbers.requests);
  const double seconds = std::max(trace.seconds(), 1e-9);
  numbers.attainment =
      numbers.requests == 0 ? 0 : static_cast<double>(numbers.met) / requests;
  if (feasible > 0) {
    numbers.attainment_of_feasible =
        static_cast<double>(numbers.met) / static_cast<double>(feasible);
  }
  numbers.offered_rate = requests / seconds;
  numbers.goodput = static_cast<double>(numbers.met) / seconds;
  numbers.goodput_per_gpu = numbers.goodput / cluster.gpus();
  numbers.hit_share =
      prompt == 0 ? 0
                  : static_cast<double>(cached) / static_cast<double>(prompt);
  numbers.ttft = Summarise(ttft);
  numbers.tpot = Summarise(tpot);
  numbers.queue = Summarise(queue);
  numbers.hand_over = Summarise(hand_over);
  numbers.gaps = result.gaps.Summarise();
  CountBusy(result, cluster, numbers);
  return numbers;
}

}  // namespace braid
