// The HTTP layer over real sockets, with handlers of the test's own.
#include "server/http/http_server.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tests/server/http_client.h"

namespace braid::server {
namespace {

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() : router_("") {
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
                  reply.pull = [wake](std::string&) {
                    wake();
                    return true;
                  };
                  reply.cancel = [] {};
                  reply.ping = ":\n\n";
                  return reply;
                });
    HttpServerConfig config;
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

TEST_F(HttpServerTest, ClosesIdleConnections) { EXPECT_EQ(Exchange(""), ""); }

// A wake-up without bytes is silence too.
TEST_F(HttpServerTest, PingsComeFromTheClockAlone) {
  HttpClient client(server_->port());
  client.SendRequest("GET", "/silent");
  EXPECT_EQ(client.ReceiveHead().status, 200);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ReceiveChunk(), ":\n\n");
}

TEST_F(HttpServerTest, SaysThatThePortIsTaken) {
  HttpServerConfig config;
  config.port = server_->port();
  const auto second = HttpServer::Start(config, &router_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace braid::server
