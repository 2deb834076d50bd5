// PARSCALE weights as `braid serve` and `braid parscale` are told of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model_file.h"
#include "model/parscale.h"
#include "scheduler/stream_terms.h"

namespace braid::server {

// The sets of a model: those of its own file, or of the `adapter`, and then
// those of the `folders`. An empty name is none. INVALID_ARGUMENT names the
// flag. The model file outlives the result.
absl::StatusOr<std::vector<ParscaleSet>> LoadParscaleSets(
    const ModelFile& file, const std::string& model_path,
    const std::string& adapter, const std::vector<std::string>& folders);

// What the scheduler knows of them. Batches call them 1, 2 ... in this order.
std::vector<StreamSet> StreamSetsOf(std::span<const ParscaleSet> sets);

}  // namespace braid::server
