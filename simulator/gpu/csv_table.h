// Comma-separated text, plain or gzipped, read whole: what simulator/profiles
// and files of measurements are kept in. No quoting: no field of ours needs it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace braid::gpu {

struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as wide as the header

  // Of a column; -1 when there is none.
  int Column(absl::string_view name) const;
};

// Empty lines and those that begin with '#' are skipped. A file that cannot be
// read, is damaged, or has a row of another width than its header is an error.
absl::StatusOr<CsvTable> ReadCsv(const std::string& path);
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text);

// The number in a field; nullopt-like NaN when it is empty or not a number.
double CsvNumber(absl::string_view field);

}  // namespace braid::gpu
