// Finds stop strings in a text that comes in pieces, and holds back what may
// still become one.
//
// The match that is complete first wins; of those that end together, the
// longest. So the result does not depend on how the text was cut.
//
// Thread safety: none; of one request, on the engine thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace braid {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops,
                       bool include_stop_in_text);

  // Appends to `out` what is certain not to belong to a stop string. When one
  // is complete, returns it; then nothing more may be pushed.
  std::optional<std::string> Push(std::string_view text, std::string& out);

  // The text is over: what was held back is text.
  void Flush(std::string& out);

 private:
  std::vector<std::string> stops_;
  bool include_stop_in_text_;
  // The end of the text: everything that may be the beginning of a stop.
  std::string held_;
};

}  // namespace braid
