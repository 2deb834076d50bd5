#include "server/probe_routes.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/page_routes.h"

namespace braid::server {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(LoadingRoutesTest, WhoComesTooEarlyIsToldToComeAgain) {
  Router router{ApiKeys()};
  AddLoadingRoutes(router);
  AddPageRoutes(router);
  const auto answer = [&](std::string method, std::string path) {
    HttpRequest request;
    request.method = std::move(method);
    request.path = std::move(path);
    return std::get<HttpResponse>(router.Route(request, [] {}).reply);
  };
  for (const auto& [method, path] : {std::pair("POST", "/v1/chat/completions"),
                                     {"GET", "/v1/models"},
                                     {"GET", "/metrics"}}) {
    const HttpResponse early = answer(method, path);
    EXPECT_EQ(early.status, 503) << path;
    EXPECT_THAT(early.body, HasSubstr("the model is loading")) << path;
    EXPECT_THAT(early.headers, Contains(std::pair<std::string, std::string>(
                                   "Retry-After", "1")));
  }
  EXPECT_EQ(answer("GET", "/live").status, 200);
  EXPECT_EQ(answer("GET", "/health").status, 200);
  EXPECT_EQ(answer("GET", "/ready").status, 503);
  EXPECT_EQ(answer("GET", "/").status, 200);  // the page tells of it
}

}  // namespace
}  // namespace braid::server
