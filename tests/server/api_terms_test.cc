// Classes, priorities, deadlines and tenants of the API; refusals, and what is
// told of the scheduler.
#include <chrono>
#include <cstdlib>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr char kText[] = "/v1/completions";
constexpr char kPrompt[] = R"({"prompt":"abc","ignore_eos":true})";
constexpr char kStream[] =
    R"({"prompt":"abc","ignore_eos":true,"stream":true})";

ServiceClass Class(const char* name, Duration ttft, uint32_t max_queued) {
  return {
      .name = name, .ttft = ttft, .tpot = hours(1), .max_queued = max_queued};
}

// One request runs; further ones wait, two of each class at most.
ApiServerOptions Busy() {
  ApiServerOptions options;
  options.engine.max_running = 1;
  options.engine.classes = {Class("gold", hours(1), 2),
                            Class("bulk", hours(2), 2)};
  return options;
}

int SecondsOf(const ClientResponse& response) {
  int seconds = 0;
  EXPECT_TRUE(absl::SimpleAtoi(response.Field("Retry-After"), &seconds))
      << response.body;
  return seconds;
}

ClientResponse Ask(HttpClient& client, std::string_view body,
                   std::string_view fields) {
  client.SendRequest("POST", kText, body, fields);
  return client.Receive();
}

// Occupies a busy server: one request that runs, and `waiting` of `name`.
std::vector<std::unique_ptr<HttpClient>> Occupy(ApiServer& server,
                                                uint32_t waiting,
                                                const char* name = "gold") {
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (uint32_t i = 0; i <= waiting; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->SendRequest(
        "POST", kText, kPrompt,
        absl::StrCat("x-request-class: ", name, "\r\n"));
    EXPECT_TRUE(server.WaitFor([&](const EngineStats& s) {
      return s.prefilling + s.decoding == 1 && s.queued == i;
    }));
  }
  return clients;
}

class RefusalTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RefusalTest, OfAFullQueueIsA429WithItsTime) {
  ApiServer server(Busy());
  server.gate().Close();
  const auto waiting = Occupy(server, 2);
  HttpClient client(server.port());
  const ClientResponse refused =
      Ask(client, GetParam(), "x-request-class: gold\r\n");
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(refused.Field("Content-Type"), "application/json");
  EXPECT_GE(SecondsOf(refused), 1);
  EXPECT_EQ(TextAt(refused.json(), {"error", "code"}), "overloaded");
  EXPECT_TRUE(absl::StrContains(refused.body, "gold"));
  EXPECT_TRUE(std::regex_search(
      refused.body,
      std::regex("; try again in ([1-9][0-9]* ms|[1-9][0-9]*[.][0-9] s)\"")))
      << refused.body;
  ASSERT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kRefused) == 1;
  }));
  EXPECT_EQ(server.engine().Snapshot().classes[0].refused[static_cast<size_t>(
                RefusalReason::kQueueFull)],
            1u);
  server.gate().Open();
  for (const auto& each : waiting) EXPECT_EQ(each->Receive().status, 200);
}

TEST_P(RefusalTest, OfADeadlineThatCannotBeMetIsA504) {
  ApiServer server(Busy());
  server.gate().Close();
  const auto waiting = Occupy(server, 1);
  HttpClient client(server.port());
  const ClientResponse late =
      Ask(client, GetParam(), "x-request-timeout-ms: 1\r\n");
  EXPECT_EQ(late.status, 504) << late.body;
  EXPECT_EQ(TextAt(late.json(), {"error", "type"}), "timeout_error");
  server.gate().Open();
  for (const auto& each : waiting) EXPECT_EQ(each->Receive().status, 200);
}

TEST_P(RefusalTest, OfABadTermIsA400ThatNamesIt) {
  ApiServer server;
  HttpClient client(server.port());
  const auto refused = [&](const char* header, const char* value,
                           const char* param) {
    const ClientResponse response =
        Ask(client, GetParam(), absl::StrCat(header, ": ", value, "\r\n"));
    EXPECT_EQ(response.status, 400) << header << ": " << value;
    EXPECT_EQ(TextAt(response.json(), {"error", "param"}), param);
    return response.body;
  };
  EXPECT_TRUE(absl::StrContains(
      refused("x-request-class", "platinum", "service_class"), "'only'"));
  refused("x-request-priority", "high", "x-request-priority");
  refused("x-request-priority", "101", "x-request-priority");
  refused("x-request-timeout-ms", "0", "x-request-timeout-ms");
  refused("x-request-timeout-ms", "-5", "x-request-timeout-ms");
  refused("x-request-timeout-ms", "soon", "x-request-timeout-ms");
  refused("x-request-timing", "maybe", "x-request-timing");
}

INSTANTIATE_TEST_SUITE_P(WholeAndStreamed, RefusalTest,
                         ::testing::Values(kPrompt, kStream),
                         [](const auto& param) -> std::string {
                           return param.param == kPrompt ? "Whole" : "Streamed";
                         });

TEST(ApiTermsTest, FieldsMeanWhatHeadersMean) {
  ApiServer server;
  HttpClient client(server.port());
  const auto status = [&](const char* field) {
    return client.Post(kText, absl::StrCat(R"({"prompt":"abc",)", field, "}"))
        .status;
  };
  EXPECT_EQ(status(R"("service_class":"only","priority":-3)"), 200);
  EXPECT_EQ(status(R"("timeout_ms":60000,"cache_salt":"mine")"), 200);
  EXPECT_EQ(status(R"("service_class":"none")"), 400);
  EXPECT_EQ(status(R"("priority":1000)"), 400);
  EXPECT_EQ(status(R"("priority":"high")"), 400);
  EXPECT_EQ(status(R"("timeout_ms":0)"), 400);
  // The header wins.
  EXPECT_EQ(Ask(client, R"({"prompt":"a","service_class":"none"})",
                "x-request-class: only\r\n")
                .status,
            200);
}

// Of a prompt that is cached for one tenant, another finds nothing.
TEST(ApiTermsTest, TenantsDoNotSeeEachOthersCache) {
  ApiServerOptions options;
  options.keys = {{"a", "key-a"}, {"b", "key-b"}};
  ApiServer server(options);
  HttpClient client(server.port());
  const std::string prompt(100, 'a');
  const auto cached = [&](const char* key, const char* salt) {
    const ClientResponse response =
        Ask(client,
            absl::StrCat(R"({"prompt":")", prompt, R"(","max_tokens":1,)",
                         R"("cache_salt":")", salt, R"("})"),
            absl::StrCat("x-api-key: ", key, "\r\n"));
    EXPECT_EQ(response.status, 200) << response.body;
    return IntegerAt(response.json(),
                     {"usage", "prompt_tokens_details", "cached_tokens"});
  };
  EXPECT_EQ(cached("key-a", ""), 0);
  EXPECT_GT(cached("key-a", ""), 0);
  EXPECT_EQ(cached("key-b", ""), 0);
  EXPECT_EQ(cached("key-a", "other"), 0);
  EXPECT_GT(cached("key-a", "other"), 0);
}

TEST(ApiTermsTest, TimingsAreToldOnDemandAndAddUp) {
  ApiServer server;
  HttpClient client(server.port());
  const ClientResponse response =
      Ask(client, kPrompt, "x-request-timing: true\r\n");
  ASSERT_EQ(response.status, 200);
  const JsonValue json = response.json();
  const JsonValue* timings = At(json, {"timings"});
  ASSERT_NE(timings, nullptr) << response.body;
  const auto number = [&](const std::string& key) {
    const JsonValue* value = timings->Find(key);
    return value == nullptr || value->real() == nullptr ? -1e9 : *value->real();
  };
  double sum = 0;
  for (int stage = 0; stage < kStageCount; ++stage) {
    sum += number(absl::StrCat(ToString(static_cast<Stage>(stage)), "_ms"));
  }
  EXPECT_NEAR(sum, number("total_ms"), 0.006);
  EXPECT_NE(TextAt(*timings, {"placement", "reason"}), "");
  EXPECT_EQ(At(client.Post(kText, kPrompt).json(), {"timings"}), nullptr);
}

TEST(ApiTermsTest, DecisionsAreToldPageByPage) {
  ApiServer server(Busy());
  HttpClient client(server.port());
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(client.Post(kText, kPrompt).status, 200);
  }
  ASSERT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kLength) == 5;
  }));
  const JsonValue all = client.Get("/debug/decisions").json();
  const int64_t last = IntegerAt(all, {"last"});
  ASSERT_GE(last, 5);
  EXPECT_EQ(TextAt(all, {"decisions", 0, "kind"}), "placed");
  const JsonValue some = client.Get("/debug/decisions?since=2&limit=2").json();
  EXPECT_EQ(IntegerAt(some, {"decisions", 0, "sequence"}), 3);
  EXPECT_EQ(IntegerAt(some, {"decisions", 1, "sequence"}), 4);
  EXPECT_EQ(At(some, {"decisions", 2}), nullptr);
  const JsonValue newest = client.Get("/debug/decisions?limit=1").json();
  EXPECT_EQ(IntegerAt(newest, {"decisions", 0, "sequence"}), last);
  EXPECT_EQ(client.Get("/debug/decisions?since=x").status, 400);
  EXPECT_EQ(client.Get("/debug/decisions?limit=0").status, 400);
}

TEST(ApiTermsTest, TheSchedulersStateIsTold) {
  ApiServer server(Busy());
  HttpClient client(server.port());
  EXPECT_EQ(client.Post(kText, kPrompt).status, 200);
  const JsonValue state = client.Get("/debug/scheduler").json();
  EXPECT_EQ(TextAt(state, {"classes", 0, "class"}), "gold");
  EXPECT_EQ(IntegerAt(state, {"classes", 1, "max_queued"}), 2);
  EXPECT_EQ(TextAt(state, {"devices", 0, "device"}), "fake:0");
  EXPECT_EQ(IntegerAt(state, {"devices", 0, "step_time_models", 0, "lent"}), 0);
}

}  // namespace
}  // namespace braid::server
