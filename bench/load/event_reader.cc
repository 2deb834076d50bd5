#include "bench/load/event_reader.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "model/json_value.h"

namespace braid::load {
namespace {

constexpr size_t kMaxLineBytes = 1 << 20;

// Chats say "content", completions "text". Inside a string the quotes would be
// escaped.
bool HasToken(std::string_view data) {
  for (const std::string_view key : {"\"text\":", "\"content\":"}) {
    const size_t at = data.find(key);
    if (at == data.npos) continue;
    const std::string_view value = data.substr(at + key.size()).substr(0, 3);
    if (value.starts_with("\"") && !value.starts_with("\"\"")) return true;
    if (value.starts_with(" \"") && value != " \"\"") return true;
  }
  return false;
}

// "parscale_streams":[4,4,3]; inside a string its quotes would be escaped.
void CountStreams(std::string_view data, Record& record) {
  constexpr std::string_view kKey = "\"parscale_streams\":[";
  constexpr size_t kMost = 64;
  const size_t at = data.find(kKey);
  if (at == data.npos) return;
  size_t streams = 0;
  for (const char c : data.substr(at + kKey.size())) {
    if (c >= '0' && c <= '9') {
      streams = std::min(streams * 10 + static_cast<size_t>(c - '0'), kMost);
    } else if (c == ',' || c == ']') {
      if (streams > 0) {
        if (record.tokens_by_streams.size() <= streams) {
          record.tokens_by_streams.resize(streams + 1);
        }
        ++record.tokens_by_streams[streams];
      }
      streams = 0;
      if (c == ']') return;
    }
  }
}

void ReadUsage(const JsonValue& document, Record& record) {
  const auto integer = [](const JsonValue* parent, const char* key,
                          int64_t& out) {
    const JsonValue* value = parent == nullptr ? nullptr : parent->Find(key);
    if (value != nullptr && value->integer() != nullptr) {
      out = *value->integer();
    }
  };
  const JsonValue* usage = document.Find("usage");
  integer(usage, "prompt_tokens", record.prompt_tokens);
  integer(usage, "completion_tokens", record.output_tokens);
  const JsonValue* parscale =
      usage == nullptr ? nullptr : usage->Find("parscale");
  const JsonValue* mean =
      parscale == nullptr ? nullptr : parscale->Find("mean");
  if (mean != nullptr && mean->real() != nullptr) {
    record.mean_streams = *mean->real();
  } else if (mean != nullptr && mean->integer() != nullptr) {
    record.mean_streams = static_cast<double>(*mean->integer());
  }
  const JsonValue* timings = document.Find("timings");
  if (timings == nullptr || timings->object() == nullptr) return;
  for (const auto& [name, value] : *timings->object()) {
    if (value.real() != nullptr) {
      record.timings.emplace_back(name, *value.real());
    } else if (value.integer() != nullptr) {
      record.timings.emplace_back(name, static_cast<double>(*value.integer()));
    }
  }
}

}  // namespace

void EventReader::Read(std::string_view bytes, double now, Record& record) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end == bytes.npos) {
      rest_ += bytes;
      if (rest_.size() > kMaxLineBytes) error_ = "a line of over a megabyte";
      return;
    }
    std::string_view line = bytes.substr(0, end);
    if (!rest_.empty()) {
      rest_ += line;
      line = rest_;
    }
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("data:")) {
      line.remove_prefix(5);
      if (line.starts_with(' ')) line.remove_prefix(1);
      ReadData(line, now, record);
    }
    rest_.clear();
    bytes.remove_prefix(end + 1);
  }
}

void EventReader::ReadData(std::string_view data, double now, Record& record) {
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  CountStreams(data, record);
  if (HasToken(data)) {
    if (record.token_events++ == 0) {
      record.first_token = now;
    } else {
      record.longest_gap =
          std::max(record.longest_gap, now - record.last_token);
    }
    record.last_token = now;
    if (keep_token_times_) record.token_times.push_back(now);
  }
  const bool error = data.starts_with("{\"error\"");
  if (!error && data.find("\"usage\":{") == data.npos) return;
  const absl::StatusOr<JsonValue> document = ParseJson(data);
  if (error || !document.ok()) {
    error_ = std::string(data.substr(0, 300));
    return;
  }
  ReadUsage(*document, record);
}

}  // namespace braid::load
