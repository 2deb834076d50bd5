// The bits of a gang: what its streams and their mix are does not depend on
// chunks, cores, blocks, other requests, or on which streams came and went.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/tiny_streams.h"
#include "tests/support/test_name.h"

namespace braid::cpu {
namespace {

constexpr uint32_t kTokens = 100;
constexpr size_t kStreams = 4;
const TinyShape kShape = {.hidden = 96, .heads = 6, .kv_heads = 2};

// Sets 1 and 2 of the model: nested, and published with another prefix.
class Model {
 public:
  Model() { sets_ = {nested_.set(), published_.set()}; }
  const TinyModel& tiny() const { return tiny_; }
  std::vector<ParscaleSet>& sets() { return sets_; }
  std::shared_ptr<const CpuModel> Pack(Isa isa) const {
    return PackWithSets(tiny_, sets_, isa);
  }
  Gang NewGang(uint32_t set = 1, size_t n = kTokens, uint64_t seed = 1) const {
    return Gang(set, set == 0 ? 1 : kStreams, tiny_.RandomTokens(n, seed));
  }

 private:
  TinyModel tiny_{kShape};
  TinyStreams nested_{tiny_.config(), {.prefix_tokens = 10}};
  TinyStreams published_{
      tiny_.config(),
      {.kind = ParscaleKind::kPublished, .streams = 2, .prefix_tokens = 48},
      77};
  std::vector<ParscaleSet> sets_;
};

const SamplingParams kDraw = {
    .temperature = 0.8f, .seed = 4, .top_logprobs = TinyModel::kVocabulary};

// Log probabilities of the whole vocabulary behind some positions.
using Logprobs = std::map<uint32_t, std::vector<TokenLogprob>>;

struct Trace {
  Logprobs logprobs;
  std::vector<std::vector<std::byte>> kv;  // by stream, without the shared

  friend bool operator==(const Trace&, const Trace&) = default;
};

Logprobs From(uint32_t first, const Logprobs& all) {
  return {all.lower_bound(first), all.end()};
}
Logprobs Between(uint32_t first, uint32_t end, const Logprobs& all) {
  return {all.lower_bound(first), all.lower_bound(end)};
}

// The parts of a gang's step that end behind the same tokens as `answer`.
void Record(const SequenceRows& rows, const SequenceResult& result,
            Logprobs& logprobs) {
  for (size_t i = 0; i < result.scores.size(); ++i) {
    logprobs[rows.start + static_cast<uint32_t>(i)] = result.scores[i].top;
  }
  if (result.token.has_value()) {
    logprobs[rows.start + static_cast<uint32_t>(rows.tokens.size()) - 1] =
        result.token->top;
  }
}

std::vector<std::vector<std::byte>> KvOf(const RunnerDriver& driver,
                                         const Gang& gang, size_t p) {
  std::vector<std::vector<std::byte>> kv;
  for (size_t s = 0; s < p; ++s) {
    kv.push_back(driver.KvOf(gang.streams[s], s > 0 ? 1 : 0));
  }
  return kv;
}

struct Conditions {
  const char* name = "";
  uint32_t chunk = kTokens;
  bool crowd = false;
  std::vector<std::vector<int>> cores = {{0}};
  bool lend = false;
  uint32_t shuffle = 0;
  uint32_t block_tokens = 16;
  KvDType dtype = KvDType::kF16;
  uint32_t tokens = kTokens;
};

// Other requests: gangs of all sizes, the plain model, and another set.
class Crowd {
 public:
  explicit Crowd(const Model& model) {
    for (uint64_t i = 0; i < 10; ++i) {
      const uint32_t set = i % 5 == 3 ? 2 : i % 5 == 4 ? 0 : 1;
      gangs_.push_back(model.NewGang(set, 200, 100 + i));
    }
  }
  // Appends rows of some of them, others in every step.
  void Add(RunnerDriver& driver, size_t first, size_t end,
           ForwardBatch& batch) {
    for (size_t i = first; i < end; ++i) {
      if (rng_() % 3 == 0) continue;
      Gang& gang = gangs_[i];
      const size_t p = gang.set == 0 ? 1 : gang.set == 2 ? 2 : 1 + i % kStreams;
      const uint32_t at =
          gang.streams[0].written + 1 + static_cast<uint32_t>(i) % 3;
      if (at > gang.tokens.size()) continue;
      const size_t leader = AddGang(driver, gang, p, at, batch);
      if (i % 4 != 1) batch.sequences[leader].sampling = &kDraw;
    }
  }
  size_t size() const { return gangs_.size(); }

 private:
  std::vector<Gang> gangs_;
  Rng rng_{8};
};

// A gang of `p` streams from its first token to its last, all of it scored.
Trace WholeGang(const Model& model, size_t p, const Conditions& setup, Isa isa,
                uint32_t set = 1) {
  RunnerDriver driver(model.Pack(isa),
                      {.cores = setup.cores,
                       .blocks = 1024,
                       .block_tokens = setup.block_tokens,
                       .dtype = setup.dtype,
                       .options = {.max_rows = 4096, .pin_threads = false},
                       .shuffle_blocks = setup.shuffle});
  Gang gang = model.NewGang(set, setup.tokens);
  Crowd crowd(model);
  Trace trace;
  for (uint32_t at = 0; at < setup.tokens;) {
    at = std::min(at + setup.chunk, setup.tokens);
    ForwardBatch batch;
    if (setup.crowd) crowd.Add(driver, 0, crowd.size() / 2, batch);
    const size_t leader = AddGang(driver, gang, p, at, batch);
    SequenceRows& rows = batch.sequences[leader];
    ScoreRows(gang, TinyModel::kVocabulary, rows);
    rows.sampling = &kDraw;
    if (setup.crowd) {
      crowd.Add(driver, crowd.size() / 2, crowd.size(), batch);
    }
    if (setup.lend) batch.lent = {DeviceId(1)};
    const SequenceRows answered = batch.sequences[leader];
    Record(answered, driver.Step(batch).sequences[leader], trace.logprobs);
  }
  trace.kv = KvOf(driver, gang, p);
  return trace;
}

const Conditions kSetups[] = {
    {.name = "By1", .chunk = 1},
    {.name = "By15", .chunk = 15},
    {.name = "By16", .chunk = 16},
    {.name = "By17", .chunk = 17},
    {.name = "By47", .chunk = 47},
    {.name = "By48", .chunk = 48},
    {.name = "By49", .chunk = 49},
    {.name = "TwoCores", .cores = {{0, 1}}},
    {.name = "TwoCoresBy1", .chunk = 1, .cores = {{0, 1}}},
    {.name = "TwoCoresBy17", .chunk = 17, .cores = {{0, 1}}},
    {.name = "ThreeCores", .chunk = 48, .cores = {{0, 1, 2}}},
    {.name = "Lent", .chunk = 33, .cores = {{0}, {1}}, .lend = true},
    {.name = "InACrowd", .crowd = true},
    {.name = "InACrowdBy1", .chunk = 1, .crowd = true, .cores = {{0, 1}}},
    {.name = "InACrowdBy49", .chunk = 49, .crowd = true},
    {.name = "ShuffledBlocks", .chunk = 33, .shuffle = 9},
    {.name = "LargeBlocks", .chunk = 33, .block_tokens = 64},
};

// A gang alone, on one core, in one chunk.
const Trace& Alone(const Model& model, size_t p, Isa isa, uint32_t set) {
  static auto* const made =
      new std::map<std::tuple<size_t, Isa, uint32_t>, Trace>;
  Trace& trace = (*made)[{p, isa, set}];
  if (trace.kv.empty()) trace = WholeGang(model, p, {}, isa, set);
  return trace;
}

class StreamsBitsTest : public testing::TestWithParam<Conditions> {};

TEST_P(StreamsBitsTest, AsAloneOnOneCoreInOneChunk) {
  const Model model;
  for (const Isa isa : SupportedIsas()) {
    for (const auto& [set, p] :
         {std::pair(1, 4), std::pair(1, 3), std::pair(2, 2)}) {
      if (p != 4 && isa != BestIsa()) continue;
      const Trace& alone = Alone(model, p, isa, set);
      ASSERT_EQ(alone.logprobs.size(), kTokens);
      EXPECT_TRUE(WholeGang(model, p, GetParam(), isa, set) == alone)
          << ToString(isa) << " set " << set << " streams " << p;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, StreamsBitsTest, testing::ValuesIn(kSetups),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(StreamsLongTest, SegmentsOfAttentionFallTheSameWhereverChunksEnd) {
  const Model model;
  for (const KvDType dtype : {KvDType::kF16, KvDType::kF32}) {
    Conditions pieces = {
        .chunk = 85, .cores = {{0, 1}}, .dtype = dtype, .tokens = 560};
    const Trace want = WholeGang(
        model, 2, {.chunk = 560, .dtype = dtype, .tokens = 560}, BestIsa());
    EXPECT_TRUE(WholeGang(model, 2, pieces, BestIsa()) == want);
    pieces.block_tokens = 32;
    EXPECT_TRUE(WholeGang(model, 2, pieces, BestIsa()) == want);
  }
}

// A gang driven by hand, one token a step where nothing else is said.
class Request {
 public:
  Request(const Model& model, Isa isa)
      : driver_(model.Pack(isa), {.cores = {{0, 1}}}), gang_(model.NewGang()) {}

  // Steps of one token until `end` is written.
  void Decode(size_t p, uint32_t end) {
    while (gang_.streams[0].written < end) {
      Together(p, gang_.streams[0].written + 1);
    }
  }
  // A step in which streams bring whatever rows they lack before `end`, while
  // stream `other` (none: 0) catches up to `other_end` beside them.
  void Together(size_t p, uint32_t end, size_t other = 0,
                uint32_t other_end = 0) {
    ForwardBatch batch;
    AddGang(driver_, gang_, p, end, batch);
    batch.sequences[0].sampling = &kDraw;
    if (other > 0) {
      batch.sequences.push_back(RowsOf(driver_, gang_, other, other_end));
    }
    const SequenceRows answered = batch.sequences[0];
    Record(answered, driver_.Step(batch).sequences[0], trace_.logprobs);
  }
  // As Together, but asked to shed in that layer; beside `other`, which may
  // not be. What that answers.
  SequenceResult Shed(size_t p, uint32_t end, uint32_t layer, Gang& other) {
    std::vector<uint32_t> written;
    for (size_t s = 0; s < p; ++s) written.push_back(gang_.streams[s].written);
    ForwardBatch batch;
    AddGang(driver_, gang_, p, end, batch);
    batch.sequences[0].sampling = &kDraw;
    for (size_t s = 1; s < p; ++s) batch.sequences[s].may_shed = true;
    AddGang(driver_, other, other.streams.size(), 60, batch);
    batch.sequences[p].sampling = &kDraw;
    batch.progress_layers = 1;
    const SequenceRows answered = batch.sequences[0];
    const ForwardResult result = driver_.Step(batch, 0, [&](uint32_t layers) {
      if (layers == layer) driver_.runner().ShedStreams();
    });
    EXPECT_TRUE(result.shed);
    Record(answered, result.sequences[0], trace_.logprobs);
    for (size_t s = 1; s < p; ++s) gang_.streams[s].written = written[s];
    return result.sequences[p];
  }
  // As Together, of all streams, but asked to end in that layer.
  void GiveWay(uint32_t end, uint32_t layer) {
    const Gang before = gang_;
    ForwardBatch batch;
    AddGang(driver_, gang_, kStreams, end, batch);
    batch.sequences[0].sampling = &kDraw;
    for (SequenceRows& sequence : batch.sequences) sequence.may_shed = true;
    batch.progress_layers = 1;
    const ForwardResult result = driver_.Step(batch, 0, [&](uint32_t layers) {
      EXPECT_LE(layers, layer);
      if (layers == layer) driver_.runner().ShedStreams();
    });
    EXPECT_TRUE(result.shed);
    EXPECT_FALSE(result.sequences[0].token);
    for (size_t s = 0; s < kStreams; ++s) {
      gang_.streams[s].written = before.streams[s].written;
    }
  }
  // A step of its own.
  void CatchUp(size_t stream, uint32_t end) {
    ForwardBatch batch;
    batch.sequences = {RowsOf(driver_, gang_, stream, end)};
    (void)driver_.Step(batch);
  }
  // Its KV is dropped, and computed again from the first token on.
  void Evict(size_t stream) {
    RunnerDriver::Sequence& dropped = gang_.streams[stream];
    dropped.written = 0;
    for (const BlockId id : dropped.blocks) {
      std::fill_n(driver_.arena().block(id),
                  driver_.arena().layout().block_bytes(), std::byte{0xff});
    }
  }

  // On a device that has nothing of the request: a chunk a step.
  std::vector<std::byte> KvComputedApart(size_t stream, uint32_t end,
                                         uint32_t chunk, bool shed) {
    Gang apart(gang_.set, kStreams, gang_.tokens);
    for (uint32_t at = 0; at < end;) {
      ForwardBatch batch;
      const RunnerDriver::Sequence before = apart.streams[stream];
      batch.sequences = {
          RowsOf(driver_, apart, stream, std::min(end, at + chunk))};
      batch.sequences[0].stream0_blocks = {};
      batch.sequences[0].may_shed = true;
      batch.progress_layers = 1;
      const bool sheds = std::exchange(shed, false);
      const ForwardResult result = driver_.Step(batch, 0, [&](uint32_t layers) {
        if (sheds && layers == 1) driver_.runner().ShedStreams();
      });
      EXPECT_EQ(result.shed, sheds);
      if (result.shed) apart.streams[stream].written = before.written;
      at = apart.streams[stream].written;
    }
    return driver_.KvOf(apart.streams[stream]);
  }

  Trace Finish() {
    trace_.kv = KvOf(driver_, gang_, kStreams);
    return trace_;
  }
  Gang& gang() { return gang_; }
  const RunnerDriver& driver() const { return driver_; }

 private:
  RunnerDriver driver_;
  Gang gang_;
  Trace trace_;
};

class StreamsScheduleTest : public testing::TestWithParam<Isa> {
 protected:
  const Model model_;
};

TEST_P(StreamsScheduleTest, ShedThenAsARunOfFewerStreams) {
  const Logprobs all = WholeGang(model_, 4, {}, GetParam()).logprobs;
  for (const size_t p : {1, 2, 3}) {
    Request request(model_, GetParam());
    request.Together(4, 20);
    request.Decode(4, 47);
    request.Decode(p, kTokens);
    const Trace got = request.Finish();
    const Trace fewer = WholeGang(model_, p, {}, GetParam());
    EXPECT_EQ(Between(19, 47, got.logprobs), Between(19, 47, all));
    EXPECT_EQ(From(47, got.logprobs), From(47, fewer.logprobs));
    EXPECT_NE(From(47, got.logprobs), From(47, all));
    for (size_t s = 0; s < p; ++s) EXPECT_EQ(got.kv[s], fewer.kv[s]);
  }
}

TEST_P(StreamsScheduleTest, RegrownAsNeverShed) {
  const Trace all = WholeGang(model_, 4, {}, GetParam());
  const auto expect_as_never_shed = [&](Request& request, uint32_t from) {
    request.Decode(4, kTokens);
    const Trace got = request.Finish();
    EXPECT_EQ(From(from, got.logprobs), From(from, all.logprobs));
    EXPECT_EQ(got.kv, all.kv);
  };
  {
    SCOPED_TRACE("rows of the step that it rejoins in");
    Request request(model_, GetParam());
    request.Decode(4, 30);
    request.Decode(2, 63);
    request.Together(4, 64);
    expect_as_never_shed(request, 63);
  }
  {
    SCOPED_TRACE("in pieces before, alone in a step");
    Request request(model_, GetParam());
    request.Decode(4, 30);
    request.Decode(2, 63);
    for (const size_t s : {2, 3}) {
      for (const uint32_t end : {31, 47, 48, 62}) request.CatchUp(s, end);
    }
    request.Together(4, 64);
    expect_as_never_shed(request, 63);
  }
  {
    SCOPED_TRACE("beside the others, whose own rows it reads");
    Request request(model_, GetParam());
    request.Decode(4, 30);
    request.Decode(2, 60);
    request.Together(2, 61, 2, 61);
    request.Together(3, 62);
    request.Together(3, 63, 3, 50);
    request.Together(3, 64, 3, 64);
    expect_as_never_shed(request, 64);
  }
  {
    SCOPED_TRACE("evicted, from the first token on");
    Request request(model_, GetParam());
    request.Together(1, 40);
    request.Decode(1, 50);
    for (const size_t s : {1, 2, 3}) request.CatchUp(s, 33);
    request.Together(4, 51);
    request.Evict(2);
    request.Together(2, 60);
    request.Together(4, 61);
    expect_as_never_shed(request, 60);
  }
}

// Few rows and many, in every layer: the step answers as if it had never had
// the streams, which come back as if they had never been in it.
TEST_P(StreamsScheduleTest, ShedInMidStep) {
  const Trace all = WholeGang(model_, 4, {}, GetParam());
  const Trace one = WholeGang(model_, 1, {}, GetParam());
  const auto layers = static_cast<uint32_t>(model_.tiny().config().layers);
  for (uint32_t layer = 1; layer <= layers; ++layer) {
    for (const bool many : {false, true}) {
      SCOPED_TRACE(testing::Message() << layer << (many ? " many" : " few"));
      Request request(model_, GetParam());
      request.Together(many ? 1 : 4, 80);
      Gang other = model_.NewGang(2, 61, 9), alone = other;
      other.streams.resize(2);
      alone.streams.resize(2);
      const SequenceResult beside = request.Shed(4, 81, layer, other);
      request.Decode(4, kTokens);
      const Trace got = request.Finish();
      EXPECT_EQ(Between(80, 81, got.logprobs), Between(80, 81, one.logprobs));
      EXPECT_NE(Between(80, 81, got.logprobs), Between(80, 81, all.logprobs));
      EXPECT_EQ(From(81, got.logprobs), From(81, all.logprobs));
      EXPECT_EQ(got.kv, all.kv);
      RunnerDriver driver(model_.Pack(GetParam()), {});
      ForwardBatch batch;
      AddGang(driver, alone, 2, 60, batch);
      batch.sequences[0].sampling = &kDraw;
      EXPECT_EQ(driver.Step(batch).sequences[0].token->top, beside.token->top);
    }
  }
}

// Whatever it had computed by then, it leaves no trace.
TEST_P(StreamsScheduleTest, AStepThatGaveWayIsComputedAgain) {
  const Trace all = WholeGang(model_, 4, {}, GetParam());
  const auto layers = static_cast<uint32_t>(model_.tiny().config().layers);
  for (uint32_t layer = 1; layer <= layers; ++layer) {
    SCOPED_TRACE(layer);
    Request request(model_, GetParam());
    request.Together(4, 30);
    request.GiveWay(31, layer);
    request.Decode(4, 47);
    request.GiveWay(49, layer);
    request.Decode(4, kTokens);
    const Trace got = request.Finish();
    EXPECT_EQ(From(30, got.logprobs), From(30, all.logprobs));
    EXPECT_EQ(got.kv, all.kv);
  }
}

TEST_P(StreamsScheduleTest, AStepWithNothingToShedIsNotShed) {
  RunnerDriver driver(model_.Pack(GetParam()), {});
  Gang gang = model_.NewGang();
  ForwardBatch batch;
  AddGang(driver, gang, 4, 10, batch);
  batch.progress_layers = 1;
  driver.runner().ShedStreams();  // No step, no effect.
  EXPECT_FALSE(
      driver.Step(batch, 0, [&](uint32_t) { driver.runner().ShedStreams(); })
          .shed);
}

// And the comparison can fail.
TEST_P(StreamsScheduleTest, AnotherHistoryOfOneStreamIsSeen) {
  const Trace all = WholeGang(model_, 4, {}, GetParam());
  Request request(model_, GetParam());
  request.Decode(4, 30);
  request.Decode(3, 63);
  TokenId& token = request.gang().streams[3].tokens[40];
  token = (token + 1) % TinyModel::kVocabulary;
  request.Decode(4, kTokens);
  const Trace got = request.Finish();
  EXPECT_NE(From(63, got.logprobs), From(63, all.logprobs));
  for (size_t s = 0; s < 3; ++s) EXPECT_EQ(got.kv[s], all.kv[s]);
  EXPECT_NE(got.kv[3], all.kv[3]);
}

TEST_P(StreamsScheduleTest, OneNestedStreamIsTheModelWithoutTheSet) {
  const Trace one = WholeGang(model_, 1, {.chunk = 17}, GetParam());
  const Trace plain = WholeGang(model_, 1, {}, GetParam(), 0);
  EXPECT_TRUE(one == plain);
  RunnerDriver driver(model_.tiny().Pack(GetParam()), {});
  Gang gang = model_.NewGang(0);
  ForwardBatch batch;
  AddGang(driver, gang, 1, kTokens, batch);
  ScoreRows(gang, TinyModel::kVocabulary, batch.sequences[0]);
  batch.sequences[0].sampling = &kDraw;
  Trace without;
  Record(batch.sequences[0], driver.Step(batch).sequences[0], without.logprobs);
  without.kv = KvOf(driver, gang, 1);
  EXPECT_TRUE(one == without);
  // Others are not.
  const Trace two = WholeGang(model_, 2, {}, GetParam());
  EXPECT_NE(two.logprobs, one.logprobs);
  EXPECT_EQ(two.kv[0], one.kv[0]);
  const std::vector<std::byte>& kv = one.kv[0];
  EXPECT_NE(two.kv[1], std::vector(kv.begin() + kv.size() / 2, kv.end()));
}

// Streams other than 0 never store layer 0, and never read what is there.
TEST_P(StreamsScheduleTest, Layer0IsStoredByStream0Alone) {
  Request request(model_, GetParam());
  request.Together(4, 33);
  request.Decode(4, 50);
  const RunnerDriver& driver = request.driver();
  const size_t layer = driver.arena().layout().layer_bytes();
  for (size_t s = 0; s < kStreams; ++s) {
    const std::vector<BlockId>& blocks = request.gang().streams[s].blocks;
    for (size_t i = 0; i < blocks.size(); ++i) {
      const std::byte* block = driver.arena().block(blocks[i]);
      const bool untouched = std::all_of(block, block + layer, [](std::byte b) {
        return b == std::byte{0xff};
      });
      EXPECT_EQ(untouched, s > 0 || i * 16 >= 50) << s << " block " << i;
    }
  }
}

// Where stream 0 is not, a stream has a layer 0 of its own: as stream 0 has it.
TEST_P(StreamsScheduleTest, ApartFromStream0ItHasItsOwnLayer0) {
  const Trace all = WholeGang(model_, 4, {}, GetParam());
  Request request(model_, GetParam());
  for (const size_t stream : {1, 3}) {
    for (const uint32_t chunk : {7u, 16u, kTokens}) {
      const std::vector<std::byte> apart =
          request.KvComputedApart(stream, kTokens, chunk, chunk == 16);
      const size_t layer0 = apart.size() - all.kv[stream].size();
      EXPECT_TRUE(std::equal(apart.begin() + layer0, apart.end(),
                             all.kv[stream].begin(), all.kv[stream].end()));
      EXPECT_TRUE(
          std::equal(apart.begin(), apart.begin() + layer0, all.kv[0].begin()));
    }
  }
}

// What it stores is the same, whichever stream it is: here each stream of a
// published set becomes stream 0 in turn.
TEST_P(StreamsScheduleTest, Layer0IsTheSameInAllStreams) {
  std::array<Trace, 2> traces;
  for (size_t first = 0; first < 2; ++first) {
    Model rotated;
    ParscaleSet& set = rotated.sets()[1];
    std::rotate(set.prefix_k.begin(), set.prefix_k.begin() + first,
                set.prefix_k.end());
    std::rotate(set.prefix_v.begin(), set.prefix_v.begin() + first,
                set.prefix_v.end());
    traces[first] = WholeGang(rotated, 2, {}, GetParam(), 2);
  }
  const auto layer = [&](const Trace& trace, bool second) {
    const std::vector<std::byte>& kv = trace.kv[0];
    const auto middle = kv.begin() + kv.size() / 2;
    return second ? std::vector(middle, kv.end())
                  : std::vector(kv.begin(), middle);
  };
  EXPECT_EQ(layer(traces[0], false), layer(traces[1], false));
  EXPECT_NE(layer(traces[0], true), layer(traces[1], true));
  EXPECT_EQ(layer(traces[0], true), traces[1].kv[1]);
  EXPECT_EQ(layer(traces[1], true), traces[0].kv[1]);
}

INSTANTIATE_TEST_SUITE_P(Isas, StreamsScheduleTest,
                         testing::ValuesIn(SupportedIsas()), kNameOfParam);

}  // namespace
}  // namespace braid::cpu
