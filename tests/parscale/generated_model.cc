#include "tests/parscale/generated_model.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "model/json_fields.h"
#include "model/json_value.h"

namespace braid::parscale {
namespace {

uint64_t Fnv1a(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  }
  return hash;
}

// Uniform in [0, 1), the i-th of a stream.
double Uniform(uint64_t stream, uint64_t i) {
  uint64_t z = stream + (i + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
}

// Adds tensors of one model to a file.
class Generator {
 public:
  Generator(const Case& c, SafetensorsBuilder& file) : case_(c), file_(file) {}

  // A linear layer whose outputs keep the scale of its inputs, times `gain`.
  void AddMatrix(const std::string& name, int64_t rows, int64_t columns,
                 double gain = 1.5) {
    Add(name, {rows, columns}, 0,
        gain * std::sqrt(3.0) / std::sqrt(static_cast<double>(columns)));
  }
  void AddNorm(const std::string& name, int64_t n) { Add(name, {n}, 1, 0.5); }
  void AddBias(const std::string& name, int64_t n) { Add(name, {n}, 0, 0.5); }
  void Add(const std::string& name, std::vector<int64_t> shape, double centre,
           double spread) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    file_.Add(name, std::move(shape),
              GeneratedValues(case_.name, name, count, centre, spread),
              case_.dtype);
  }

 private:
  const Case& case_;
  SafetensorsBuilder& file_;
};

void AddLayer(const Case& c, const std::string& at, Generator& generator) {
  const int64_t q = int64_t{c.heads} * c.head_dim;
  const int64_t kv = int64_t{c.kv_heads} * c.head_dim;
  generator.AddNorm(at + "input_layernorm.weight", c.hidden);
  generator.AddMatrix(at + "self_attn.q_proj.weight", q, c.hidden);
  generator.AddMatrix(at + "self_attn.k_proj.weight", kv, c.hidden);
  generator.AddMatrix(at + "self_attn.v_proj.weight", kv, c.hidden);
  if (c.architecture == "qwen2") {
    generator.AddBias(at + "self_attn.q_proj.bias", q);
    generator.AddBias(at + "self_attn.k_proj.bias", kv);
    generator.AddBias(at + "self_attn.v_proj.bias", kv);
  }
  generator.AddMatrix(at + "self_attn.o_proj.weight", c.hidden, q);
  generator.AddNorm(at + "post_attention_layernorm.weight", c.hidden);
  generator.AddMatrix(at + "mlp.gate_proj.weight", c.ffn, c.hidden);
  generator.AddMatrix(at + "mlp.up_proj.weight", c.ffn, c.hidden);
  generator.AddMatrix(at + "mlp.down_proj.weight", c.hidden, c.ffn);
}

// Weights that tell streams apart.
constexpr double kAggregatorGain = 3.0;

void AddAggregator(const Case& c, const char* w1, const char* b1,
                   const char* w2, const char* b2, Generator& generator) {
  generator.AddMatrix(w1, c.hidden, int64_t{c.streams} * c.hidden,
                      kAggregatorGain);
  generator.AddBias(b1, c.hidden);
  generator.AddMatrix(w2, c.streams, c.hidden, kAggregatorGain);
  generator.AddBias(b2, c.streams);
}

std::string ConfigOf(const Case& c) {
  const bool streams = !c.nested;
  const bool llama = c.architecture == "llama";
  JsonValue::Object config = {
      {"architectures", JsonValue::Array{llama     ? "LlamaForCausalLM"
                                         : streams ? "Qwen2ParScaleForCausalLM"
                                                   : "Qwen2ForCausalLM"}},
      {"model_type", llama     ? "llama"
                     : streams ? "qwen2_parscale"
                               : "qwen2"},
      {"num_hidden_layers", c.layers},
      {"hidden_size", c.hidden},
      {"num_attention_heads", c.heads},
      {"num_key_value_heads", c.kv_heads},
      {"head_dim", c.head_dim},
      {"intermediate_size", c.ffn},
      {"vocab_size", c.vocabulary},
      {"max_position_embeddings", 512},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000.0},
      {"tie_word_embeddings", c.tied}};
  if (streams) {
    config.emplace_back("parscale_n", c.streams);
    config.emplace_back("parscale_n_tokens", c.prefix_tokens);
    config.emplace_back("parscale_attn_smooth", c.smoothing);
  }
  return ToJson(config);
}

Case ReadCase(const JsonValue& json) {
  const JsonFields fields(json, "cases.json");
  Case c;
  c.name = *fields.String("name");
  c.nested = *fields.String("kind") == "nested";
  c.architecture = *fields.String("architecture");
  c.smoothing = *fields.Real("smoothing");
  c.tied = *fields.Boolean("tied");
  const std::string dtype = *fields.String("dtype");
  c.dtype = dtype == "F32"   ? DType::kF32
            : dtype == "F16" ? DType::kF16
                             : DType::kBF16;
  const std::pair<const char*, int32_t*> integers[] = {
      {"streams", &c.streams},
      {"prefix_tokens", &c.prefix_tokens},
      {"hidden", &c.hidden},
      {"heads", &c.heads},
      {"kv_heads", &c.kv_heads},
      {"head_dim", &c.head_dim},
      {"ffn", &c.ffn},
      {"layers", &c.layers},
      {"vocabulary", &c.vocabulary}};
  for (const auto& [key, field] : integers) {
    BRAID_CHECK(fields.Get(key, *field).ok());
  }
  return c;
}

}  // namespace

std::vector<Case> ReadCases() {
  std::ifstream in(std::string(BRAID_SOURCE_DIR) +
                   "/tests/parscale/golden/cases.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto json = ParseJson(text);
  BRAID_CHECK_MSG(json.ok(), json.status().ToString());
  std::vector<Case> cases;
  for (const JsonValue& entry : *json->array()) {
    cases.push_back(ReadCase(entry));
  }
  return cases;
}

std::vector<float> GeneratedValues(const std::string& model,
                                   const std::string& tensor, int64_t count,
                                   double centre, double spread) {
  const uint64_t stream = Fnv1a(model + "/" + tensor);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] =
        static_cast<float>(centre + spread * (2 * Uniform(stream, i) - 1));
  }
  return values;
}

std::vector<TokenId> GeneratedTokens(const Case& c, size_t count) {
  const uint64_t stream = Fnv1a(c.name + "/tokens");
  std::vector<TokenId> tokens(count);
  for (size_t i = 0; i < count; ++i) {
    tokens[i] = static_cast<TokenId>(Uniform(stream, i) * c.vocabulary);
  }
  return tokens;
}

void WriteModel(const Case& c, const std::string& folder) {
  std::filesystem::create_directories(folder);
  SafetensorsBuilder file;
  Generator generator(c, file);
  generator.Add("model.embed_tokens.weight", {c.vocabulary, c.hidden}, 0, 1);
  if (!c.tied) generator.AddMatrix("lm_head.weight", c.vocabulary, c.hidden);
  generator.AddNorm("model.norm.weight", c.hidden);
  const bool streams = !c.nested && c.streams > 1;
  for (int32_t l = 0; l < c.layers; ++l) {
    const std::string at = absl::StrCat("model.layers.", l, ".");
    AddLayer(c, at, generator);
    if (!streams) continue;
    for (const char* name : {"prefix_k", "prefix_v"}) {
      generator.Add(absl::StrCat(at, "self_attn.", name),
                    {c.streams, c.kv_heads, c.prefix_tokens, c.head_dim}, 0,
                    c.prefix_spread);
    }
  }
  if (streams) {
    AddAggregator(c, "model.aggregate_layer.0.weight",
                  "model.aggregate_layer.0.bias",
                  "model.aggregate_layer.2.weight",
                  "model.aggregate_layer.2.bias", generator);
  }
  file.Write(folder + "/model.safetensors");
  std::ofstream(folder + "/config.json") << ConfigOf(c);
}

int64_t ToAdjacent(int64_t from, int64_t head_dim) {
  const int64_t half = head_dim / 2, i = from % head_dim;
  return from - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

SafetensorsBuilder MakeAdapter(const Case& c, const std::string& base_sha256,
                               RopePairing layout) {
  SafetensorsBuilder file;
  Generator generator(c, file);
  for (const char* name : {"prefix_k", "prefix_v"}) {
    generator.Add(
        name,
        {c.layers, c.streams - 1, c.kv_heads, c.prefix_tokens, c.head_dim}, 0,
        c.prefix_spread);
  }
  AddAggregator(c, "aggregator.w1", "aggregator.b1", "aggregator.w2",
                "aggregator.b2", generator);
  if (layout == RopePairing::kAdjacent) {
    const size_t bytes = c.dtype == DType::kF32 ? 4 : 2;
    std::string& keys = file.tensors["prefix_k"].bytes;
    const std::string halves = keys;
    for (size_t i = 0; i < halves.size() / bytes; ++i) {
      const auto to =
          static_cast<size_t>(ToAdjacent(static_cast<int64_t>(i), c.head_dim));
      keys.replace(to * bytes, bytes, halves, i * bytes, bytes);
    }
  }
  file.metadata = {
      {"format", "braid-parscale"},
      {"version", "1"},
      {"kind", "nested"},
      {"base_sha256", base_sha256},
      {"base_name", c.name},
      {"streams", absl::StrCat(c.streams)},
      {"prefix_tokens", absl::StrCat(c.prefix_tokens)},
      {"smoothing", absl::StrCat(c.smoothing)},
      {"key_layout", layout == RopePairing::kHalves ? "halves" : "adjacent"},
      {"hidden", absl::StrCat(c.hidden)},
      {"layers", absl::StrCat(c.layers)},
      {"kv_heads", absl::StrCat(c.kv_heads)},
      {"head_dim", absl::StrCat(c.head_dim)}};
  return file;
}

}  // namespace braid::parscale
