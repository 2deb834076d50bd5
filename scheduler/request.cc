#include "scheduler/request.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace braid {
namespace {

// kLegal[from][to], in the order of RequestState.
constexpr std::array<std::array<bool, kRequestStateCount>, kRequestStateCount>
    kLegal = {{
        // waiting prefilling transferring decoding lingering finished
        {false, true, false, false, false, true},   // waiting
        {true, false, true, true, false, true},     // prefilling
        {true, true, false, true, false, true},     // transferring
        {true, false, false, false, true, true},    // decoding
        {false, false, false, false, false, true},  // lingering
        {false, false, false, false, false, false}  // finished
    }};

}  // namespace

const char* ToString(RequestState state) {
  switch (state) {
    case RequestState::kWaiting:
      return "waiting";
    case RequestState::kPrefilling:
      return "prefilling";
    case RequestState::kTransferring:
      return "transferring";
    case RequestState::kDecoding:
      return "decoding";
    case RequestState::kLingering:
      return "lingering";
    case RequestState::kFinished:
      return "finished";
  }
  return "?";
}

bool IsLegal(RequestState from, RequestState to) {
  return kLegal[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

Request::Request(RequestInput input, uint32_t slot)
    : slot(slot),
      id(input.id),
      tokens(std::move(input.prompt)),
      prompt_size(static_cast<uint32_t>(tokens.size())),
      max_output(input.max_output),
      service_class(input.service_class),
      priority(input.priority),
      prefix_seed(input.prefix_seed),
      tenant(input.tenant),
      arrival(input.arrival),
      deadline(input.deadline),
      skip_cached(input.skip_cached),
      terms(input.streams),
      best_of(input.best_of),
      candidates(input.best_of - 1) {
  BRAID_CHECK(prompt_size > 0);
  tokens.reserve(size_t{prompt_size} + max_output);
}

void Request::MoveTo(RequestState next) {
  BRAID_CHECK_MSG(IsLegal(state, next),
                  std::string(ToString(state)) + " -> " + ToString(next));
  state = next;
}

}  // namespace braid
