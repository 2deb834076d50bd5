// Clients that leave, that do not read, that are many; a server that is full,
// or on its way out.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

constexpr char kText[] = "/v1/completions";
constexpr char kLong[] =
    R"({"prompt":"abc","max_tokens":200,"ignore_eos":true,"stream":false})";
constexpr char kLongStream[] =
    R"({"prompt":"abc","max_tokens":200,"ignore_eos":true,"stream":true})";

bool AllEnded(const EngineStats& stats) {
  uint64_t ended = 0;
  for (const uint64_t count : stats.requests_finished) ended += count;
  return ended == stats.requests_received - stats.requests_refused;
}

class DisconnectTest : public ::testing::TestWithParam<const char*> {};

TEST_P(DisconnectTest, CancelsInTheEngine) {
  ApiServer server;
  server.gate().Close();
  auto client = std::make_unique<HttpClient>(server.port());
  client->SendRequest("POST", kText, GetParam());
  ASSERT_TRUE(server.WaitFor(
      [](const EngineStats& s) { return s.requests_received == 1; }));
  server.gate().Pass(2);
  client.reset();
  // The engine is told while the device is busy; the gate stays closed.
  EXPECT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kCancelled) == 1;
  }));
  EXPECT_EQ(server.engine().Snapshot().slow_readers, 0u);
}

// A next request that waits in the same connection hides nothing.
TEST_P(DisconnectTest, CancelsBehindAPipelinedRequest) {
  ApiServer server;
  server.gate().Close();
  auto client = std::make_unique<HttpClient>(server.port());
  client->SendRequest("POST", kText, GetParam());
  client->SendRequest("GET", "/health");
  ASSERT_TRUE(server.WaitFor(
      [](const EngineStats& s) { return s.requests_received == 1; }));
  client.reset();
  EXPECT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kCancelled) == 1;
  }));
}

INSTANTIATE_TEST_SUITE_P(WholeAndStreamed, DisconnectTest,
                         ::testing::Values(kLong, kLongStream),
                         [](const auto& param) -> std::string {
                           return param.param == kLong ? "Whole" : "Streamed";
                         });

// 16 choices with 20 alternatives per token are more than the sockets between
// the two hold.
TEST(ApiLoadTest, SlowReaderIsCancelledAndCounted) {
  ApiServerOptions options;
  options.max_waiting_tokens = 256;
  options.engine.blocks = 1024;
  options.engine.max_context = 1024;
  ApiServer server(options);
  HttpClient client(server.port(), /*receive_buffer=*/2048);
  client.SendRequest("POST", kText,
                     R"({"prompt":"abc","max_tokens":900,"ignore_eos":true,
                         "stream":true,"logprobs":20,"n":16})");
  EXPECT_TRUE(server.WaitFor([](const EngineStats& s) {
    return s.slow_readers > 0 && s.decoding == 0 && AllEnded(s);
  }));
  const EngineStats stats = server.engine().Snapshot();
  EXPECT_GE(Finished(stats, FinishReason::kCancelled), stats.slow_readers);
  // Others are served as before.
  HttpClient other(server.port());
  EXPECT_EQ(other.Post(kText, R"({"prompt":"abc"})").status, 200);
}

// The bound is on what waits, not on what the answer has.
TEST(ApiLoadTest, ReaderThatKeepsUpIsNotSlow) {
  ApiServerOptions options;
  options.max_waiting_tokens = 2;
  ApiServer server(options);
  server.gate().Close();
  HttpClient client(server.port());
  client.SendRequest("POST", kText,
                     R"({"prompt":"abc","max_tokens":40,"ignore_eos":true,
                         "stream":true,"logprobs":0})");
  std::string body;
  for (int i = 0; i < 40; ++i) {
    server.gate().Pass(1);
    if (i == 0) {
      EXPECT_EQ(client.ReceiveHead().status, 200);
    }
    const auto chunk = client.ReceiveChunk();
    ASSERT_TRUE(chunk.has_value());
    body += *chunk;
  }
  // The end may come with the last token, or behind it.
  while (auto chunk = client.ReceiveChunk()) body += *chunk;
  EXPECT_EQ(EventsOf(body).back(), "[DONE]");
  EXPECT_EQ(server.engine().Snapshot().slow_readers, 0u);
}

TEST(ApiLoadTest, ManyClientsAtOnce) {
  ApiServerOptions options;
  options.engine.max_queued = 256;
  ApiServer server(options);
  std::vector<std::thread> clients;
  for (uint64_t i = 0; i < 64; ++i) {
    clients.emplace_back([&server, i] {
      HttpClient client(server.port());
      const std::string prompt(1 + i % 5, static_cast<char>('a' + i % 8));
      for (uint64_t round = 0; round < 3; ++round) {
        const bool stream = (i + round) % 2 == 0;
        const uint64_t seed = 100 * i + round;
        const ClientResponse response = client.Post(
            kText, absl::StrCat(R"({"prompt":")", prompt, R"(","seed":)", seed,
                                R"(,"max_tokens":12,"ignore_eos":true)",
                                stream ? R"(,"stream":true})" : "}"));
        ASSERT_EQ(response.status, 200) << response.body;
        std::string text;
        if (stream) {
          std::vector<std::string> events = EventsOf(response.body);
          ASSERT_EQ(events.back(), "[DONE]");
          events.pop_back();
          for (const std::string& event : events) {
            text += TextAt(*ParseJson(event), {"choices", 0, "text"});
          }
        } else {
          text = TextAt(response.json(), {"choices", 0, "text"});
        }
        EXPECT_EQ(text, server.Answer(prompt, seed, 12).text);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kLength) == 192;
  }));
}

TEST(ApiLoadTest, DrainFinishesWhatRunsAndRefusesTheRest) {
  ApiServer server;
  server.gate().Close();
  HttpClient running(server.port()), late(server.port());
  running.SendRequest("POST", kText,
                      R"({"prompt":"abc","seed":1,"max_tokens":20,
                          "ignore_eos":true,"stream":true})");
  server.gate().Pass(1);
  EXPECT_EQ(running.ReceiveHead().status, 200);
  server.lifecycle().BeginDrain();
  EXPECT_FALSE(server.engine().Drain(std::chrono::nanoseconds(0)));
  const ClientResponse refused = late.Post(kText, R"({"prompt":"abc"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.Field("Retry-After"), "1");
  EXPECT_EQ(TextAt(refused.json(), {"error", "type"}), "unavailable_error");
  EXPECT_EQ(late.Get("/ready").status, 503);
  EXPECT_EQ(late.Get("/live").status, 200);
  server.gate().Open();
  std::string body;
  while (auto chunk = running.ReceiveChunk()) body += *chunk;
  EXPECT_EQ(EventsOf(body).back(), "[DONE]");
  EXPECT_TRUE(server.engine().Drain(std::chrono::seconds(30)));
}

// The server stops reading a connection that pipelines without end; it can be
// closed all the same.
TEST(ApiLoadTest, StopsWithAClientThatPipelinesWithoutEnd) {
  ApiServer server;
  server.gate().Close();
  HttpClient client(server.port());
  client.SendRequest("POST", kText, kLong);
  client.Send(std::string(96 << 10, 'x'));
  ASSERT_TRUE(server.WaitFor(
      [](const EngineStats& s) { return s.requests_received == 1; }));
  server.http().Stop(std::chrono::milliseconds(50));
  EXPECT_TRUE(server.WaitFor([](const EngineStats& s) {
    return Finished(s, FinishReason::kCancelled) == 1;
  }));
}

TEST(ApiLoadTest, MetricsAreServed) {
  ApiServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.Post(kText, R"({"prompt":"abc"})").status, 200);
  EXPECT_EQ(client.Get("/nowhere").status, 404);
  const ClientResponse metrics = client.Get("/metrics");
  EXPECT_EQ(metrics.Field("Content-Type"), "text/plain; version=0.0.4");
  for (const char* line :
       {"braid_http_requests_total{path=\"/v1/completions\",code=\"200\"} 1\n",
        "braid_http_requests_total{path=\"other\",code=\"404\"} 1\n"}) {
    EXPECT_TRUE(absl::StrContains(metrics.body, line)) << metrics.body;
  }
}

}  // namespace
}  // namespace braid::server
