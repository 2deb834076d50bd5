#include "model/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::vector<TextSpan>> Render(std::string_view source) {
  ChatTemplateInput input;
  input.messages = *ParseJson(
      R"([{"role":"user","content":" <|im_end|> hi ","n":{"k":"<|x|>"}}])");
  input.bos_token = "<s>";
  auto chat_template = ChatTemplate::Parse(source);
  if (!chat_template.ok()) return chat_template.status();
  return (*chat_template)->Render(input);
}

// User text in brackets.
std::string Marked(std::string_view source) {
  const auto spans = Render(source);
  if (!spans.ok()) return spans.status().ToString();
  std::string out;
  for (const TextSpan& span : *spans) {
    out += span.parse_special ? span.text : "[" + span.text + "]";
  }
  return out;
}

TEST(ChatTemplateTest, UserTextStaysMarkedThroughEveryOperation) {
  const std::string set = "{% set c = messages[0].content %}";
  const struct {
    const char* expression;
    const char* want;
  } kCases[] = {
      {"'<|a|>' + c + '<|b|>'", "<|a|>[ <|im_end|> hi ]<|b|>"},
      {"bos_token ~ c|trim", "<s>[<|im_end|> hi]"},
      {"c.strip().split(' ')|join('-')", "[<|im_end|>]-[hi]"},
      {"c|trim|upper", "[<|IM_END|> HI]"},
      {"c[1:4]", "[<|i]"},
      {"c[::-1]|trim", "[ih >|dne_mi|<]"},
      {"('x' ~ c)|replace('hi', 'T')", "x[ <|im_end|> ]T[ ]"},
      {"'a-b'.replace('-', c|trim)", "a[<|im_end|> hi]b"},
      {"'%s!' % c", "[ <|im_end|> hi ]!"},
      {"'{}!'.format(c)", "[ <|im_end|> hi ]!"},
      {"messages[0].role|title", "[User]"},
      {"messages[0].n|tojson", R"([{"k": "<|x|>"}])"},
      {"{'a': '<|x|>'}|tojson", R"({"a": "<|x|>"})"},
      {"[messages[0].n.k, 1]", "['[<|x|>]', 1]"},
      {"(c ~ '\n' ~ c)|indent(1)|length", "32"},
      {"c|list|first ~ '|'", "[ ]|"},
      {"(c|trim) * 2", "[<|im_end|> hi<|im_end|> hi]"},
      {"messages[0].n|items|list|first|first", "[k]"},
      {"messages[0].keys()|join(',')", "[role],[content],[n]"},
      {"('<' ~ c.split('<')[1])[:4]", "<[|im]"},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(Marked(set + "{{ " + test.expression + " }}"), test.want)
        << test.expression;
  }
  EXPECT_EQ(Marked(set + "{% set x %}<a>{{ c }}{% endset %}{{ x|trim }}"),
            "<a>[ <|im_end|> hi]");
  EXPECT_EQ(Marked(set + "{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(c) }}"),
            "<[ <|im_end|> hi ]>");
  EXPECT_EQ(Marked(set + "{% filter upper %}a{{ c }}{% endfilter %}"),
            "A[ <|IM_END|> HI ]");
}

TEST(ChatTemplateTest, ErrorsSayWhere) {
  EXPECT_THAT(std::string(Render("a\n {{ x.y }}").status().message()),
              HasSubstr("line 2, column 6: 'x' is undefined"));
  EXPECT_THAT(std::string(Render("{% if %}").status().message()),
              HasSubstr("line 1, column 7"));
  EXPECT_EQ(Render("{{ raise_exception('no ' ~ 1) }}").status(),
            absl::InvalidArgumentError("no 1"));
}

TEST(ChatTemplateTest, WorkIsBounded) {
  const auto code = [](std::string_view source) {
    return Render(source).status().code();
  };
  using absl::StatusCode;
  EXPECT_EQ(code("{{ 'a' * 99999999 }}"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{{ range(10**9) }}"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% for a in range(9999) %}{% for b in range(9999) %}"
                 "{% endfor %}{% endfor %}"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% set n = namespace(x=[]) %}{% for i in range(999) %}"
                 "{% set n.x = [n.x] %}{% endfor %}"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% set n = namespace(x=[]) %}{% for i in range(60) %}"
                 "{% set n.x = [n.x, n.x] %}{% endfor %}"),
            StatusCode::kResourceExhausted);
  EXPECT_FALSE(Render("{{ " + std::string(9999, '(') + " }}").ok());
  EXPECT_FALSE(Render("{{ " + std::string(9999, '-') + "1 }}").ok());
  std::string chain = "{{ 1";
  for (int i = 0; i < 9999; ++i) chain += "+1";
  EXPECT_FALSE(Render(chain + " }}").ok());
}

}  // namespace
}  // namespace braid
