// The HTTP layer over real sockets, with handlers of the test's own.
#include "server/http/http_server.h"

#include <memory>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/request_error.h"
#include "tests/server/http_client.h"

namespace braid::server {
namespace {

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() : router_(ApiKeys()) {
    router_.Add("GET", "/hello", Access::kOpen,
                [](const HttpRequest&, const Waker&) {
                  return JsonResponse("\"hello\"");
                });
    router_.Add("POST", "/echo", Access::kOpen,
                [](const HttpRequest& request, const Waker&) {
                  return JsonResponse(request.body);
                });
    // Wakes itself all the time and has nothing to say.
    router_.Add("GET", "/silent", Access::kOpen,
                [](const HttpRequest&, const Waker& wake) {
                  StreamedResponse reply;
                  reply.content_type = "text/event-stream";
                  reply.pull = [wake](std::string&, bool) {
                    wake();
                    return Pulled{};
                  };
                  reply.cancel = [] {};
                  reply.ping = ":\n\n";
                  return reply;
                });
    // Fails at the third pull: before or after it has begun, by its ping.
    router_.Add(
        "GET", "/fails", Access::kOpen,
        [](const HttpRequest& request, const Waker& wake) {
          StreamedResponse reply;
          reply.content_type = "text/event-stream";
          reply.pull = [n = 0, wake, late = request.Parameter("late") == "1"](
                           std::string& out, bool begun) mutable -> Pulled {
            if (!begun) wake();
            if (!begun && (late || ++n < 3)) return {};
            if (!begun) {
              return {.more = false,
                      .instead =
                          ErrorResponse(absl::ResourceExhaustedError("full"))};
            }
            out = "late";
            return {.more = false};
          };
          reply.cancel = [] {};
          reply.ping = ":\n\n";
          return reply;
        });
    HttpServerConfig config;
    config.limits.head_patience = std::chrono::milliseconds(50);
    config.limits.ping_interval = std::chrono::milliseconds(20);
    config.limits.body_bytes = 1000;
    config.limits.header_bytes = 2000;
    config.limits.header_timeout = std::chrono::milliseconds(200);
    config.limits.body_timeout = std::chrono::milliseconds(200);
    config.limits.idle_timeout = std::chrono::milliseconds(400);
    config.limits.linger = std::chrono::milliseconds(100);
    server_ = *HttpServer::Start(config, &router_);
  }

  // Sends `text` and reads until the server closes.
  std::string Exchange(const std::string& text) {
    HttpClient client(server_->port());
    client.Send(text);
    return client.ReceiveAll();
  }

  Router router_;
  std::unique_ptr<HttpServer> server_;
};

int StatusOf(const std::string& answer) {
  return answer.size() < 12 ? 0 : std::stoi(answer.substr(9, 3));
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  const std::string answer = Exchange(
      "GET /hello HTTP/1.1\r\n\r\n"
      "POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\n7"
      "GET /nope HTTP/1.1\r\nConnection: close\r\n\r\n");
  const size_t hello = answer.find("\"hello\""),
               seven = answer.find("\r\n\r\n7"), nope = answer.find("404");
  EXPECT_NE(nope, std::string::npos) << answer;
  EXPECT_LT(hello, seven);
  EXPECT_LT(seven, nope);
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrTooSlow) {
  EXPECT_EQ(StatusOf(Exchange("POST /echo HTTP/1.1\r\nContent-Length: "
                              "100000000\r\n\r\n")),
            413);
  EXPECT_EQ(StatusOf(Exchange("GET /hello HTTP/1.1\r\nX: " +
                              std::string(5000, 'x') + "\r\n\r\n")),
            431);
  EXPECT_EQ(StatusOf(Exchange("GET /hel")), 408);
  EXPECT_EQ(StatusOf(Exchange("POST /echo HTTP/1.1\r\nContent-Length: "
                              "5\r\n\r\nab")),
            408);
  EXPECT_EQ(StatusOf(Exchange("nonsense\r\n\r\n")), 400);
  EXPECT_EQ(StatusOf(Exchange("GET /echo HTTP/1.0\r\n\r\n")), 405);
}

// Browsers show a page no answer without these, least of all an error.
TEST_F(HttpServerTest, EveryAnswerAllowsThePageThatAsked) {
  const char kOrigin[] =
      "Origin: http://localhost:5173\r\nX-Request-Id: r1\r\n";
  for (const auto& [method, path, body, status] :
       {std::tuple("GET", "/hello", "", 200),
        {"GET", "/nope", "", 404},
        {"GET", "/fails", "", 429},
        {"GET", "/silent", "", 200},
        {"POST", "/echo", "too long", 413}}) {
    HttpClient client(server_->port());
    const std::string text = status == 413 ? std::string(2000, 'x') : body;
    client.SendRequest(method, path, text, kOrigin);
    const ClientResponse head = client.ReceiveHead();
    EXPECT_EQ(head.status, status) << path;
    EXPECT_EQ(head.Field("Access-Control-Allow-Origin"),
              "http://localhost:5173")
        << path;
    EXPECT_EQ(head.Field("Vary"), "Origin");
    EXPECT_EQ(head.Field("x-request-id"), "r1") << path;
  }
  HttpClient client(server_->port());
  client.SendRequest(
      "OPTIONS", "/echo", "",
      absl::StrCat(kOrigin, "Access-Control-Request-Method: POST\r\n"));
  const ClientResponse preflight = client.Receive();
  EXPECT_EQ(preflight.status, 200);
  EXPECT_EQ(preflight.Field("Access-Control-Allow-Origin"),
            "http://localhost:5173");
  EXPECT_EQ(client.Get("/hello").Field("Access-Control-Allow-Origin"), "");
}

TEST_F(HttpServerTest, ClosesIdleConnections) { EXPECT_EQ(Exchange(""), ""); }

// A wake-up without bytes is silence too.
TEST_F(HttpServerTest, PingsComeFromTheClockAlone) {
  HttpClient client(server_->port());
  client.SendRequest("GET", "/silent");
  EXPECT_EQ(client.ReceiveHead().status, 200);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ReceiveChunk(), ":\n\n");
}

// A stream that is refused before its first piece is no stream; the connection
// goes on.
TEST_F(HttpServerTest, WhatFailsAtTheStartHasItsOwnStatus) {
  HttpClient client(server_->port());
  for (int i = 0; i < 2; ++i) {
    const ClientResponse refused = client.Get("/fails");
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.Field("Retry-After"), "1");
    EXPECT_EQ(refused.Field("Content-Type"), "application/json");
  }
  const ClientResponse late = client.Get("/fails?late=1");
  EXPECT_EQ(late.status, 200);
  EXPECT_EQ(late.body, ":\n\nlate");
}

TEST(HttpMessageTest, RetryAfterIsRoundedUp) {
  using Fields = std::vector<std::pair<std::string, std::string>>;
  const auto fields = [](double retry_after) {
    const HttpResponse response = ErrorResponse(
        WithRetryAfter(absl::ResourceExhaustedError("full"), retry_after));
    EXPECT_EQ(response.status, 429);
    return Fields(response.headers.begin(), response.headers.end());
  };
  const auto both = [](const char* seconds, const char* milliseconds) {
    return Fields{{"Retry-After", seconds}, {"retry-after-ms", milliseconds}};
  };
  EXPECT_EQ(fields(0.0002), both("1", "1"));
  EXPECT_EQ(fields(1), both("1", "1000"));
  EXPECT_EQ(fields(1.0101), both("2", "1011"));
  EXPECT_EQ(fields(59.5), both("60", "59500"));
  EXPECT_EQ(fields(1e9), both("86400", "86400000"));
  // A deadline that could not be met: later there may be time for it.
  EXPECT_EQ(ErrorResponse(WithRetryAfter(absl::DeadlineExceededError(""), 7))
                .headers.at(0)
                .second,
            "7");
  EXPECT_TRUE(ErrorResponse(absl::DeadlineExceededError("")).headers.empty());
}

TEST(HttpMessageTest, Parameters) {
  HttpRequest request;
  request.query = "since=17&limit=5&flag";
  EXPECT_EQ(request.Parameter("since"), "17");
  EXPECT_EQ(request.Parameter("limit"), "5");
  EXPECT_EQ(request.Parameter("flag"), "");
  EXPECT_EQ(request.Parameter("ince"), "");
}

TEST_F(HttpServerTest, SaysThatThePortIsTaken) {
  HttpServerConfig config;
  config.port = server_->port();
  const auto second = HttpServer::Start(config, &router_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace braid::server
