#include "model/model_config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {
namespace {

absl::Status CheckRange(const char* field, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "model configuration: ", field, " is ", value, ", not 1 to ", max));
}

absl::Status CheckPositive(const char* field, float value) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "model configuration: ", field, " is ", value, ", not positive"));
}

absl::Status ValidateRope(const RopeConfig& rope, int32_t head_dim) {
  const auto positive =
      [](std::initializer_list<std::pair<const char*, float>> fields) {
        absl::Status status;
        for (const auto& [name, value] : fields) {
          status.Update(CheckPositive(name, value));
        }
        return status;
      };
  absl::Status status = CheckPositive("RoPE base", rope.base);
  if (rope.base <= 1) status.Update(CheckRange("RoPE base", 0, INT32_MAX));
  if (rope.scaling != RopeScaling::kNone) {
    status.Update(CheckPositive("RoPE scaling factor", rope.factor));
  }
  if (rope.scaling == RopeScaling::kLlama3 ||
      rope.scaling == RopeScaling::kYarn) {
    status.Update(CheckRange("RoPE original context", rope.original_context,
                             int64_t{1} << 30));
  }
  if (rope.scaling == RopeScaling::kLlama3) {
    status.Update(
        positive({{"RoPE low frequency factor", rope.low_frequency_factor},
                  {"RoPE high frequency factor less the low one",
                   rope.high_frequency_factor - rope.low_frequency_factor}}));
  }
  if (rope.scaling == RopeScaling::kYarn) {
    status.Update(positive(
        {{"YaRN beta_fast", rope.beta_fast},
         {"YaRN beta_slow", rope.beta_slow},
         {"YaRN beta_fast less beta_slow", rope.beta_fast - rope.beta_slow}}));
    if (rope.attention_factor != 0) {
      status.Update(
          CheckPositive("YaRN attention factor", rope.attention_factor));
    }
  }
  if (!rope.frequency_divisors.empty() &&
      rope.frequency_divisors.size() != static_cast<size_t>(head_dim) / 2) {
    status.Update(absl::InvalidArgumentError(
        absl::StrCat("model configuration: ", rope.frequency_divisors.size(),
                     " RoPE frequency divisors for a head of ", head_dim)));
  }
  for (const float divisor : rope.frequency_divisors) {
    status.Update(CheckPositive("RoPE frequency divisor", divisor));
  }
  return status;
}

// Llama 3.1: wavelengths that fit the original context a few times stay, long
// ones are stretched by `factor`, those between are blended.
float ScaleLlama3(const RopeConfig& rope, float frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double turns = static_cast<double>(rope.original_context) / wavelength;
  const double keep =
      std::clamp((turns - rope.low_frequency_factor) /
                     (rope.high_frequency_factor - rope.low_frequency_factor),
                 0.0, 1.0);
  return static_cast<float>((1 - keep) * frequency / rope.factor +
                            keep * frequency);
}

// YaRN (arXiv 2309.00071, section 3.2): pairs that turn more than beta_fast
// times within the original context stay, those that turn fewer than beta_slow
// times are interpolated, with a linear ramp over the pairs between.
void ScaleYarn(const RopeConfig& rope, int32_t head_dim,
               std::vector<float>& frequencies) {
  const auto pair_with_turns = [&](double turns) {
    return head_dim *
           std::log(static_cast<double>(rope.original_context) /
                    (turns * 2 * std::numbers::pi)) /
           (2 * std::log(static_cast<double>(rope.base)));
  };
  const double low = std::max(0.0, std::floor(pair_with_turns(rope.beta_fast)));
  const double high = std::min<double>(
      head_dim - 1, std::ceil(pair_with_turns(rope.beta_slow)));
  const double width = low == high ? 0.001 : high - low;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp =
        std::clamp((static_cast<double>(i) - low) / width, 0.0, 1.0);
    const double f = frequencies[i];
    frequencies[i] =
        static_cast<float>(f / rope.factor * ramp + f * (1 - ramp));
  }
}

}  // namespace

const char* ToString(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "llama";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
  }
  return "?";
}

absl::Status Validate(const ModelConfig& config) {
  // Bounds well above any model served, and low enough that no product of
  // two of them overflows.
  absl::Status status = CheckRange("layers", config.layers, 1024);
  status.Update(CheckRange("hidden size", config.hidden, 1 << 17));
  status.Update(CheckRange("heads", config.heads, 1 << 10));
  status.Update(CheckRange("KV heads", config.kv_heads, config.heads));
  status.Update(CheckRange("head size", config.head_dim, 1 << 10));
  status.Update(CheckRange("FFN size", config.ffn, 1 << 20));
  status.Update(CheckRange("vocabulary", config.vocabulary, 1 << 22));
  status.Update(CheckRange("context", config.context, 1 << 27));
  if (!status.ok()) return status;
  if (config.heads % config.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model configuration: ", config.heads, " heads are not a multiple of ",
        config.kv_heads, " KV heads"));
  }
  if (config.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model configuration: head size ", config.head_dim, " is odd"));
  }
  status.Update(CheckPositive("RMS epsilon", config.rms_epsilon));
  status.Update(ValidateRope(config.rope, config.head_dim));
  return status;
}

RopeTable MakeRopeTable(const RopeConfig& rope, int32_t head_dim) {
  BRAID_CHECK(head_dim > 0 && head_dim % 2 == 0);
  RopeTable table;
  table.frequencies.resize(static_cast<size_t>(head_dim) / 2);
  for (size_t i = 0; i < table.frequencies.size(); ++i) {
    table.frequencies[i] =
        static_cast<float>(std::pow(static_cast<double>(rope.base),
                                    -2.0 * static_cast<double>(i) / head_dim));
  }
  switch (rope.scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (float& f : table.frequencies) f /= rope.factor;
      break;
    case RopeScaling::kLlama3:
      for (float& f : table.frequencies) f = ScaleLlama3(rope, f);
      break;
    case RopeScaling::kYarn:
      ScaleYarn(rope, head_dim, table.frequencies);
      table.magnitude =
          rope.attention_factor != 0
              ? rope.attention_factor
              : 0.1f * std::log(std::max(rope.factor, 1.0f)) + 1.0f;
      break;
  }
  if (!rope.frequency_divisors.empty()) {
    BRAID_CHECK(rope.frequency_divisors.size() == table.frequencies.size());
    for (size_t i = 0; i < table.frequencies.size(); ++i) {
      table.frequencies[i] /= rope.frequency_divisors[i];
    }
  }
  return table;
}

}  // namespace braid
