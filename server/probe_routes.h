// What operators and their machines ask: /health, /ready, /live, /version,
// /metrics.
#pragma once

#include "engine/engine.h"
#include "server/http/router.h"
#include "server/lifecycle.h"
#include "server/metrics_exporter.h"

namespace braid::server {

// All arguments outlive the router.
//   /live     200 as long as the process answers
//   /health   200 with the state and what runs; "degraded" with reasons where a
//             device is lost or a way of the KV is avoided: it serves all the
//             same
//   /ready    200 when new requests are taken; 503 while loading and in drain
//   /version  of the server
//   /metrics  Prometheus' text
void AddProbeRoutes(Router& router, const Engine& engine,
                    const Lifecycle& lifecycle, const MetricsExporter& metrics);

// What there is while the model is loaded: /live, /health and /ready; all that
// no other route answers is 503 with Retry-After.
void AddLoadingRoutes(Router& router);

}  // namespace braid::server
