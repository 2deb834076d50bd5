#include "simulator/gpu/measured_run.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace braid::gpu {
namespace {

using Row = std::map<std::string, std::string>;

// A row with these fields and all other columns empty.
Row Filled(const Row& fields) {
  Row row = {{"id", ""},
             {"backend", "vllm"},
             {"model_path", "Qwen/Qwen3-32B"},
             {"system", "h200_sxm"},
             {"precision", "fp8"},
             {"mode", "agg"},
             {"isl", "1024"},
             {"osl", "512"},
             {"gemm_quant_mode", "fp8"},
             {"moe_quant_mode", "fp8"},
             {"batch_size", "8"},
             {"tp_size", "2"},
             {"silicon_ttft_ms", "200"},
             {"silicon_tpot_ms", "12.5"},
             {"silicon_concurrency", "8"},
             {"measured", ""}};
  for (const char* column :
       {"pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size",
        "prefill_num_workers", "prefill_tp_size", "prefill_pp_size",
        "prefill_attention_dp_size", "prefill_moe_tp_size",
        "prefill_moe_ep_size", "decode_batch_size", "decode_num_workers",
        "decode_tp_size", "decode_pp_size", "decode_attention_dp_size",
        "decode_moe_tp_size", "decode_moe_ep_size"}) {
    row[column] = "";
  }
  for (const auto& [column, value] : fields) row[column] = value;
  return row;
}

std::vector<MeasuredRun> ParseAll(const std::vector<Row>& rows) {
  CsvTable table;
  for (const Row& fields : rows) {
    table.header.clear();
    table.rows.emplace_back();
    for (const auto& [column, value] : Filled(fields)) {
      table.header.push_back(column);
      table.rows.back().push_back(value);
    }
  }
  auto runs = ParseRuns(table);
  EXPECT_TRUE(runs.ok()) << runs.status();
  return *std::move(runs);
}

MeasuredRun Parse(const Row& fields) { return ParseAll({fields}).front(); }

TEST(ParseRuns, AnAggregatedRow) {
  const MeasuredRun run = Parse({});
  EXPECT_EQ(run.unusable, "");
  EXPECT_EQ(run.clients, 8u);
  EXPECT_DOUBLE_EQ(run.ttft, 0.2);
  EXPECT_DOUBLE_EQ(run.tpot, 0.0125);
  EXPECT_EQ(run.worker.tensor_parallel, 2);
  EXPECT_EQ(run.worker.attention_data_parallel, 1);
  EXPECT_FALSE(run.dated());
}

TEST(ParseRuns, ARoundedRepeatIsOfTheDayOfItsRow) {
  const Row dated = {{"measured", "2026-03-27"},
                     {"silicon_ttft_ms", "169.9412"},
                     {"silicon_tpot_ms", "8.36301"}};
  const Row repeat = {{"silicon_ttft_ms", "169.94"},
                      {"silicon_tpot_ms", "8.36"}};
  Row other = repeat, longer = repeat;
  other["silicon_ttft_ms"] = "169.92";
  longer["osl"] = "8192";
  const std::vector<MeasuredRun> runs =
      ParseAll({repeat, dated, other, longer});
  EXPECT_EQ(runs[0].day, "2026-03-27");
  EXPECT_EQ(runs[1].day, "2026-03-27");
  EXPECT_FALSE(runs[2].dated());
  EXPECT_FALSE(runs[3].dated());
}

TEST(ParseRuns, SizesThatWereMultipliedOnceTooOften) {
  // One node of eight GPUs, TP8 and EP8, recorded as 64.
  MeasuredRun run = Parse({{"tp_size", "64"},
                           {"attention_dp_size", "1"},
                           {"moe_tp_size", "8"},
                           {"moe_ep_size", "8"}});
  EXPECT_EQ(run.worker.tensor_parallel, 8);
  EXPECT_EQ(run.worker.expert_parallel, 8);
  EXPECT_EQ(run.worker.expert_tensor_parallel, 1);
  run = Parse({{"tp_size", "1"},
               {"attention_dp_size", "64"},
               {"moe_tp_size", "8"},
               {"moe_ep_size", "8"}});
  EXPECT_EQ(run.worker.attention_data_parallel, 8);
  EXPECT_EQ(run.worker.expert_parallel, 8);
  // What fits a node is left alone.
  run = Parse({{"tp_size", "4"},
               {"attention_dp_size", "1"},
               {"moe_tp_size", "2"},
               {"moe_ep_size", "2"}});
  EXPECT_EQ(run.worker.tensor_parallel, 4);
  EXPECT_EQ(run.worker.expert_parallel, 2);
  EXPECT_EQ(run.worker.expert_tensor_parallel, 2);
}

TEST(ParseRuns, ClientsOfSeveralWorkersAreShared) {
  const MeasuredRun run = Parse({{"batch_size", "14"},
                                 {"attention_dp_size", "1"},
                                 {"silicon_concurrency", "448"}});
  EXPECT_EQ(run.clients, 14u);
}

TEST(ParseRuns, ADisaggregatedRowNeedsItsWorkers) {
  Row row = {{"mode", "disagg"},
             {"prefill_tp_size", "1"},
             {"prefill_attention_dp_size", "4"},
             {"prefill_moe_ep_size", "4"},
             {"decode_tp_size", "8"},
             {"decode_moe_ep_size", "8"}};
  EXPECT_NE(Parse(row).unusable, "");
  row["prefill_num_workers"] = "2";
  row["decode_num_workers"] = "5";
  const MeasuredRun run = Parse(row);
  EXPECT_EQ(run.unusable, "");
  EXPECT_EQ(run.prefill_workers, 2u);
  EXPECT_EQ(run.decode_workers, 5u);
  EXPECT_EQ(run.prefill_worker.attention_data_parallel, 4);
  EXPECT_EQ(run.decode_worker.tensor_parallel, 8);
  EXPECT_EQ(run.decode_worker.attention_data_parallel, 1);
}

TEST(ParseRuns, WhatMakesNoSenseIsNamed) {
  EXPECT_NE(Parse({{"silicon_ttft_ms", ""}}).unusable, "");
  EXPECT_NE(Parse({{"silicon_tpot_ms", "nan"}}).unusable, "");
  EXPECT_NE(Parse({{"isl", "0"}}).unusable, "");
  EXPECT_NE(Parse({{"backend", "x"}}).unusable, "");
  EXPECT_NE(Parse({{"gemm_quant_mode", "ternary"}}).unusable, "");
  EXPECT_NE(Parse({{"silicon_concurrency", ""}, {"batch_size", ""}}).unusable,
            "");
  EXPECT_FALSE(ParseRuns(CsvTable{{"id"}, {}}).ok());
}

}  // namespace
}  // namespace braid::gpu
