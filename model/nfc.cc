#include "model/nfc.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <utf8proc.h>

#include "base/check.h"
#include "model/utf8.h"

namespace braid {
namespace {

int CombiningClass(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Decomposes and puts marks into canonical order. utf8proc_decompose would do
// both, but it orders by exchanging neighbours: quadratic in a run of marks.
void AppendDecomposed(utf8proc_int32_t code_point,
                      std::vector<utf8proc_int32_t>& out) {
  // The longest canonical decomposition has 4 code points.
  utf8proc_int32_t parts[8];
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      code_point, parts, 8,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE),
      &boundary);
  BRAID_CHECK(count >= 0 && count <= 8);
  out.insert(out.end(), parts, parts + count);
}

void OrderMarks(std::vector<utf8proc_int32_t>& code_points) {
  for (size_t i = 0; i < code_points.size();) {
    size_t end = i;
    while (end < code_points.size() && CombiningClass(code_points[end]) != 0) {
      ++end;
    }
    std::stable_sort(code_points.begin() + i, code_points.begin() + end,
                     [](utf8proc_int32_t a, utf8proc_int32_t b) {
                       return CombiningClass(a) < CombiningClass(b);
                     });
    i = end + 1;
  }
}

void AppendComposed(std::vector<utf8proc_int32_t>& code_points,
                    std::string& out) {
  OrderMarks(code_points);
  const utf8proc_ssize_t count = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  BRAID_CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t length = utf8proc_encode_char(code_points[i], bytes);
    out.append(reinterpret_cast<const char*>(bytes), length);
  }
  code_points.clear();
}

}  // namespace

bool MayNeedNfc(std::string_view text) {
  // U+0300, the first code point that NFC may change, is CC 80 in UTF-8, and
  // bytes from CC on only lead code points from there on.
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) >= 0xCC; });
}

std::string ToNfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> code_points;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (c.valid) {
      AppendDecomposed(static_cast<utf8proc_int32_t>(c.code_point),
                       code_points);
    } else {
      AppendComposed(code_points, out);
      out.append(text, at, c.length);
    }
    at += c.length;
  }
  AppendComposed(code_points, out);
  return out;
}

}  // namespace braid
