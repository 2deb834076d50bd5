#include "cpu/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace braid::reference {
namespace {

std::vector<float> ToFloats(const Tensor& vector) {
  if (vector.empty()) return {};
  std::vector<float> values(static_cast<size_t>(vector.columns));
  DequantizeRow(vector.dtype, vector.data, vector.columns, values.data());
  return values;
}

// A matrix of activations, one row per token.
struct Rows {
  Rows(size_t rows, size_t columns)
      : columns(columns), values(rows * columns) {}
  std::span<float> row(size_t r) {
    return std::span(values).subspan(r * columns, columns);
  }
  std::span<const float> row(size_t r) const {
    return std::span(values).subspan(r * columns, columns);
  }
  size_t rows() const { return values.size() / columns; }

  size_t columns;
  std::vector<float> values;
};

float Silu(float x) { return x / (1.0f + std::exp(-x)); }

// Four partial sums let the additions overlap; in double their order is of no
// consequence for a float result.
float Dot(std::span<const float> a, std::span<const float> b) {
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= a.size(); i += 4) {
    for (size_t j = 0; j < 4; ++j) {
      sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    }
  }
  for (; i < a.size(); ++i) {
    sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// y[t] = W x[t] (+ bias) for all tokens: each row of W is dequantised once.
Rows LinearAll(const Tensor& w, const Tensor& bias, const Rows& x,
               LinearInputs inputs) {
  BRAID_CHECK(x.columns == static_cast<size_t>(w.columns));
  Rows seen = x;
  if (inputs == LinearInputs::kInt8Blocks32) {
    for (size_t t = 0; t < seen.rows(); ++t) RoundToInt8Blocks(seen.row(t));
  }
  if (inputs == LinearInputs::kBFloat16 && w.dtype == DType::kBF16) {
    for (float& v : seen.values) v = BFloat16ToFloat(FloatToBFloat16(v));
  }
  const std::vector<float> b = ToFloats(bias);
  std::vector<float> w_row(x.columns);
  Rows y(x.rows(), static_cast<size_t>(w.rows));
  for (size_t r = 0; r < y.columns; ++r) {
    DequantizeRow(w.dtype, w.row(static_cast<int64_t>(r)), w.columns,
                  w_row.data());
    for (size_t t = 0; t < y.rows(); ++t) {
      y.row(t)[r] = Dot(w_row, seen.row(t)) + (b.empty() ? 0.0f : b[r]);
    }
  }
  return y;
}

Rows NormAll(const Tensor& weight, float epsilon, const Rows& x) {
  const std::vector<float> w = ToFloats(weight);
  Rows y(x.rows(), x.columns);
  for (size_t t = 0; t < x.rows(); ++t) {
    RmsNorm(x.row(t), w, epsilon, y.row(t));
  }
  return y;
}

// Qwen3's norm of each head (when there is one), then RoPE at the token's
// position. `x` is [tokens][heads * head_dim].
void NormAndRotateHeads(const ModelConfig& config, const RopeTable& table,
                        const Tensor& norm, Rows& x) {
  const auto head_dim = static_cast<size_t>(config.head_dim);
  const std::vector<float> w = ToFloats(norm);
  for (size_t t = 0; t < x.rows(); ++t) {
    for (size_t at = 0; at < x.columns; at += head_dim) {
      const std::span<float> head = x.row(t).subspan(at, head_dim);
      if (!w.empty()) {
        const std::vector<float> raw(head.begin(), head.end());
        RmsNorm(raw, w, config.rms_epsilon, head);
      }
      Rope(table, config.rope.pairing, static_cast<uint32_t>(t), head);
    }
  }
}

// softmax(q k^T / sqrt(head_dim)) v of one head of one token over the first
// `seen` keys and values.
void AttendHead(std::span<const float> q, const Rows& k, const Rows& v,
                size_t seen, size_t kv_column, std::span<float> out) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size()));
  std::vector<double> scores(seen);
  double max = -std::numeric_limits<double>::infinity();
  for (size_t s = 0; s < seen; ++s) {
    scores[s] = Dot(q, k.row(s).subspan(kv_column, q.size())) * scale;
    max = std::max(max, scores[s]);
  }
  double sum = 0;
  for (double& score : scores) {
    score = std::exp(score - max);
    sum += score;
  }
  std::vector<double> mix(q.size());
  for (size_t s = 0; s < seen; ++s) {
    const std::span<const float> value = v.row(s).subspan(kv_column, q.size());
    for (size_t i = 0; i < mix.size(); ++i) {
      mix[i] += scores[s] * static_cast<double>(value[i]);
    }
  }
  for (size_t i = 0; i < mix.size(); ++i) {
    out[i] = static_cast<float>(mix[i] / sum);
  }
}

// Causal attention; heads / kv_heads query heads share one KV head (GQA). Keys
// and values that are before those of the first token are a prefix, which all
// tokens see.
Rows Attend(const ModelConfig& config, const Rows& q, const Rows& k,
            const Rows& v) {
  const size_t prefix = k.rows() - q.rows();
  const auto head_dim = static_cast<size_t>(config.head_dim);
  const auto group = static_cast<size_t>(config.heads / config.kv_heads);
  Rows out(q.rows(), q.columns);
  for (size_t t = 0; t < q.rows(); ++t) {
    for (size_t h = 0; h < static_cast<size_t>(config.heads); ++h) {
      AttendHead(q.row(t).subspan(h * head_dim, head_dim), k, v, prefix + t + 1,
                 h / group * head_dim,
                 out.row(t).subspan(h * head_dim, head_dim));
    }
  }
  return out;
}

void Add(const Rows& from, Rows& to) {
  for (size_t i = 0; i < to.values.size(); ++i) to.values[i] += from.values[i];
}

// Learned keys and values that stand before all tokens of a stream, one row per
// prefix token: [prefix_tokens][kv_heads * head_dim]. No rows: no prefix.
struct Prefix {
  Rows k{0, 1}, v{0, 1};
};

Rows PrefixRows(const ModelConfig& config, const Tensor& from, int32_t tokens) {
  const auto head_dim = static_cast<size_t>(config.head_dim);
  Rows rows(static_cast<size_t>(tokens), config.kv_heads * head_dim);
  for (size_t t = 0; t < rows.rows(); ++t) {
    for (size_t h = 0; h < static_cast<size_t>(config.kv_heads); ++h) {
      DequantizeRow(
          from.dtype, from.row(static_cast<int64_t>(h * rows.rows() + t)),
          config.head_dim, rows.row(t).subspan(h * head_dim, head_dim).data());
    }
  }
  return rows;
}

// From pairs (i, i + head_dim / 2), as prefixes have them, to (2i, 2i + 1).
void PairNeighbours(size_t head_dim, Rows& rows) {
  for (size_t at = 0; at < rows.values.size(); at += head_dim) {
    const std::span<float> head = std::span(rows.values).subspan(at, head_dim);
    const std::vector<float> halves(head.begin(), head.end());
    for (size_t i = 0; i < head_dim; ++i) {
      head[i] = halves[i / 2 + i % 2 * (head_dim / 2)];
    }
  }
}

Prefix PrefixOf(const ModelConfig& config, const ParscaleSet& set,
                int32_t stream, size_t layer) {
  if (set.PrefixOf(stream) == 0) return {};
  const auto s = static_cast<size_t>(stream);
  Prefix prefix{
      .k = PrefixRows(config, set.prefix_k[s][layer], set.prefix_tokens),
      .v = PrefixRows(config, set.prefix_v[s][layer], set.prefix_tokens)};
  if (config.rope.pairing == RopePairing::kAdjacent) {
    PairNeighbours(static_cast<size_t>(config.head_dim), prefix.k);
  }
  return prefix;
}

// `rows` before `x`.
Rows Behind(const Rows& rows, Rows x) {
  x.values.insert(x.values.begin(), rows.values.begin(), rows.values.end());
  return x;
}

void AttentionBlock(const ModelConfig& config, const LayerWeights& layer,
                    const RopeTable& table, const Prefix& prefix,
                    LinearInputs inputs, Rows& x) {
  const Rows normed = NormAll(layer.attention_norm, config.rms_epsilon, x);
  Rows q = LinearAll(layer.q, layer.q_bias, normed, inputs);
  Rows k = LinearAll(layer.k, layer.k_bias, normed, inputs);
  Rows v = LinearAll(layer.v, layer.v_bias, normed, inputs);
  NormAndRotateHeads(config, table, layer.q_norm, q);
  NormAndRotateHeads(config, table, layer.k_norm, k);
  // The prefix is not rotated, and takes no positions.
  k = Behind(prefix.k, std::move(k));
  v = Behind(prefix.v, std::move(v));
  Add(LinearAll(layer.o, {}, Attend(config, q, k, v), inputs), x);
}

// x += W_down (silu(W_gate n) * (W_up n)), n = norm(x)
void FeedForwardBlock(const ModelConfig& config, const LayerWeights& layer,
                      LinearInputs inputs, Rows& x) {
  const Rows normed = NormAll(layer.ffn_norm, config.rms_epsilon, x);
  Rows gate = LinearAll(layer.gate, {}, normed, inputs);
  const Rows up = LinearAll(layer.up, {}, normed, inputs);
  for (size_t i = 0; i < gate.values.size(); ++i) {
    gate.values[i] = Silu(gate.values[i]) * up.values[i];
  }
  Add(LinearAll(layer.down, {}, gate, inputs), x);
}

// What a stream leaves of each token after the final norm. No set: the plain
// model.
Rows HiddenStates(const ModelConfig& config, const ModelWeights& weights,
                  const ParscaleSet* set, int32_t stream,
                  std::span<const TokenId> tokens, LinearInputs inputs) {
  const RopeTable table = MakeRopeTable(config.rope, config.head_dim);
  Rows x(tokens.size(), static_cast<size_t>(config.hidden));
  for (size_t t = 0; t < tokens.size(); ++t) {
    BRAID_CHECK(tokens[t] >= 0 && tokens[t] < config.vocabulary);
    DequantizeRow(weights.embedding.dtype, weights.embedding.row(tokens[t]),
                  config.hidden, x.row(t).data());
  }
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    const Prefix prefix =
        set == nullptr ? Prefix{} : PrefixOf(config, *set, stream, l);
    AttentionBlock(config, weights.layers[l], table, prefix, inputs, x);
    FeedForwardBlock(config, weights.layers[l], inputs, x);
  }
  return NormAll(weights.output_norm, config.rms_epsilon, x);
}

}  // namespace

std::vector<float> Forward(const ModelConfig& config,
                           const ModelWeights& weights,
                           std::span<const TokenId> tokens,
                           LinearInputs inputs) {
  const Rows last = HiddenStates(config, weights, nullptr, 0, tokens, inputs);
  return LinearAll(weights.output, {}, last, inputs).values;
}

std::vector<float> Forward(const ModelConfig& config,
                           const ModelWeights& weights, const ParscaleSet& set,
                           int32_t streams, std::span<const TokenId> tokens,
                           LinearInputs inputs) {
  BRAID_CHECK(streams >= 1 && streams <= set.streams);
  BRAID_CHECK(set.kind == ParscaleKind::kNested || streams == set.streams);
  std::vector<Rows> hidden;
  for (int32_t s = 0; s < streams; ++s) {
    hidden.push_back(HiddenStates(config, weights, &set, s, tokens, inputs));
  }
  Rows mixed(tokens.size(), static_cast<size_t>(config.hidden));
  for (size_t t = 0; t < tokens.size(); ++t) {
    std::vector<std::vector<float>> rows;
    for (const Rows& h : hidden) {
      rows.emplace_back(h.row(t).begin(), h.row(t).end());
    }
    std::ranges::copy(MixStreams(set, rows), mixed.row(t).begin());
  }
  return LinearAll(weights.output, {}, mixed, inputs).values;
}

std::vector<float> MixStreams(const ParscaleSet& set,
                              std::span<const std::vector<float>> streams) {
  const size_t p = streams.size(), hidden = streams[0].size();
  if (p == 1) return streams[0];
  std::vector<float> inner = set.b1;
  std::vector<float> product(hidden);
  for (size_t s = 0; s < p; ++s) {
    Linear(set.w1[s], streams[s], {}, product);
    for (size_t i = 0; i < hidden; ++i) inner[i] += product[i];
  }
  for (float& x : inner) x = Silu(x);
  std::vector<float> a(static_cast<size_t>(set.streams));
  Linear(set.w2, inner, set.b2, a);
  // Streams that are not there have no weight.
  a.resize(p);
  const float max = *std::ranges::max_element(a);
  double total = 0;
  for (const float x : a) total += std::exp(double{x} - max);
  std::vector<float> out(hidden);
  for (size_t s = 0; s < p; ++s) {
    const double w =
        std::exp(double{a[s]} - max) / total * (1 - double{set.smoothing}) +
        double{set.smoothing} / static_cast<double>(p);
    for (size_t i = 0; i < hidden; ++i) {
      out[i] += static_cast<float>(w * streams[s][i]);
    }
  }
  return out;
}

void RmsNorm(std::span<const float> x, std::span<const float> weight,
             float epsilon, std::span<float> y) {
  BRAID_CHECK(x.size() == weight.size() && x.size() == y.size());
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const double mean = squares / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
}

void Rope(const RopeTable& table, RopePairing pairing, uint32_t position,
          std::span<float> head) {
  const size_t pairs = table.frequencies.size();
  BRAID_CHECK(head.size() == 2 * pairs);
  for (size_t i = 0; i < pairs; ++i) {
    const bool adjacent = pairing == RopePairing::kAdjacent;
    float& a = head[adjacent ? 2 * i : i];
    float& b = head[adjacent ? 2 * i + 1 : i + pairs];
    const double angle = static_cast<double>(position) *
                         static_cast<double>(table.frequencies[i]);
    const double cosine = std::cos(angle) * table.magnitude;
    const double sine = std::sin(angle) * table.magnitude;
    const double rotated_a = a * cosine - b * sine;
    const double rotated_b = a * sine + b * cosine;
    a = static_cast<float>(rotated_a);
    b = static_cast<float>(rotated_b);
  }
}

void Linear(const Tensor& w, std::span<const float> x,
            std::span<const float> bias, std::span<float> y) {
  BRAID_CHECK(x.size() == static_cast<size_t>(w.columns));
  BRAID_CHECK(y.size() == static_cast<size_t>(w.rows));
  BRAID_CHECK(bias.empty() || bias.size() == y.size());
  std::vector<float> w_row(x.size());
  for (size_t r = 0; r < y.size(); ++r) {
    DequantizeRow(w.dtype, w.row(static_cast<int64_t>(r)), w.columns,
                  w_row.data());
    y[r] = Dot(w_row, x) + (bias.empty() ? 0.0f : bias[r]);
  }
}

void RoundToInt8Blocks(std::span<float> x) {
  for (size_t start = 0; start < x.size(); start += 32) {
    const std::span<float> block =
        x.subspan(start, std::min<size_t>(32, x.size() - start));
    float amax = 0;
    for (const float v : block) amax = std::max(amax, std::fabs(v));
    if (amax == 0) continue;
    const float scale = amax / 127.0f;
    // nearbyint rounds half to even in the default rounding mode.
    for (float& v : block) v = std::nearbyint(v / scale) * scale;
  }
}

}  // namespace braid::reference
