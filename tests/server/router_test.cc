#include "server/http/router.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

HttpHandler Answer(std::string body) {
  return [body = std::move(body)](const HttpRequest&, const Waker&) {
    return JsonResponse(body);
  };
}

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() : router_(ApiKeys({{"a", "secret"}, {"b", "longer=="}})) {
    router_.Add("GET", "/open", Access::kOpen, Answer("open"));
    router_.Add("GET", "/list", Access::kNeedsKey, Answer("list"));
    router_.Add("POST", "/list", Access::kNeedsKey, Answer("posted"));
    router_.Add("GET", "/list/", Access::kNeedsKey, Answer("item"));
  }

  HttpResponse Route(std::string method, std::string path,
                     HttpHeaders headers = {}) {
    HttpRequest request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.headers = std::move(headers);
    Router::Routed routed = router_.Route(request, [] {});
    caller_ = request.caller;
    route_ = std::string(routed.route);
    return std::get<HttpResponse>(std::move(routed.reply));
  }

  const HttpHeaders kKey = {{"Authorization", "Bearer secret"}};
  Router router_;
  std::string route_;
  Caller caller_;
};

TEST_F(RouterTest, ExactPathsAndPathsThatBegin) {
  EXPECT_EQ(Route("GET", "/open").body, "open");
  EXPECT_EQ(Route("HEAD", "/open").body, "open");
  EXPECT_EQ(Route("GET", "/list", kKey).body, "list");
  EXPECT_EQ(Route("POST", "/list", kKey).body, "posted");
  EXPECT_EQ(Route("GET", "/list/a/b", kKey).body, "item");
  EXPECT_EQ(route_, "/list/");  // Metrics see no client's path.
  EXPECT_EQ(Route("GET", "/list/", kKey).status, 404);
  EXPECT_EQ(Route("GET", "/lists", kKey).status, 404);
  EXPECT_EQ(Route("GET", "", kKey).status, 404);
  EXPECT_EQ(route_, "other");
}

TEST_F(RouterTest, TheRootIsNotAllPaths) {
  router_.Add("GET", "/", Access::kOpen, Answer("root"));
  EXPECT_EQ(Route("GET", "/").body, "root");
  EXPECT_EQ(Route("GET", "/nowhere").status, 404);
}

TEST_F(RouterTest, AFallbackAnswersWhatNoPathMatches) {
  router_.AddFallback(Answer("later"));
  EXPECT_EQ(Route("POST", "/nowhere").body, "later");
  EXPECT_EQ(route_, "other");
  EXPECT_EQ(Route("GET", "/open").body, "open");
  EXPECT_EQ(Route("POST", "/open").status, 405);
}

TEST_F(RouterTest, WhatWasMeantIsNamed) {
  router_.Add("POST", "/v1/chat/completions", Access::kOpen, Answer("chat"));
  for (const char* path : {"/chat/completions", "/v1/chat/completions/",
                           "/chat/completions/", "/v1/v1/chat/completions"}) {
    const HttpResponse response = Route("POST", path);
    EXPECT_EQ(response.status, 404);
    EXPECT_NE(response.body.find("; is /v1/chat/completions meant?"),
              std::string::npos)
        << path;
  }
  EXPECT_NE(Route("GET", "/v1/open").body.find("; is /open meant?"),
            std::string::npos);
  EXPECT_EQ(Route("GET", "/nowhere").body.find("meant"), std::string::npos);
}

TEST_F(RouterTest, OtherMethodsLearnWhichAreAllowed) {
  const HttpResponse response = Route("DELETE", "/list", kKey);
  EXPECT_EQ(response.status, 405);
  ASSERT_EQ(response.headers.size(), 1u);
  EXPECT_EQ(response.headers[0],
            (std::pair<std::string, std::string>("Allow", "GET, POST")));
}

TEST_F(RouterTest, KeysAreAskedFor) {
  const HttpResponse refused = Route("GET", "/list");
  EXPECT_EQ(refused.status, 401);
  ASSERT_EQ(refused.headers.size(), 1u);  // HTTP asks for it.
  EXPECT_EQ(refused.headers[0], (std::pair<std::string, std::string>(
                                    "WWW-Authenticate", "Bearer")));
  for (const char* value : {"Bearer", "Bearer ", "Bearer secre", "secret",
                            "Bearer secret1", "Basic secret"}) {
    EXPECT_EQ(Route("GET", "/list", {{"Authorization", value}}).status, 401)
        << value;
  }
  EXPECT_EQ(Route("GET", "/list", {{"authorization", "bearer secret"}}).status,
            200);
  EXPECT_EQ(Route("GET", "/list", {{"x-api-key", "secret"}}).status, 200);
}

TEST_F(RouterTest, KeysTellTenantsApart) {
  Route("GET", "/list", {{"x-api-key", "secret"}});
  const Caller a = caller_;
  Route("GET", "/list", {{"Authorization", "Bearer longer=="}});
  EXPECT_NE(caller_.tenant, a.tenant);
  EXPECT_NE(caller_.cache_salt, a.cache_salt);
  // Where none is needed it is not looked at.
  Route("GET", "/open", {{"x-api-key", "secret"}});
  EXPECT_EQ(caller_.tenant, 0u);
}

TEST_F(RouterTest, BodiesAreJson) {
  const auto status = [&](const char* type) {
    HttpHeaders headers = kKey;
    headers.emplace_back("Content-Type", type);
    return Route("POST", "/list", headers).status;
  };
  EXPECT_EQ(status("application/json"), 200);
  EXPECT_EQ(status("Application/JSON ; charset=utf-8"), 200);
  EXPECT_EQ(status("text/plain"), 415);
  EXPECT_EQ(status("multipart/form-data; boundary=x"), 415);
}

}  // namespace
}  // namespace braid::server
