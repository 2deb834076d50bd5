// Any template over a fixed conversation: no crash, no leak, and bounded work.
// Of what the user said, no byte may come out as text of the template.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/chat_template.h"

namespace {

const braid::ChatTemplateInput& Input() {
  static const auto& input = *[] {
    auto* made = new braid::ChatTemplateInput;
    // \x01 is in no template that survives the check below.
    made->messages = *braid::ParseJson(R"([{"role":"\u0001user\u0001",
          "content":" \u0001\u00e9 b\n\u0001 ","tool_calls":[{"function":
          {"name":"\u0001","arguments":{"\u0001":[1,2.5,null,true]}}}]},
          {"role":"\u0001","content":null}])");
    made->tools = *braid::ParseJson(R"([{"name":"\u0001","n":{"a":1}}])");
    made->bos_token = "<s>";
    return made;
  }();
  return input;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  auto parsed = braid::ChatTemplate::Parse(source);
  if (!parsed.ok()) return 0;
  auto spans = (*parsed)->Render(Input());
  if (!spans.ok()) return 0;
  // Escapes may make a \x01 too.
  if (source.find('\x01') != source.npos || source.find('\\') != source.npos) {
    return 0;
  }
  for (const braid::TextSpan& span : *spans) {
    BRAID_CHECK(!span.parse_special ||
                span.text.find('\x01') == std::string::npos);
  }
  return 0;
}
