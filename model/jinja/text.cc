#include "model/jinja/text.h"

#include <algorithm>

namespace braid::jinja {
namespace {

// The first run that ends after `at`.
std::vector<Text::Run>::const_iterator RunOf(const std::vector<Text::Run>& runs,
                                             size_t at) {
  return std::upper_bound(
      runs.begin(), runs.end(), at,
      [](size_t value, const Text::Run& run) { return value < run.end; });
}

}  // namespace

void Text::Append(std::string_view bytes, bool user) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (!runs_.empty() && runs_.back().user == user) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), user});
  }
}

void Text::Append(const Text& other, size_t begin, size_t end) {
  for (auto run = RunOf(other.runs_, begin); begin < end; ++run) {
    const size_t stop = std::min(run->end, end);
    Append(std::string_view(other.bytes_).substr(begin, stop - begin),
           run->user);
    begin = stop;
  }
}

Text Text::Slice(size_t begin, size_t end) const {
  Text slice;
  slice.Append(*this, begin, end);
  return slice;
}

bool Text::IsUser(size_t at) const { return RunOf(runs_, at)->user; }

bool Text::HasUser() const {
  return std::any_of(runs_.begin(), runs_.end(),
                     [](const Run& run) { return run.user; });
}

}  // namespace braid::jinja
