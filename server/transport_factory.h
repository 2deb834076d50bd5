// The KV transport that the options name.
#pragma once

#include <functional>
#include <memory>

#include "kvcache/transport/kv_transport.h"
#include "server/options.h"

namespace braid::server {

// `wake` is called, from any thread, when the transport has something to Poll.
std::unique_ptr<KvTransport> MakeTransport(KvTransportKind kind,
                                           std::function<void()> wake);

}  // namespace braid::server
