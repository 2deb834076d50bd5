// ServeGen (Alibaba, 2025): a workload is the sum of clients. A client has a
// file chunk-N-trace.csv of windows (start s, rate 1/s, CV of the gaps, family,
// shape, scale; no family: silent) and a file chunk-N-dataset.json of length
// distributions by window. Each client is a renewal process of its own.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <simdjson.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "simulator/replay/text_file.h"
#include "simulator/replay/trace_formats.h"

namespace braid {
namespace {

constexpr uint64_t kMaxClients = 10'000;

struct Window {
  double start = 0, rate = 0;
  bool weibull = false;
  double shape = 0, scale = 0;  // of the gaps, seconds; 0: silent
};

// Lengths and the probability of that length or less.
struct Lengths {
  std::vector<uint32_t> length;
  std::vector<double> cumulative;
  bool empty() const { return length.empty(); }
  uint32_t Draw(Rng& rng) const {
    const double u = rng.Uniform() * cumulative.back();
    const auto at = std::ranges::upper_bound(cumulative, u);
    return length[std::min<size_t>(at - cumulative.begin(), length.size() - 1)];
  }
};

struct LengthWindow {
  double start = 0;
  Lengths prompt, output;
};

struct Client {
  uint32_t number = 0;
  std::vector<Window> windows;
  std::vector<LengthWindow> lengths;
};

double Normal(Rng& rng) {  // Box and Muller
  const double u = 1 - rng.Uniform();
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * rng.Uniform());
}

double Gamma(double shape, Rng& rng) {  // Marsaglia and Tsang, 2000
  if (shape < 1) {
    const double u = 1 - rng.Uniform();
    return Gamma(shape + 1, rng) * std::pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = Normal(rng);
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double u = 1 - rng.Uniform();
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double Gap(const Window& window, Rng& rng) {
  if (window.weibull) {
    return window.scale *
           std::pow(-std::log(1 - rng.Uniform()), 1 / window.shape);
  }
  return window.scale * Gamma(window.shape, rng);
}

absl::Status ReadWindows(const std::string& path, Client& client) {
  BRAID_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(path, kMaxTraceBytes));
  size_t line = 0;
  for (absl::string_view row : absl::StrSplit(text, '\n')) {
    ++line;
    row = absl::StripSuffix(row, "\r");
    if (row.empty()) continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(row, ',');
    Window window;
    if (fields.size() != 6 || !absl::SimpleAtod(fields[0], &window.start) ||
        !absl::SimpleAtod(fields[1], &window.rate)) {
      return AtLine(path, line, "expected start,rate,cv,family,shape,scale");
    }
    if (!client.windows.empty() &&
        !(window.start > client.windows.back().start)) {
      return AtLine(path, line, "the windows are not in order");
    }
    if (!fields[3].empty()) {
      window.weibull = fields[3] == "Weibull";
      if (!window.weibull && fields[3] != "Gamma") {
        return AtLine(path, line, "the family is neither Gamma nor Weibull");
      }
      if (!absl::SimpleAtod(fields[4], &window.shape) ||
          !absl::SimpleAtod(fields[5], &window.scale) || !(window.shape > 0) ||
          !(window.scale > 0)) {
        return AtLine(path, line, "shape and scale must be greater than 0");
      }
    }
    client.windows.push_back(window);
  }
  if (client.windows.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no windows"));
  }
  return absl::OkStatus();
}

// "{102: 0.5, 103: 0.5}": a printed Python dict.
absl::StatusOr<Lengths> ParseLengths(absl::string_view text) {
  Lengths lengths;
  text = absl::StripPrefix(absl::StripSuffix(text, "}"), "{");
  std::vector<std::pair<uint32_t, double>> pairs;
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::vector<absl::string_view> halves = absl::StrSplit(item, ':');
    double length = 0, probability = 0;
    if (halves.size() != 2 || !absl::SimpleAtod(halves[0], &length) ||
        !absl::SimpleAtod(halves[1], &probability) || !(length >= 0) ||
        length > kMaxTraceTokens || !(probability >= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", item, "\" is no \"length: probability\""));
    }
    pairs.emplace_back(static_cast<uint32_t>(length), probability);
  }
  std::ranges::sort(pairs);
  double sum = 0;
  for (const auto& [length, probability] : pairs) {
    lengths.length.push_back(length);
    lengths.cumulative.push_back(sum += probability);
  }
  if (!pairs.empty() && !(sum > 0)) {
    return absl::InvalidArgumentError("all probabilities are 0");
  }
  return lengths;
}

absl::Status ReadLengths(const std::string& path, Client& client) {
  BRAID_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(path, kMaxTraceBytes));
  const auto bad = [&](absl::string_view start, absl::string_view message) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": window \"", start, "\": ", message));
  };
  simdjson::dom::parser parser;
  simdjson::dom::object windows;
  if (const auto error = parser.parse(text.data(), text.size()).get(windows);
      error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", simdjson::error_message(error)));
  }
  for (const auto field : windows) {
    LengthWindow window;
    std::string_view prompt, output;
    const absl::string_view start(field.key.data(), field.key.size());
    if (!absl::SimpleAtod(start, &window.start)) {
      return bad(start, "not a number of seconds");
    }
    if (field.value["input_tokens"].get(prompt) != simdjson::SUCCESS ||
        field.value["output_tokens"].get(output) != simdjson::SUCCESS) {
      return bad(start, "needs \"input_tokens\" and \"output_tokens\"");
    }
    auto prompts = ParseLengths({prompt.data(), prompt.size()});
    auto outputs = ParseLengths({output.data(), output.size()});
    if (!prompts.ok()) return bad(start, prompts.status().message());
    if (!outputs.ok()) return bad(start, outputs.status().message());
    if (prompts->empty() || outputs->empty()) continue;
    window.prompt = *std::move(prompts);
    window.output = *std::move(outputs);
    client.lengths.push_back(std::move(window));
  }
  std::ranges::sort(client.lengths, {}, &LengthWindow::start);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Client>> ReadClients(const std::string& folder) {
  std::vector<Client> clients;
  std::error_code error;
  constexpr absl::string_view kTrace = "-trace.csv", kPrefix = "chunk-";
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    absl::string_view number = name;
    if (!absl::ConsumePrefix(&number, kPrefix) ||
        !absl::ConsumeSuffix(&number, kTrace)) {
      continue;
    }
    Client client;
    if (!absl::SimpleAtoi(number, &client.number)) continue;
    if (clients.size() == kMaxClients) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder, ": more than ", kMaxClients, " clients"));
    }
    BRAID_RETURN_IF_ERROR(ReadWindows(entry.path().string(), client));
    BRAID_RETURN_IF_ERROR(ReadLengths(
        absl::StrCat(folder, "/", kPrefix, number, "-dataset.json"), client));
    // Without lengths there is nothing to draw from.
    if (!client.lengths.empty()) clients.push_back(std::move(client));
  }
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("cannot list ", folder, ": ", error.message()));
  }
  if (clients.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": no client with chunk-N-trace.csv and lengths"));
  }
  std::ranges::sort(clients, {}, &Client::number);
  return clients;
}

// The window that holds `time`; the last one lasts for ever.
const Window* WindowAt(const Client& client, double time) {
  const auto after =
      std::ranges::upper_bound(client.windows, time, {}, &Window::start);
  return after == client.windows.begin() ? nullptr : &*std::prev(after);
}

const LengthWindow& LengthsAt(const Client& client, double time) {
  const auto after =
      std::ranges::upper_bound(client.lengths, time, {}, &LengthWindow::start);
  return after == client.lengths.begin() ? client.lengths.front()
                                         : *std::prev(after);
}

// Requests per second over [from, to), all clients together.
double MeanRate(const std::vector<Client>& clients, double from, double to) {
  double sum = 0;
  for (const Client& client : clients) {
    for (size_t i = 0; i < client.windows.size(); ++i) {
      const double end =
          i + 1 < client.windows.size() ? client.windows[i + 1].start : to;
      const double overlap =
          std::min(end, to) - std::max(client.windows[i].start, from);
      if (overlap > 0 && client.windows[i].shape > 0) {
        sum += overlap * client.windows[i].rate;
      }
    }
  }
  return sum / (to - from);
}

struct Draw {
  double arrival;
  uint32_t client, prompt, output;
};

// `stretch` multiplies every gap.
absl::Status DrawClient(const Client& client, const TraceOptions& options,
                        double stretch, std::vector<Draw>& draws) {
  // A stream of its own: clients do not move each other's draws.
  Rng rng(options.seed * 1'000'003 + client.number);
  const double end = options.from + options.seconds;
  double time = options.from;
  const Window* window = WindowAt(client, time);
  // What is left of the current gap, as a share of it: a gap that is cut by a
  // window's end goes on at the next window's pace. The process does not begin
  // with an arrival.
  double left = rng.Uniform();
  while (time < end) {
    const size_t next =
        window == nullptr
            ? 0
            : static_cast<size_t>(window - client.windows.data()) + 1;
    const double window_end =
        next < client.windows.size() ? client.windows[next].start : end;
    const bool silent = window == nullptr || window->shape == 0;
    const double whole = silent ? 0 : Gap(*window, rng) * stretch;
    if (silent || time + whole * left >= window_end) {
      if (window_end >= end) break;
      if (!silent) left -= (window_end - time) / whole;
      time = window_end;
      window = &client.windows[next];
      continue;
    }
    time += whole * left;
    left = 1;
    if (draws.size() == kMaxTraceRequests) {
      return absl::InvalidArgumentError(
          "too many requests: lower --rate or --minutes");
    }
    const LengthWindow& lengths = LengthsAt(client, time);
    draws.push_back({time - options.from, client.number,
                     std::max(1u, lengths.prompt.Draw(rng)),
                     std::max(1u, lengths.output.Draw(rng))});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadServeGen(const std::string& folder,
                          const TraceOptions& options, Trace& trace) {
  if (!(options.seconds > 0) || !(options.from >= 0) || !(options.rate >= 0)) {
    return absl::InvalidArgumentError(
        "a ServeGen workload needs a window of some length and a rate >= 0");
  }
  BRAID_ASSIGN_OR_RETURN(const std::vector<Client> clients,
                         ReadClients(folder));
  const double recorded =
      MeanRate(clients, options.from, options.from + options.seconds);
  if (!(recorded > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": nobody sends anything in that window"));
  }
  const double stretch = options.rate > 0 ? recorded / options.rate : 1;
  std::vector<Draw> draws;
  for (const Client& client : clients) {
    BRAID_RETURN_IF_ERROR(DrawClient(client, options, stretch, draws));
  }
  std::ranges::sort(draws, [](const Draw& a, const Draw& b) {
    return std::pair(a.arrival, a.client) < std::pair(b.arrival, b.client);
  });
  if (options.max_requests > 0 && draws.size() > options.max_requests) {
    draws.resize(options.max_requests);
  }
  for (const Draw& draw : draws) {
    TraceRequest request{.arrival = draw.arrival,
                         .prompt_tokens = draw.prompt,
                         .output_tokens = draw.output};
    BRAID_RETURN_IF_ERROR(AddOwnBlocks(trace, request));
    trace.requests.push_back(request);
  }
  return absl::OkStatus();
}

}  // namespace braid
