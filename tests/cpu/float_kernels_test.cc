// The float kernels of every instruction set against the scalar reference and
// a naive softmax in double.
#include "cpu/float_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cpu/reference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tensor.h"
#include "tests/support/test_name.h"

namespace braid::cpu {
namespace {

std::vector<float> RandomFloats(size_t n, std::mt19937& rng, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> v(n);
  for (float& x : v) x = normal(rng);
  return v;
}

class FloatKernelsTest : public testing::TestWithParam<Isa> {
 protected:
  const FloatKernels& kernels_ = FloatKernelsFor(GetParam());
  std::mt19937 rng_{7};
};

TEST_P(FloatKernelsTest, RmsNormMatchesReference) {
  for (const int n : {32, 64, 128, 576, 4096}) {
    const std::vector<float> x = RandomFloats(n, rng_, 3);
    const std::vector<float> w = RandomFloats(n, rng_);
    std::vector<float> y(n), want(n);
    kernels_.rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
    reference::RmsNorm(x, w, 1e-5f, want);
    for (int i = 0; i < n; ++i) {
      EXPECT_NEAR(y[i], want[i], 2e-6 * (1 + std::abs(want[i])));
    }
  }
}

TEST_P(FloatKernelsTest, SiluMulMatchesDouble) {
  std::vector<float> gate = RandomFloats(4096, rng_, 8);
  const float extremes[] = {0,    -0.0f, 1e-30f, -1e-30f, 87,   -87,
                            88.8, -88.8, 100,    -100,    3e38, -3e38};
  std::copy(std::begin(extremes), std::end(extremes), gate.begin());
  const std::vector<float> up = RandomFloats(gate.size(), rng_);
  std::vector<float> out(gate.size());
  kernels_.silu_mul(gate.data(), up.data(), static_cast<int>(gate.size()),
                    out.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i];
    const double want = g / (1 + std::exp(-g)) * up[i];
    // Far below zero the relative error of exp grows with its argument, and
    // beyond -87 the result is as good as zero.
    const double slack = 1e-6 + 1e-7 * std::abs(g);
    EXPECT_NEAR(out[i], want, std::abs(want) * slack + 1e-35) << g;
  }
}

TEST_P(FloatKernelsTest, SiluDotAndAddScaledMatchDouble) {
  for (const int n : {16, 96, 576, 4096}) {
    const std::vector<float> a = RandomFloats(n, rng_, 4);
    const std::vector<float> b = RandomFloats(n, rng_);
    std::vector<float> silu = a, sum = a;
    kernels_.silu(n, silu.data());
    kernels_.add_scaled(b.data(), -0.7f, n, sum.data());
    double dot = 0;
    for (int i = 0; i < n; ++i) {
      const double want = a[i] / (1 + std::exp(-double{a[i]}));
      EXPECT_NEAR(silu[i], want, 1e-6 * std::abs(want) + 1e-9);
      EXPECT_NEAR(sum[i], a[i] - double{0.7f} * b[i], 2e-6);
      dot += double{a[i]} * b[i];
    }
    EXPECT_NEAR(kernels_.dot(a.data(), b.data(), n), dot, 2e-5 * std::sqrt(n));
  }
}

TEST_P(FloatKernelsTest, RopeMatchesReference) {
  for (const int head_dim : {32, 64, 96, 128, 256}) {
    RopeConfig config;
    config.base = 1e5f;
    const RopeTable table = MakeRopeTable(config, head_dim);
    for (const uint32_t position : {0u, 1u, 17u, 2047u}) {
      std::vector<float> head = RandomFloats(head_dim, rng_);
      std::vector<float> want = head;
      std::vector<float> angles(head_dim);
      for (int i = 0; i < head_dim / 2; ++i) {
        const double angle = double{table.frequencies[i]} * position;
        angles[i] = static_cast<float>(std::cos(angle));
        angles[head_dim / 2 + i] = static_cast<float>(std::sin(angle));
      }
      kernels_.rope(angles.data(), head_dim, head.data());
      reference::Rope(table, RopePairing::kHalves, position, want);
      for (int i = 0; i < head_dim; ++i) {
        EXPECT_NEAR(head[i], want[i], 2e-4) << i;
      }
    }
  }
}

// KV pages of one head, in blocks of any order; what no token was written to
// is NaN.
class Pages {
 public:
  Pages(const FloatKernels& kernels, KvDType dtype, int head_dim,
        int block_tokens, int tokens, std::mt19937& rng, int first = 0)
      : head_dim_(head_dim),
        first_(first),
        keys_(RandomFloats(size_t(tokens) * head_dim, rng)),
        values_(RandomFloats(size_t(tokens) * head_dim, rng)) {
    const int count = (tokens + block_tokens - 1) / block_tokens;
    const size_t page =
        size_t(block_tokens) * head_dim * (dtype == KvDType::kF32 ? 4 : 2);
    bytes_.assign(2 * page * count, std::byte{0xff});
    std::vector<int> order(count);
    for (int i = 0; i < count; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), rng);
    for (const int i : order) blocks_.push_back(bytes_.data() + 2 * page * i);
    value_page_ = page;
    for (int t = first; t < tokens; ++t) {
      auto* block = const_cast<std::byte*>(blocks_[t / block_tokens]);
      kernels.store_kv(&keys_[size_t(t) * head_dim],
                       &values_[size_t(t) * head_dim], head_dim, dtype,
                       block_tokens, t % block_tokens, block, block + page);
    }
  }

  AttentionTask Task(KvDType dtype, int block_tokens) const {
    AttentionTask task;
    task.blocks = blocks_.data();
    task.value_page = value_page_;
    task.block_tokens = block_tokens;
    task.head_dim = head_dim_;
    task.dtype = dtype;
    task.first = first_;
    return task;
  }

  // Softmax attention of one query over the tokens before `tokens`.
  std::vector<double> Naive(const float* q, int tokens) const {
    std::vector<double> p(tokens);
    double top = -1e300, total = 0;
    for (int t = first_; t < tokens; ++t) {
      for (int d = 0; d < head_dim_; ++d) {
        p[t] += double{q[d]} * keys_[size_t(t) * head_dim_ + d];
      }
      p[t] /= std::sqrt(double(head_dim_));
      top = std::max(top, p[t]);
    }
    for (int t = first_; t < tokens; ++t) total += p[t] = std::exp(p[t] - top);
    std::vector<double> out(head_dim_);
    for (int t = first_; t < tokens; ++t) {
      for (int d = 0; d < head_dim_; ++d) {
        out[d] += p[t] / total * values_[size_t(t) * head_dim_ + d];
      }
    }
    return out;
  }

  std::vector<const std::byte*>& blocks() { return blocks_; }

 private:
  int head_dim_;
  int first_;
  std::vector<float> keys_, values_;
  std::vector<std::byte> bytes_;
  std::vector<const std::byte*> blocks_;
  size_t value_page_;
};

std::vector<float> RunTask(const FloatKernels& kernels, AttentionTask task,
                           const std::vector<float>& q) {
  std::vector<float> out(q.size());
  std::vector<float> scratch(AttentionScratchFloats(task.head_dim),
                             std::numeric_limits<float>::quiet_NaN());
  task.q = q.data();
  task.out = out.data();
  task.q_stride = task.out_stride = task.group * task.head_dim;
  kernels.attend(task, scratch.data());
  return out;
}

TEST_P(FloatKernelsTest, AttentionMatchesNaive) {
  struct Shape {
    KvDType dtype;
    int head_dim, block_tokens, group, start, tokens, first = 0;
  };
  for (const Shape& s : {Shape{KvDType::kF32, 64, 16, 3, 0, 1},
                         Shape{KvDType::kF32, 64, 16, 3, 0, 47},
                         Shape{KvDType::kF32, 32, 32, 1, 5, 20},
                         Shape{KvDType::kF32, 128, 16, 4, 500, 40},
                         Shape{KvDType::kF32, 96, 64, 7, 1030, 3},
                         Shape{KvDType::kF16, 64, 16, 3, 0, 33},
                         Shape{KvDType::kF16, 128, 16, 8, 1021, 6},
                         Shape{KvDType::kF16, 64, 16, 3, 510, 5},
                         Shape{KvDType::kF32, 64, 16, 3, 16, 1, 15},
                         Shape{KvDType::kF32, 64, 16, 3, 16, 40, 6},
                         Shape{KvDType::kF32, 64, 64, 1, 64, 20, 54},
                         Shape{KvDType::kF32, 32, 64, 12, 64, 5, 1},
                         Shape{KvDType::kF16, 128, 64, 4, 540, 30, 63}}) {
    const int tokens = s.start + s.tokens;
    const Pages pages(kernels_, s.dtype, s.head_dim, s.block_tokens, tokens,
                      rng_, s.first);
    const std::vector<float> q =
        RandomFloats(size_t(s.tokens) * s.group * s.head_dim, rng_, 2);
    AttentionTask task = pages.Task(s.dtype, s.block_tokens);
    task.tokens = s.tokens;
    task.start = s.start;
    task.group = s.group;
    const std::vector<float> out = RunTask(kernels_, task, q);
    const double slack = s.dtype == KvDType::kF32 ? 3e-6 : 3e-3;
    for (int r = 0; r < s.tokens * s.group; ++r) {
      const std::vector<double> want =
          pages.Naive(&q[size_t(r) * s.head_dim], s.start + r / s.group + 1);
      for (int d = 0; d < s.head_dim; ++d) {
        ASSERT_NEAR(out[size_t(r) * s.head_dim + d], want[d], slack)
            << "row " << r << " element " << d;
      }
    }
  }
}

// A row's bits do not depend on the rows beside it; and the comparison can
// fail: the same tokens visited in another order give other bits.
TEST_P(FloatKernelsTest, AttentionBitsOfARowAreItsOwn) {
  constexpr int kHeadDim = 64, kGroup = 3, kStart = 490, kTokens = 54;
  Pages pages(kernels_, KvDType::kF16, kHeadDim, 16, kStart + kTokens, rng_);
  const size_t width = kGroup * kHeadDim;
  const std::vector<float> q = RandomFloats(kTokens * width, rng_, 2);
  AttentionTask task = pages.Task(KvDType::kF16, 16);
  task.group = kGroup;
  task.start = kStart;
  task.tokens = kTokens;
  const std::vector<float> together = RunTask(kernels_, task, q);
  for (const int step : {1, 2, 5, 16, 17}) {
    for (int t = 0; t < kTokens; t += step) {
      task.start = kStart + t;
      task.tokens = std::min(step, kTokens - t);
      const std::vector<float> alone = RunTask(
          kernels_, task,
          {q.begin() + t * width, q.begin() + (t + task.tokens) * width});
      ASSERT_EQ(0, std::memcmp(alone.data(), &together[t * width],
                               alone.size() * sizeof(float)))
          << "step " << step << " token " << t;
    }
  }

  // The last row sees whole blocks only, all of them.
  task.start = kStart + kTokens - 1;
  task.tokens = 1;
  const std::vector<float> last(q.end() - width, q.end());
  std::reverse(pages.blocks().begin(), pages.blocks().end());
  const std::vector<float> reordered = RunTask(kernels_, task, last);
  EXPECT_NE(0, std::memcmp(reordered.data(), &together[together.size() - width],
                           width * sizeof(float)));
  for (size_t i = 0; i < width; ++i) {
    EXPECT_NEAR(reordered[i], together[together.size() - width + i], 1e-5);
  }
}

TEST_P(FloatKernelsTest, KvHalvesAreRoundedAsTheDefinitionSays) {
  constexpr int kHeadDim = 64;
  std::vector<float> key = RandomFloats(kHeadDim, rng_);
  const float special[] = {0,       -0.0f, 65504,   65520,      -70000,
                           1e-8f,   6e-8f, 6.1e-5f, 5.9e-5f,    2049.0f,
                           2051.0f, 1e-5f, -3e-7f,  1.0009766f, 3e38f};
  std::copy(std::begin(special), std::end(special), key.begin());
  std::vector<uint16_t> keys(kHeadDim * 16), values(kHeadDim * 16);
  kernels_.store_kv(key.data(), key.data(), kHeadDim, KvDType::kF16, 16, 5,
                    reinterpret_cast<std::byte*>(keys.data()),
                    reinterpret_cast<std::byte*>(values.data()));
  for (int d = 0; d < kHeadDim; ++d) {
    EXPECT_EQ(keys[d * 16 + 5], FloatToHalf(key[d])) << key[d];
    EXPECT_EQ(values[5 * kHeadDim + d], FloatToHalf(key[d])) << key[d];
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, FloatKernelsTest,
                         testing::ValuesIn(SupportedIsas()), kNameOfParam);

}  // namespace
}  // namespace braid::cpu
