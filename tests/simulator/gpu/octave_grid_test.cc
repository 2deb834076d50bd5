#include "simulator/gpu/octave_grid.h"

#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

namespace braid::gpu {
namespace {

TEST(OctaveGrid, PointsAreTheirOwnPlaces) {
  for (uint32_t i = 0; i < 140; ++i) {
    const OctaveGrid::Place place = OctaveGrid::At(OctaveGrid::Point(i));
    EXPECT_EQ(place.index, i);
    EXPECT_EQ(place.share, 0);
    EXPECT_LT(OctaveGrid::Point(i), OctaveGrid::Point(i + 1));
  }
}

TEST(OctaveGrid, PlacesLieBetweenTheirPoints) {
  // 16 to 31 in steps of 2, 32 to 63 in steps of 4.
  EXPECT_EQ(OctaveGrid::At(17).index, 16u);
  EXPECT_DOUBLE_EQ(OctaveGrid::At(17).share, 0.5);
  EXPECT_EQ(OctaveGrid::Point(17), 18u);
  EXPECT_EQ(OctaveGrid::Point(24), 32u);
  EXPECT_DOUBLE_EQ(OctaveGrid::At(35).share, 0.75);
}

TEST(OctaveCurve, AStraightLineStaysOne) {
  const OctaveCurve line(5000, [](uint64_t x) { return 3.0 * x + 1; });
  for (uint64_t x = 0; x < 20000; x += 7) {
    EXPECT_NEAR(line.At(x), 3.0 * x + 1, 1e-6) << x;  // beyond the end as well
  }
}

TEST(OctaveCurve, NeverFalls) {
  const OctaveCurve curve(4096, [](uint64_t x) {
    return 10 + std::sin(static_cast<double>(x)) + 0.001 * x;
  });
  for (uint64_t x = 1; x < 5000; ++x) {
    EXPECT_GE(curve.At(x), curve.At(x - 1)) << x;
  }
}

TEST(OctaveCurve, ASizeThatIsSlowerThanALargerOneIsPadded) {
  const OctaveCurve curve(
      64, [](uint64_t x) { return x == 10 ? 100.0 : static_cast<double>(x); });
  EXPECT_DOUBLE_EQ(curve.At(9), 9);
  EXPECT_DOUBLE_EQ(curve.At(10), 11);  // run as eleven
  EXPECT_DOUBLE_EQ(curve.At(11), 11);
}

TEST(OctaveSurface, AProductIsExactAtPointsAndCloseBetween) {
  const OctaveSurface surface(
      512, 65536, [](uint64_t x, uint64_t y) { return 2.0 * x * y; });
  EXPECT_DOUBLE_EQ(surface.At(12, 4096), 2.0 * 12 * 4096);
  // Bilinear between points is exact for a product.
  EXPECT_NEAR(surface.At(77, 5001), 2.0 * 77 * 5001, 1e-6);
  // Beyond in proportion: twice as many rows cost twice as much.
  const uint64_t end = OctaveGrid::Point(OctaveGrid::PointsFor(512) - 1);
  EXPECT_DOUBLE_EQ(surface.At(2 * end, 4096), 2 * surface.At(end, 4096));
}

TEST(OctaveSurface, NeverFalls) {
  const OctaveSurface surface(64, 64, [](uint64_t x, uint64_t y) {
    return static_cast<double>((x * 7 + y * 13) % 31);
  });
  for (uint64_t x = 1; x < 64; ++x) {
    for (uint64_t y = 1; y < 64; ++y) {
      EXPECT_GE(surface.At(x, y), surface.At(x - 1, y));
      EXPECT_GE(surface.At(x, y), surface.At(x, y - 1));
    }
  }
}

}  // namespace
}  // namespace braid::gpu
