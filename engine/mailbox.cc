#include "engine/mailbox.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {

Mailbox::Mailbox(size_t devices, uint32_t max_inbox)
    : max_inbox_(max_inbox), steps_(devices) {}

absl::StatusOr<RequestId> Mailbox::Submit(GenerateRequest request,
                                          std::shared_ptr<TokenSink> sink,
                                          TimePoint now) {
  RequestId id;
  {
    std::lock_guard lock(mutex_);
    ++received_;
    if (closed_) {
      ++refused_;
      return absl::UnavailableError(
          "the engine takes no more requests: it is shutting down");
    }
    if (submissions_.size() >= max_inbox_) {
      ++refused_;
      return absl::ResourceExhaustedError(absl::StrCat(
          max_inbox_, " requests have come at once: try again in a moment"));
    }
    id = RequestId(next_id_++);
    submissions_.push_back({id, std::move(request), std::move(sink), now});
    ++alive_;
    mail_ = true;
  }
  mail_arrived_.notify_one();
  return id;
}

absl::Status Mailbox::Refuse(absl::Status why) {
  std::lock_guard lock(mutex_);
  ++received_;
  ++refused_;
  return why;
}

void Mailbox::Cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    if (id.value() == 0 || id.value() >= next_id_ || alive_ == 0) return;
    cancellations_.insert(id);
    mail_ = true;
  }
  mail_arrived_.notify_one();
}

void Mailbox::ReportProgress(uint32_t device, uint32_t layers) {
  {
    std::lock_guard lock(mutex_);
    steps_[device].layers = layers;
    mail_ = true;
  }
  mail_arrived_.notify_one();
}

void Mailbox::ReportDone(uint32_t device, ForwardResult result) {
  {
    std::lock_guard lock(mutex_);
    BRAID_CHECK_MSG(!steps_[device].done, "a step was reported done twice");
    steps_[device].done = std::move(result);
    mail_ = true;
  }
  mail_arrived_.notify_one();
}

void Mailbox::Wake() {
  {
    std::lock_guard lock(mutex_);
    mail_ = true;
  }
  mail_arrived_.notify_one();
}

void Mailbox::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Mailbox::WaitUntilEmpty(Duration timeout) {
  std::unique_lock lock(mutex_);
  return emptied_.wait_for(lock, timeout, [&] { return alive_ == 0; });
}

void Mailbox::Wait(Duration timeout) {
  std::unique_lock lock(mutex_);
  mail_arrived_.wait_for(lock, timeout, [&] { return mail_; });
}

bool Mailbox::has_mail() const {
  std::lock_guard lock(mutex_);
  return mail_;
}

bool Mailbox::Drain(Mail& mail) {
  mail.submissions.clear();
  mail.cancellations.clear();
  mail.steps.resize(steps_.size());
  std::lock_guard lock(mutex_);
  if (!mail_) {
    for (StepReport& step : mail.steps) step = {};
    return false;
  }
  mail_ = false;
  mail.submissions.swap(submissions_);
  mail.cancellations.assign(cancellations_.begin(), cancellations_.end());
  // A set's order differs from run to run; a replay's must not.
  std::ranges::sort(mail.cancellations);
  cancellations_.clear();
  for (size_t i = 0; i < steps_.size(); ++i) {
    mail.steps[i] = std::exchange(steps_[i], {});
  }
  return true;
}

void Mailbox::Settle(uint32_t ended) {
  if (ended == 0) return;
  bool empty;
  {
    std::lock_guard lock(mutex_);
    BRAID_CHECK(alive_ >= ended);
    alive_ -= ended;
    empty = alive_ == 0;
  }
  if (empty) emptied_.notify_all();
}

uint64_t Mailbox::received() const {
  std::lock_guard lock(mutex_);
  return received_;
}

uint64_t Mailbox::refused() const {
  std::lock_guard lock(mutex_);
  return refused_;
}

}  // namespace braid
