#include "server/page_routes.h"

#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include <gtest/gtest.h>

namespace braid::server {
namespace {

class PageRoutesTest : public ::testing::Test {
 protected:
  PageRoutesTest() { AddPageRoutes(router_); }

  HttpResponse Get(std::string path) {
    HttpRequest request;
    request.method = "GET";
    request.path = std::move(path);
    return std::get<HttpResponse>(router_.Route(request, [] {}).reply);
  }
  static std::string Source(const std::string& name) {
    std::ifstream file(BRAID_SOURCE_DIR "/server/page/" + name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  static std::string Header(const HttpResponse& response,
                            const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }

  Router router_{
      ApiKeys({{"a", "secret"}, {"b", "longer"}})};  // The page needs none.
};

TEST_F(PageRoutesTest, TheFilesAreInTheBinaryByteForByte) {
  EXPECT_EQ(Get("/").body, Source("index.html"));
  EXPECT_EQ(Get("/page.css").body, Source("page.css"));
  EXPECT_EQ(Get("/page.js").body, Source("page.js"));
  EXPECT_GT(Get("/").body.size(), 1000u);
  EXPECT_EQ(Get("/page.js").content_type, "text/javascript; charset=utf-8");
}

// Under its policy the browser would refuse what is written into the page.
TEST_F(PageRoutesTest, NothingIsInlineOrFromElsewhere) {
  const HttpResponse page = Get("/");
  EXPECT_NE(Header(page, "Content-Security-Policy").find("default-src 'none'"),
            std::string::npos);
  EXPECT_FALSE(std::regex_search(
      page.body, std::regex("<style|style=|<script>| on[a-z]+=|https?://")));
}

TEST_F(PageRoutesTest, EveryElementThatTheScriptAsksForIsThere) {
  const std::string script = Get("/page.js").body, page = Get("/").body;
  const std::regex asked("\\$\\(\"([a-z-]+)\"\\)");
  int found = 0;
  for (std::sregex_iterator it(script.begin(), script.end(), asked), end;
       it != end; ++it, ++found) {
    EXPECT_NE(page.find("id=\"" + (*it)[1].str() + '"'), std::string::npos)
        << (*it)[1];
  }
  EXPECT_GT(found, 10);
}

}  // namespace
}  // namespace braid::server
