// A string of a template that remembers, byte by byte, whether it came from
// the caller of the template or from the template itself.
//
// Strings are only ever built by appending pieces of other strings, so a mark
// survives every operation, and what a user typed can never turn into a
// special token.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace braid::jinja {

class Text final {
 public:
  Text() = default;
  Text(std::string bytes, bool user) : bytes_(std::move(bytes)) {
    if (!bytes_.empty()) runs_.push_back({bytes_.size(), user});
  }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void Append(std::string_view bytes, bool user);
  void Append(const Text& other) { Append(other, 0, other.size()); }
  // Bytes [begin, end) of `other`, which is not this one.
  void Append(const Text& other, size_t begin, size_t end);
  Text Slice(size_t begin, size_t end) const;

  bool IsUser(size_t at) const;
  bool HasUser() const;

  // Adjacent runs differ in `user`; the last one ends at size().
  struct Run {
    size_t end;
    bool user;
  };
  const std::vector<Run>& runs() const { return runs_; }

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace braid::jinja
