// What a request asks of PARSCALE, what of it this server has, and what becomes
// of the two. HTTP's field and gRPC's mean the same by the same names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/stream_terms.h"

namespace braid::server {

// As asked. What is not set is the server's to say.
struct ParscaleTerms {
  bool given = false;  // the request has the field
  std::optional<StreamMode> mode;
  std::optional<uint32_t> min, max;
  bool per_token = false;  // the answer tells the streams of each token
};

// "off", "auto", "fixed"; nothing for anything else.
std::optional<StreamMode> ParseStreamMode(absl::string_view name);

// What the server has. Default: no PARSCALE weights. Immutable; any thread.
class ParscaleOffer final {
 public:
  ParscaleOffer() = default;
  // `mode`: of requests that name none. `most`: of any request; 0: as many as
  // there are. INVALID_ARGUMENT that names the flag.
  static absl::StatusOr<ParscaleOffer> Create(
      const std::vector<StreamSet>& sets, StreamMode mode, uint32_t most);

  bool any() const { return choices_.size() > 1; }
  StreamMode mode() const { return mode_; }
  // Most streams of a request.
  uint32_t most() const { return choices_.back(); }

  // INVALID_ARGUMENT naming the field. Streams that could only be one are off.
  absl::StatusOr<StreamTerms> Resolve(const ParscaleTerms& asked) const;

 private:
  std::string ChoicesText() const;  // "1, 2 or 4"

  // Numbers of streams that may answer together, from 1 on, ascending.
  std::vector<uint32_t> choices_ = {1};
  StreamMode mode_ = StreamMode::kOff;
};

}  // namespace braid::server
