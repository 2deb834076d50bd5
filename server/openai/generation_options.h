// The fields that chat and text completions share: how to sample, when to stop,
// how to answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/sampling.h"
#include "server/openai/field_reader.h"
#include "server/parscale_terms.h"
#include "server/service_terms.h"

namespace braid::server {

inline constexpr int64_t kMaxChoices = 128;  // n, and prompts times n
inline constexpr int64_t kMaxTopLogprobs = 20;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 1024;  // of one stop string
inline constexpr size_t kMaxLogitBias = 1024;

struct GenerationOptions {
  std::string model;  // empty: the one that is served
  SamplingParams sampling;
  bool has_seed = false;  // otherwise the server draws one
  std::optional<uint32_t> max_tokens;
  std::vector<std::string> stop;
  bool include_stop_in_text = false;
  bool show_special = false;  // skip_special_tokens: false
  uint32_t n = 1;
  // More than 1: the best of so many is the answer; then n is 1, and the answer
  // is whole.
  uint32_t best_of = 1;
  bool stream = false;
  bool include_usage = false;
  bool return_timings = false;
  // What the request says besides, to no effect: names of fields, as they came.
  std::vector<std::string> ignored_fields;
  ServiceTerms terms;
  ParscaleTerms parscale;
};

// Reads them; trouble ends up in `fields`. Logprobs differ between the two
// kinds of completion and are not read here.
GenerationOptions ParseGenerationOptions(FieldReader& fields,
                                         int32_t vocabulary);

// min_tokens beside max_tokens, where that is known.
void CheckMinTokens(const GenerationOptions& options, FieldReader& fields);

}  // namespace braid::server
