// /openapi.json, held to what the server does: its paths, the fields that it
// reads, and the shape of everything it answers.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/request_error.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

std::string Source(const std::string& name) {
  std::ifstream file(BRAID_SOURCE_DIR "/server/openai/" + name);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

const JsonValue& Document() {
  static const JsonValue* const document = [] {
    auto parsed = ParseJson(Source("openapi.json"));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return new JsonValue(parsed.ok() ? *std::move(parsed) : JsonValue());
  }();
  return *document;
}

const JsonValue& Named(const std::string& name) {
  static const JsonValue none;
  const JsonValue* schema =
      At(Document(), {"components", "schemas", name.c_str()});
  EXPECT_NE(schema, nullptr) << name;
  return schema == nullptr ? none : *schema;
}

const JsonValue& Resolved(const JsonValue& schema) {
  const JsonValue* ref = schema.Find("$ref");
  if (ref == nullptr) return schema;
  constexpr std::string_view kPrefix = "#/components/schemas/";
  EXPECT_EQ(ref->string()->substr(0, kPrefix.size()), kPrefix);
  return Named(ref->string()->substr(kPrefix.size()));
}

bool IsOfType(const JsonValue& value, const std::string& type) {
  return value.type_name() == type ||
         (type == "number" && value.integer() != nullptr);
}

// Trouble, or empty. Stricter than JSON Schema: what an object has must be
// told.
std::string Mismatch(const JsonValue& schema, const JsonValue& value);

std::string ObjectMismatch(const JsonValue& schema,
                           const JsonValue::Object& object) {
  if (const JsonValue* required = schema.Find("required")) {
    for (const JsonValue& key : *required->array()) {
      if (std::ranges::none_of(object, [&](const auto& field) {
            return field.first == *key.string();
          })) {
        return absl::StrCat(" has no ", *key.string());
      }
    }
  }
  const JsonValue* properties = schema.Find("properties");
  const JsonValue* others = schema.Find("additionalProperties");
  if (properties == nullptr && others == nullptr) return "";
  for (const auto& [key, value] : object) {
    const JsonValue* known =
        properties == nullptr ? nullptr : properties->Find(key);
    if (known == nullptr) known = others;
    if (known == nullptr) return absl::StrCat(".", key, " is not told");
    const std::string below = Mismatch(*known, value);
    if (!below.empty()) return absl::StrCat(".", key, below);
  }
  return "";
}

std::string Mismatch(const JsonValue& given, const JsonValue& value) {
  const JsonValue& schema = Resolved(given);
  if (const JsonValue* any = schema.Find("anyOf")) {
    std::string why;
    for (const JsonValue& option : *any->array()) {
      const std::string mismatch = Mismatch(option, value);
      if (mismatch.empty()) return "";
      absl::StrAppend(&why, " (", mismatch, ")");
    }
    return why;
  }
  if (const JsonValue* type = schema.Find("type")) {
    const bool fits =
        type->string() != nullptr
            ? IsOfType(value, *type->string())
            : std::ranges::any_of(*type->array(), [&](const JsonValue& each) {
                return IsOfType(value, *each.string());
              });
    if (!fits) return absl::StrCat(" is of type ", value.type_name());
  }
  if (const JsonValue* words = schema.Find("enum")) {
    if (std::ranges::none_of(*words->array(), [&](const JsonValue& word) {
          return ToJson(word) == ToJson(value);
        })) {
      return absl::StrCat(" is ", ToJson(value));
    }
  }
  if (const JsonValue* items = schema.Find("items");
      items != nullptr && value.array() != nullptr) {
    for (const JsonValue& item : *value.array()) {
      const std::string below = Mismatch(*items, item);
      if (!below.empty()) return absl::StrCat("[]", below);
    }
  }
  return value.object() == nullptr ? ""
                                   : ObjectMismatch(schema, *value.object());
}

void ExpectIs(const std::string& schema, const JsonValue& value) {
  EXPECT_EQ(Mismatch(Named(schema), value), "")
      << schema << ": " << ToJson(value);
}

TEST(OpenApiTest, EveryPathIsTold) {
  std::set<std::string> told, there;
  for (const auto& [path, methods] : *Document().Find("paths")->object()) {
    for (const auto& [method, unused] : *methods.object()) {
      told.insert(absl::StrCat(method == "post" ? "POST " : "GET ", path));
    }
  }
  ApiServer server;
  for (std::string route : server.router().Routes()) {
    if (absl::EndsWith(route, "/models/")) route += "{model}";
    if (!absl::StartsWith(route, "GET /page.") && route != "GET /") {
      there.insert(std::move(route));
    }
  }
  EXPECT_EQ(told, there);
}

TEST(OpenApiTest, IsServedWithoutAKey) {
  ApiServer server({.keys = {{"a", "secret"}}});
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/openapi.json").body, Source("openapi.json"));
}

// --- Requests ----------------------------------------------------------------

// By name, the fields of an object whose schema may be put together.
std::map<std::string, const JsonValue*> FieldsOf(const JsonValue& given) {
  std::map<std::string, const JsonValue*> fields;
  const JsonValue& schema = Resolved(given);
  if (const JsonValue* parts = schema.Find("allOf")) {
    for (const JsonValue& part : *parts->array()) {
      for (const auto& [name, field] : FieldsOf(part)) fields[name] = field;
    }
  }
  if (const JsonValue* properties = schema.Find("properties")) {
    for (const auto& [name, field] : *properties->object()) {
      fields[name] = &field;
    }
  }
  return fields;
}

// Something that a field may be, most times.
JsonValue Example(const JsonValue& given) {
  const JsonValue& schema = Resolved(given);
  if (const JsonValue* any = schema.Find("anyOf")) {
    return Example(any->array()->front());
  }
  if (const JsonValue* words = schema.Find("enum")) {
    return words->array()->front();
  }
  const std::string type = *schema.Find("type")->string();
  if (type == "boolean") return true;
  if (type == "integer" || type == "number") return 1;
  if (type == "string") return "x";
  if (type == "array") return JsonValue::Array{Example(*schema.Find("items"))};
  JsonValue::Object object;
  for (const auto& [name, field] : FieldsOf(schema)) {
    object.emplace_back(name, Example(*field));
  }
  return object;
}

// Every field that is told is one that is read: it has an effect, or is to
// blame.
template <typename Parse>
void ExpectAllRead(const std::string& schema, JsonValue::Object least,
                   Parse parse) {
  for (const auto& [name, field] : FieldsOf(Named(schema))) {
    JsonValue::Object body = least;
    if (JsonValue(least).Find(name) == nullptr) {
      body.emplace_back(name, Example(*field));
    }
    const auto request = parse(ToJson(JsonValue(body)));
    if (request.ok()) {
      EXPECT_TRUE(request->options.ignored_fields.empty()) << name;
    } else {
      const std::string to_blame =
          ToApiError(request.status()).param.value_or("");
      EXPECT_EQ(to_blame.substr(0, name.size()), name) << request.status();
    }
  }
}

TEST(OpenApiTest, FieldsOfRequestsAreRead) {
  const JsonValue message =
      JsonValue::Object{{"role", "user"}, {"content", "a"}};
  ExpectAllRead(
      "ChatRequest", {{"messages", JsonValue::Array{message}}},
      [](const std::string& body) { return ParseChatRequest(body, 100); });
  ExpectAllRead("CompletionRequest", {{"prompt", "a"}},
                [](const std::string& body) {
                  return ParseCompletionRequest(body, 100);
                });
}

TEST(OpenApiTest, FieldsThatAreReadAreTold) {
  const std::string told = absl::StrCat(ToJson(Named("ChatRequest")),
                                        ToJson(Named("CompletionRequest")),
                                        ToJson(Named("GenerationFields")));
  const std::regex read(
      "(?:fields\\.(?:Get|Bool|Integer|OptionalInteger|Number|String)\\(|"
      "number\\(|kKey = )\\s*\"([a-z_]+)\"");
  int found = 0;
  for (const char* file :
       {"chat_request.cc", "completion_request.cc", "generation_options.cc"}) {
    const std::string source = Source(file);
    for (std::sregex_iterator it(source.begin(), source.end(), read), end;
         it != end; ++it, ++found) {
      EXPECT_TRUE(
          absl::StrContains(told, absl::StrCat("\"", (*it)[1].str(), "\":{")))
          << (*it)[1];
    }
  }
  EXPECT_GT(found, 30);
}

// --- Answers -----------------------------------------------------------------

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kText[] = "/v1/completions";

std::string ChatBody(absl::string_view more) {
  return absl::StrCat(
      R"({"messages":[{"role":"user","content":"ab"}],"max_tokens":4,)", more,
      "}");
}
std::string TextBody(absl::string_view more) {
  return absl::StrCat(R"({"prompt":"ab","max_tokens":4,)", more, "}");
}

TEST(OpenApiTest, Completions) {
  ApiServer server;
  ExpectIs("ChatCompletion", Post(server, kChat, ChatBody(R"("seed":1)")));
  ExpectIs(
      "ChatCompletion",
      Post(server, kChat, ChatBody(R"("n":2,"logprobs":true,"top_logprobs":2,
                            "return_timings":true)")));
  ExpectIs("ChatCompletion",
           Post(server, kChat, ChatBody(R"("parscale":{"per_token":true})")));
  ExpectIs("ChatCompletion", Post(server, kChat, ChatBody(R"("best_of":2)")));
  ExpectIs("Completion", Post(server, kText, TextBody(R"("seed":1)")));
  ExpectIs("Completion",
           Post(server, kText,
                TextBody(R"("logprobs":2,"echo":true,"return_timings":true,
                            "parscale":{"per_token":true})")));
}

TEST(OpenApiTest, Streams) {
  ApiServer server;
  HttpClient client(server.port());
  const auto check = [&](const char* path, const std::string& body,
                         const char* schema) {
    std::vector<std::string> events = EventsOf(client.Post(path, body).body);
    ASSERT_GT(events.size(), 2u);
    EXPECT_EQ(events.back(), "[DONE]");
    events.pop_back();
    for (const std::string& event : events) {
      const auto chunk = ParseJson(event);
      ASSERT_TRUE(chunk.ok()) << event;
      ExpectIs(schema, *chunk);
    }
  };
  const std::string stream =
      R"("stream":true,"stream_options":{"include_usage":true},
         "return_timings":true,"parscale":{"per_token":true},"logprobs":)";
  check(kChat, ChatBody(stream + "true"), "ChatCompletionChunk");
  check(kText, TextBody(stream + "1"), "Completion");
  check(kText, TextBody(R"("stream":true)"), "Completion");
}

TEST(OpenApiTest, Others) {
  ApiServer server;
  HttpClient client(server.port());
  const auto get = [&](const char* path) { return client.Get(path).json(); };
  ExpectIs("ModelList", get("/v1/models"));
  ExpectIs("Model", get("/v1/models/fake"));
  ExpectIs("TokenizerInfo", get("/tokenizer_info"));
  ExpectIs("Health", get("/health"));
  ExpectIs("Status", get("/ready"));
  ExpectIs("Status", get("/live"));
  ExpectIs("Version", get("/version"));
  ExpectIs("Tokens", Post(server, "/tokenize",
                          R"({"prompt":"a","return_token_strs":true})"));
  ExpectIs("Tokens",
           Post(server, "/tokenize", R"({"content":"a","with_pieces":true})"));
  ExpectIs("Text", Post(server, "/detokenize", R"({"tokens":[1]})"));
  ExpectIs("Prompt", Post(server, "/apply-template", ChatBody(R"("n":1)")));
  ExpectIs("Error", Post(server, kChat, "{}", 400));
  ExpectIs("Error", get("/nowhere"));
}

}  // namespace
}  // namespace braid::server
