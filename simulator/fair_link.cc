#include "simulator/fair_link.h"

#include <utility>
#include <vector>

#include "base/check.h"

namespace braid {

FairLink::FairLink(EventQueue& queue, double bytes_per_second)
    : queue_(queue),
      bytes_per_second_(bytes_per_second),
      served_at_(queue.now()) {
  BRAID_CHECK(bytes_per_second > 0);
}

void FairLink::Send(uint64_t bytes, std::function<void()> sent) {
  Advance();
  flows_.emplace(served_ + static_cast<double>(bytes), std::move(sent));
  Arm();
}

void FairLink::Advance() {
  const double seconds = ToSeconds(queue_.now() - served_at_);
  served_at_ = queue_.now();
  if (flows_.empty()) return;
  served_ += seconds * bytes_per_second_ / static_cast<double>(flows_.size());
}

void FairLink::Arm() {
  next_ = std::make_unique<EventScope>(queue_);
  if (flows_.empty()) return;
  const double left = flows_.begin()->first - served_;
  const double seconds =
      left * static_cast<double>(flows_.size()) / bytes_per_second_;
  const auto wait = std::chrono::nanoseconds(
      left <= 0 ? 1 : 1 + static_cast<int64_t>(seconds * 1e9));
  next_->After(wait, [this] {
    Advance();
    std::vector<std::function<void()>> sent;
    while (!flows_.empty() && flows_.begin()->first <= served_) {
      sent.push_back(std::move(flows_.begin()->second));
      flows_.erase(flows_.begin());
    }
    // This runs as an event of the scope that Arm replaces.
    const std::unique_ptr<EventScope> running = std::move(next_);
    Arm();
    for (const auto& call : sent) call();
  });
}

}  // namespace braid
