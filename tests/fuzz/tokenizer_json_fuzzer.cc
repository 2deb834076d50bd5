// Any bytes as tokenizer.json: a spec in which everything agrees, or a Status.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json =
      braid::ParseJson({reinterpret_cast<const char*>(data), size});
  if (!json.ok()) return 0;
  constexpr int32_t kVocabulary = 300;
  auto spec = braid::ReadTokenizerJson(*json, kVocabulary);
  if (!spec.ok()) return 0;
  (void)braid::ApplyTokenizerConfig(*json, *spec);
  (void)braid::ReadChatTemplate(*json);
  if (!braid::FinishTokenizerSpec(kVocabulary, *spec).ok()) return 0;
  BRAID_CHECK(spec->tokens.size() == size_t{kVocabulary});
  BRAID_CHECK(spec->kinds.size() == size_t{kVocabulary});
  return 0;
}
