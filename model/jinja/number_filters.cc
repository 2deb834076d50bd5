// Filters about numbers.

#include <cfenv>
#include <charconv>
#include <cmath>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"
#include "model/jinja/filter_call.h"
#include "model/jinja/operators.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

// Without white space around it and underscores between digits.
std::string Digits(const Text& text) {
  const std::string& bytes = text.bytes();
  const size_t begin = SkipSpace(bytes, 0);
  const size_t end = SkipSpaceBack(bytes, begin, bytes.size());
  std::string digits;
  for (size_t i = begin; i < end; ++i) {
    const bool between =
        i > begin && i + 1 < end && bytes[i] == '_' &&
        std::isalnum(static_cast<unsigned char>(bytes[i - 1])) &&
        std::isalnum(static_cast<unsigned char>(bytes[i + 1]));
    if (!between) digits += bytes[i];
  }
  return digits;
}

// Python's int(text, base).
bool ParseInteger(const Text& text, int64_t base, int64_t* out) {
  std::string digits = Digits(text);
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.erase(0, 1);
  }
  if (digits.size() > 2 && digits[0] == '0') {
    const char kind = static_cast<char>(digits[1] | 0x20);
    if ((base == 16 && kind == 'x') || (base == 8 && kind == 'o') ||
        (base == 2 && kind == 'b')) {
      digits.erase(0, 2);
    }
  }
  if (digits.empty() || digits[0] == '-') return false;
  if (negative) digits = std::string(1, '-').append(digits);
  const auto read =
      std::from_chars(digits.data(), digits.data() + digits.size(), *out,
                      static_cast<int>(base));
  return read.ec == std::errc() && read.ptr == digits.data() + digits.size();
}

bool ParseReal(const Text& text, double* out) {
  const std::string digits = Digits(text);
  // Python knows no hexadecimal floats.
  if (digits.find_first_of("xX") != std::string::npos) return false;
  return absl::SimpleAtod(digits, out);
}

absl::StatusOr<Value> Truncate(double real, const Value& missing) {
  if (std::isnan(real) || std::isinf(real)) {
    // int() raises ValueError for NaN, OverflowError for infinity; only the
    // latter is an error of the template.
    if (std::isnan(real)) return missing;
    return Error("cannot convert float infinity to integer");
  }
  if (std::abs(real) >= 9.2e18)
    return Error("the integer does not fit 64 bits");
  return Value(static_cast<int64_t>(real));
}

absl::StatusOr<Value> Int(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"default", "base"}));
  BRAID_ASSIGN_OR_RETURN(const int64_t base, args.Integer(1, 10));
  if (base < 2 || base > 36) return Error("int: the base is 2 to 36");
  const Value missing = args[0] == nullptr ? Value(int64_t{0}) : *args[0];
  int64_t integer = 0;
  double real = 0;
  if (call.input.is_undefined()) return Error(call.input.undefined()->what);
  if (call.input.AsInteger(&integer)) return Value(integer);
  if (call.input.AsReal(&real)) return Truncate(real, missing);
  if (call.input.text() == nullptr) return missing;
  if (ParseInteger(*call.input.text(), base, &integer)) return Value(integer);
  if (ParseReal(*call.input.text(), &real)) return Truncate(real, missing);
  return missing;
}

absl::StatusOr<Value> Float(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"default"}));
  const Value missing = args[0] == nullptr ? Value(0.0) : *args[0];
  double real = 0;
  if (call.input.is_undefined()) return Error(call.input.undefined()->what);
  if (call.input.AsReal(&real)) return Value(real);
  if (call.input.text() != nullptr && ParseReal(*call.input.text(), &real)) {
    return Value(real);
  }
  return missing;
}

absl::StatusOr<Value> Abs(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  double real = 0;
  if (!call.input.AsReal(&real)) return Error("abs needs a number");
  int64_t integer = 0;
  if (!call.input.AsInteger(&integer)) return Value(std::abs(real));
  return integer < 0 ? Negate(Value(integer)) : Value(integer);
}

// To `precision` digits, ties to even on the value as written, which is what
// Python's round does for the digits a template would ask for.
absl::StatusOr<Value> Round(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"precision", "method"}));
  BRAID_ASSIGN_OR_RETURN(const int64_t precision, args.Integer(0, 0));
  BRAID_ASSIGN_OR_RETURN(const Text* method, args.String(1));
  const std::string how = method == nullptr ? "common" : method->bytes();
  double real = 0;
  if (!call.input.AsReal(&real)) return Error("round needs a number");
  if (precision < 0 || precision > 15) {
    return Error("round: the precision is 0 to 15");
  }
  if (how == "common") {
    int64_t integer = 0;
    if (call.input.AsInteger(&integer)) return Value(integer);
    char buffer[400];
    std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(precision),
                  real);
    return Value(std::strtod(buffer, nullptr));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return Value(std::ceil(real * scale) / scale);
  if (how == "floor") return Value(std::floor(real * scale) / scale);
  return Error("round: the method is common, ceil or floor");
}

}  // namespace

void AddNumberFilters(std::map<std::string, FilterFunction>& filters) {
  filters["int"] = Int;
  filters["float"] = Float;
  filters["abs"] = Abs;
  filters["round"] = Round;
}

}  // namespace braid::jinja
