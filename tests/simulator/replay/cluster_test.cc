#include "simulator/replay/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "simulator/replay/worker_times.h"

namespace braid {
namespace {

using ::testing::HasSubstr;

constexpr char kTwoNodes[] = R"({
  "name": "two nodes", "worker": {"model": "m", "system": "s", "tp": 2},
  "nodes": [{"count": 2, "prefill": 3, "decode": 1}], "split": "on",
  "links": {"nvlink_gb_s": 400}, "targets": {"itl_ms": 30},
  "kv_tokens": 1000, "block_tokens": 512
})";

std::string Error(const std::string& json) {
  const auto cluster = ParseCluster("c.json", json);
  return cluster.ok() ? "ok" : std::string(cluster.status().message());
}

TEST(ClusterTest, ReadsWhatIsThereAndKeepsTheRest) {
  const auto cluster = ParseCluster("c.json", kTwoNodes);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->nodes(), 2u);
  EXPECT_EQ(cluster->workers.size(), 8u);
  EXPECT_EQ(cluster->gpus(), 16u);
  EXPECT_EQ(cluster->workers[3].role, DeviceRole::kDecode);
  EXPECT_EQ(cluster->workers[4].node, 1u);
  EXPECT_DOUBLE_EQ(cluster->links.nvlink, 400e9);
  EXPECT_DOUBLE_EQ(cluster->links.network, 50e9);
  EXPECT_DOUBLE_EQ(cluster->tpot_target, 0.030);
  EXPECT_EQ(cluster->block_tokens, 512u);
  EXPECT_EQ(cluster->prefill_chunk, 8192u);
  EXPECT_EQ(LayoutOf(*cluster), "6P2D");
}

TEST(ClusterTest, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(Error("{"), HasSubstr("c.json"));
  EXPECT_THAT(Error("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(Error(R"({"nodes": [{"both": 1}]})"), HasSubstr("\"worker\""));
  EXPECT_THAT(Error(R"({"worker": {"modle": "m"}, "nodes": [{"both": 1}]})"),
              HasSubstr("worker: \"modle\": no such key"));
  EXPECT_THAT(Error(R"({"worker": {"model": "m", "system": "s"}})"),
              HasSubstr("\"nodes\""));
  EXPECT_THAT(
      Error(R"({"worker": {"model": "m", "system": "s"}, "nodes": [{}]})"),
      HasSubstr("no workers"));
  EXPECT_THAT(
      Error(
          R"({"worker": {"model": "m", "system": "s"}, "nodes": [{"both": 1.5}]})"),
      HasSubstr("whole number"));
  EXPECT_THAT(
      Error(
          R"({"worker": {"model": "m", "system": "s"}, "nodes": [{"both": 1}], "split": "maybe"})"),
      HasSubstr("auto, on or off"));
  EXPECT_THAT(
      Error(
          R"({"worker": {}, "nodes": [{"both": 1}], "step_seconds": {"base": 1}})"),
      HasSubstr("kv_tokens"));
}

TEST(ClusterTest, ReadsAParscaleSet) {
  const auto with = [](const std::string& gain) {
    return absl::StrCat(R"({"worker": {"model": "m", "system": "s"},
        "nodes": [{"both": 1}], "parscale": {"prefix_tokens": 48, "gain": )",
                        gain, "}}");
  };
  const auto cluster = ParseCluster("c.json", with("[0, 0.1]"));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->streams.most(), 2u);
  EXPECT_EQ(cluster->streams.gain[1], 0.1);
  EXPECT_EQ(cluster->streams.prefix_tokens, 48u);
  EXPECT_EQ(cluster->streams.mode, StreamMode::kOff);
  for (const char* wrong : {"3", "[]", "[0]", "[0.1, 0.2]", "[0, 0.2, 0.1]",
                            "[0, \"x\"]", "[0, 1, 2, 3, 4, 5, 6, 7, 8]"}) {
    EXPECT_THAT(Error(with(wrong)), HasSubstr("parscale: \"gain\"")) << wrong;
  }
}

TEST(ClusterTest, LayoutsAreSharedOutOverTheNodes) {
  auto cluster = ParseCluster("c.json", kTwoNodes);
  ASSERT_TRUE(cluster.ok());
  ASSERT_TRUE(SetLayout("4P4D", *cluster).ok());
  for (uint32_t node : {0, 1}) {
    int decode = 0;
    for (const ClusterWorker& worker : cluster->workers) {
      decode += worker.node == node && worker.role == DeviceRole::kDecode;
    }
    EXPECT_EQ(decode, 2);
  }
  EXPECT_EQ(LayoutOf(*cluster), "4P4D");
  ASSERT_TRUE(SetLayout("auto", *cluster).ok());
  EXPECT_EQ(cluster->split, SplitMode::kAuto);
  EXPECT_EQ(LayoutOf(*cluster), "auto");
  EXPECT_FALSE(SetLayout("4P3D", *cluster).ok());
  EXPECT_FALSE(SetLayout("8P0D", *cluster).ok());
  EXPECT_FALSE(SetLayout("sideways", *cluster).ok());
}

TEST(WorkerTimesTest, TheFittedPriorIsTheClosedForm) {
  auto cluster = ParseCluster("c.json", R"({
    "worker": {}, "nodes": [{"both": 1}], "kv_tokens": 1000,
    "kv_bytes_per_token": 10, "step_seconds": {"base": 0.01,
    "chunk_token": 5e-5, "chunk_attended": 2e-9, "decode_row": 2e-5,
    "decode_attended": 3e-8, "stream_row": 1e-5}})");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  cluster->streams.mode = StreamMode::kAuto;
  const auto times = LoadWorkerTimes(*cluster, "");
  ASSERT_TRUE(times.ok());
  EXPECT_NEAR(times->prior.base, 0.01, 1e-9);
  EXPECT_NEAR(times->prior.chunk_token, 5e-5, 1e-9);
  EXPECT_NEAR(times->prior.chunk_attended, 2e-9, 1e-13);
  EXPECT_NEAR(times->prior.decode_row, 2e-5, 1e-9);
  EXPECT_NEAR(times->prior.decode_attended, 3e-8, 1e-12);
  EXPECT_NEAR(times->prior.stream_row, 1e-5, 1e-9);
}

TEST(WorkerTimesTest, TablesSayWhatAModelNeeds) {
  auto cluster =
      ReadCluster(BRAID_SOURCE_DIR "/bench/clusters/h200x16_qwen3_32b.json");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const auto times = LoadWorkerTimes(*cluster, "");
  ASSERT_TRUE(times.ok()) << times.status();
  // 64 layers x 8 KV heads x 128 x K and V x 2 bytes.
  EXPECT_EQ(times->kv_bytes_per_token, 262'144u);
  EXPECT_GT(times->kv_tokens, 500'000u);
  // Half of 65 GB at 4.8 TB/s is 6.8 ms: no step is shorter.
  EXPECT_GT(times->seconds({}, 1, 1000, 0), 0.0068);
  EXPECT_LT(times->seconds({}, 1, 1000, 0), 0.02);
  cluster->model = "nobody/knows-it";
  EXPECT_FALSE(LoadWorkerTimes(*cluster, "").ok());
}

}  // namespace
}  // namespace braid
