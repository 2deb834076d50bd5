#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace braid {
namespace {

// Length of the longest end of `text` that is a proper beginning of `stop`.
size_t Overlap(std::string_view text, std::string_view stop) {
  size_t n = std::min(text.size(), stop.size() - 1);
  while (n > 0 && !stop.starts_with(text.substr(text.size() - n))) --n;
  return n;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops,
                         bool include_stop_in_text)
    : stops_(std::move(stops)), include_stop_in_text_(include_stop_in_text) {
  std::erase(stops_, std::string());  // Would match everywhere.
}

std::optional<std::string> StopMatcher::Push(std::string_view text,
                                             std::string& out) {
  if (stops_.empty()) {
    out += text;
    return std::nullopt;
  }
  held_ += text;
  const std::string* match = nullptr;
  size_t match_begin = 0, match_end = 0;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (match == nullptr || end < match_end ||
        (end == match_end && begin < match_begin)) {
      match = &stop;
      match_begin = begin;
      match_end = end;
    }
  }
  if (match != nullptr) {
    out.append(held_, 0, include_stop_in_text_ ? match_end : match_begin);
    held_.clear();
    return *match;
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    keep = std::max(keep, Overlap(held_, stop));
  }
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return std::nullopt;
}

void StopMatcher::Flush(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace braid
