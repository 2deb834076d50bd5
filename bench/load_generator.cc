// An open-loop load on any OpenAI-compatible server:
//
//   load_generator --url http://127.0.0.1:8000 --rate 4 --seconds 60
//     --arrivals trace --trace azure.csv
//     --prompt-tokens 'trace*0.25' --output-tokens 'trace*0.25'
//     --records requests.jsonl
//
// Prints a summary as JSON; --records writes a line per request. The same
// options and seed make the same load, byte for byte, on any server.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "bench/load/sender.h"
#include "bench/load/summary.h"
#include "bench/load/workload.h"

namespace braid::load {
namespace {

struct Flags {
  std::string url = "http://127.0.0.1:8000";
  std::string arrivals = "poisson";
  std::string trace, prompt = "128", output = "64", token_ids = "1000-10000";
  std::string records, parscale;
  std::vector<std::string> headers;
  WorkloadOptions workload;
  SendOptions send;
  SummaryOptions summary;
  Target target;
};

int Fail(const absl::Status& status) {
  std::cerr << "load_generator: " << status.message() << "\n";
  return 2;
}

double ProcessorSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Declare(CLI::App& app, Flags& f) {
  app.add_option("--url", f.url, "http://host:port[/v1/completions]");
  app.add_option("--model", f.target.model, "the model's name, if needed");
  app.add_option("--arrivals", f.arrivals,
                 "poisson, uniform, trace, or closed:N (N under way)");
  app.add_option("--rate", f.workload.rate,
                 "requests per second; closed loop: at most");
  app.add_option("--seconds", f.workload.seconds, "during which they arrive");
  app.add_option("--warm-up", f.summary.warm_up,
                 "seconds left out of the summary");
  app.add_option("--seed", f.workload.seed);
  app.add_option("--trace", f.trace, "CSV in the format of Azure's traces");
  app.add_option("--trace-from", f.workload.trace_from, "row to begin at");
  app.add_option("--prompt-tokens", f.prompt,
                 "N, LOW-HIGH, trace or trace*FACTOR");
  app.add_option("--output-tokens", f.output, "likewise");
  app.add_option("--max-tokens", f.workload.max_tokens,
                 "prompt and answer together; the prompt is cut");
  app.add_option("--token-ids", f.token_ids, "LOW-HIGH, of prompts");
  app.add_option("--more-body", f.target.more_body,
                 "more JSON members of each request, without braces");
  app.add_option("--parscale", f.parscale,
                 "off, auto or fixed, or with the most streams: auto:3");
  app.add_option("--header", f.headers, "'Name: value', of each request");
  app.add_option("--ttft", f.summary.ttft_limit, "target, seconds");
  app.add_option("--tpot", f.summary.tpot_limit, "target, seconds");
  app.add_option("--max-connections", f.send.max_connections);
  app.add_option("--patience", f.send.patience,
                 "seconds to wait for answers after the last request");
  app.add_flag("--token-times", f.send.keep_token_times,
               "the time of every token in the records");
  app.add_option("--records", f.records, "file of a JSON line per request");
}

absl::StatusOr<Arrivals> ParseArrivals(const std::string& text,
                                       size_t& closed_loop) {
  if (text == "poisson") return Arrivals::kPoisson;
  if (text == "uniform") return Arrivals::kUniform;
  if (text == "trace") return Arrivals::kTrace;
  if (text.rfind("closed:", 0) == 0 &&
      absl::SimpleAtoi(text.substr(7), &closed_loop) && closed_loop > 0) {
    return Arrivals::kClosed;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--arrivals ", text, ": give poisson, uniform, trace or closed:N"));
}

// As a member of the body. Tokens by streams are always asked for.
absl::StatusOr<std::string> ParscaleMember(const std::string& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string mode = text.substr(0, colon);
  uint32_t most = 0;
  const bool counted = colon < text.size();
  if ((mode != "off" && mode != "auto" && mode != "fixed") ||
      (counted && !absl::SimpleAtoi(text.substr(colon + 1), &most))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--parscale ", text, ": give off, auto, fixed, or one with :N"));
  }
  return absl::StrCat("\"parscale\":{\"mode\":\"", mode, "\"",
                      counted ? absl::StrCat(",\"max\":", most) : "",
                      ",\"per_token\":true}");
}

absl::Status ParseTarget(Flags& f) {
  absl::StatusOr<Target> target = ParseUrl(f.url);
  if (!target.ok()) return target.status();
  target->model = f.target.model;
  target->more_body = f.target.more_body;
  if (!f.parscale.empty()) {
    absl::StatusOr<std::string> parscale = ParscaleMember(f.parscale);
    if (!parscale.ok()) return parscale.status();
    absl::StrAppend(&target->more_body, target->more_body.empty() ? "" : ",",
                    *parscale);
  }
  target->seed = f.workload.seed;
  const size_t dash = f.token_ids.find('-');
  if (dash == f.token_ids.npos ||
      !absl::SimpleAtoi(f.token_ids.substr(0, dash), &target->low_token) ||
      !absl::SimpleAtoi(f.token_ids.substr(dash + 1), &target->high_token) ||
      target->low_token >= target->high_token) {
    return absl::InvalidArgumentError("--token-ids: give LOW-HIGH");
  }
  for (const std::string& header : f.headers) {
    const size_t colon = header.find(':');
    if (colon == header.npos) {
      return absl::InvalidArgumentError("--header: give 'Name: value'");
    }
    target->headers.emplace_back(
        header.substr(0, colon),
        absl::StripAsciiWhitespace(header.substr(colon + 1)));
  }
  f.target = *std::move(target);
  return absl::OkStatus();
}

absl::Status ParseWorkload(Flags& f, std::vector<TraceRow>& rows) {
  absl::StatusOr<Arrivals> arrivals =
      ParseArrivals(f.arrivals, f.send.closed_loop);
  if (!arrivals.ok()) return arrivals.status();
  f.workload.arrivals = *arrivals;
  absl::StatusOr<LengthSource> prompt = LengthSource::Parse(f.prompt);
  if (!prompt.ok()) return prompt.status();
  absl::StatusOr<LengthSource> output = LengthSource::Parse(f.output);
  if (!output.ok()) return output.status();
  f.workload.prompt = *prompt;
  f.workload.output = *output;
  if (!(f.workload.rate > 0) || !(f.workload.seconds > f.summary.warm_up)) {
    return absl::InvalidArgumentError(
        "--rate and --seconds must be above 0, and --seconds above --warm-up");
  }
  f.summary.seconds = f.send.seconds = f.workload.seconds;
  if (f.trace.empty()) {
    if (*arrivals == Arrivals::kTrace || prompt->traced() || output->traced()) {
      return absl::InvalidArgumentError("a traced load needs --trace FILE");
    }
    return absl::OkStatus();
  }
  std::ifstream file(f.trace);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot read ", f.trace));
  }
  absl::StatusOr<std::vector<TraceRow>> parsed = ParseAzureTrace(text.str());
  if (!parsed.ok()) return parsed.status();
  rows = *std::move(parsed);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags f;
  CLI::App app("An open-loop load on an OpenAI-compatible server");
  Declare(app, f);
  CLI11_PARSE(app, argc, argv);
  std::vector<TraceRow> rows;
  if (absl::Status s = ParseWorkload(f, rows); !s.ok()) return Fail(s);
  if (absl::Status s = ParseTarget(f); !s.ok()) return Fail(s);

  const std::vector<PlannedRequest> plan = PlanWorkload(f.workload, rows);
  const double cpu_before = ProcessorSeconds();
  const std::vector<Record> records = Send(f.target, plan, f.send);
  f.summary.sender_cpu = ProcessorSeconds() - cpu_before;

  if (!f.records.empty()) {
    std::string lines;
    for (const Record& record : records) AppendJsonLine(record, lines);
    std::ofstream file(f.records);
    file << lines << std::flush;
    if (!file) {
      return Fail(absl::UnknownError(absl::StrCat("cannot write ", f.records)));
    }
  }
  std::cout << Summarize(records, f.summary) << "\n";
  return 0;
}

}  // namespace
}  // namespace braid::load

int main(int argc, char** argv) { return braid::load::Main(argc, argv); }
