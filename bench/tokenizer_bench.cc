// Speed of the tokenizer, with the default model's vocabulary.
//
//   tokenizer_bench [--benchmark_filter=...] [--text FILE]
//
// English is generated text, or FILE; bench/tokenizer_hf.py measures the
// Hugging Face library on the same file (--write FILE keeps the generated
// text). Run is a megabyte of one character, the worst that merging can meet.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "model/model_file.h"
#include "model/pre_tokenizer.h"
#include "model/tokenizer.h"

namespace braid {
namespace {

// Frequent words by Zipf's law, every seventh word made of syllables (names,
// terms: what is not one token), punctuation, numbers, paragraphs.
std::string EnglishLike(size_t size) {
  const std::vector<std::string> frequent = {"the",         "of",
                                             "and",         "to",
                                             "a",           "in",
                                             "is",          "that",
                                             "it",          "was",
                                             "for",         "on",
                                             "are",         "with",
                                             "as",          "his",
                                             "they",        "be",
                                             "at",          "one",
                                             "have",        "this",
                                             "from",        "or",
                                             "had",         "by",
                                             "but",         "some",
                                             "what",        "there",
                                             "we",          "can",
                                             "out",         "other",
                                             "were",        "all",
                                             "your",        "when",
                                             "use",         "word",
                                             "how",         "said",
                                             "each",        "which",
                                             "their",       "time",
                                             "will",        "way",
                                             "about",       "many",
                                             "then",        "them",
                                             "would",       "write",
                                             "like",        "these",
                                             "her",         "long",
                                             "make",        "thing",
                                             "see",         "two",
                                             "has",         "look",
                                             "more",        "day",
                                             "could",       "come",
                                             "number",      "sound",
                                             "most",        "people",
                                             "over",        "know",
                                             "water",       "than",
                                             "call",        "first",
                                             "may",         "down",
                                             "side",        "been",
                                             "now",         "find",
                                             "development", "government",
                                             "information", "international",
                                             "question",    "university",
                                             "different",   "important",
                                             "children",    "business",
                                             "system",      "memory",
                                             "distance",    "understanding",
                                             "performance", "environment"};
  const std::vector<std::string> syllables = {
      "ka",  "ter", "in",  "lo",  "ment", "ra",  "sti", "ver", "on",  "qua",
      "zel", "dor", "ish", "ble", "un",   "tra", "pho", "gen", "mic", "al"};
  Rng random(42);
  std::string text;
  while (text.size() < size) {
    if (random.Below(7) == 0) {
      for (uint64_t n = 2 + random.Below(3); n > 0; --n) {
        text += syllables[random.Below(syllables.size())];
      }
    } else if (random.Below(40) == 0) {
      text += std::to_string(random.Below(3000));
    } else {
      // The product of two uniform draws favours low ranks as Zipf's law does.
      text += frequent[random.Below(1 + random.Below(frequent.size()))];
    }
    const uint64_t stop = random.Below(90);
    text += stop < 5 ? ", " : stop < 10 ? ". " : stop == 10 ? "\n\n" : " ";
  }
  text.resize(size);
  return text;
}

std::string& English() {
  static std::string text = EnglishLike(4 << 20);
  return text;
}

TokenizerSpec DefaultSpec() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string path =
      (cache != nullptr && *cache != '\0'
           ? std::string(cache)
           : std::string(home != nullptr ? home : "") + "/.cache") +
      "/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto file = ModelFile::Open(path);
  if (!file.ok()) {
    std::fprintf(stderr, "%s\nrun deploy/fetch_model.sh first\n",
                 file.status().ToString().c_str());
    std::exit(2);
  }
  return (*file)->tokenizer();
}

const Tokenizer& TheTokenizer(PreTokenizer pre) {
  static std::unique_ptr<Tokenizer> tokenizers[4];
  auto& tokenizer = tokenizers[static_cast<int>(pre)];
  if (tokenizer == nullptr) {
    TokenizerSpec spec = DefaultSpec();
    spec.pre = pre;
    tokenizer = *Tokenizer::Create(std::move(spec));
  }
  return *tokenizer;
}

void BM_Encode(benchmark::State& state, PreTokenizer pre) {
  const Tokenizer& tokenizer = TheTokenizer(pre);
  const std::string& text = English();
  size_t tokens = 0;
  for (auto _ : state) tokens = tokenizer.Encode(text, false).size();
  state.SetBytesProcessed(state.iterations() * text.size());
  state.counters["bytes_per_token"] = double(text.size()) / tokens;
}
BENCHMARK_CAPTURE(BM_Encode, smollm, PreTokenizer::kSmolLm);
BENCHMARK_CAPTURE(BM_Encode, llama_bpe, PreTokenizer::kLlamaBpe);
BENCHMARK_CAPTURE(BM_Encode, qwen2, PreTokenizer::kQwen2);

void BM_Split(benchmark::State& state, PreTokenizer pre) {
  const std::string& text = English();
  for (auto _ : state) {
    for (WordSplitter words(pre, text); !words.Done();) {
      benchmark::DoNotOptimize(words.Next());
    }
  }
  state.SetBytesProcessed(state.iterations() * text.size());
}
BENCHMARK_CAPTURE(BM_Split, smollm, PreTokenizer::kSmolLm);
BENCHMARK_CAPTURE(BM_Split, llama_bpe, PreTokenizer::kLlamaBpe);

void BM_EncodeRun(benchmark::State& state, const char* piece) {
  const Tokenizer& tokenizer = TheTokenizer(PreTokenizer::kSmolLm);
  std::string text;
  while (text.size() < 1 << 20) text += piece;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tokenizer.Encode(text, false));
  }
  state.SetBytesProcessed(state.iterations() * text.size());
}
BENCHMARK_CAPTURE(BM_EncodeRun, space, " ")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, a, "a")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, newline, "\n")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, digit, "7")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, emoji, "\U0001f600")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, invalid, "\xff")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, bracket, "<")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeRun, one_word, "thequickbrownfoxjumps")
    ->Unit(benchmark::kMillisecond);

void BM_RandomLetters(benchmark::State& state) {
  const Tokenizer& tokenizer = TheTokenizer(PreTokenizer::kSmolLm);
  Rng random(1);
  std::string text;
  while (text.size() < 1 << 20) {
    text.push_back(static_cast<char>('a' + random.Below(26)));
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(tokenizer.Encode(text, false));
  }
  state.SetBytesProcessed(state.iterations() * text.size());
}
BENCHMARK(BM_RandomLetters)->Unit(benchmark::kMillisecond);

void BM_Detokenize(benchmark::State& state) {
  const Tokenizer& tokenizer = TheTokenizer(PreTokenizer::kSmolLm);
  const auto ids = tokenizer.Encode(English(), false);
  std::string text;
  for (auto _ : state) {
    text.clear();
    Detokenizer detokenizer(&tokenizer);
    for (const TokenId id : ids) detokenizer.Push(id, text);
    detokenizer.Flush(text);
  }
  state.SetItemsProcessed(state.iterations() * ids.size());
}
BENCHMARK(BM_Detokenize);

void BM_Create(benchmark::State& state) {
  const TokenizerSpec spec = DefaultSpec();
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::Create(spec));
}
BENCHMARK(BM_Create)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace braid

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; i += 2) {
    const bool read = std::strcmp(argv[i], "--text") == 0;
    if ((!read && std::strcmp(argv[i], "--write") != 0) || i + 1 == argc) {
      std::fprintf(stderr,
                   "usage: tokenizer_bench [--text FILE] [--write FILE]\n");
      return 2;
    }
    if (read) {
      std::ifstream file(argv[i + 1], std::ios::binary);
      if (!file.good()) {
        std::fprintf(stderr, "cannot read %s\n", argv[i + 1]);
        return 2;
      }
      braid::English().assign(std::istreambuf_iterator<char>(file), {});
    } else {
      std::ofstream(argv[i + 1], std::ios::binary) << braid::English();
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
