#include "server/probe_routes.h"

#include "absl/strings/str_cat.h"

namespace braid::server {
namespace {

const char* StateName(const Lifecycle& lifecycle) {
  return lifecycle.draining() ? "draining" : "ready";
}

HttpResponse ReadyResponse(const Lifecycle& lifecycle) {
  HttpResponse response =
      JsonResponse(absl::StrCat("{\"status\":\"", StateName(lifecycle), "\"}"));
  if (lifecycle.draining()) response.status = 503;
  return response;
}

HttpResponse HealthResponse(const Engine& engine, const Lifecycle& lifecycle) {
  const EngineStats stats = engine.Snapshot();
  return JsonResponse(absl::StrCat("{\"status\":\"", StateName(lifecycle),
                                   "\",\"queued\":", stats.queued,
                                   ",\"prefilling\":", stats.prefilling,
                                   ",\"transferring\":", stats.transferring,
                                   ",\"decoding\":", stats.decoding, "}"));
}

}  // namespace

void AddProbeRoutes(Router& router, const Engine& engine,
                    const Lifecycle& lifecycle,
                    const MetricsExporter& metrics) {
  router.Add("GET", "/live", Access::kOpen,
             [](const HttpRequest&, const Waker&) {
               return JsonResponse("{\"status\":\"live\"}");
             });
  router.Add("GET", "/health", Access::kOpen,
             [&](const HttpRequest&, const Waker&) {
               return HealthResponse(engine, lifecycle);
             });
  router.Add("GET", "/ready", Access::kOpen,
             [&](const HttpRequest&, const Waker&) {
               return ReadyResponse(lifecycle);
             });
  router.Add("GET", "/metrics", Access::kOpen,
             [&](const HttpRequest&, const Waker&) {
               HttpResponse response;
               response.content_type = "text/plain; version=0.0.4";
               response.body = metrics.Render(engine.Snapshot());
               return response;
             });
}

}  // namespace braid::server
