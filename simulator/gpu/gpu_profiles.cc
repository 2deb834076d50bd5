#include "simulator/gpu/gpu_profiles.h"

#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "simulator/gpu/csv_table.h"

namespace braid::gpu {
namespace {

constexpr absl::string_view kEngineNames[] = {"trtllm", "vllm", "sglang"};

// Reads `name` of `directory` and checks that it begins with these columns.
absl::StatusOr<CsvTable> ReadProfile(
    const std::string& directory, absl::string_view name,
    std::initializer_list<absl::string_view> columns) {
  absl::StatusOr<CsvTable> table = ReadCsv(absl::StrCat(directory, "/", name));
  if (!table.ok()) {
    return absl::Status(
        table.status().code(),
        absl::StrCat(table.status().message(),
                     ". GPU profiles are in simulator/profiles of the source "
                     "tree: name that directory with --profiles or "
                     "BRAID_PROFILES"));
  }
  size_t i = 0;
  for (absl::string_view column : columns) {
    if (i >= table->header.size() || table->header[i] != column) {
      return absl::InvalidArgumentError(absl::StrCat(
          directory, "/", name, ": column ", i + 1, " is not '", column,
          "': it is of another version; restore it from the source tree"));
    }
    ++i;
  }
  return table;
}

// Reads fields of a row one after the other; remembers whether one was no
// number.
class FieldReader {
 public:
  explicit FieldReader(const std::vector<std::string>& row) : row_(row) {}
  void Text(std::string& out) { out = row_[next_++]; }
  void Number(double& out) {
    out = CsvNumber(row_[next_++]);
    if (!std::isfinite(out) || out < 0) ok_ = false;
  }
  void Number(int& out) {
    double value = 0;
    Number(value);
    out = std::isfinite(value) && value < 1e9 ? static_cast<int>(value) : 0;
  }
  bool ok() const { return ok_; }

 private:
  const std::vector<std::string>& row_;
  size_t next_ = 0;
  bool ok_ = true;
};

absl::Status BadRow(absl::string_view file,
                    const std::vector<std::string>& row) {
  return absl::InvalidArgumentError(absl::StrCat(
      file, ": the row '", absl::StrJoin(row, ","), "' has a bad number"));
}

absl::StatusOr<std::vector<ModelShape>> ReadModels(const std::string& dir) {
  BRAID_ASSIGN_OR_RETURN(const CsvTable table,
                         ReadProfile(dir, "models.csv",
                                     {"name",
                                      "hidden",
                                      "layers",
                                      "heads",
                                      "kv_heads",
                                      "head_dim",
                                      "ffn",
                                      "vocab",
                                      "experts",
                                      "topk",
                                      "expert_ffn",
                                      "shared_ffn",
                                      "dense_layers",
                                      "q_lora",
                                      "kv_lora",
                                      "rope",
                                      "window",
                                      "linear_value_heads",
                                      "linear_key_heads",
                                      "linear_head_dim",
                                      "full_every",
                                      "sparse",
                                      "dense_format",
                                      "expert_format"}));
  std::vector<ModelShape> models;
  for (const auto& row : table.rows) {
    ModelShape m;
    FieldReader read(row);
    read.Text(m.name);
    for (int* field : {&m.hidden,
                       &m.layers,
                       &m.heads,
                       &m.kv_heads,
                       &m.head_dim,
                       &m.ffn,
                       &m.vocab,
                       &m.experts,
                       &m.topk,
                       &m.expert_ffn,
                       &m.shared_ffn,
                       &m.dense_layers,
                       &m.q_lora,
                       &m.kv_lora,
                       &m.rope,
                       &m.window,
                       &m.linear_value_heads,
                       &m.linear_key_heads,
                       &m.linear_head_dim,
                       &m.full_every,
                       &m.sparse}) {
      read.Number(*field);
    }
    read.Text(m.dense_format);
    read.Text(m.expert_format);
    if (!read.ok() || m.hidden <= 0 || m.layers <= 0 || m.heads <= 0 ||
        m.kv_heads <= 0 || m.full_every <= 0) {
      return BadRow("models.csv", row);
    }
    models.push_back(std::move(m));
  }
  return models;
}

absl::StatusOr<std::vector<GpuSystem>> ReadSystems(const std::string& dir) {
  BRAID_ASSIGN_OR_RETURN(
      const CsvTable table,
      ReadProfile(dir, "systems.csv",
                  {"name", "memory", "memory_bw", "bf16_flops", "fp8_flops",
                   "fp4_flops", "nvlink_bw", "network_bw", "domain", "tables",
                   "links"}));
  std::vector<GpuSystem> systems;
  for (const auto& row : table.rows) {
    GpuSystem s;
    FieldReader read(row);
    read.Text(s.name);
    for (double* field :
         {&s.memory, &s.memory_bandwidth, &s.bf16_flops, &s.fp8_flops,
          &s.fp4_flops, &s.nvlink_bandwidth, &s.network_bandwidth}) {
      read.Number(*field);
      if (*field <= 0) return BadRow("systems.csv", row);
    }
    read.Number(s.nvlink_domain);
    read.Text(s.tables);
    read.Text(s.links);
    if (!read.ok()) return BadRow("systems.csv", row);
    systems.push_back(std::move(s));
  }
  return systems;
}

absl::StatusOr<std::array<EngineHabits, kServingEngines>> ReadEngines(
    const std::string& dir) {
  BRAID_ASSIGN_OR_RETURN(
      const CsvTable table,
      ReadProfile(dir, "engines.csv",
                  {"parameter", "trtllm", "vllm", "sglang"}));
  static constexpr struct {
    absl::string_view name;
    double EngineHabits::*field;
    double unit;
  } kParameters[] = {
      {"step_overhead_us", &EngineHabits::step_overhead, 1e-6},
      {"layer_overhead_us", &EngineHabits::layer_overhead, 1e-6},
      {"prompt_layer_overhead_us", &EngineHabits::prompt_layer_overhead, 1e-6},
      {"gemm", &EngineHabits::gemm, 1},
      {"expert", &EngineHabits::expert, 1},
      {"decode_attention", &EngineHabits::decode_attention, 1},
      {"prefill_attention", &EngineHabits::prefill_attention, 1},
      {"latent_decode", &EngineHabits::latent_decode, 1},
      {"latent_prefill", &EngineHabits::latent_prefill, 1},
      {"collective", &EngineHabits::collective, 1},
      {"elementwise", &EngineHabits::elementwise, 1},
      {"block_weights", &EngineHabits::block_weights, 1},
      {"request_overhead_ms", &EngineHabits::request_overhead, 1e-3},
      {"latent_request_overhead_ms", &EngineHabits::latent_request_overhead,
       1e-3},
      {"request_jitter", &EngineHabits::request_jitter, 1},
      {"request_spacing_ms", &EngineHabits::request_spacing, 1e-3},
      {"first_token_steps", &EngineHabits::first_token_steps, 1},
      {"group_steps", &EngineHabits::group_steps, 1},
      {"bundle_steps", &EngineHabits::bundle_steps, 1},
      {"undated_prompts", &EngineHabits::undated_prompts, 1},
      {"poll_steps_few", &EngineHabits::poll_steps_few, 1},
      {"poll_steps_many", &EngineHabits::poll_steps_many, 1},
      {"prefill", &EngineHabits::prefill, 1},
      {"prompt_budget", &EngineHabits::prompt_budget, 1},
      {"whole_prompts", &EngineHabits::whole_prompts, 1},
      {"mixes", &EngineHabits::mixes, 1},
      {"kv_fp8", &EngineHabits::kv_fp8, 1},
      {"shortest_answer", &EngineHabits::shortest_answer, 1},
      {"reserved_answer", &EngineHabits::reserved_answer, 1},
  };
  std::array<EngineHabits, kServingEngines> habits;
  for (const auto& parameter : kParameters) {
    const std::vector<std::string>* found = nullptr;
    for (const auto& row : table.rows) {
      if (row[0] == parameter.name) found = &row;
    }
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(dir, "/engines.csv has no row '", parameter.name, "'"));
    }
    for (int e = 0; e < kServingEngines; ++e) {
      const double value = CsvNumber((*found)[1 + e]);
      if (!std::isfinite(value) || value < 0) {
        return BadRow("engines.csv", *found);
      }
      habits[e].*parameter.field = value * parameter.unit;
    }
  }
  return habits;
}

absl::StatusOr<std::vector<LaunchSetting>> ReadLaunches(
    const std::string& dir) {
  BRAID_ASSIGN_OR_RETURN(
      const CsvTable table,
      ReadProfile(dir, "launches.csv",
                  {"engine", "model", "system", "precision", "from", "until",
                   "tokens", "prompts", "per_client", "shortest_answer"}));
  std::vector<LaunchSetting> launches;
  for (const auto& row : table.rows) {
    LaunchSetting l;
    FieldReader read(row);
    for (std::string* field :
         {&l.engine, &l.model, &l.system, &l.precision, &l.from, &l.until}) {
      read.Text(*field);
    }
    for (double* field :
         {&l.tokens, &l.prompts, &l.per_client, &l.shortest_answer}) {
      read.Number(*field);
    }
    if (!read.ok()) return BadRow("launches.csv", row);
    launches.push_back(std::move(l));
  }
  return launches;
}

// A table whose first `keys` columns name a shape and whose other headers are
// sizes; fields are microseconds.
absl::StatusOr<MeasuredTable> ReadMeasured(const std::string& dir,
                                           absl::string_view name,
                                           size_t keys) {
  BRAID_ASSIGN_OR_RETURN(CsvTable table, ReadProfile(dir, name, {"system"}));
  if (table.header.size() < keys + 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(dir, "/", name, " has too few columns"));
  }
  if (table.rows.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        dir, "/", name, " is empty: restore it from the source tree"));
  }
  MeasuredTable out;
  for (size_t i = keys; i < table.header.size(); ++i) {
    out.sizes.push_back(CsvNumber(table.header[i]));
  }
  out.rows.reserve(table.rows.size());
  for (auto& row : table.rows) {
    MeasuredTable::Row measured;
    measured.seconds.reserve(out.sizes.size());
    for (size_t i = keys; i < row.size(); ++i) {
      measured.seconds.push_back(CsvNumber(row[i]) * 1e-6);
    }
    row.resize(keys);
    measured.keys = std::move(row);
    out.rows.push_back(std::move(measured));
  }
  return out;
}

absl::Status ReadLinks(const std::string& dir, GpuProfiles& profiles) {
  BRAID_ASSIGN_OR_RETURN(
      const CsvTable table,
      ReadProfile(dir, "send_recv.csv",
                  {"system", "path", "small_msg_us", "GBps_at_64MiB"}));
  for (const auto& row : table.rows) {
    const LinkFit fit{CsvNumber(row[2]) * 1e-6, CsvNumber(row[3]) * 1e9};
    if (!(fit.small_seconds > 0) || !(fit.bandwidth > 0)) {
      return BadRow("send_recv.csv", row);
    }
    profiles.links[absl::StrCat(row[0], "/", row[1])] = fit;
  }
  return absl::OkStatus();
}

template <typename Entry>
std::string Names(const std::vector<Entry>& entries) {
  return absl::StrJoin(entries, ", ", [](std::string* out, const Entry& e) {
    absl::StrAppend(out, e.name);
  });
}

}  // namespace

absl::string_view ToString(ServingEngine engine) {
  return kEngineNames[static_cast<int>(engine)];
}

std::string GpuProfiles::DefaultDirectory() {
  const char* set = std::getenv("BRAID_PROFILES");
  return set != nullptr && *set != '\0' ? set : BRAID_PROFILES_DIRECTORY;
}

absl::StatusOr<GpuProfiles> GpuProfiles::Read(const std::string& directory) {
  GpuProfiles p;
  BRAID_ASSIGN_OR_RETURN(p.models_, ReadModels(directory));
  BRAID_ASSIGN_OR_RETURN(p.systems_, ReadSystems(directory));
  BRAID_ASSIGN_OR_RETURN(p.habits_, ReadEngines(directory));
  BRAID_ASSIGN_OR_RETURN(p.launches_, ReadLaunches(directory));
  BRAID_RETURN_IF_ERROR(ReadLinks(directory, p));
  BRAID_ASSIGN_OR_RETURN(p.gemm, ReadMeasured(directory, "gemm.csv.gz", 4));
  BRAID_ASSIGN_OR_RETURN(
      p.prefill_attention,
      ReadMeasured(directory, "prefill_attention.csv.gz", 6));
  BRAID_ASSIGN_OR_RETURN(p.decode_attention,
                         ReadMeasured(directory, "decode_attention.csv.gz", 7));
  BRAID_ASSIGN_OR_RETURN(p.mla_prefill,
                         ReadMeasured(directory, "mla_prefill.csv.gz", 4));
  BRAID_ASSIGN_OR_RETURN(p.mla_decode,
                         ReadMeasured(directory, "mla_decode.csv.gz", 5));
  BRAID_ASSIGN_OR_RETURN(p.moe, ReadMeasured(directory, "moe.csv.gz", 8));
  BRAID_ASSIGN_OR_RETURN(p.collectives,
                         ReadMeasured(directory, "collectives.csv.gz", 3));
  return p;
}

const ModelShape* GpuProfiles::FindModel(absl::string_view served) const {
  const size_t slash = served.rfind('/');
  if (slash != absl::string_view::npos) served.remove_prefix(slash + 1);
  std::string name = absl::AsciiStrToLower(served);
  if (absl::StartsWith(name, "meta-")) name.erase(0, 5);
  const ModelShape* best = nullptr;
  for (const ModelShape& m : models_) {
    if (absl::StartsWith(name, m.name) &&
        (name.size() == m.name.size() || name[m.name.size()] == '-') &&
        (best == nullptr || m.name.size() > best->name.size())) {
      best = &m;
    }
  }
  return best;
}

const GpuSystem* GpuProfiles::FindSystem(absl::string_view name) const {
  for (const GpuSystem& s : systems_) {
    if (name == s.name || s.name == absl::StrCat(name, "_sxm")) return &s;
  }
  return nullptr;
}

const LaunchSetting* GpuProfiles::FindLaunch(ServingEngine engine,
                                             absl::string_view model,
                                             absl::string_view system,
                                             absl::string_view precision,
                                             absl::string_view day) const {
  const ModelShape* shape = FindModel(model);
  if (shape == nullptr) return nullptr;
  const auto is = [](const std::string& wanted, absl::string_view value) {
    return wanted == "*" || wanted == value;
  };
  for (const LaunchSetting& l : launches_) {
    if (is(l.engine, ToString(engine)) && is(l.model, shape->name) &&
        is(l.system, system) && is(l.precision, precision) && l.from <= day &&
        day <= l.until) {
      return &l;
    }
  }
  return nullptr;
}

std::string GpuProfiles::ModelNames() const { return Names(models_); }
std::string GpuProfiles::SystemNames() const { return Names(systems_); }

}  // namespace braid::gpu
