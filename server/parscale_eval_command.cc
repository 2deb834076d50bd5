// `braid parscale eval`: flags into figures of a text's prediction, on the
// runner that serves.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_value.h"
#include "model/model_file.h"
#include "model/tokenizer.h"
#include "server/backend.h"
#include "server/command_line.h"
#include "server/device_spec.h"
#include "server/parscale_command.h"
#include "server/parscale_eval.h"

namespace braid::server {
namespace {

struct Flags {
  ServeOptions serve;
  std::string text;
  EvalOptions eval;
};

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    return absl::NotFoundError(absl::StrCat("--text ", path, ": no such file"));
  }
  return text.str();
}

void TellProgress(uint32_t done, uint32_t all) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  // Who reads a log wants no line per window.
  const bool tenth = done > 0 && done * 10 / all != (done - 1) * 10 / all;
  if (!terminal && !tenth) return;
  std::fprintf(stderr, "%swindow %u of %u%s", terminal ? "\r" : "", done, all,
               terminal && done < all ? "" : "\n");
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  AppendJsonEscaped(text, out);
  return out + '"';
}

absl::Status Evaluate(Flags flags) {
  BRAID_ASSIGN_OR_RETURN(const std::string text, ReadText(flags.text));
  BRAID_ASSIGN_OR_RETURN(const auto file, ModelFile::Open(flags.serve.model));
  BRAID_ASSIGN_OR_RETURN(const auto tokenizer,
                         Tokenizer::Create(file->tokenizer()));
  if (flags.eval.context > static_cast<uint32_t>(file->config().context)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--context ", flags.eval.context, ": the model's is ",
                     file->config().context, " tokens"));
  }
  flags.serve.devices = {
      {.role = DeviceRole::kBoth, .name = "cpu", .cores = AvailableCores()}};
  flags.serve.max_context = flags.eval.context;
  BRAID_ASSIGN_OR_RETURN(Backend backend, MakeCpuBackend(*file, flags.serve));
  if (tokenizer->spec().add_bos) flags.eval.bos = tokenizer->spec().bos;
  const std::vector<TokenId> tokens =
      tokenizer->Encode(text, /*parse_special=*/false);
  BRAID_ASSIGN_OR_RETURN(
      const EvalReport report,
      EvaluateStreams(*backend.devices[0].runner, *backend.arenas[0],
                      backend.stream_sets, tokens, flags.eval, TellProgress));
  std::printf("NLL in nats per token, by position; %u windows of %u tokens\n%s",
              report.windows, flags.eval.context, EvalTable(report).c_str());
  std::printf("{\"model\":%s,\"parscale\":%s,\"text\":%s,\"context\":%u,%s}\n",
              Quoted(flags.serve.model).c_str(),
              Quoted(flags.serve.parscale).c_str(), Quoted(flags.text).c_str(),
              flags.eval.context, EvalJson(report).c_str());
  return absl::OkStatus();
}

}  // namespace

int EvaluateParscale(const std::vector<std::string>& args) {
  Flags flags;
  CLI::App app(
      "Predicts a text with every number of streams that there are weights "
      "for, on the runner that serves: NLL by number and by position.",
      "braid parscale eval");
  app.add_option("--model", flags.serve.model, "As of `braid serve`")
      ->required();
  app.add_option("--parscale", flags.serve.parscale, "As of `braid serve`");
  app.add_option("--parscale-set", flags.serve.parscale_sets,
                 "As of `braid serve`; repeatable")
      ->allow_extra_args(false);
  app.add_option("--text", flags.text,
                 "File of UTF-8 text, best never seen "
                 "in training")
      ->required();
  app.add_option("--context", flags.eval.context,
                 "Tokens of a window; a prediction sees those before it")
      ->capture_default_str()
      ->check(CLI::Range(16, 1 << 20));
  app.add_option("--windows", flags.eval.windows,
                 "Most windows, spread over the text (default: all)")
      ->check(CLI::Range(1u, 1000000u));
  app.add_option("--cpu-isa", flags.serve.cpu_isa, "As of `braid serve`")
      ->capture_default_str();
  const absl::StatusOr<std::string> help =
      ParseFlags(app, args, "braid parscale eval --help");
  if (!help.ok()) return FailUsage(help.status().message());
  if (!help->empty()) {
    std::fputs(help->c_str(), stdout);
    return 0;
  }
  const absl::Status status = Evaluate(std::move(flags));
  return status.ok() ? 0 : FailUsage(status.message());
}

}  // namespace braid::server
