#include "scheduler/request.h"

#include <set>

#include "gtest/gtest.h"

namespace braid {
namespace {

TEST(RequestTest, TheTransitionTableIsThePicture) {
  using enum RequestState;
  const std::set<std::pair<RequestState, RequestState>> legal = {
      {kWaiting, kPrefilling},      {kPrefilling, kTransferring},
      {kPrefilling, kDecoding},     {kTransferring, kDecoding},
      {kTransferring, kPrefilling}, {kWaiting, kFinished},
      {kPrefilling, kFinished},     {kTransferring, kFinished},
      {kDecoding, kFinished},       {kPrefilling, kWaiting},
      {kTransferring, kWaiting},    {kDecoding, kWaiting},
      {kDecoding, kLingering},      {kLingering, kFinished}};
  for (int from = 0; from < kRequestStateCount; ++from) {
    for (int to = 0; to < kRequestStateCount; ++to) {
      const std::pair edge(static_cast<RequestState>(from),
                           static_cast<RequestState>(to));
      EXPECT_EQ(IsLegal(edge.first, edge.second), legal.contains(edge))
          << ToString(edge.first) << " -> " << ToString(edge.second);
    }
  }
}

TEST(RequestTest, TheLastTokenNeedsNoKv) {
  const auto positions = [](size_t prompt, uint32_t output) {
    return Request({.id = RequestId(1),
                    .prompt = std::vector<TokenId>(prompt),
                    .max_output = output},
                   /*slot=*/0)
        .positions();
  };
  EXPECT_EQ(positions(10, 0), 10u);
  EXPECT_EQ(positions(10, 1), 10u);
  EXPECT_EQ(positions(10, 7), 16u);
}

TEST(RequestDeathTest, AnIllegalMoveIsABug) {
  Request request({.id = RequestId(1), .prompt = {1}}, /*slot=*/0);
  EXPECT_DEATH(request.MoveTo(RequestState::kDecoding), "waiting -> decoding");
}

}  // namespace
}  // namespace braid
