// Predicts how soon a block is used again, from what happened to blocks like
// it. Learns online; knows no blocks, only classes and ages.
//
// A block is put into a class by each use of it, and its age is counted from
// then. For every class the model keeps how many blocks were used again at
// which age and how many were lost sight of (a survival curve, estimated as
// Kaplan and Meier do). Score is the largest rate of hits that keeping a block
// of this class and age can still earn:
//
//   max over T > age of   P(used again in (age, T] | not before)
//                       / E[time it is kept until then or until T | same]
//
// which is Gittins' index of the block: with room for some blocks only, those
// that have the highest are the ones to keep. It handles by itself what fixed
// orders are made for: a rate that falls with age is LRU, one that rises is a
// loop (the youngest goes), a class that never returns is a scan.
//
// A class that has not been seen often borrows: the curve of all classes, its
// rate scaled by what the class did show. Nothing seen at all: LRU.
//
// Thread safety: not thread-safe; lives on the engine thread.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace braid {

using ReuseClass = uint8_t;

class ReuseModel final {
 public:
  explicit ReuseModel(int classes);

  // A block of `of` was used again at `age`.
  void AddReuse(ReuseClass of, uint32_t age) { ++cell(of, age).reused; }
  // A block of `of` was lost sight of at `age`; until then it was not used.
  void AddLost(ReuseClass of, uint32_t age) { ++cell(of, age).lost; }

  // Blocks that still wait for their next use: they count as lost for one
  // Refit, which forgets them.
  void AddWaiting(ReuseClass of, uint32_t age, float blocks) {
    cell(of, age).waiting += blocks;
  }
  // Computes the scores anew. O(classes * ages).
  void Refit();

  float Score(ReuseClass of, uint32_t age) const {
    return scores_[of][Bucket(age)];
  }

  // Ages are told apart by half octaves.
  static constexpr int kBuckets = 64;
  static int Bucket(uint32_t age) {
    const int width = std::bit_width(age);
    if (width < 2) return width;
    return 2 * width - 2 + static_cast<int>((age >> (width - 2)) & 1);
  }

 private:
  struct Cell {
    float reused = 0, lost = 0, waiting = 0;
    float left() const { return reused + lost + waiting; }
  };
  using Curve = std::array<Cell, kBuckets>;
  using Rates = std::array<double, kBuckets>;  // hazard per bucket
  using Scores = std::array<float, kBuckets>;

  Cell& cell(ReuseClass of, uint32_t age) { return curves_[of][Bucket(age)]; }
  Rates CommonRates() const;
  static Rates ClassRates(const Curve& curve, const Rates& common);
  static Scores ScoresOf(const Rates& rates);

  std::vector<Curve> curves_;
  std::vector<Scores> scores_;
};

}  // namespace braid
