#include "kvcache/transport/pool_directory.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {

absl::Status PoolDirectory::Add(PoolId pool, const KvArena& arena) {
  if (arenas_.contains(pool)) {
    return absl::AlreadyExistsError(
        absl::StrCat("KV pool ", pool.value(), " is registered already"));
  }
  for (const auto& [other, known] : arenas_) {
    if (known->layout() == arena.layout()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "KV pool ", pool.value(), " has layout ", ToString(arena.layout()),
        ", but pool ", other.value(), " has ", ToString(known->layout()),
        "; both sides must run the same model with the same block size"));
  }
  arenas_.emplace(pool, &arena);
  return absl::OkStatus();
}

absl::Status PoolDirectory::Validate(const TransferSpec& spec) const {
  for (PoolId pool : {spec.source, spec.destination}) {
    if (arenas_.contains(pool)) continue;
    return absl::NotFoundError(absl::StrCat(
        "KV pool ", pool.value(), " is not registered with this transport"));
  }
  const uint32_t sources = arena(spec.source).capacity();
  const uint32_t destinations = arena(spec.destination).capacity();
  for (const BlockPair& pair : spec.pairs) {
    BRAID_CHECK(pair.source.value() < sources);
    BRAID_CHECK(pair.destination.value() < destinations);
  }
  return absl::OkStatus();
}

const KvArena& PoolDirectory::arena(PoolId pool) const {
  const auto it = arenas_.find(pool);
  BRAID_CHECK(it != arenas_.end());
  return *it->second;
}

absl::Status DuplicateTransferError(TransferId id) {
  return absl::AlreadyExistsError(
      absl::StrCat("transfer ", id.value(), " is in flight already"));
}

absl::Status TooManyTransfersError(uint32_t max_in_flight) {
  return absl::ResourceExhaustedError(
      absl::StrCat(max_in_flight,
                   " KV transfers are in flight, the most this "
                   "transport takes; try again later"));
}

}  // namespace braid
