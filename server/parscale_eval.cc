#include "server/parscale_eval.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace braid::server {
namespace {

// Rows of a step: enough that its cost is the rows' own.
constexpr uint32_t kMostStepRows = 512;

// Runs windows through one runner, a step after the other, with the streams'
// KV in blocks that are its own from the first to the last.
class WindowScorer {
 public:
  WindowScorer(ModelRunner& runner, const KvArena& arena, uint32_t tokens)
      : runner_(runner), blocks_(arena.layout().BlocksFor(tokens)) {
    for (uint32_t i = 0; i < arena.capacity(); ++i) ids_.emplace_back(i);
  }
  bool Holds(uint32_t streams) const {
    return size_t{streams} * blocks_ <= ids_.size();
  }

  // NLL of window[i + 1] after window[0 .. i], for each i.
  absl::StatusOr<std::vector<double>> Score(std::span<const TokenId> window,
                                            const EvalGang& gang) {
    const auto rows = static_cast<uint32_t>(window.size()) - 1;
    const uint32_t most =
        std::min(kMostStepRows, runner_.max_rows()) / gang.streams;
    std::vector<double> nll;
    nll.reserve(rows);
    for (uint32_t first = 0; first < rows; first += most) {
      const uint32_t count = std::min(most, rows - first);
      ForwardBatch batch;
      for (uint32_t stream = 0; stream < gang.streams; ++stream) {
        batch.sequences.push_back(
            {.tokens = window.subspan(first, count),
             .start = first,
             .blocks = BlocksOf(stream, first + count),
             .set = gang.set,
             .stream = stream,
             .stream0_blocks = stream == 0 ? std::span<const BlockId>()
                                           : BlocksOf(0, first + count)});
      }
      SequenceRows& leader = batch.sequences.front();
      leader.gang = gang.streams;
      leader.score_top_logprobs = 0;
      leader.score_targets = window.subspan(first + 1, count);
      BRAID_ASSIGN_OR_RETURN(const ForwardResult result, Step(batch));
      for (const SampledToken& score : result.sequences.front().scores) {
        nll.push_back(-static_cast<double>(score.logprob));
      }
    }
    BRAID_CHECK(nll.size() == rows);
    return nll;
  }

 private:
  std::span<const BlockId> BlocksOf(uint32_t stream, uint32_t tokens) const {
    return std::span(ids_).subspan(size_t{stream} * blocks_,
                                   runner_.kv_layout().BlocksFor(tokens));
  }

  absl::StatusOr<ForwardResult> Step(const ForwardBatch& batch) {
    ForwardResult result;
    std::atomic<bool> done{false};
    runner_.Launch(
        batch, {.on_progress = nullptr, .on_done = [&](ForwardResult ended) {
                  result = std::move(ended);
                  done.store(true);
                  done.notify_all();
                }});
    done.wait(false);
    BRAID_RETURN_IF_ERROR(result.status);
    return result;
  }

  ModelRunner& runner_;
  const uint32_t blocks_;  // of a stream
  std::vector<BlockId> ids_;
};

// 0, 64, 128 ... context: each bucket but the first is as long as all before.
std::vector<uint32_t> EdgesOf(uint32_t context) {
  std::vector<uint32_t> edges = {0};
  for (uint32_t edge = 64; edge < context; edge *= 2) edges.push_back(edge);
  edges.push_back(context);
  return edges;
}

// Sums by window and bucket.
struct Sums {
  std::vector<double> by_window, by_bucket;
};

void Add(const std::vector<double>& nll, const std::vector<uint32_t>& edges,
         Sums& sums) {
  sums.by_bucket.resize(edges.size() - 1);
  double window = 0;
  for (size_t bucket = 0; bucket + 1 < edges.size(); ++bucket) {
    double sum = 0;
    for (uint32_t i = edges[bucket]; i < edges[bucket + 1]; ++i) sum += nll[i];
    sums.by_bucket[bucket] += sum;
    window += sum;
  }
  sums.by_window.push_back(window);
}

EvalRow RowOf(const EvalGang& gang, const Sums& sums, const Sums& plain,
              const std::vector<uint32_t>& edges) {
  EvalRow row{.gang = gang};
  const auto windows = static_cast<double>(sums.by_window.size());
  const double context = edges.back();
  double square = 0;
  for (size_t i = 0; i < sums.by_window.size(); ++i) {
    const double gain = (plain.by_window[i] - sums.by_window[i]) / context;
    row.mean += sums.by_window[i] / context / windows;
    row.gain += gain / windows;
    square += gain * gain / windows;
  }
  const double variance = std::max(0.0, square - row.gain * row.gain);
  row.gain_standard_error = std::sqrt(variance / std::max(1.0, windows - 1));
  for (size_t i = 0; i < sums.by_bucket.size(); ++i) {
    row.by_position.push_back(sums.by_bucket[i] / windows /
                              (edges[i + 1] - edges[i]));
  }
  return row;
}

}  // namespace

std::vector<EvalGang> EvalGangs(std::span<const StreamSet> sets) {
  std::vector<EvalGang> gangs = {{}};
  for (const StreamSet& set : sets) {
    for (uint32_t p = set.elastic ? 2 : set.streams; p <= set.streams; ++p) {
      gangs.push_back({set.id, p});
    }
  }
  return gangs;
}

absl::StatusOr<EvalReport> EvaluateStreams(
    ModelRunner& runner, const KvArena& arena, std::span<const StreamSet> sets,
    std::span<const TokenId> text, const EvalOptions& options,
    const std::function<void(uint32_t, uint32_t)>& progress) {
  // The last token of a window is only predicted.
  const uint32_t own = options.context + 1 - (options.bos ? 1 : 0);
  if (text.size() < own) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the text has ", text.size(), " tokens, and a window needs ", own,
        "; give a longer text or a smaller --context"));
  }
  const std::vector<EvalGang> gangs = EvalGangs(sets);
  WindowScorer scorer(runner, arena, options.context);
  for (const EvalGang& gang : gangs) {
    if (!scorer.Holds(gang.streams)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the memory for KV does not hold ", gang.streams, " streams of ",
          options.context, " tokens; lower --context"));
    }
  }
  const size_t stride = own - (options.bos ? 0 : 1);
  const auto there = static_cast<uint32_t>((text.size() - own) / stride + 1);
  EvalReport report;
  report.windows =
      options.windows == 0 ? there : std::min(options.windows, there);
  report.tokens = uint64_t{report.windows} * options.context;
  report.edges = EdgesOf(options.context);
  std::vector<Sums> sums(gangs.size());
  std::vector<TokenId> window;
  for (uint32_t i = 0; i < report.windows; ++i) {
    progress(i, report.windows);
    const size_t index = uint64_t{i} * there / report.windows;
    const auto part = text.subspan(index * stride, own);
    window.clear();
    if (options.bos) window.push_back(*options.bos);
    window.insert(window.end(), part.begin(), part.end());
    for (size_t g = 0; g < gangs.size(); ++g) {
      BRAID_ASSIGN_OR_RETURN(const std::vector<double> nll,
                             scorer.Score(window, gangs[g]));
      Add(nll, report.edges, sums[g]);
    }
  }
  progress(report.windows, report.windows);
  for (size_t g = 0; g < gangs.size(); ++g) {
    report.rows.push_back(RowOf(gangs[g], sums[g], sums[0], report.edges));
  }
  return report;
}

std::string EvalTable(const EvalReport& report) {
  std::string out = absl::StrFormat("%-8s %8s %18s", "streams", "all", "gain");
  for (size_t i = 0; i + 1 < report.edges.size(); ++i) {
    absl::StrAppendFormat(
        &out, " %10s",
        absl::StrCat(report.edges[i], "-", report.edges[i + 1] - 1));
  }
  out += '\n';
  for (const EvalRow& row : report.rows) {
    const bool plain = row.gang.streams == 1;
    absl::StrAppendFormat(&out, "%-8d %8.4f %18s", row.gang.streams, row.mean,
                          plain ? "plain model"
                                : absl::StrFormat("%+.4f +- %.4f", row.gain,
                                                  row.gain_standard_error));
    for (const double nll : row.by_position) {
      absl::StrAppendFormat(&out, " %10.4f", nll);
    }
    out += '\n';
  }
  return out;
}

std::string EvalJson(const EvalReport& report) {
  const auto number = [](std::string* out, double value) {
    absl::StrAppendFormat(out, "%.6f", value);
  };
  std::string out = absl::StrCat(
      "\"windows\":", report.windows, ",\"tokens\":", report.tokens,
      ",\"edges\":[", absl::StrJoin(report.edges, ","), "],\"nll\":[");
  for (const EvalRow& row : report.rows) {
    absl::StrAppend(&out, &row == &report.rows.front() ? "" : ",",
                    "{\"set\":", row.gang.set,
                    ",\"streams\":", row.gang.streams);
    absl::StrAppendFormat(
        &out, ",\"mean\":%.6f,\"gain\":%.6f,\"gain_standard_error\":%.6f",
        row.mean, row.gain, row.gain_standard_error);
    absl::StrAppend(&out, ",\"by_position\":[",
                    absl::StrJoin(row.by_position, ",", number), "]}");
  }
  out += ']';
  return out;
}

}  // namespace braid::server
