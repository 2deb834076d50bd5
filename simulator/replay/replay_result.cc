#include "simulator/replay/replay_result.h"

namespace braid {
namespace {

constexpr double kRounding = 2e-9;

}  // namespace

const char* ToString(RequestEnd end) {
  switch (end) {
    case RequestEnd::kServed:
      return "served";
    case RequestEnd::kRefused:
      return "refused";
    case RequestEnd::kShed:
      return "shed";
    case RequestEnd::kTooLong:
      return "too-long";
    case RequestEnd::kUnfinished:
      return "unfinished";
  }
  return "?";
}

bool MetTtft(const RequestOutcome& request, double target) {
  return request.served() && request.first_token <= target + kRounding;
}

bool MetTpot(const RequestOutcome& request, double target) {
  return request.served() && request.tpot() <= target + kRounding;
}

}  // namespace braid
