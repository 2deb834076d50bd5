// The stream of an OpenAI completion, as a load generator needs it: when tokens
// came, what was counted at the end, whether it went wrong. A chunk with a
// token is recognised without parsing its JSON, as it would cost the sender
// more than all the rest; the few others are parsed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/load/record.h"

namespace braid::load {

class EventReader final {
 public:
  explicit EventReader(bool keep_token_times)
      : keep_token_times_(keep_token_times) {}

  // More of the body, which came at `now`. Fills `record`'s tokens and timings.
  void Read(std::string_view bytes, double now, Record& record);
  // "[DONE]" came, and no error before it.
  bool complete() const { return done_ && error_.empty(); }
  const std::string& error() const { return error_; }

 private:
  void ReadData(std::string_view data, double now, Record& record);

  const bool keep_token_times_;
  std::string rest_;  // of a line whose end has not come
  bool done_ = false;
  std::string error_;
};

}  // namespace braid::load
