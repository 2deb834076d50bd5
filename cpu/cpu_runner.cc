#include "cpu/cpu_runner.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "cpu/core_team.h"
#include "cpu/forward.h"
#include "cpu/packed_model.h"

namespace braid::cpu {
namespace {

// A device: which of the process's core threads are its own, and whether they
// are at work, for itself or lent. Outlives the threads.
struct Device {
  DeviceId id;
  std::vector<int> cores;  // indices into CoreThreads
  std::atomic<bool> busy{false};
};

// What the runners of a process have in common. Shared, because whichever
// runner goes last takes the threads with it.
struct Devices {
  std::shared_ptr<const CpuModel> model;
  std::vector<std::unique_ptr<Device>> list;
  std::unique_ptr<CoreThreads> threads;  // last: they use the devices

  Device& Find(DeviceId id) const {
    for (const std::unique_ptr<Device>& device : list) {
      if (device->id == id) return *device;
    }
    BRAID_CHECK_MSG(false, absl::StrCat("no CPU device ", id.value()));
  }
};

class CpuRunner final : public ModelRunner {
 public:
  CpuRunner(std::shared_ptr<const Devices> devices, Device& device,
            const KvArena& arena, uint32_t max_rows,
            std::unique_ptr<Forward> forward)
      : devices_(std::move(devices)),
        device_(device),
        arena_(arena),
        max_rows_(max_rows),
        forward_(std::move(forward)) {}

  ~CpuRunner() override { device_.busy.wait(true); }

  const KvLayout& kv_layout() const override { return arena_.layout(); }
  uint32_t max_rows() const override { return max_rows_; }

  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override {
    // Also sees to it that no step of this runner is in flight.
    team_.clear();
    Join(device_);
    callbacks_ = std::move(callbacks);
    for (const DeviceId id : batch.lent) Join(devices_->Find(id));

    cores_.clear();
    for (const Device* member : team_) {
      cores_.insert(cores_.end(), member->cores.begin(), member->cores.end());
    }
    forward_->Begin(
        batch, batch.progress_layers > 0 ? callbacks_.on_progress : nullptr,
        static_cast<int>(cores_.size()));
    for (size_t i = 0; i < cores_.size(); ++i) {
      devices_->threads->Post(cores_[i], &CpuRunner::RunThread, this,
                              static_cast<int>(i));
    }
  }

  void ShedStreams() override { forward_->ShedStreams(); }
  bool sheds_in_flight() const override { return true; }

 private:
  void Join(Device& device) {
    BRAID_CHECK_MSG(
        !device.busy.exchange(true),
        absl::StrCat("CPU device ", device.id.value(), " is already at work"));
    team_.push_back(&device);
  }

  static void RunThread(void* self, int index) {
    auto* runner = static_cast<CpuRunner*>(self);
    runner->forward_->Run(index);
    if (index == 0) runner->Finish();
  }

  void Finish() {
    for (size_t i = 1; i < cores_.size(); ++i) {
      devices_->threads->AwaitIdle(cores_[i]);
    }
    ForwardResult result = forward_->Take();
    const auto on_done = std::move(callbacks_.on_done);
    callbacks_ = {};
    // The engine may launch again, here or on the lenders, once it hears, and
    // may destroy this runner once the device is idle.
    Device& own = device_;
    for (Device* member : team_) {
      if (member != &own) member->busy.store(false);
    }
    own.busy.store(false);
    own.busy.notify_all();
    on_done(std::move(result));
  }

  const std::shared_ptr<const Devices> devices_;
  Device& device_;
  const KvArena& arena_;
  const uint32_t max_rows_;
  const std::unique_ptr<Forward> forward_;
  StepCallbacks callbacks_;
  // Of the step in flight. The thread that leads it is the first.
  std::vector<int> cores_;
  std::vector<Device*> team_;  // this device, then the lenders
};

absl::Status CheckArena(const CpuModel& model, const CpuDeviceSpec& spec) {
  BRAID_CHECK(spec.arena != nullptr);
  const KvLayout& layout = spec.arena->layout();
  KvLayout wanted = model.MakeKvLayout(layout.block_tokens);
  wanted.dtype = layout.dtype;
  if (layout != wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the KV memory of device ", spec.id.value(), " is laid out as ",
        ToString(layout), "; the model needs ", ToString(wanted)));
  }
  if (layout.block_tokens % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV blocks of ", layout.block_tokens,
                     " tokens: CPU devices need a multiple of 16"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<ModelRunner>>> MakeCpuRunners(
    std::shared_ptr<const CpuModel> model, std::vector<CpuDeviceSpec> devices,
    const CpuOptions& options) {
  auto shared = std::make_shared<Devices>();
  shared->model = model;
  std::vector<int> cores;
  for (const CpuDeviceSpec& spec : devices) {
    BRAID_RETURN_IF_ERROR(CheckArena(*model, spec));
    if (spec.cores.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("device ", spec.id.value(), " has no cores"));
    }
    auto device = std::make_unique<Device>();
    device->id = spec.id;
    for (const int core : spec.cores) {
      device->cores.push_back(static_cast<int>(cores.size()));
      cores.push_back(core);
    }
    shared->list.push_back(std::move(device));
  }
  BRAID_ASSIGN_OR_RETURN(
      shared->threads,
      CoreThreads::Start(cores, {.pin = options.pin_threads,
                                 .spin = std::chrono::microseconds(
                                     options.spin_microseconds)}));

  std::vector<std::unique_ptr<ModelRunner>> runners;
  std::shared_ptr<const PrefixPages> prefixes;
  for (size_t i = 0; i < devices.size(); ++i) {
    const KvLayout& layout = devices[i].arena->layout();
    if (prefixes == nullptr || prefixes->layout() != layout) {
      BRAID_ASSIGN_OR_RETURN(prefixes, PrefixPages::Make(model->packed().sets,
                                                         layout, model->isa()));
    }
    BRAID_ASSIGN_OR_RETURN(
        std::unique_ptr<Forward> forward,
        Forward::Create(model->packed(), *devices[i].arena, prefixes,
                        {.max_rows = options.max_rows,
                         .max_context = options.max_context,
                         .max_threads = static_cast<int>(cores.size())}));
    runners.push_back(
        std::make_unique<CpuRunner>(shared, *shared->list[i], *devices[i].arena,
                                    options.max_rows, std::move(forward)));
  }
  return runners;
}

}  // namespace braid::cpu
