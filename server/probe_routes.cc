#include "server/probe_routes.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/json_value.h"

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

// Why it does not serve as it should, each a string of JSON.
std::vector<std::string> TroublesOf(const EngineStats& stats) {
  std::vector<std::string> troubles;
  const auto add = [&](const auto&... parts) {
    std::string text = "\"";
    AppendJsonEscaped(absl::StrCat(parts...), text);
    troubles.push_back(text + '"');
  };
  for (const DeviceStats& device : stats.devices) {
    if (!device.up) {
      add("device ", device.name, " is lost, for the ", device.times_lost,
          ". time; it is tried again");
    }
  }
  for (const AvoidedPair& pair : stats.avoided) {
    add("KV from pool ", pair.from.value(), " to pool ", pair.to.value(),
        " is not sent for a while: a checksum differed");
  }
  return troubles;
}

HttpResponse HealthResponse(const Engine& engine, const Lifecycle& lifecycle) {
  const EngineStats stats = engine.Snapshot();
  const std::vector<std::string> troubles = TroublesOf(stats);
  const bool degraded = !troubles.empty() && !lifecycle.draining();
  return JsonResponse(absl::StrCat(
      "{\"status\":\"", degraded ? "degraded" : StateName(lifecycle),
      "\",\"reasons\":[", absl::StrJoin(troubles, ","),
      "],\"queued\":", stats.queued, ",\"prefilling\":", stats.prefilling,
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
  router.Add(
      "GET", "/version", Access::kOpen, [&](const HttpRequest&, const Waker&) {
        return JsonResponse(
            absl::StrCat("{\"version\":\"", metrics.build().version, "\"}"));
      });
  router.Add("GET", "/metrics", Access::kOpen,
             [&](const HttpRequest&, const Waker&) {
               HttpResponse response;
               response.content_type = "text/plain; version=0.0.4";
               response.body = metrics.Render(engine.Snapshot());
               return response;
             });
}

void AddLoadingRoutes(Router& router) {
  router.Add("GET", "/live", Access::kOpen,
             [](const HttpRequest&, const Waker&) {
               return JsonResponse("{\"status\":\"live\"}");
             });
  router.Add("GET", "/health", Access::kOpen,
             [](const HttpRequest&, const Waker&) {
               return JsonResponse("{\"status\":\"loading\"}");
             });
  router.Add("GET", "/ready", Access::kOpen,
             [](const HttpRequest&, const Waker&) {
               HttpResponse response = JsonResponse("{\"status\":\"loading\"}");
               response.status = 503;
               return response;
             });
  router.AddFallback([](const HttpRequest&, const Waker&) {
    return ErrorResponse(
        absl::UnavailableError("the model is loading; try again soon"));
  });
}

}  // namespace braid::server
