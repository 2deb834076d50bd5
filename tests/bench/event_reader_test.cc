#include "bench/load/event_reader.h"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid::load {
namespace {

constexpr std::string_view kStream =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n"
    ":\n\n"
    "data: {\"choices\":[{\"index\":0,\"text\":\"\"}]}\r\n\r\n"
    "data: {\"choices\":[{\"index\":0,\"text\":\"\\\"text\\\":\\\"\"}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
    "\"completion_tokens\":3},\"timings\":{\"queue_ms\":1.5,\"n\":2,"
    "\"split\":true}}\n\n"
    "data: [DONE]\n\n";

TEST(EventReader, CountsTokensAndReadsTheEnd) {
  EventReader reader(true);
  Record record;
  double now = 0;
  size_t from = 0;  // Each event at a time of its own.
  for (size_t end; (end = kStream.find("\n\n", from)) != kStream.npos;
       from = end + 2) {
    now += 1;
    reader.Read(kStream.substr(from, end + 2 - from), now, record);
    if (kStream.substr(from).starts_with("data: [")) break;
  }
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(record.token_events, 3u);
  EXPECT_EQ(record.first_token, 1);
  EXPECT_EQ(record.token_times.size(), 3u);
  EXPECT_EQ(record.prompt_tokens, 7);
  EXPECT_EQ(record.output_tokens, 3);
  EXPECT_THAT(record.timings,
              testing::ElementsAre(testing::Pair("queue_ms", 1.5),
                                   testing::Pair("n", 2)));
}

TEST(EventReader, CountsTokensByStreams) {
  EventReader reader(false);
  Record record;
  reader.Read(
      "data: {\"choices\":[{\"text\":\"\\\"parscale_streams\\\":[7]\","
      "\"parscale_streams\":[1,4,4]}]}\n\n"
      "data: {\"choices\":[{\"text\":\"\",\"parscale_streams\":[12]}]}\n\n"
      "data: {\"choices\":[{\"text\":\"\",\"parscale_streams\":[]}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"completion_tokens\":4,"
      "\"parscale\":{\"mean\":5.25}}}\n\n"
      "data: [DONE]\n\n",
      1, record);
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(record.mean_streams, 5.25);
  ASSERT_EQ(record.tokens_by_streams.size(), 13u);
  EXPECT_EQ(record.tokens_by_streams[1], 1u);
  EXPECT_EQ(record.tokens_by_streams[4], 2u);
  EXPECT_EQ(record.tokens_by_streams[7], 0u);
  EXPECT_EQ(record.tokens_by_streams[12], 1u);
}

TEST(EventReader, DoesNotMindWhereReadsEnd) {
  for (size_t piece = 1; piece < kStream.size(); piece += 3) {
    EventReader reader(false);
    Record record;
    for (size_t at = 0; at < kStream.size(); at += piece) {
      reader.Read(kStream.substr(at, piece), static_cast<double>(at), record);
    }
    EXPECT_TRUE(reader.complete());
    EXPECT_EQ(record.token_events, 3u);
    EXPECT_EQ(record.output_tokens, 3);
    EXPECT_TRUE(record.token_times.empty());
  }
}

TEST(EventReader, AnErrorIsNoAnswer) {
  EventReader reader(false);
  Record record;
  reader.Read("data: {\"error\":{\"message\":\"late\"}}\n\ndata: [DONE]\n\n", 1,
              record);
  EXPECT_FALSE(reader.complete());
  EXPECT_THAT(reader.error(), testing::HasSubstr("late"));
  EXPECT_EQ(record.token_events, 0u);
}

TEST(EventReader, CutShortIsNoAnswer) {
  EventReader reader(false);
  Record record;
  reader.Read(kStream.substr(0, kStream.size() - 3), 1, record);
  EXPECT_FALSE(reader.complete());
}

}  // namespace
}  // namespace braid::load
