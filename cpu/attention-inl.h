// Causal attention over paged KV, for a vector type V (simd_*.h) and an element
// type of the cache. Included by float_kernels_*.cc alone.
//
// A page of keys is [head_dim][token], so that one vector holds 16 tokens: the
// scores of 16 tokens are head_dim broadcasts times vectors, and no sum ever
// crosses lanes. A page of values is [token][head_dim]: the result is one
// broadcast probability per token times vectors.
//
// Tokens are taken in segments of kAttentionSegment slots; inside one, the
// three passes (scores, softmax, values) each run over registers alone. Between
// segments the running maximum rescales what was summed, as in FlashAttention.
// Rows of a tile share what is loaded, and each row's own operations and their
// order are those it would have alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/float_kernels.h"
#include "cpu/pointwise-inl.h"

namespace braid::cpu {

struct HalfElement {
  using Type = uint16_t;
  template <class V>
  static V Load(const Type* p) {
    return V::LoadHalf(p);
  }
};
struct FloatElement {
  using Type = float;
  template <class V>
  static V Load(const Type* p) {
    return V::Load(p);
  }
};

template <class V, class Element>
class Attention {
 public:
  static void Attend(const AttentionTask& task, float* scratch) {
    const int rows = task.tokens * task.group;
    for (int row = 0; row < rows; row += kAttentionRows) {
      const int left = rows - row;
      Attention(task, scratch, row,
                left < kAttentionRows ? left : kAttentionRows)
          .Run();
    }
  }

 private:
  using Type = typename Element::Type;
  // Two come late; six measure like four.
  static constexpr int kGroupsAhead = 4;

  Attention(const AttentionTask& task, float* scratch, int first_row, int rows)
      : task_(task),
        rows_(rows),
        queries_(scratch),
        sums_(queries_ + kAttentionRows * task.head_dim),
        scores_(sums_ + kAttentionRows * task.head_dim) {
    // Scores come out as exponents of two.
    const float scale =
        1.44269504f / __builtin_sqrtf(static_cast<float>(task.head_dim));
    for (int r = 0; r < rows; ++r) {
      const int token = (first_row + r) / task.group;
      const int head = (first_row + r) % task.group;
      visible_[r] = task.start + token + 1;
      out_[r] = task.out + token * task.out_stride + head * task.head_dim;
      const float* q = task.q + token * task.q_stride + head * task.head_dim;
      for (int d = 0; d < task.head_dim; ++d) {
        queries_[d * kAttentionRows + r] = q[d] * scale;
      }
      for (int d = 0; d < task.head_dim; ++d) {
        sums_[r * task.head_dim + d] = 0.0f;
      }
      largest_[r] = -__builtin_inff();
      totals_[r] = V::Broadcast(0.0f);
    }
  }

  void Run() {
    const int64_t end = visible_[rows_ - 1];
    // Whole groups before the first token are left out, so that how large
    // blocks are has no influence on where segments end.
    int64_t segment = task_.first / 16 * 16;
    skipped_ = static_cast<int>(task_.first - segment);
    for (; segment < end; segment += kAttentionSegment, skipped_ = 0) {
      for (int r = 0; r < rows_; ++r) {
        const int64_t seen = visible_[r] - segment;
        count_[r] = seen <= 0                  ? 0
                    : seen > kAttentionSegment ? kAttentionSegment
                                               : static_cast<int>(seen);
      }
      segment_ = segment;
      groups_ = (count_[rows_ - 1] + 15) / 16;
      Scores();
      for (int r = 0; r < rows_; ++r) {
        if (count_[r] > 0) Softmax(r);
      }
      AddValues();
    }
    for (int r = 0; r < rows_; ++r) {
      const V inverse = V::Broadcast(1.0f / totals_[r].Sum());
      for (int d = 0; d < task_.head_dim; d += 16) {
        (V::Load(sums_ + r * task_.head_dim + d) * inverse).Store(out_[r] + d);
      }
    }
  }

  // 16 tokens of a page: head_dim vectors, `stride` elements apart.
  struct Group {
    const Type* first;
    int64_t stride;
  };
  // `slot` is a multiple of 16.
  Group Keys(int64_t slot, size_t page) const {
    const auto at = static_cast<uint32_t>(slot);
    const auto per_block = static_cast<uint32_t>(task_.block_tokens);
    return {reinterpret_cast<const Type*>(task_.blocks[at / per_block] + page) +
                at % per_block,
            per_block};
  }
  Group Values(int64_t slot) const {
    const auto at = static_cast<uint32_t>(slot);
    const auto per_block = static_cast<uint32_t>(task_.block_tokens);
    return {reinterpret_cast<const Type*>(task_.blocks[at / per_block] +
                                          task_.value_page) +
                at % per_block * static_cast<uint32_t>(task_.head_dim),
            16};
  }

  // What is read kGroupsAhead groups after the segment's `turn`th: its keys,
  // its values, then the keys of the next segment or of who comes next. Pages
  // are too short for the processor to see a stream, and to ask for each of
  // them while another is worked on keeps the memory busy throughout.
  Group Ahead(int turn) const {
    int i = turn + kGroupsAhead;
    if (i < groups_) return Keys(segment_ + i * 16, task_.key_page);
    i -= groups_;
    if (i < groups_) return Values(segment_ + i * 16);
    i -= groups_;
    const int64_t last = (visible_[rows_ - 1] - 1) / 16 * 16;
    const int64_t next = segment_ + kAttentionSegment;
    const bool more = next <= last;
    const int64_t slot = (more ? next : task_.first / 16 * 16) + i * 16;
    return Keys(slot < last ? slot : last,
                more ? task_.key_page : task_.next_key_page);
  }

  // scores[r][t] of the segment's tokens, whole groups of 16 at a time; lanes
  // beyond what a row sees hold anything.
  void Scores() {
    for (int r = 0; r < rows_; r += V::kScoreRows) {
      const int n = rows_ - r < V::kScoreRows ? rows_ - r : V::kScoreRows;
      int g = 0;
      if (n <= 4) {
        for (; g + V::kScoreGroups <= groups_; g += V::kScoreGroups) {
          ScoreRows<4, V::kScoreGroups>(n, r, g);
        }
      }
      for (; g < groups_; ++g) ScoreRows<V::kScoreRows, 1>(n, r, g);
    }
  }

  template <int kRows, int kGroups>
  void ScoreRows(int rows, int r, int g) {
    if (rows == kRows) {
      ScoreTile<kRows, kGroups>(r, g);
    } else if constexpr (kRows > 1) {
      ScoreRows<kRows - 1, kGroups>(rows, r, g);
    }
  }

  template <int kRows, int kGroups>
  void ScoreTile(int r, int g) {
    Group keys[kGroups], ahead[kGroups];
    for (int j = 0; j < kGroups; ++j) {
      keys[j] = Keys(segment_ + (g + j) * 16, task_.key_page);
      ahead[j] = Ahead(g + j);
    }
    V sums[kRows][kGroups];
    ForTile<kRows, kGroups>(
        [&](int i, int j) { sums[i][j] = V::Broadcast(0.0f); });
    const auto add = [&](int d) {
      const float* queries = queries_ + d * kAttentionRows + r;
      V key[kGroups];
      ForTile<1, kGroups>([&](int, int j) {
        key[j] = Element::template Load<V>(keys[j].first + d * keys[j].stride);
      });
      ForTile<kRows, kGroups>([&](int i, int j) {
        sums[i][j] = V::Fma(V::Broadcast(queries[i]), key[j], sums[i][j]);
      });
    };
    for (int d = 0; d < task_.head_dim; d += 2) {
      ForTile<1, kGroups>([&](int, int j) {
        Prefetch(ahead[j].first + d * ahead[j].stride, ahead[j].stride);
      });
      add(d);
      add(d + 1);
    }
    ForTile<kRows, kGroups>([&](int i, int j) {
      sums[i][j].Store(scores_ + (r + i) * kAttentionSegment + (g + j) * 16);
    });
  }

  // Scores of a row become probabilities, not yet divided by their total.
  void Softmax(int r) {
    float* scores = scores_ + r * kAttentionSegment;
    const int groups = (count_[r] + 15) / 16;
    for (int t = 0; t < skipped_; ++t) scores[t] = -__builtin_inff();
    // What lies beyond the row's own token may be a block's unwritten rest.
    float* last = scores + (groups - 1) * 16;
    V::First(count_[r] - (groups - 1) * 16, V::Load(last), -__builtin_inff())
        .Store(last);
    V top = V::Broadcast(largest_[r]);
    for (int g = 0; g < groups; ++g) {
      top = V::Max(top, V::Load(scores + g * 16));
    }
    const float before = largest_[r];
    largest_[r] = top.Largest();
    const V largest = V::Broadcast(largest_[r]);
    if (largest_[r] != before) {
      const V shrink = Exp2(V::Broadcast(before) - largest);
      totals_[r] = totals_[r] * shrink;
      float* sums = sums_ + r * task_.head_dim;
      for (int d = 0; d < task_.head_dim; d += 16) {
        (V::Load(sums + d) * shrink).Store(sums + d);
      }
    }
    V total = totals_[r];
    for (int g = 0; g < groups; ++g) {
      const V p = Exp2(V::Load(scores + g * 16) - largest);
      total = total + p;
      p.Store(scores + g * 16);
    }
    totals_[r] = total;
  }

  // Adds the values of the segment's tokens, weighted. Tokens that all rows of
  // a tile see are taken together, the few that only later rows see by row:
  // each row adds its own in order of position, and never touches a token it
  // does not see.
  void AddValues() {
    for (int r = 0; r < rows_; r += V::kValueRows) {
      const int n = rows_ - r < V::kValueRows ? rows_ - r : V::kValueRows;
      ValueRows<V::kValueRows>(n, r, skipped_, count_[r]);
      for (int i = r; i < r + n; ++i) {
        if (count_[r] < count_[i]) ValueRows<1>(1, i, count_[r], count_[i]);
      }
    }
  }

  template <int kRows>
  void ValueRows(int rows, int r, int first, int end) {
    if (rows < kRows) {
      if constexpr (kRows > 1) {
        ValueRows<kRows - 1>(rows, r, first, end);
      }
      return;
    }
    constexpr int kColumns = 16 * V::kValueVectors;
    int d = 0;
    for (; d + kColumns <= task_.head_dim; d += kColumns) {
      ValueTile<kRows, V::kValueVectors>(r, first, end, d);
    }
    for (; d < task_.head_dim; d += 16) {
      ValueTile<kRows, 1>(r, first, end, d);
    }
  }

  template <int kRows, int kVectors>
  void ValueTile(int r, int first, int end, int d) {
    const int head_dim = task_.head_dim;
    float* const totals = sums_ + r * head_dim + d;
    V sums[kRows][kVectors];
    ForTile<kRows, kVectors>([&](int i, int j) {
      sums[i][j] = V::Load(totals + i * head_dim + 16 * j);
    });
    for (int t = first; t < end;) {
      const int group = t / 16;
      const int skipped = t % 16 * head_dim + d;
      const Type* values = Values(segment_ + group * 16).first + skipped;
      const Group next = Ahead(groups_ + group);
      const Type* ahead = next.first + skipped / 16 * next.stride;
      const int64_t ahead_step = head_dim / 16 * next.stride;
      const int stop = end < group * 16 + 16 ? end : group * 16 + 16;
      for (; t < stop; ++t, values += head_dim, ahead += ahead_step) {
        ForTile<1, (kVectors + 1) / 2>([&](int, int j) {
          Prefetch(ahead + 2 * j * next.stride, next.stride);
        });
        const float* p = scores_ + r * kAttentionSegment + t;
        V value[kVectors];
        ForTile<1, kVectors>([&](int, int j) {
          value[j] = Element::template Load<V>(values + 16 * j);
        });
        ForTile<kRows, kVectors>([&](int i, int j) {
          sums[i][j] = V::Fma(V::Broadcast(p[i * kAttentionSegment]), value[j],
                              sums[i][j]);
        });
      }
    }
    ForTile<kRows, kVectors>([&](int i, int j) {
      sums[i][j].Store(totals + i * head_dim + 16 * j);
    });
  }

  // f(row, column), unrolled before anything else: a tile of sums is kept in
  // registers where every index is a constant.
  template <int kRows, int kColumns, class F>
  static void ForTile(F f) {
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) f(i, j);
    }
  }

  // Two vectors, to the second level.
  static void Prefetch(const Type* vectors, int64_t stride) {
    __builtin_prefetch(vectors, 0, 2);
    if constexpr (sizeof(Type) == 4) {
      __builtin_prefetch(vectors + stride, 0, 2);
    }
  }

  const AttentionTask& task_;
  const int rows_;
  float* const queries_;  // [head_dim][kAttentionRows], scaled
  float* const sums_;     // [kAttentionRows][head_dim]
  float* const scores_;   // [kAttentionRows][kAttentionSegment]
  float* out_[kAttentionRows];
  int64_t visible_[kAttentionRows];  // end of what a row sees, non-decreasing
  int count_[kAttentionRows];        // slots of that, in the segment at hand
  int64_t segment_ = 0;              // its first slot
  int groups_ = 0;   // of 16 slots, that the last row sees of it
  int skipped_ = 0;  // of them, those that have no effect
  float largest_[kAttentionRows];
  V totals_[kAttentionRows];  // sums of probabilities, by lane
};

template <class V>
void Attend(const AttentionTask& task, float* scratch) {
  if (task.dtype == KvDType::kF32) {
    Attention<V, FloatElement>::Attend(task, scratch);
  } else {
    Attention<V, HalfElement>::Attend(task, scratch);
  }
}

template <class V>
constexpr FloatKernels MakeFloatKernels() {
  return {.rms_norm = Pointwise<V>::RmsNorm,
          .add = Pointwise<V>::Add,
          .silu_mul = Pointwise<V>::SiluMul,
          .silu = Pointwise<V>::Silu,
          .dot = Pointwise<V>::Dot,
          .add_scaled = Pointwise<V>::AddScaled,
          .rope = Pointwise<V>::Rope,
          .store_kv = Pointwise<V>::StoreKv,
          .attend = Attend<V>};
}

}  // namespace braid::cpu
