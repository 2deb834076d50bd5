#include "bench/load/sender.h"

#include <algorithm>
#include <chrono>
#include <csignal>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/rng.h"
#include "bench/load/event_reader.h"
#include "model/json_value.h"

namespace braid::load {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

constexpr size_t kMaxErrorBytes = 300;
constexpr std::chrono::milliseconds kPauseAfterFailure{100};

auto Token(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

class Run final {
 public:
  Run(const Target& target, std::span<const PlannedRequest> plan,
      const SendOptions& options)
      : target_(target),
        plan_(plan),
        options_(options),
        records_(plan.size()),
        schedule_(io_),
        give_up_(io_),
        signals_(io_, SIGINT, SIGTERM) {}

  std::vector<Record> Go();

 private:
  using Stream = tcp::socket;

  double Now() const {
    return std::chrono::duration<double>(steady_clock::now() - start_).count();
  }
  steady_clock::time_point At(double seconds) const {
    return start_ + std::chrono::duration_cast<steady_clock::duration>(
                        std::chrono::duration<double>(seconds));
  }
  // `task` is counted until it ends.
  void Spawn(asio::awaitable<void> task);
  // gcc 12: a co_await is the whole of its statement, here and below.
  asio::awaitable<void> OpenLoop();
  asio::awaitable<void> ClosedLoop();
  asio::awaitable<void> Ask(uint32_t index);
  asio::awaitable<error_code> Connect(Stream& stream);
  asio::awaitable<error_code> ReadAnswer(Stream& stream, Record& record);
  Record& Begin(uint32_t index, double due);

  const Target& target_;
  const std::span<const PlannedRequest> plan_;
  const SendOptions& options_;
  std::vector<Record> records_;
  size_t begun_ = 0;  // of the plan
  asio::io_context io_{1};
  asio::steady_timer schedule_, give_up_;
  asio::signal_set signals_;  // end the run early
  tcp::resolver::results_type endpoints_;
  steady_clock::time_point start_;
  size_t tasks_ = 0;  // coroutines that have not ended
};

std::vector<Record> Run::Go() {
  error_code error;
  endpoints_ = tcp::resolver(io_).resolve(target_.host, target_.port, error);
  start_ = steady_clock::now();
  const bool open_loop = options_.closed_loop == 0;
  for (size_t i = 0; i < (open_loop ? 1 : options_.closed_loop); ++i) {
    Spawn(open_loop ? OpenLoop() : ClosedLoop());
  }
  const double last =
      open_loop ? (plan_.empty() ? 0 : plan_.back().at) : options_.seconds;
  give_up_.expires_at(At(last + options_.patience));
  give_up_.async_wait([this](error_code cancelled) {
    if (!cancelled) io_.stop();
  });
  signals_.async_wait([this](error_code cancelled, int) {
    if (!cancelled) io_.stop();
  });
  io_.run();
  records_.resize(begun_);
  return std::move(records_);
}

void Run::Spawn(asio::awaitable<void> task) {
  ++tasks_;
  asio::co_spawn(io_, std::move(task), [this](std::exception_ptr) {
    if (--tasks_ > 0) return;
    give_up_.cancel();
    signals_.cancel();
  });
}

Record& Run::Begin(uint32_t index, double due) {
  begun_ = index + 1;
  Record& record = records_[index];
  record.index = index;
  record.due = due;
  record.prompt_asked = plan_[index].prompt_tokens;
  record.output_asked = plan_[index].output_tokens;
  return record;
}

asio::awaitable<void> Run::OpenLoop() {
  for (uint32_t i = 0; i < plan_.size(); ++i) {
    error_code error;
    schedule_.expires_at(At(plan_[i].at));
    co_await schedule_.async_wait(Token(error));
    Record& record = Begin(i, plan_[i].at);
    // This loop is one of them.
    if (tasks_ > options_.max_connections) {
      record.outcome = Outcome::kNotSent;
    } else {
      Spawn(Ask(i));
    }
  }
}

asio::awaitable<void> Run::ClosedLoop() {
  while (begun_ < plan_.size() && Now() < options_.seconds) {
    const auto index = static_cast<uint32_t>(begun_);
    Begin(index, Now());
    co_await Ask(index);
    if (records_[index].outcome == Outcome::kOk) continue;
    // A client that asks again at once would be a load of its own kind.
    asio::steady_timer pause(io_, kPauseAfterFailure);
    error_code error;
    co_await pause.async_wait(Token(error));
  }
}

asio::awaitable<void> Run::Ask(uint32_t index) {
  Record& record = records_[index];
  const std::string body = RequestBody(target_, index, plan_[index]);
  std::string head = absl::StrCat(
      "POST ", target_.path, " HTTP/1.1\r\nHost: ", target_.host, ":",
      target_.port,
      "\r\nConnection: close\r\nContent-Type: application/json\r\n");
  for (const auto& [name, value] : target_.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  absl::StrAppend(&head, "Content-Length: ", body.size(), "\r\n\r\n", body);
  record.sent = Now();
  Stream stream(io_);
  error_code error = co_await Connect(stream);
  if (!error)
    co_await asio::async_write(stream, asio::buffer(head), Token(error));
  if (!error) error = co_await ReadAnswer(stream, record);
  record.ended = Now();
  if (error) {
    record.outcome = Outcome::kFailed;
    record.error = error.message();
  }
}

asio::awaitable<error_code> Run::Connect(Stream& stream) {
  error_code error;
  co_await asio::async_connect(stream, endpoints_, Token(error));
  error_code ignored;
  if (!error) stream.set_option(tcp::no_delay(true), ignored);
  co_return error;
}

asio::awaitable<error_code> Run::ReadAnswer(Stream& stream, Record& record) {
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  parser.eager(false);
  EventReader events(options_.keep_token_times);
  std::string other;  // of an answer that is no stream
  error_code error;
  while (!error && !parser.is_done()) {
    co_await http::async_read_some(stream, buffer, parser, Token(error));
    std::string& body = parser.get().body();
    if (parser.get().result_int() == 200) {
      events.Read(body, Now(), record);
    } else if (other.size() < kMaxErrorBytes) {
      other.append(body, 0, kMaxErrorBytes);
    }
    body.clear();
  }
  if (error) co_return error;
  record.status = static_cast<int>(parser.get().result_int());
  const auto after = parser.get().find("Retry-After");
  if (after != parser.get().end()) {
    (void)absl::SimpleAtod(
        absl::string_view(after->value().data(), after->value().size()),
        &record.retry_after);
  }
  record.error = record.status == 200 ? events.error() : other;
  record.outcome = record.status == 429 ? Outcome::kRefused
                   : events.complete()  ? Outcome::kOk
                                        : Outcome::kFailed;
  co_return error;
}

}  // namespace

absl::StatusOr<Target> ParseUrl(std::string_view url) {
  Target target;
  absl::string_view rest(url.data(), url.size());
  if (!absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", rest, "' does not begin with http://"));
  }
  const size_t slash = rest.find('/');
  if (slash != rest.npos) target.path = std::string(rest.substr(slash));
  rest = rest.substr(0, slash);
  const size_t colon = rest.rfind(':');
  target.host = std::string(rest.substr(0, colon));
  target.port = colon == rest.npos ? "80" : std::string(rest.substr(colon + 1));
  return target;
}

std::string RequestBody(const Target& target, uint32_t index,
                        const PlannedRequest& request) {
  std::string body = "{\"prompt\":[";
  Rng rng(target.seed ^ (uint64_t{index} << 32));
  for (uint32_t i = 0; i < request.prompt_tokens; ++i) {
    absl::StrAppend(
        &body, i == 0 ? "" : ",",
        target.low_token + rng.Below(target.high_token - target.low_token));
  }
  absl::StrAppend(&body, "],\"max_tokens\":", request.output_tokens,
                  ",\"ignore_eos\":true,\"temperature\":0,\"stream\":true,"
                  "\"stream_options\":{\"include_usage\":true}");
  if (!target.model.empty()) {
    absl::StrAppend(&body, ",\"model\":", ToJson(JsonValue(target.model)));
  }
  if (!target.more_body.empty()) absl::StrAppend(&body, ",", target.more_body);
  return body + "}";
}

std::vector<Record> Send(const Target& target,
                         std::span<const PlannedRequest> plan,
                         const SendOptions& options) {
  return Run(target, plan, options).Go();
}

}  // namespace braid::load
