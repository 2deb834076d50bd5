#include "server/byte_size.h"

#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace braid::server {
namespace {

constexpr absl::string_view kPrefixes = "kmgt";

// The factor of a lower-case unit, or 0.
double UnitFactor(absl::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  const size_t power = kPrefixes.find(unit[0]);
  if (power == absl::string_view::npos) return 0;
  const absl::string_view rest = unit.substr(1);
  if (rest == "b") return std::pow(1000.0, static_cast<double>(power + 1));
  if (rest.empty() || rest == "ib" || rest == "i") {
    return std::pow(1024.0, static_cast<double>(power + 1));
  }
  return 0;
}

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  size_t digits = trimmed.find_first_not_of("0123456789.");
  if (digits == absl::string_view::npos) digits = trimmed.size();
  double value = 0;
  const double factor = UnitFactor(absl::AsciiStrToLower(
      absl::StripAsciiWhitespace(trimmed.substr(digits))));
  if (digits == 0 || !absl::SimpleAtod(trimmed.substr(0, digits), &value) ||
      factor == 0 || value * factor > 1e18) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is not a size; write e.g. 512MiB, 2GiB or 1000000"));
  }
  return static_cast<uint64_t>(value * factor);
}

std::string ByteSizeToString(uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB",
                                                        "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(bytes, " B");
  return absl::StrFormat("%.*f %s", value < 10 ? 1 : 0, value, kUnits[unit]);
}

}  // namespace braid::server
