// Best-of-n over HTTP: what is asked, what is refused, and that the answer is
// that of the candidate it tells of.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kText[] = "/v1/completions";

// How much idles depends on what steps have taken: as long each, so that it
// does not depend on this machine.
ApiServerOptions Steady() {
  ApiServerOptions options;
  options.step = std::chrono::milliseconds(5);
  return options;
}
ApiServerOptions Nested(StreamMode mode) {
  ApiServerOptions options = Steady();
  options.engine.stream_sets = {{.id = 1,
                                 .streams = 4,
                                 .elastic = true,
                                 .gain = {0, 0.1, 0.15, 0.18},
                                 .fingerprint = 77}};
  options.parscale_mode = mode;
  return options;
}

// `more` begins with a comma.
std::string Body(int seed, uint32_t tokens, const std::string& more) {
  return absl::StrCat(R"({"prompt":"abcd","seed":)", seed, R"(,"max_tokens":)",
                      tokens, R"(,"ignore_eos":true)", more, "}");
}

TEST(ApiBestOfTest, TheAnswerIsTheChosenCandidates) {
  ApiServer server(Steady());
  uint64_t others = 0;
  for (int seed = 0; seed < 8; ++seed) {
    const JsonValue answer =
        Post(server, kText, Body(100 * seed, 60, R"(,"best_of":4)"));
    const int64_t chosen = IntegerAt(answer, {"usage", "best_of", "chosen"});
    ASSERT_GE(chosen, 0);
    ASSERT_LT(chosen, 4);
    others += chosen > 0;
    const auto own = static_cast<uint64_t>(100 * seed + chosen);
    EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}),
              server.Answer("abcd", own, 60).text);
    EXPECT_EQ(IntegerAt(answer, {"usage", "best_of", "asked"}), 4);
    EXPECT_EQ(IntegerAt(answer, {"usage", "completion_tokens"}), 60);
    // A device that has run no step yet is not known well enough.
    if (seed < 2) continue;
    EXPECT_EQ(IntegerAt(answer, {"usage", "best_of", "complete"}), 4);
    EXPECT_EQ(IntegerAt(answer, {"usage", "best_of", "candidate_tokens"}), 240);
  }
  EXPECT_GT(others, 0u);
  // An answer may be told before what is counted of it.
  EXPECT_TRUE(server.WaitFor([&](const EngineStats& stats) {
    return stats.best_of.chosen == others;
  }));
  HttpClient client(server.port());
  const std::string metrics = client.Get("/metrics").body;
  EXPECT_TRUE(absl::StrContains(
      metrics,
      absl::StrCat(R"(braid_best_of_answers_total{chosen="other"} )", others)));
  const JsonValue plain = Post(server, kText, Body(5, 9, ""));
  EXPECT_EQ(At(plain, {"usage", "best_of"}), nullptr);
}

// Of each candidate that is complete, and the highest is the answer's.
// Candidate i is what `seed` + i draws first, so another request tells the same
// of it.
TEST(ApiBestOfTest, TellsSelfCertainties) {
  ApiServer server(Steady());
  const auto certainties = [&](int seed, int best_of) {
    const JsonValue answer = Post(
        server, kText, Body(seed, 40, absl::StrCat(R"(,"best_of":)", best_of)));
    std::vector<std::optional<double>> told;
    const JsonValue* list = At(answer, {"usage", "best_of", "self_certainty"});
    if (list == nullptr || list->array() == nullptr) return told;
    std::optional<double> most;
    int64_t best = -1, complete = 0;
    for (const JsonValue& one : *list->array()) {
      told.push_back(one.real() == nullptr ? std::nullopt
                                           : std::optional(*one.real()));
      if (!told.back()) continue;
      ++complete;
      if (most && *told.back() <= *most) continue;
      most = told.back();
      best = static_cast<int64_t>(told.size()) - 1;
    }
    EXPECT_EQ(best, IntegerAt(answer, {"usage", "best_of", "chosen"}));
    EXPECT_EQ(complete, IntegerAt(answer, {"usage", "best_of", "complete"}));
    return told;
  };
  for (int i = 0; i < 3; ++i) certainties(i, 2);  // Steps are known from here.
  const auto four = certainties(70, 4);
  ASSERT_EQ(four.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(four[i].has_value());
    EXPECT_GT(*four[i], 0);
    EXPECT_EQ(certainties(70 + i, 2).at(0), four[i]);
  }
}

// What the page draws.
TEST(ApiBestOfTest, TheServerTellsOfTheirRows) {
  ApiServer server(Steady());
  for (int seed = 0; seed < 4; ++seed) {
    Post(server, kText, Body(100 * seed, 60, R"(,"best_of":4)"));
  }
  ASSERT_TRUE(server.WaitFor([](const EngineStats& stats) {
    return stats.decoding == 0 && stats.best_of.requests == 4;
  }));
  HttpClient client(server.port());
  const JsonValue state = client.Get("/debug/scheduler").json();
  const int64_t filled = IntegerAt(state, {"best_of", "rows_filled"});
  // Of the two of known steps, the others' tokens at least.
  EXPECT_GE(filled, 2 * 180);
  EXPECT_GE(IntegerAt(state, {"best_of", "rows_offered"}), filled);
  EXPECT_GT(IntegerAt(state, {"best_of", "tokens_caught_up"}), 0);
  EXPECT_EQ(IntegerAt(state, {"best_of", "answers"}), 4);
  EXPECT_GE(IntegerAt(state, {"best_of", "completed"}), 6);
  EXPECT_EQ(IntegerAt(state, {"best_of", "kv_blocks"}), 0);
  EXPECT_EQ(IntegerAt(state, {"streams", "rows_offered"}), 0);
}

TEST(ApiBestOfTest, LogprobsAndEchoAreOfTheAnswer) {
  ApiServer server(Steady());
  Post(server, kText, Body(1, 60, ""));
  for (int seed = 0; seed < 8; ++seed) {
    const JsonValue answer =
        Post(server, kText,
             Body(100 * seed, 20, R"(,"best_of":3,"logprobs":2,"echo":true)"));
    const int64_t chosen = IntegerAt(answer, {"usage", "best_of", "chosen"});
    const JsonValue alone = Post(server, kText,
                                 Body(100 * seed + static_cast<int>(chosen), 20,
                                      R"(,"logprobs":2,"echo":true)"));
    const JsonValue* choice = At(answer, {"choices", 0});
    const JsonValue* same = At(alone, {"choices", 0});
    ASSERT_NE(choice, nullptr);
    EXPECT_EQ(TextAt(*choice, {"text"}), TextAt(*same, {"text"}));
    ASSERT_NE(choice->Find("logprobs"), nullptr);
    EXPECT_EQ(ToJson(*choice->Find("logprobs")),
              ToJson(*same->Find("logprobs")));
  }
}

TEST(ApiBestOfTest, ChatHasItToo) {
  ApiServer server(Steady());
  const std::string body =
      R"({"messages":[{"role":"user","content":"abcd"}],"max_tokens":40,)"
      R"("ignore_eos":true,"seed":)";
  Post(server, kChat, body + "9}");
  const JsonValue answer = Post(server, kChat, body + R"(7,"best_of":5})");
  const int64_t chosen = IntegerAt(answer, {"usage", "best_of", "chosen"});
  const JsonValue alone =
      Post(server, kChat, absl::StrCat(body, 7 + chosen, "}"));
  EXPECT_EQ(TextAt(answer, {"choices", 0, "message", "content"}),
            TextAt(alone, {"choices", 0, "message", "content"}));
  EXPECT_EQ(IntegerAt(answer, {"usage", "best_of", "complete"}), 5);
}

TEST(ApiBestOfTest, WithItTheServersStreamsAreOff) {
  ApiServer server(Nested(StreamMode::kAuto));
  const JsonValue answer = Post(server, kText, Body(5, 60, R"(,"best_of":2)"));
  const int64_t chosen = IntegerAt(answer, {"usage", "best_of", "chosen"});
  EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}),
            server.Answer("abcd", static_cast<uint64_t>(5 + chosen), 60).text);
  EXPECT_EQ(At(answer, {"usage", "parscale"}), nullptr);
  Post(server, kText, Body(5, 9, R"(,"best_of":2,"parscale":{"mode":"off"})"));
}

TEST(ApiBestOfTest, RefusalsNameTheRemedy) {
  ApiServer server(Nested(StreamMode::kOff));
  const auto refused = [&](const char* more, const char* path = kText) {
    const std::string body =
        path == kText
            ? Body(1, 5, more)
            : absl::StrCat(R"({"messages":[{"role":"user","content":"a"}])",
                           more, "}");
    const JsonValue answer = Post(server, path, body, 400);
    EXPECT_EQ(TextAt(answer, {"error", "param"}), "best_of");
    return TextAt(answer, {"error", "message"});
  };
  for (const char* path : {kText, kChat}) {
    EXPECT_TRUE(absl::StrContains(
        refused(R"(,"best_of":2,"stream":true)", path), "leave out stream"));
    EXPECT_TRUE(
        absl::StrContains(refused(R"(,"best_of":4,"n":2)", path), "must be n"));
    EXPECT_TRUE(absl::StrContains(refused(R"(,"best_of":9)", path),
                                  "between 1 and 8, not 9"));
    EXPECT_TRUE(absl::StrContains(refused(R"(,"best_of":0)", path), "between"));
    EXPECT_TRUE(
        absl::StrContains(refused(R"(,"best_of":2,"temperature":0)", path),
                          "needs a temperature above 0"));
    EXPECT_TRUE(absl::StrContains(
        refused(R"(,"best_of":2,"parscale":{"mode":"auto"})", path),
        "parscale.mode 'off'"));
  }
  HttpClient client(server.port());
  EXPECT_EQ(
      client.Post(kText, R"({"prompt":["a","b"],"best_of":2,"max_tokens":2})")
          .status,
      400);
  EXPECT_EQ(server.engine().Snapshot().requests_received, 0u);
  // As many as are told ask for nothing more.
  const JsonValue all =
      Post(server, kText, Body(1, 5, R"(,"best_of":2,"n":2,"stream":false)"));
  EXPECT_EQ(TextAt(all, {"choices", 1, "text"}),
            server.Answer("abcd", 2, 5).text);
}

}  // namespace
}  // namespace braid::server
