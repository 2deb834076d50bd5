// The sender against the real HTTP API on a real engine with fake devices.
#include "bench/load/sender.h"

#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "model/json_value.h"
#include "tests/server/api_server.h"

namespace braid::load {
namespace {

// Token ids below what the fake model has.
Target TargetOf(uint16_t port) {
  absl::StatusOr<Target> target =
      ParseUrl(absl::StrCat("http://127.0.0.1:", port));
  EXPECT_TRUE(target.ok());
  target->path = "/v1/completions";
  target->low_token = 4;
  target->high_token = 30;
  target->more_body = "\"return_timings\":true";
  return *target;
}

std::vector<PlannedRequest> Plan(size_t n, double gap) {
  std::vector<PlannedRequest> plan;
  for (size_t i = 0; i < n; ++i) {
    plan.push_back({static_cast<double>(i) * gap, 20, 5});
  }
  return plan;
}

TEST(Sender, EveryRequestIsAnsweredAndTimed) {
  server::ApiServer server;
  const std::vector<PlannedRequest> plan = Plan(12, 0.002);
  SendOptions options;
  options.keep_token_times = true;
  const std::vector<Record> records =
      Send(TargetOf(server.port()), plan, options);
  ASSERT_EQ(records.size(), plan.size());
  for (const Record& record : records) {
    EXPECT_EQ(record.outcome, Outcome::kOk) << record.error;
    EXPECT_EQ(record.status, 200);
    EXPECT_EQ(record.prompt_tokens, 20);
    EXPECT_EQ(record.output_tokens, 5);
    EXPECT_EQ(record.due, plan[record.index].at);
    EXPECT_GE(record.sent, record.due);
    EXPECT_GE(record.first_token, record.sent);
    EXPECT_GE(record.last_token, record.first_token);
    EXPECT_GE(record.ended, record.last_token);
    EXPECT_EQ(record.token_times.size(), record.token_events);
    EXPECT_FALSE(record.timings.empty());
  }
}

TEST(Sender, AClosedLoopKeepsSoManyUnderWay) {
  server::ApiServer server;
  const std::vector<PlannedRequest> plan = Plan(10, 0);
  SendOptions options;
  options.closed_loop = 2;
  options.seconds = 30;
  const std::vector<Record> records =
      Send(TargetOf(server.port()), plan, options);
  ASSERT_EQ(records.size(), plan.size());
  for (const Record& record : records) {
    EXPECT_EQ(record.outcome, Outcome::kOk) << record.error;
    int under_way = 0;
    for (const Record& other : records) {
      under_way += other.sent <= record.sent && record.sent < other.ended;
    }
    EXPECT_LE(under_way, 2);
  }
}

TEST(Sender, TheBoundOnConnectionsHoldsAndTheScheduleGoesOn) {
  server::ApiServer server;
  server.gate().Close();
  SendOptions options;
  options.max_connections = 3;
  options.patience = 0.2;  // The gate stays closed: nothing is answered.
  const std::vector<Record> records =
      Send(TargetOf(server.port()), Plan(8, 0.001), options);
  server.gate().Open();
  ASSERT_EQ(records.size(), 8u);
  int unfinished = 0, not_sent = 0;
  for (const Record& record : records) {
    unfinished += record.outcome == Outcome::kUnfinished;
    not_sent += record.outcome == Outcome::kNotSent;
  }
  EXPECT_EQ(unfinished, 3);
  EXPECT_EQ(not_sent, 5);
}

TEST(Sender, FailuresAreRecorded) {
  server::ApiServer server;
  Target target = TargetOf(server.port());
  target.more_body = "\"temperature\":\"hot\"";
  std::vector<Record> records = Send(target, Plan(1, 0), {});
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].outcome, Outcome::kFailed);
  EXPECT_EQ(records[0].status, 400);
  EXPECT_THAT(records[0].error, testing::HasSubstr("temperature"));

  // Bound, and nobody listens.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  records = Send(TargetOf(ntohs(address.sin_port)), Plan(2, 0), {});
  close(fd);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].outcome, Outcome::kFailed);
  EXPECT_EQ(records[1].status, 0);
  EXPECT_FALSE(records[1].error.empty());
}

TEST(Sender, BodiesAreTheSameForAllAndSharePrefixesWithNone) {
  Target target;
  target.seed = 5;
  target.more_body = "\"seed\":1";
  const PlannedRequest request{0, 30, 4};
  EXPECT_EQ(RequestBody(target, 3, request), RequestBody(target, 3, request));
  std::set<std::string> beginnings;
  for (uint32_t i = 0; i < 50; ++i) {
    const absl::StatusOr<JsonValue> body =
        ParseJson(RequestBody(target, i, request));
    ASSERT_TRUE(body.ok());
    const JsonValue::Array& prompt = *body->Find("prompt")->array();
    ASSERT_EQ(prompt.size(), 30u);
    std::string beginning;
    for (const JsonValue& token : prompt) {
      EXPECT_GE(*token.integer(), 1000);
      EXPECT_LT(*token.integer(), 10000);
      if (beginning.size() < 20) absl::StrAppend(&beginning, *token.integer());
    }
    beginnings.insert(beginning);
    EXPECT_EQ(*body->Find("max_tokens")->integer(), 4);
  }
  EXPECT_EQ(beginnings.size(), 50u);
}

TEST(Sender, UrlsHaveTheirUsualParts) {
  const absl::StatusOr<Target> whole = ParseUrl("http://host:81/v2/x");
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->host, "host");
  EXPECT_EQ(whole->port, "81");
  EXPECT_EQ(whole->path, "/v2/x");
  EXPECT_EQ(ParseUrl("http://host")->port, "80");
  EXPECT_EQ(ParseUrl("http://host")->path, "/v1/completions");
  EXPECT_FALSE(ParseUrl("https://host").ok());
}

}  // namespace
}  // namespace braid::load
