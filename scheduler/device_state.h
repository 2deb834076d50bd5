// What the scheduler knows of one device: its part of the books. Sums are kept
// with every change, so that looking at a device costs the same whoever runs.
//
// Thread safety: engine thread only; changed by Scheduler alone.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/ids.h"
#include "scheduler/request.h"
#include "scheduler/split.h"
#include "scheduler/step_time_model.h"
#include "scheduler/stream_catch_up.h"

namespace braid {

struct SchedulerDevice {
  DeviceId id;
  DeviceRole role = DeviceRole::kBoth;
  PoolId pool;                 // where its blocks are
  uint32_t max_rows = 0;       // of one step
  StepTimeModel::Prior prior;  // of its step times, before any was seen
  // The prior is no guess: requests may be refused on it from the start.
  bool prior_measured = false;
  bool sheds_in_flight = false;  // ModelRunner
  // Steps that it ran before the first request.
  std::vector<MeasuredStep> measured;
};

// A request's row in a decode batch: all that a plan needs of it, side by side.
struct DecodeRow {
  RequestId request;
  uint32_t slot = 0;
  uint32_t computed = 0;
  TimePoint due;                 // its next token
  bool may_stand_aside = false;  // owing.h
  // Seconds by which those of the batch have made its answer longer, less what
  // it has stood aside for prompts (owing.h).
  double owed = 0;
  // DeviceState::pace_lost when it began, or when it was as far ahead as it may
  // be (pace.h).
  double pace_mark = 0;

  bool StandsAside() const { return may_stand_aside && owed > 0; }
};

// Prompt tokens that are to be computed, and what they attend to.
struct PromptWork {
  uint64_t tokens = 0, attended = 0;
  uint32_t requests = 0;

  // Tokens [first, end) of a request, for each stream of its gang.
  static PromptWork Of(uint32_t first, uint32_t end, uint32_t gang = 1) {
    StepShape shape;
    shape.AddChunk(first, end - first);
    return {uint64_t{gang} * shape.chunk_tokens, gang * shape.chunk_attended,
            1};
  }
  PromptWork& operator+=(const PromptWork& other) {
    tokens += other.tokens;
    attended += other.attended;
    requests += other.requests;
    return *this;
  }
  PromptWork& operator-=(const PromptWork& other) {
    BRAID_CHECK(tokens >= other.tokens && attended >= other.attended &&
                requests >= other.requests);
    tokens -= other.tokens;
    attended -= other.attended;
    requests -= other.requests;
    return *this;
  }
  friend bool operator==(const PromptWork&, const PromptWork&) = default;
};

// What waiting requests will take of the device they are bound to.
struct QueuedWork {
  PromptWork prompts;   // they prefill here
  uint64_t blocks = 0;  // in its pool, of those that decode here
  uint32_t rows = 0;    // of those that decode here
  // In its pool, of those that prefill here and decode in another.
  uint64_t prompt_blocks = 0;

  QueuedWork& operator+=(const QueuedWork& other) {
    prompts += other.prompts;
    blocks += other.blocks;
    rows += other.rows;
    prompt_blocks += other.prompt_blocks;
    return *this;
  }
  QueuedWork& operator-=(const QueuedWork& other) {
    prompts -= other.prompts;
    BRAID_CHECK(blocks >= other.blocks && rows >= other.rows);
    blocks -= other.blocks;
    rows -= other.rows;
    prompt_blocks -= other.prompt_blocks;
    return *this;
  }
  friend bool operator==(const QueuedWork&, const QueuedWork&) = default;
};

struct DeviceState {
  // Steps after which a model is more than a guess.
  static constexpr uint64_t kWarmSteps = 8;

  DeviceState(const SchedulerDevice& device, uint32_t place, size_t devices,
              size_t classes)
      : config(device),
        index(place),
        role(device.role),
        time(devices, StepTimeModel(device.prior)),
        guess(time),
        stream_time(device.prior),
        bound_by_class(classes) {
    for (const MeasuredStep& step : device.measured) {
      Learn(step.lent, step.shape, step.seconds);
      if (step.lent == 0) stream_time.Observe(step.shape, step.seconds);
    }
  }

  // A step on the cores of `lent` others took so long.
  void Learn(size_t lent, const StepShape& shape, double seconds) {
    time[lent].Observe(shape, seconds);
    for (size_t i = 0; i < guess.size(); ++i) {
      if (time[i].observed() >= kWarmSteps) continue;
      guess[i].Observe(shape, seconds * static_cast<double>(1 + lent) /
                                  static_cast<double>(1 + i));
    }
  }
  bool idle() const { return up && !running && !lent; }
  // Nothing to run, and nothing that will be its own soon.
  bool unused() const {
    return decoding.empty() && prefilling.empty() && bound == 0 &&
           queued.prompts.requests == 0;
  }
  // Or did lately: a device that ran a phase is still set up for it, and
  // changing it about costs more than staying. The roles' hysteresis.
  bool Prefills(TimePoint now) const {
    return !prefilling.empty() || Lately(prefilled_at, now);
  }
  bool Decodes(TimePoint now) const {
    return !decoding.empty() || Lately(decoded_at, now);
  }
  // Of those that decode here, or will; gangs with all their streams.
  StepShape DecodeShape() const {
    return {.decode_rows = bound,
            .decode_attended = bound_tokens,
            .stream_rows = bound_streams};
  }
  // A row of `decoding` owes so much more.
  void Owe(DecodeRow& row, double seconds) {
    Count(row, -1);
    row.owed += seconds;
    Count(row, 1);
  }
  // It leaves: what it owes is not counted any more.
  void Forgive(const DecodeRow& row) { Count(row, -1); }
  // One row is always left for prompts.
  bool HasRows(uint32_t rows) const {
    return bound + bound_streams + rows < config.max_rows;
  }

  SchedulerDevice config;
  uint32_t index = 0;  // in the configuration
  DeviceRole role;     // as configured, or as planned
  bool up = true;
  bool running = false;  // a step is in flight
  bool lent = false;     // its cores work for another device's step
  TimePoint step_begin;  // of the step in flight
  TimePoint step_end;    // predicted
  // By the number of devices that lend their cores to a step. And the same from
  // steps on any number, as if time went with the cores: what is believed while
  // none was seen.
  std::vector<StepTimeModel> time, guess;
  // Of all steps, where none takes others' cores. `time` is then of what steps
  // would have been without elastic streams.
  StepTimeModel stream_time;

  // Requests that decode here, from admission to the end.
  uint32_t bound = 0;
  uint32_t bound_streams = 0;     // of gangs, beyond each one's first
  uint64_t bound_tokens = 0;      // they have, all of them; gangs by stream
  uint64_t bound_max_output = 0;  // they may give, all of them
  uint32_t transferring = 0;      // of them, on their way
  std::vector<DecodeRow> decoding;
  std::vector<uint32_t> bound_by_class;

  uint32_t owing = 0;  // of `decoding`, rows that owe
  uint32_t aside = 0;  // of them, those that stand aside for prompts

  // Decode here, and may have elastic streams or further candidates.
  uint32_t elastic = 0;
  uint32_t best_of = 0;             // of them, the latter
  std::vector<Request*> lingering;  // of those, in kLingering
  // Of elastic streams and candidates: what the step in flight runs, and the
  // blocks that it works on.
  uint32_t elastic_rows = 0;
  uint32_t pinned = 0;
  double saved = 0;  // steps that they leave their share of: StepPlan
  // Steps that had some while somebody waited, up to the last one.
  uint32_t pressed = 0;
  StreamCatchUp* catch_up = nullptr;  // that it computes; Scheduler's

  std::vector<Request*> prefilling;  // here, in order of service
  PromptWork prefill_left;           // of them
  StepShape in_flight;               // the step that runs
  StepShape plain_in_flight;         // and of it, all but elastic streams
  PromptWork prompts_in_flight;      // and of it, what is of prompts

  QueuedWork queued;

  // When it last ran prompts, and decode rows.
  TimePoint prefilled_at = TimePoint::min(), decoded_at = TimePoint::min();
  // Works for the other pool too, since its role was last looked at.
  bool visiting = false;
  // Where cores are lent: seconds by which rows were slower than on its own
  // cores, since the start, and the most that one of those that decode has lost
  // of them (pace.h).
  double pace_lost = 0, rows_behind = 0;
  // Steps since one had rows of elastic streams, though there were requests
  // that might have them.
  uint32_t without_streams = 0;
  // Rows that its steps lately offered to streams, and that none had the KV
  // for: a mean. There may be one, as long as nobody knows.
  double unfilled = 1;

 private:
  static constexpr Duration kDwell = std::chrono::milliseconds(500);

  static bool Lately(TimePoint at, TimePoint now) {
    return at != TimePoint::min() && at + kDwell > now;
  }
  void Count(const DecodeRow& row, int rows) {
    if (row.owed > 0) owing += rows;
    if (row.StandsAside()) aside += rows;
  }
};

}  // namespace braid
