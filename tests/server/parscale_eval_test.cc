// The figures of `braid parscale eval`, against sums made the plain way of what
// the fake runner must say.
#include "server/parscale_eval.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "model/json_value.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_runner.h"

namespace braid::server {
namespace {

constexpr uint32_t kContext = 200;

StreamSet Set(uint32_t id, uint32_t streams, bool elastic) {
  return {.id = id,
          .streams = streams,
          .elastic = elastic,
          .gain = std::vector<double>(streams, 0.0)};
}

class ParscaleEvalTest : public ::testing::Test {
 protected:
  explicit ParscaleEvalTest(uint32_t blocks = 64) {
    auto arena = KvArena::Create(FakeKvLayout(16), blocks);
    BRAID_CHECK(arena.ok());
    arena_ = *std::move(arena);
    runner_ = std::make_unique<FakeRunner>(
        FakeRunnerOptions{.id = DeviceId(0),
                          .arena = arena_.get(),
                          .cores = std::make_shared<FakeCores>(),
                          .max_rows = 96,  // several steps a window
                          .vocabulary = FakeTokenizer().vocabulary(),
                          .thread = true,
                          .stream_sets = sets_});
  }

  absl::StatusOr<EvalReport> Evaluate(uint32_t tokens, EvalOptions options) {
    text_ = FakePrompt(3, tokens);
    return EvaluateStreams(*runner_, *arena_, sets_, text_, options,
                           [this](uint32_t done, uint32_t all) {
                             EXPECT_LE(done, all);
                             ++told_;
                           });
  }

  // NLL of token i + 1 of a window, said by that many streams.
  double Nll(std::span<const TokenId> window, uint32_t i,
             const EvalGang& gang) {
    const FakeGang fake{gang.streams, gang.set,
                        gang.set == 0 || sets_[gang.set - 1].elastic};
    return -FakeRunner::ScoreOf(window.first(i + 1), window[i + 1], 0, fake)
                .logprob;
  }

  const std::vector<StreamSet> sets_ = {Set(1, 3, true), Set(2, 2, false)};
  std::unique_ptr<KvArena> arena_;
  std::unique_ptr<FakeRunner> runner_;
  std::vector<TokenId> text_;
  int told_ = 0;
};

TEST_F(ParscaleEvalTest, EveryNumberOfStreamsThereIs) {
  const auto gangs = EvalGangs(sets_);
  ASSERT_EQ(gangs.size(), 4u);
  const uint32_t wanted[][2] = {{0, 1}, {1, 2}, {1, 3}, {2, 2}};
  for (size_t i = 0; i < gangs.size(); ++i) {
    EXPECT_EQ(gangs[i].set, wanted[i][0]);
    EXPECT_EQ(gangs[i].streams, wanted[i][1]);
  }
}

TEST_F(ParscaleEvalTest, MeansAreThoseOfTheText) {
  // Three windows and a bit.
  const auto report =
      Evaluate(3 * kContext + 50, {.context = kContext, .windows = 0});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->windows, 3u);
  EXPECT_EQ(report->tokens, 3 * kContext);
  EXPECT_EQ(report->edges, (std::vector<uint32_t>{0, 64, 128, kContext}));
  EXPECT_EQ(told_, 4);
  ASSERT_EQ(report->rows.size(), 4u);
  for (const EvalRow& row : report->rows) {
    double sum = 0, late = 0, gain = 0;
    for (uint32_t w = 0; w < 3; ++w) {
      const auto window = std::span(text_).subspan(w * kContext, kContext + 1);
      for (uint32_t i = 0; i < kContext; ++i) {
        const double nll = Nll(window, i, row.gang);
        sum += nll;
        gain += Nll(window, i, {}) - nll;
        if (i >= 128) late += nll;
      }
    }
    EXPECT_NEAR(row.mean, sum / (3 * kContext), 1e-9);
    EXPECT_NEAR(row.gain, gain / (3 * kContext), 1e-9);
    EXPECT_NEAR(row.by_position.back(), late / (3 * (kContext - 128)), 1e-9);
  }
  EXPECT_EQ(report->rows[0].gain_standard_error, 0);
  EXPECT_GT(report->rows[1].gain_standard_error, 0);
  const auto json = ParseJson(absl::StrCat("{", EvalJson(*report), "}"));
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->Find("nll")->array()->size(), 4u);
  EXPECT_NE(EvalTable(*report).find("plain model"), std::string::npos);
}

TEST_F(ParscaleEvalTest, WindowsBeginWithBosWhereTheModelWantsIt) {
  const auto report =
      Evaluate(2 * kContext, {.context = kContext, .windows = 1, .bos = 0});
  ASSERT_TRUE(report.ok()) << report.status();
  std::vector<TokenId> window = {0};
  window.insert(window.end(), text_.begin(), text_.begin() + kContext);
  double sum = 0;
  for (uint32_t i = 0; i < kContext; ++i) sum += Nll(window, i, {});
  EXPECT_NEAR(report->rows[0].mean, sum / kContext, 1e-9);
}

TEST_F(ParscaleEvalTest, RefusesWhatHasNoWindow) {
  EXPECT_EQ(Evaluate(kContext, {.context = kContext}).status().message(),
            "the text has 200 tokens, and a window needs 201; give a longer "
            "text or a smaller --context");
  EXPECT_EQ(Evaluate(2000, {.context = 1000}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace braid::server
