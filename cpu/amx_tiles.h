// The shapes of AMX's tile registers. Included only by translation units
// compiled for it; internal linkage (see kernel_tables.h).
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace braid::cpu {
namespace {

// As the processor reads it.
struct alignas(64) TileConfig {
  void Shape(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }

  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

}  // namespace
}  // namespace braid::cpu
