#include "server/transport_factory.h"

#include <utility>

#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"

namespace braid::server {

std::unique_ptr<KvTransport> MakeTransport(KvTransportKind kind,
                                           std::function<void()> wake) {
  TransportOptions common;
  common.wake = std::move(wake);
  if (kind == KvTransportKind::kCopy) {
    CopyTransportOptions options;
    options.common = std::move(common);
    return std::make_unique<CopyTransport>(std::move(options));
  }
  return std::make_unique<LoopbackTransport>(std::move(common));
}

}  // namespace braid::server
