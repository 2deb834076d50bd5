// What the scheduler does and why, for people and their scripts. Needs a key
// where any are set: load tells of others.
#pragma once

#include "base/clock.h"
#include "engine/engine.h"
#include "server/http/router.h"

namespace braid::server {

// All arguments outlive the router. README.md names the fields.
//   /debug/decisions   ?since=N&limit=M: decisions after number N, oldest
//   first;
//                      without `since` the newest M
//   /debug/scheduler   queues, devices and what their steps are believed to
//   cost
void AddDebugRoutes(Router& router, const Engine& engine, const Clock& clock);

}  // namespace braid::server
