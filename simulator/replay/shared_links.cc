#include "simulator/replay/shared_links.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace braid {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Less than a byte is rounding.
constexpr double kNothing = 0.5;

enum Port : uint32_t { kNvlinkOut, kNvlinkIn, kNetworkOut, kNetworkIn };
uint32_t PortOf(uint32_t worker, Port port) { return worker * 4 + port; }

}  // namespace

SharedLinks::SharedLinks(const ClusterSpec& cluster)
    : latency_(cluster.links.latency), next_end_(kInfinity) {
  for (const ClusterWorker& worker : cluster.workers) {
    node_.push_back(worker.node);
    const double gpus = cluster.tensor_parallel;
    capacity_.insert(capacity_.end(), 2, cluster.links.nvlink * gpus);
    capacity_.insert(capacity_.end(), 2, cluster.links.network * gpus);
  }
  left_.resize(capacity_.size());
  asking_.resize(capacity_.size());
}

void SharedLinks::Post(RequestId request, uint32_t from, uint32_t to,
                       double bytes, bool last, double now) {
  Advance(now);
  auto flow = std::ranges::lower_bound(flows_, request, {}, &Flow::request);
  if (flow == flows_.end() || flow->request != request) {
    const bool near = SameNode(from, to);
    flow = flows_.insert(flow,
                         {.request = request,
                          .out = PortOf(from, near ? kNvlinkOut : kNetworkOut),
                          .in = PortOf(to, near ? kNvlinkIn : kNetworkIn)});
  }
  BRAID_CHECK(!flow->last);
  // What flows already pays no latency again.
  if (flow->left <= kNothing) flow->start = now + latency_;
  flow->left += bytes;
  flow->last = last;
  (SameNode(from, to) ? nvlink_bytes_ : network_bytes_) += bytes;
  Share();
}

void SharedLinks::Cancel(RequestId request, double now) {
  Advance(now);
  std::erase_if(flows_,
                [&](const Flow& flow) { return flow.request == request; });
  Share();
}

void SharedLinks::TakeEnded(double now, std::vector<RequestId>& ended) {
  if (now < next_end_) return;
  Advance(now);
  std::erase_if(flows_, [&](const Flow& flow) {
    const bool over = flow.end <= now;
    if (over) ended.push_back(flow.request);
    return over;
  });
  Share();
}

void SharedLinks::Advance(double now) {
  BRAID_CHECK(now >= now_);
  for (Flow& flow : flows_) {
    const double from = std::max(now_, flow.start);
    if (now > from) flow.left -= flow.rate * (now - from);
    if (flow.left < kNothing) flow.left = 0;
  }
  now_ = now;
}

// Progressive filling: the port whose equal share is smallest fixes the rate of
// its flows; repeat with what is left. A flow in its latency holds its share
// already, which is what a posted RDMA write does to its queue pair.
void SharedLinks::Share() {
  std::ranges::copy(capacity_, left_.begin());
  std::ranges::fill(asking_, 0);
  size_t open = 0;
  for (Flow& flow : flows_) {
    flow.rate = flow.left > 0 ? -1 : 0;
    if (flow.rate == 0) continue;
    ++asking_[flow.out];
    ++asking_[flow.in];
    ++open;
  }
  while (open > 0) {
    double share = kInfinity;
    for (size_t port = 0; port < left_.size(); ++port) {
      if (asking_[port] > 0) {
        share = std::min(share, left_[port] / asking_[port]);
      }
    }
    // Of the ports as they were: a flow that is fixed in this pass changes the
    // shares of others for the next one only.
    const std::vector<double> left = left_;
    const std::vector<uint32_t> asking = asking_;
    for (Flow& flow : flows_) {
      if (flow.rate >= 0) continue;
      const auto tight = [&](uint32_t port) {
        return left[port] / asking[port] <= share * (1 + 1e-12);
      };
      if (!tight(flow.out) && !tight(flow.in)) continue;
      flow.rate = share;
      for (uint32_t port : {flow.out, flow.in}) {
        left_[port] = std::max(0.0, left_[port] - share);
        --asking_[port];
      }
      --open;
    }
  }
  next_end_ = kInfinity;
  for (Flow& flow : flows_) {
    flow.end = kInfinity;
    if (!flow.last) continue;
    flow.end = std::max(now_, flow.start);
    if (flow.left > 0) flow.end += flow.left / flow.rate;
    next_end_ = std::min(next_end_, flow.end);
  }
}

}  // namespace braid
