#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "simulator/replay/replay_command.h"

namespace braid {

const char kReplayHelp[] =
    R"(braid simulate --trace FILE --cluster FILE [--policy NAME] --out DIR

Replays a trace through the scheduler in virtual time, on a cluster that a file
describes, and writes DIR/result.json, report.html and figures.

  --trace FILE         Mooncake JSON lines, Azure CSV (either may be gzip'd), or
                       a folder of ServeGen clients
  --cluster FILE       machines, links and targets: simulator/replay/cluster.h
  --policy NAME[:K=V,...]
                       braid (default), round-robin, least-load, dynamo,
                       mooncake, sticky, aggregated
  --out DIR            where results go; it is made

Load
  --scale X            arrivals X times as fast (default 1)
  --jitter             spread arrivals that share a time stamp
  --seed N             of --jitter and of ServeGen draws (default 1)
  --max-requests N     only the first N
  --from S --minutes M --rate R
                       of a ServeGen workload: the window, and requests per
                       second of all clients together (default: as recorded)

Cluster, instead of what its file says
  --layout L           auto, off, or static roles such as 6P2D
  --prefill-chunk N  --block-tokens N  --kv-tokens N  --ttft S  --itl-ms MS
  --profiles DIR       tables of the GPUs (default: those of the source tree)
  --parscale auto|off  give idle rows to PARSCALE streams of every request, of
                       the set that the cluster file describes (default off)

  --goodput-search     raise the load until too few requests meet their targets
  --attainments A,B    for these shares (default 0.9,0.99)
  --decisions FILE     every decision of the scheduler and its reason
)";

namespace {

using Setter = std::function<absl::Status(absl::string_view)>;

template <typename Number>
Setter ToNumber(Number& number, double least, double most) {
  return [&number, least, most](absl::string_view text) -> absl::Status {
    double value = 0;
    if (!absl::SimpleAtod(text, &value) || !(value >= least) ||
        !(value <= most) ||
        (std::is_integral_v<Number> && value != std::floor(value))) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", text, "\" is not a ",
                       std::is_integral_v<Number> ? "whole " : "",
                       "number from ", least, " to ", most));
    }
    number = static_cast<Number>(value);
    return absl::OkStatus();
  };
}

Setter ToText(std::string& target) {
  return [&target](absl::string_view text) -> absl::Status {
    if (text.empty()) return absl::InvalidArgumentError("is empty");
    target = std::string(text);
    return absl::OkStatus();
  };
}

absl::Status SetAttainments(absl::string_view text,
                            std::vector<double>& attainments) {
  attainments.clear();
  for (absl::string_view item : absl::StrSplit(text, ',')) {
    double value = 0;
    BRAID_RETURN_IF_ERROR(ToNumber(value, 0.01, 1)(item));
    attainments.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status CheckComplete(const ReplayOptions& options) {
  const std::pair<const char*, const std::string*> needed[] = {
      {"--trace", &options.trace},
      {"--cluster", &options.cluster},
      {"--out", &options.out}};
  for (const auto& [name, value] : needed) {
    if (value->empty()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is missing"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ReplayOptions> ParseReplayFlags(
    const std::vector<std::string>& args) {
  ReplayOptions options;
  options.command = absl::StrCat("braid simulate ", absl::StrJoin(args, " "));
  double minutes = options.arrivals.seconds / 60;
  const std::map<std::string, Setter> valued = {
      {"--trace", ToText(options.trace)},
      {"--cluster", ToText(options.cluster)},
      {"--out", ToText(options.out)},
      {"--layout", ToText(options.layout)},
      {"--decisions", ToText(options.decisions)},
      {"--profiles", ToText(options.profiles)},
      {"--scale", ToNumber(options.arrivals.scale, 1e-4, 1e4)},
      {"--seed", ToNumber(options.arrivals.seed, 0, 1e15)},
      {"--max-requests", ToNumber(options.arrivals.max_requests, 1, 1e9)},
      {"--from", ToNumber(options.arrivals.from, 0, 1e9)},
      {"--minutes", ToNumber(minutes, 0.01, 1e6)},
      {"--rate", ToNumber(options.arrivals.rate, 1e-3, 1e6)},
      {"--prefill-chunk", ToNumber(options.prefill_chunk, 1, 1e6)},
      {"--block-tokens", ToNumber(options.block_tokens, 1, 4096)},
      {"--kv-tokens", ToNumber(options.kv_tokens, 1, 1e9)},
      {"--ttft", ToNumber(options.ttft_s, 1e-3, 1e5)},
      {"--itl-ms", ToNumber(options.itl_ms, 1e-2, 1e6)},
      {"--policy",
       [&](absl::string_view text) -> absl::Status {
         BRAID_ASSIGN_OR_RETURN(options.policy, ParsePolicy(text));
         return absl::OkStatus();
       }},
      {"--parscale",
       [&](absl::string_view text) -> absl::Status {
         if (text != "auto" && text != "off") {
           return absl::InvalidArgumentError("expected auto or off");
         }
         options.parscale =
             text == "auto" ? StreamMode::kAuto : StreamMode::kOff;
         return absl::OkStatus();
       }},
      {"--attainments", [&](absl::string_view text) {
         return SetAttainments(text, options.attainments);
       }}};
  const std::map<std::string, bool*> switches = {
      {"--jitter", &options.arrivals.jitter},
      {"--goodput-search", &options.goodput_search}};

  for (size_t i = 0; i < args.size(); ++i) {
    std::string name = args[i];
    if (const auto it = switches.find(name); it != switches.end()) {
      *it->second = true;
      continue;
    }
    std::string value;
    const size_t equals = name.find('=');
    const bool joined = equals != std::string::npos;
    if (joined) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const auto setter = valued.find(name);
    if (setter == valued.end()) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag ", args[i]));
    }
    if (!joined) {
      if (++i == args.size()) {
        return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
      }
      value = args[i];
    }
    if (absl::Status status = setter->second(value); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", absl::string_view(status.message())));
    }
  }
  options.arrivals.seconds = minutes * 60;
  BRAID_RETURN_IF_ERROR(CheckComplete(options));
  return options;
}

}  // namespace braid
