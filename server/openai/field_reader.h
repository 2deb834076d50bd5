// Typed reads of a JSON object's fields. Absent and null fields keep their
// default. The first wrong type or value is remembered, and everything after it
// answers with defaults, so that a parser reads like a list of its fields. What
// was never asked for is known afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json_value.h"

namespace braid::server {

// The JSON object that a request's body has to be; INVALID_ARGUMENT says what
// it is instead.
absl::StatusOr<JsonValue> ParseBody(absl::string_view body);

class FieldReader {
 public:
  // `object` outlives the reader. `path` prefixes the names in errors.
  explicit FieldReader(const JsonValue& object, std::string path = "");

  bool Bool(absl::string_view key, bool fallback);
  int64_t Integer(absl::string_view key, int64_t fallback, int64_t min,
                  int64_t max);
  std::optional<int64_t> OptionalInteger(absl::string_view key, int64_t min,
                                         int64_t max);
  double Number(absl::string_view key, double fallback, double min, double max);
  std::string String(absl::string_view key, std::string fallback = "");

  // Null when absent or JSON null.
  const JsonValue* Get(absl::string_view key);

  // The paths of what the object has, not null, and nobody asked for, here and
  // in the adopted readers' objects: at most kMostUnread of them. What is not
  // spelled as programs name fields is "other", so that the names may go into
  // headers and labels.
  std::vector<std::string> Unread() const;
  static constexpr size_t kMostUnread = 16;

  void Fail(absl::string_view key, absl::string_view message);
  // "must be a string, not an integer".
  void FailType(absl::string_view key, absl::string_view wanted,
                const JsonValue& got);
  // Takes over the trouble and the unread of a reader of a nested object.
  void Adopt(const FieldReader& nested);
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  const JsonValue& object_;
  std::string path_;
  absl::Status status_;
  std::vector<bool> read_;  // by field of the object
  std::vector<std::string> unread_below_;
};

}  // namespace braid::server
