// The terms of a step's time, in seconds: each is made of the kernels of all
// layers of a model as it is served, and asked by what it grows with.
#pragma once

#include "simulator/gpu/kernel_times.h"
#include "simulator/gpu/served_model.h"

namespace braid::gpu {

// What a step pays for the `x` tokens of one attention group whatever they
// attend to, but for the experts.
KernelTimes::OfSize DenseTerm(const ServedModel& served,
                              const KernelTimes& kernels);

// All layers' experts, for the `x` tokens of all attention groups together.
KernelTimes::OfSize ExpertTerm(const ServedModel& served,
                               const KernelTimes& kernels);

// All layers' prompt attention, `x` tokens of one prompt from its beginning.
KernelTimes::OfSize PromptTerm(const ServedModel& served,
                               const KernelTimes& kernels);

// All layers' decode attention, by the rows of one attention group and their
// mean context.
KernelTimes::OfRowsAndContext DecodeTerm(const ServedModel& served,
                                         const KernelTimes& kernels);

// Of the streams' last hidden states into one, for `x` requests: the
// aggregator's first layer reads all of them, its columns shared out; its
// second one's partial sums are a weight for each stream.
KernelTimes::OfSize AggregationTerm(const ServedModel& served,
                                    const KernelTimes& kernels);

}  // namespace braid::gpu
