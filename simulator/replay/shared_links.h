// Hand-overs in flight between workers, and what they take from each other.
// Each worker sends and receives through ports of its own: a pair for the
// NVLink of its node, a pair for the network between nodes. A hand-over flows
// through its sender's and its receiver's port; what ports can carry is shared
// max-min fairly (progressive filling), anew whenever one begins or ends.
//
// Bytes become available as a prompt's chunks are computed, so a flow is posted
// in pieces; it is over when all were posted and have arrived.
//
// Thread safety: not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "simulator/replay/cluster.h"

namespace braid {

class SharedLinks final {
 public:
  explicit SharedLinks(const ClusterSpec& cluster);

  // More bytes of `request` from worker to worker, at `now`. `last`: no more
  // will follow. REQUIRES: `now` is never earlier than in a call before.
  void Post(RequestId request, uint32_t from, uint32_t to, double bytes,
            bool last, double now);
  // Forgets it.
  void Cancel(RequestId request, double now);

  // When the next flow ends, as things are; infinity when none is complete.
  double NextEnd() const { return next_end_; }
  // The flows that have ended by `now`, in order of their ids.
  void TakeEnded(double now, std::vector<RequestId>& ended);

  // Bytes carried so far within nodes and between them.
  double nvlink_bytes() const { return nvlink_bytes_; }
  double network_bytes() const { return network_bytes_; }

 private:
  struct Flow {
    RequestId request;
    uint32_t out = 0, in = 0;  // ports
    double start = 0;          // the latency is over
    double left = 0;           // bytes posted and not arrived
    double rate = 0;
    double end = 0;  // if nothing changes; infinity before the last post
    bool last = false;
  };

  bool SameNode(uint32_t from, uint32_t to) const {
    return node_[from] == node_[to];
  }
  // Moves bytes up to `now`, then shares the ports anew.
  void Advance(double now);
  void Share();

  std::vector<uint32_t> node_;    // by worker
  std::vector<double> capacity_;  // by port: 4 per worker
  double latency_;
  std::vector<Flow> flows_;  // in order of their requests' ids
  double now_ = 0, next_end_;
  double nvlink_bytes_ = 0, network_bytes_ = 0;
  // Of Share: what is left of each port, and how many flows still ask for it.
  std::vector<double> left_;
  std::vector<uint32_t> asking_;
};

}  // namespace braid
