#include "simulator/scenario.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/rng.h"
#include "simulator/hash_model.h"

namespace braid {
namespace {

// However long the run: a bound on what one seed may hold.
constexpr uint32_t kMostRequests = 100'000;

uint32_t Between(Rng& rng, uint32_t low, uint32_t high) {
  return low + static_cast<uint32_t>(rng.Below(high - low + 1));
}

// Log-uniform.
double Scale(Rng& rng, double low, double high) {
  return low * std::pow(high / low, rng.Uniform());
}

Duration Micros(double micros) {
  return std::chrono::nanoseconds(static_cast<int64_t>(micros * 1000));
}

std::vector<DeviceScenario> DrawDevices(Rng& rng, uint32_t* arenas) {
  const uint32_t count = Between(rng, 1, 4);
  std::vector<DeviceScenario> devices(count);
  // One memory; one per phase; or one each.
  const uint32_t layout = Between(rng, 0, 2);
  const uint32_t prefills = count == 1 ? 0 : Between(rng, 1, count - 1);
  *arenas = 1;
  for (uint32_t i = 0; i < count; ++i) {
    DeviceScenario& device = devices[i];
    if (count > 1) {
      device.role = i < prefills ? DeviceRole::kPrefill : DeviceRole::kDecode;
      if (rng.Below(6) == 0) device.role = DeviceRole::kBoth;
    }
    device.arena = layout == 0 ? 0 : layout == 1 ? (i < prefills ? 0 : 1) : i;
    if (prefills == 0) device.arena = 0;
    *arenas = std::max(*arenas, device.arena + 1);
    device.max_rows = Between(rng, 2, rng.Below(2) == 0 ? 8 : 96);
    device.time.base = Scale(rng, 0.0002, 0.01);
    device.time.chunk_token = Scale(rng, 0.00002, 0.001);
    device.time.chunk_attended = Scale(rng, 1e-8, 1e-6);
    device.time.decode_row = Scale(rng, 0.00001, 0.001);
    device.time.decode_attended = Scale(rng, 1e-8, 1e-6);
    device.jitter = rng.Below(3) == 0 ? 0.5 : 0.1;
  }
  return devices;
}

std::vector<ServiceClass> DrawClasses(Rng& rng, uint32_t count) {
  std::vector<ServiceClass> classes;
  // Some can hardly ever be kept.
  const double slack = Scale(rng, 0.05, 200);
  for (uint32_t i = 0; i < count; ++i) {
    classes.push_back({.name = absl::StrCat("class", i),
                       .ttft = Micros(slack * 1e6 * (i + 1)),
                       .tpot = Micros(slack * 1e5 * (i + 1)),
                       .max_queued = Between(rng, 1, 40)});
  }
  return classes;
}

NodeScenario DrawNode(Rng& rng, uint32_t context_blocks, uint32_t classes,
                      FaultSource& faults) {
  NodeScenario node;
  uint32_t arenas = 1;
  node.devices = DrawDevices(rng, &arenas);
  for (uint32_t i = 0; i < arenas; ++i) {
    uint32_t blocks = context_blocks + Between(rng, 4, 60);
    if (faults.Happens(FaultKind::kFullPool, 0.4)) {
      blocks = context_blocks +
               static_cast<uint32_t>(faults.Below(FaultKind::kFullPool, 4));
    }
    node.pool_blocks.push_back(blocks);
  }
  const bool single = node.devices.size() == 1;
  node.split = single ? SplitMode::kAuto : static_cast<SplitMode>(rng.Below(3));
  node.prefill_chunk = Between(rng, 1, rng.Below(2) == 0 ? 12 : 64);
  node.max_running = Between(rng, 1, rng.Below(2) == 0 ? 4 : 32);
  node.max_inbox = Between(rng, 2, rng.Below(2) == 0 ? 8 : 64);
  node.classes = DrawClasses(rng, classes);
  node.progress_layers = Between(rng, 0, hash_model::kLayers - 1);
  node.lend_cores = rng.Below(2) == 0;
  node.prefix_cache = rng.Below(4) != 0;
  node.loopback = arenas == 1 && rng.Below(2) == 0;
  node.bytes_per_second = Scale(rng, 1e5, 1e9);
  node.latency = Micros(Scale(rng, 1, 5000));
  node.timeout = Micros(Scale(rng, 5e4, 2e6));
  node.blocks_per_message = Between(rng, 1, 8);
  node.checked_share = Between(rng, 1, 16);
  node.turn_delay = Micros(Scale(rng, 1, 500));
  return node;
}

// Prompts of one text begin alike.
std::vector<TokenId> Prompt(uint64_t text, uint32_t size, uint32_t shared,
                            Rng& own) {
  const auto words =
      static_cast<uint64_t>(hash_model::Vocabulary().vocabulary()) - 1;
  std::vector<TokenId> prompt;
  for (uint32_t i = 0; i < size; ++i) {
    const uint64_t token = i < shared ? hash_model::Mix(text, i) : own();
    prompt.push_back(static_cast<TokenId>(token % words));
  }
  return prompt;
}

void DrawTrouble(FaultSource& faults, RequestScenario& scenario) {
  if (faults.Happens(FaultKind::kCancel, 0.2)) {
    scenario.cancel =
        static_cast<CancelStage>(1 + faults.Below(FaultKind::kCancel, 6));
    const double most = faults.Below(FaultKind::kCancel, 2) == 0 ? 100 : 2e5;
    scenario.cancel_delay = Micros(most * faults.Uniform(FaultKind::kCancel));
  }
  if (faults.Happens(FaultKind::kDeadline, 0.15)) {
    scenario.deadline =
        Micros(1e3 * std::pow(1000.0, faults.Uniform(FaultKind::kDeadline)));
  }
  if (faults.Happens(FaultKind::kSlowReader, 0.1)) {
    scenario.takes = faults.Below(FaultKind::kSlowReader, 10);
  }
}

RequestScenario DrawRequest(Rng rng, uint32_t number, uint32_t max_context,
                            uint32_t classes, uint64_t texts) {
  RequestScenario scenario{.number = number};
  GenerateRequest& request = scenario.request;
  request.max_tokens = Between(rng, 0, rng.Below(4) == 0 ? 60 : 16);
  if (request.max_tokens == 0 || rng.Below(12) == 0) {
    request.prompt_logprobs = static_cast<int32_t>(rng.Below(3));
  }
  const uint32_t longest = rng.Below(2) == 0 ? max_context / 4 : max_context;
  const uint32_t size = Between(rng, 1, std::max(2u, longest) - 1);
  const uint64_t text = rng.Below(texts);
  const uint32_t shared =
      rng.Below(3) == 0 ? size : static_cast<uint32_t>(rng.Below(size + 1));
  request.prompt = Prompt(text, size, shared, rng);
  request.sampling.seed = rng.Below(2);
  request.sampling.ignore_eos = rng.Below(2) == 0;
  request.sampling.min_tokens = static_cast<int32_t>(rng.Below(3));
  if (rng.Below(6) == 0) request.sampling.top_logprobs = 1;
  if (rng.Below(5) == 0) request.stop = {"ab", "h"};
  request.include_stop_in_text = rng.Below(2) == 0;
  request.service_class = Between(rng, 0, classes - 1);
  request.priority = static_cast<int32_t>(rng.Below(3)) - 1;
  request.tenant = rng.Below(3);
  request.cache_salt = rng.Below(8) == 0 ? 1 : 0;
  return scenario;
}

// None, a nested set, or several that have one P each.
std::vector<StreamSet> DrawSets(Rng rng) {
  std::vector<StreamSet> sets;
  const uint64_t kind = rng.Below(5);
  if (kind == 0) return sets;
  const bool nested = kind < 4;
  for (uint32_t streams : {2u, 3u, 4u, 6u}) {
    if (rng.Below(2) == 0 && !(nested && streams == 6)) continue;
    StreamSet set{.id = static_cast<uint32_t>(sets.size()) + 1,
                  .streams = streams,
                  .elastic = nested,
                  .gain = {0},
                  .fingerprint = rng()};
    for (uint32_t p = 1; p < streams; ++p) {
      set.gain.push_back(set.gain.back() + 0.02 * rng.Uniform() / p);
    }
    sets.push_back(std::move(set));
    if (nested) break;
  }
  return sets;
}

// Devices with memories of their own that often have nothing to do, and lend
// nobody their cores: where streams of requests elsewhere are computed.
void MakeQuiet(Rng rng, NodeScenario& node) {
  if (node.devices.size() == 1) node.devices.push_back(node.devices[0]);
  const uint32_t first = node.pool_blocks[0];
  node.pool_blocks.clear();
  for (uint32_t i = 0; i < node.devices.size(); ++i) {
    DeviceScenario& device = node.devices[i];
    device.arena = i;
    if (rng.Below(2) == 0) device.role = DeviceRole::kBoth;
    device.max_rows = std::max(device.max_rows, 12u);
    // Rows of streams cost little beside the step, and a prompt not much more.
    device.time.base = std::max(device.time.base, 0.004);
    device.time.chunk_token =
        std::clamp(device.time.chunk_token, 0.0003, 0.0005);
    device.time.decode_row = 0.00001;
    device.time.decode_attended = 1e-8;
    node.pool_blocks.push_back(rng.Below(3) == 0 ? first
                                                 : first * Between(rng, 3, 8));
  }
  // Someone must do either.
  node.devices.front().role = DeviceRole::kBoth;
  node.lend_cores = node.loopback = false;
  node.max_running = std::max(node.max_running, 8u);
  node.prefill_chunk = std::max(node.prefill_chunk, 24u);
  node.bytes_per_second = Scale(rng, 1e5, 3e6);
  for (ServiceClass& each : node.classes) {
    each.ttft = std::max(each.ttft, Micros(2e6));
    each.tpot = std::max(each.tpot, Micros(2e5));
  }
}

// Most streams that every node can run in lock-step.
uint32_t MostStreams(const Scenario& scenario, const GenerateRequest& request) {
  const auto blocks = static_cast<uint32_t>(
      (request.prompt.size() + request.max_tokens + scenario.block_tokens - 1) /
      scenario.block_tokens);
  uint32_t most = kMostStreams;
  for (const NodeScenario& node : scenario.nodes) {
    for (uint32_t pool : node.pool_blocks) most = std::min(most, pool / blocks);
    uint32_t rows = 1;
    for (const DeviceScenario& device : node.devices) {
      if (device.role == DeviceRole::kPrefill) continue;
      rows = std::max(rows, device.max_rows);
    }
    most = std::min(most, rows - 1);
  }
  return most;
}

void DrawStreams(Rng rng, const Scenario& scenario, GenerateRequest& request) {
  if (scenario.stream_sets.empty() || rng.Below(4) == 0) return;
  const std::vector<StreamSet>& sets = scenario.stream_sets;
  StreamTerms& terms = request.streams;
  if (rng.Below(4) == 0) {
    const StreamSet& set = sets[rng.Below(sets.size())];
    const uint32_t streams =
        set.elastic ? Between(rng, 1, set.streams) : set.streams;
    if (streams <= MostStreams(scenario, request)) {
      terms = {.mode = StreamMode::kFixed, .min = streams, .max = streams};
      return;
    }
  }
  uint32_t most = 1;
  for (const StreamSet& set : sets) most = std::max(most, set.streams);
  terms = {.mode = StreamMode::kAuto, .max = Between(rng, 1, most)};
  terms.min = Between(rng, 1, terms.max);
  // Long enough for streams to catch up, to be shed and to come back.
  if (request.max_tokens > 0 && rng.Below(2) == 0) {
    request.max_tokens = Between(rng, 16, 120);
  }
}

// Best-of-n, of requests without streams.
void DrawBestOf(Rng rng, GenerateRequest& request) {
  if (request.streams.mode != StreamMode::kOff || request.max_tokens == 0 ||
      rng.Below(3) != 0) {
    return;
  }
  request.best_of = Between(rng, 2, 5);
  if (rng.Below(2) == 0) request.max_tokens = Between(rng, 16, 120);
}

}  // namespace

std::string ToFlags(const SimulationOptions& options) {
  std::string flags = absl::StrCat(" --faults ", ToString(options.faults));
  const SimulationOptions unset;
  if (options.max_faults != unset.max_faults) {
    absl::StrAppend(&flags, " --max-faults ", options.max_faults);
  }
  if (options.nodes > 0) absl::StrAppend(&flags, " --nodes ", options.nodes);
  if (options.requests > 0) {
    absl::StrAppend(&flags, " --requests ", options.requests);
  }
  if (options.minutes > 0) {
    absl::StrAppend(&flags, " --minutes ", options.minutes);
  }
  if (!options.only.empty()) {
    absl::StrAppend(&flags, " --only ", absl::StrJoin(options.only, ","));
  }
  return flags;
}

Scenario DrawScenario(uint64_t seed, const SimulationOptions& options,
                      FaultSource& faults) {
  Rng rng(seed * 2654435761 + 11);
  Scenario scenario;
  const uint32_t block_tokens[] = {4, 8, 16};
  scenario.block_tokens = block_tokens[rng.Below(3)];
  Rng quiet(seed * 49979687 + 7);
  const bool is_quiet = quiet.Below(4) == 0;
  uint32_t context_blocks = Between(rng, 4, 12);
  if (is_quiet) context_blocks *= 3;
  scenario.max_context = context_blocks * scenario.block_tokens;
  const uint32_t classes = Between(rng, 1, 3);
  const uint32_t drawn_nodes = Between(rng, 1, 3);
  const uint32_t nodes = options.nodes > 0 ? options.nodes : drawn_nodes;
  for (uint32_t i = 0; i < nodes; ++i) {
    Rng own(seed * 31337 + i + 1);
    scenario.nodes.push_back(DrawNode(own, context_blocks, classes, faults));
  }
  scenario.stream_sets = DrawSets(Rng(seed * 7919 + 5));
  double gap = Scale(rng, 300, 30'000);  // microseconds
  if (is_quiet) {
    for (NodeScenario& node : scenario.nodes) MakeQuiet(Rng(quiet()), node);
    gap = std::max(gap, Scale(quiet, 5'000, 100'000));
  }
  const uint64_t texts = 1 + rng.Below(4);
  scenario.placed_by_policy = rng.Below(2) == 0;
  const uint32_t drawn_requests = Between(rng, 10, 50);
  uint32_t requests = options.requests > 0 ? options.requests : drawn_requests;
  const Duration horizon = Micros(options.minutes * 60e6);
  if (options.minutes > 0 && options.requests == 0) requests = kMostRequests;
  Duration arrival{0};
  for (uint32_t i = 0; i < requests; ++i) {
    Rng own(seed * 104729 + i + 3);
    // A third of them come at once with the one before.
    if (own.Below(3) != 0) arrival += Micros(gap * 3 * own.Uniform());
    if (options.minutes > 0 && arrival > horizon) break;
    RequestScenario request =
        DrawRequest(own, i, scenario.max_context, classes, texts);
    request.arrival = arrival;
    DrawStreams(Rng(seed * 15485863 + i + 5), scenario, request.request);
    DrawBestOf(Rng(seed * 32452843 + i + 9), request.request);
    if (is_quiet && request.request.streams.mode == StreamMode::kAuto &&
        request.request.max_tokens > 0) {
      request.request.max_tokens += 60;
      request.request.sampling.ignore_eos = true;
    }
    const bool wanted =
        options.only.empty() || std::ranges::count(options.only, i) > 0;
    DrawTrouble(faults, request);
    if (wanted) scenario.requests.push_back(std::move(request));
  }
  scenario.length = arrival;
  return scenario;
}

}  // namespace braid
