#include "server/page_routes.h"

#include <string>
#include <string_view>

#include "server/page_files.h"

namespace braid::server {
namespace {

// Nothing but its own two files, and questions to where it came from.
constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'";

void AddFile(Router& router, std::string path, std::string type,
             std::string_view bytes) {
  router.Add("GET", std::move(path), Access::kOpen,
             [type = std::move(type), bytes](const HttpRequest&, const Waker&) {
               HttpResponse response;
               response.content_type = type;
               response.headers = {{"Content-Security-Policy", kPolicy},
                                   {"X-Content-Type-Options", "nosniff"},
                                   {"Referrer-Policy", "no-referrer"},
                                   {"Cache-Control", "no-cache"}};
               response.body = std::string(bytes);
               return response;
             });
}

}  // namespace

void AddPageRoutes(Router& router) {
  AddFile(router, "/", "text/html; charset=utf-8", kIndexHtml);
  AddFile(router, "/page.css", "text/css; charset=utf-8", kPageCss);
  AddFile(router, "/page.js", "text/javascript; charset=utf-8", kPageJs);
  AddFile(router, "/openapi.json", "application/json", kOpenapiJson);
}

}  // namespace braid::server
