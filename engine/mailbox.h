// The one place where the engine thread waits, and all that other threads can
// tell it: new requests, cancellations, the progress and end of steps, and that
// a transport has something to Poll.
//
// Thread safety: every method is thread-safe; Wait and Drain are for the engine
// thread alone. Nothing here blocks but Wait.
// Bounds: requests by max_inbox; cancellations by the requests alive (one
// each); steps by the devices (one in flight each, its progress coalesced).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"
#include "engine/engine.h"
#include "model/forward_batch.h"

namespace braid {

struct Submission {
  RequestId id;
  GenerateRequest request;
  std::shared_ptr<TokenSink> sink;  // shared with the caller's connection
  TimePoint received;
};

struct StepReport {
  uint32_t layers = 0;  // complete so far; 0: no news
  std::optional<ForwardResult> done;
};

// What has come since the last Drain. Reused, so that a turn allocates little.
struct Mail {
  std::vector<Submission> submissions;
  std::vector<RequestId> cancellations;
  std::vector<StepReport> steps;  // by device index
};

class Mailbox final {
 public:
  Mailbox(size_t devices, uint32_t max_inbox);

  // Gives the request its id. RESOURCE_EXHAUSTED: as many wait here as may;
  // UNAVAILABLE: no more are taken.
  absl::StatusOr<RequestId> Submit(GenerateRequest request,
                                   std::shared_ptr<TokenSink> sink,
                                   TimePoint now);
  // Counts a request that is refused for what it is, and returns `why`.
  absl::Status Refuse(absl::Status why);
  void Cancel(RequestId id);
  void ReportProgress(uint32_t device, uint32_t layers);
  void ReportDone(uint32_t device, ForwardResult result);
  void Wake();

  // From now on Submit refuses.
  void Close();
  // Waits until every accepted request has ended, or `timeout`.
  bool WaitUntilEmpty(Duration timeout);

  // Until there is mail, at most `timeout`.
  void Wait(Duration timeout);
  // Whether Wait would return at once.
  bool has_mail() const;
  // Moves the mail into `mail`, over what it held. False: there was none.
  bool Drain(Mail& mail);
  // Requests that have ended since last told.
  void Settle(uint32_t ended);

  uint64_t received() const;
  uint64_t refused() const;

 private:
  const uint32_t max_inbox_;
  mutable std::mutex mutex_;
  std::condition_variable mail_arrived_, emptied_;
  // All guarded by mutex_.
  std::vector<Submission> submissions_;
  absl::flat_hash_set<RequestId> cancellations_;
  std::vector<StepReport> steps_;
  bool mail_ = false;
  bool closed_ = false;
  uint64_t next_id_ = 1;
  uint32_t alive_ = 0;  // accepted, not ended
  uint64_t received_ = 0, refused_ = 0;
};

}  // namespace braid
