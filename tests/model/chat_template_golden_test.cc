// Rendered text against jinja2 in the environment of transformers; the files
// come from golden/make_template_golden.py.

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "model/chat_template.h"

namespace braid {
namespace {

const std::string kGolden =
    std::string(BRAID_SOURCE_DIR) + "/tests/model/golden/";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<JsonValue> ReadLines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::vector<JsonValue> rows;
  std::string line;
  while (std::getline(file, line)) {
    auto row = ParseJson(line);
    EXPECT_TRUE(row.ok()) << row.status();
    if (row.ok()) rows.push_back(*std::move(row));
  }
  return rows;
}

ChatTemplateInput ToInput(const JsonValue& json) {
  ChatTemplateInput input;
  input.messages = *json.Find("messages");
  input.tools = *json.Find("tools");
  input.add_generation_prompt = *json.Find("add_generation_prompt")->boolean();
  input.extra = *json.Find("extra")->object();
  input.bos_token = *json.Find("bos_token")->string();
  input.eos_token = *json.Find("eos_token")->string();
  input.now_unix_seconds = 1721952000;  // as in the generator
  return input;
}

absl::StatusOr<std::string> RenderText(const std::string& source,
                                       const ChatTemplateInput& input) {
  auto chat_template = ChatTemplate::Parse(source);
  if (!chat_template.ok()) return chat_template.status();
  auto spans = (*chat_template)->Render(input);
  if (!spans.ok()) return spans.status();
  std::string text;
  for (const TextSpan& span : *spans) text += span.text;
  return text;
}

// How many rows were wrong; each is a failure of the test too.
void Compare(const std::string& source, const ChatTemplateInput& input,
             const JsonValue& want) {
  const auto got = RenderText(source, input);
  if (want.is_null()) {
    EXPECT_FALSE(got.ok()) << source << "\nis an error in jinja2, gave "
                           << *got;
  } else if (!got.ok()) {
    ADD_FAILURE() << source << "\n" << got.status();
  } else {
    EXPECT_EQ(*got, *want.string()) << source;
  }
}

void CompareConversations(const std::string& rows, const std::string& folder) {
  int compared = 0;
  for (const JsonValue& row : ReadLines(rows)) {
    const std::string source =
        ReadFile(folder + "/" + *row.Find("template")->string());
    Compare(source, ToInput(*row.Find("input")), *row.Find("output"));
    ++compared;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(compared, 100);
}

TEST(ChatTemplateGoldenTest, PublishedTemplatesRenderAsInTransformers) {
  CompareConversations(kGolden + "chat_templates.jsonl", kGolden + "templates");
}

// BRAID_TEMPLATE_CHECK=DIR: the templates of a folder against DIR/out.jsonl, as
// written by make_template_golden.py --check.
TEST(ChatTemplateGoldenTest, FolderFromTheEnvironment) {
  const char* folder = std::getenv("BRAID_TEMPLATE_CHECK");
  if (folder == nullptr) return;
  CompareConversations(std::string(folder) + "/out.jsonl", folder);
}

TEST(ChatTemplateGoldenTest, SnippetsRenderAsInJinja) {
  const std::vector<JsonValue> rows =
      ReadLines(kGolden + "jinja_snippets.jsonl");
  ASSERT_GT(rows.size(), 1000u);
  const ChatTemplateInput input = ToInput(rows[0]);
  for (size_t i = 1; i < rows.size(); ++i) {
    Compare(*rows[i].Find("s")->string(), input, *rows[i].Find("o"));
  }
}

}  // namespace
}  // namespace braid
