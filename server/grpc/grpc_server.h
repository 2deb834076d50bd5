// The gRPC server: Inference, health and reflection on one port.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "server/api_keys.h"
#include "server/options.h"
#include "server/served_model.h"

namespace braid::server {

struct GrpcServerConfig {
  Endpoint endpoint;
  ApiKeys keys;
  uint64_t max_message_bytes = 8 << 20;
};

// gRPC's own threads run the calls, as callback reactors. Start, Serve,
// BeginDrain and Stop are for one thread, the daemon's.
class GrpcServer final {
 public:
  // Binds, and answers UNAVAILABLE until Serve. ALREADY_EXISTS when it cannot
  // listen there.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const GrpcServerConfig& config);
  ~GrpcServer();  // Stop(0)

  uint16_t port() const;

  // Health says SERVING from now on. Once; the references outlive the server.
  void Serve(const ServedModel& model, Engine& engine, const Clock& clock);

  // Health says NOT_SERVING from now on.
  void BeginDrain();
  // Lets generations that are under way finish for at most `grace`, then
  // cancels all calls and refuses new ones. Idempotent.
  void Stop(std::chrono::milliseconds grace);

 private:
  struct Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace braid::server
