#include "server/http/session.h"

#include <optional>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/http/request_id.h"

namespace braid::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kReadBytes = 16 << 10;
// How much of coming requests is read while one is being answered.
constexpr size_t kMaxPipelinedBytes = 64 << 10;

auto Token(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

HttpResponse ReadErrorResponse(const error_code& error, uint64_t body_limit) {
  if (error == http::error::body_limit) {
    return ErrorResponse(
        413, "invalid_request_error",
        absl::StrCat("the body is larger than ", body_limit,
                     " bytes; raise --max-body-bytes or send less"));
  }
  if (error == http::error::header_limit ||
      error == http::error::buffer_overflow) {
    return ErrorResponse(431, "invalid_request_error",
                         "the request's header is too large");
  }
  return ErrorResponse(
      400, "invalid_request_error",
      absl::StrCat("this is not an HTTP/1.1 request: ", error.message()));
}

}  // namespace

Session::Session(Socket socket, SessionGroup* group)
    : socket_(std::move(socket)),
      group_(group),
      buffer_(group->config->limits.header_bytes + kMaxPipelinedBytes +
              kReadBytes),
      deadline_(socket_.get_executor()),
      event_(socket_.get_executor()) {
  group_->sessions.insert(this);
}

Session::~Session() {
  group_->sessions.erase(this);
  if (group_->sessions.empty() && group_->grace) group_->grace->cancel();
}

void Session::Start() {
  error_code ignored;
  // Tokens are small and must not wait for each other.
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  asio::co_spawn(
      socket_.get_executor(),
      [self = shared_from_this()] { return self->Run(); }, asio::detached);
}

void Session::CloseIfIdle() {
  if (idle_) Close();
}

void Session::Close() {
  error_code ignored;
  socket_.close(ignored);
  peer_gone_ = true;  // An answer under way ends, whether it is watched or not.
  OnWake();
}

Session::Awaitable<void> Session::Run() {
  // A co_await is the whole of its statement, here and below: gcc 12 makes an
  // illegal instruction of `if (co_await F())` on Asio's awaitables.
  bool more = true;
  while (more) {
    more = co_await WaitForRequest();
    if (more) more = co_await ReadRequest();
    if (more) more = co_await Answer();
  }
  Disarm();
  Close();
}

Session::Awaitable<bool> Session::WaitForRequest() {
  if (group_->stopping) co_return false;
  if (buffer_.size() > 0) co_return true;
  idle_ = true;
  Arm(group_->config->limits.idle_timeout, Timeout::kRead);
  error_code error;
  const size_t read = co_await socket_.async_read_some(
      buffer_.prepare(kReadBytes), Token(error));
  buffer_.commit(read);
  idle_ = false;
  co_return !error;
}

Session::Awaitable<bool> Session::ReadRequest() {
  const HttpLimits& limits = group_->config->limits;
  http::request_parser<http::string_body> parser;
  parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
  parser.body_limit(limits.body_bytes);
  request_ = {};
  request_.id = MakeRequestId();
  route_ = "other";

  error_code error;
  timed_out_ = false;
  Arm(limits.header_timeout, Timeout::kRead);
  co_await http::async_read_header(socket_, buffer_, parser, Token(error));
  // A body that is refused has an answer all the same, to whoever sent it.
  if (!error || error == http::error::body_limit) TakeHead(parser.get());
  if (!error) {
    Arm(limits.body_timeout, Timeout::kRead);
    // curl sends larger bodies only after this.
    if (beast::iequals(parser.get()[http::field::expect], "100-continue") &&
        !parser.is_done()) {
      const bool sent = co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
      if (!sent) co_return false;
      Arm(limits.body_timeout, Timeout::kRead);
    }
    co_await http::async_read(socket_, buffer_, parser, Token(error));
  }
  Disarm();
  if (timed_out_) {
    HttpResponse late = ErrorResponse(408, "invalid_request_error",
                                      "the request did not arrive in time");
    co_await Refuse(std::move(late));
    co_return false;
  }
  if (error) {
    // A broken connection has nobody to read an answer.
    const bool broken = error == http::error::end_of_stream ||
                        error == http::error::partial_message ||
                        error.category() == boost::system::system_category();
    if (!broken) {
      HttpResponse refusal = ReadErrorResponse(error, limits.body_bytes);
      co_await Refuse(std::move(refusal));
    }
    co_return false;
  }

  request_.body = std::move(parser.get().body());
  co_return true;
}

template <typename Header>
void Session::TakeHead(const Header& header) {
  http_1_0_ = header.version() < 11;
  keep_alive_ = header.keep_alive();
  request_.method = std::string(header.method_string());
  const std::string target(header.target());
  const size_t question = target.find('?');
  request_.path = target.substr(0, question);
  if (question != std::string::npos) {
    request_.query = target.substr(question + 1);
  }
  for (const auto& field : header) {
    request_.headers.emplace_back(std::string(field.name_string()),
                                  std::string(field.value()));
  }
  if (const absl::string_view id = request_.Header("x-request-id");
      IsRequestId(id)) {
    request_.id = std::string(id);
  }
}

Session::Awaitable<bool> Session::Answer() {
  if (auto preflight = group_->config->cors.Preflight(request_)) {
    const bool keep = co_await SendWhole(std::move(*preflight));
    co_return keep;
  }
  Router::Routed routed = group_->router->load()->Route(request_, MakeWaker());
  route_ = routed.route;
  request_.body.clear();
  request_.body.shrink_to_fit();
  bool keep = false;
  if (auto* whole = std::get_if<HttpResponse>(&routed.reply)) {
    keep = co_await SendWhole(std::move(*whole));
  } else if (auto* later = std::get_if<LaterResponse>(&routed.reply)) {
    keep = co_await SendLater(std::move(*later));
  } else {
    auto& stream = std::get<StreamedResponse>(routed.reply);
    keep = co_await SendStream(std::move(stream));
  }
  co_return keep;
}

std::string Session::Head(const HttpHeaders& headers, int status,
                          absl::string_view content_type,
                          bool keep_alive) const {
  std::string head =
      absl::StrCat("HTTP/1.1 ", status, " ", ReasonPhrase(status),
                   "\r\nContent-Type: ", content_type,
                   "\r\nx-request-id: ", request_.id, "\r\n");
  for (const HttpHeaders& each :
       {headers, group_->config->cors.HeadersFor(request_)}) {
    for (const auto& [name, value] : each) {
      absl::StrAppend(&head, name, ": ", value, "\r\n");
    }
  }
  if (!keep_alive) {
    head += "Connection: close\r\n";
  } else if (http_1_0_) {
    head += "Connection: keep-alive\r\n";
  }
  return head;
}

Session::Awaitable<bool> Session::SendWhole(HttpResponse response) {
  if (group_->config->on_response) {
    group_->config->on_response(route_, response.status);
  }
  const bool keep_alive = keep_alive_ && !group_->stopping;
  std::string out = Head(response.headers, response.status,
                         response.content_type, keep_alive);
  absl::StrAppend(&out, "Content-Length: ", response.body.size(), "\r\n\r\n");
  if (request_.method != "HEAD") out += response.body;
  const bool sent = co_await Write(out);
  co_return sent&& keep_alive;
}

Session::Awaitable<void> Session::Refuse(HttpResponse response) {
  keep_alive_ = false;
  co_await SendWhole(std::move(response));
  co_await Linger();
}

Session::Awaitable<bool> Session::SendLater(LaterResponse later) {
  BeginWatching();
  std::optional<HttpResponse> response;
  while (!peer_gone_ && !(response = later.poll())) {
    co_await WaitForEvent(TimePoint::max());
  }
  co_await EndWatching();
  if (!response) {
    later.cancel();
    co_return false;
  }
  const bool keep = co_await SendWhole(std::move(*response));
  co_return keep;
}

Session::Awaitable<bool> Session::SendStream(StreamedResponse stream) {
  const HttpLimits& limits = group_->config->limits;
  const bool chunked = !http_1_0_;
  const bool keep_alive = keep_alive_ && chunked && !group_->stopping;

  BeginWatching();
  // Silence is what the client sees: a wake-up that brings nothing to send
  // does not put the ping off.
  TimePoint ping_at = Clock::now() + limits.head_patience;
  bool alive = true, begun = false;
  Pulled pulled;
  std::string body, frame;
  while (alive && pulled.more) {
    body.clear();
    pulled = stream.pull(body, begun);
    if (pulled.instead) break;
    if (pulled.more && body.empty()) {
      if (Clock::now() < ping_at) {
        co_await WaitForEvent(ping_at);
        alive = !peer_gone_;
        continue;
      }
      body = stream.ping;
    }
    frame.clear();
    if (!std::exchange(begun, true)) {
      if (group_->config->on_response) group_->config->on_response(route_, 200);
      frame = Head(stream.headers, 200, stream.content_type, keep_alive);
      if (chunked) frame += "Transfer-Encoding: chunked\r\n";
      frame += "\r\n";
    }
    if (chunked && !body.empty()) {
      absl::StrAppend(&frame, absl::Hex(body.size()), "\r\n", body, "\r\n");
    } else {
      frame += body;
    }
    if (chunked && !pulled.more) frame += "0\r\n\r\n";
    alive = co_await Write(frame);
    ping_at = Clock::now() + limits.ping_interval;
    if (pulled.more && peer_gone_) alive = false;
  }
  if (pulled.more && !pulled.instead) stream.cancel();
  co_await EndWatching();
  if (pulled.instead) {
    const bool keep = co_await SendWhole(std::move(*pulled.instead));
    co_return keep;
  }
  co_return alive&& keep_alive;
}

Session::Awaitable<bool> Session::Write(absl::string_view bytes) {
  // In pieces, so that the limit is on progress and not on the whole.
  constexpr size_t kPiece = 64 << 10;
  while (!bytes.empty()) {
    Arm(group_->config->limits.write_stall, Timeout::kWrite);
    error_code error;
    const size_t size = std::min(bytes.size(), kPiece);
    co_await asio::async_write(socket_, asio::buffer(bytes.data(), size),
                               Token(error));
    Disarm();
    if (error) co_return false;
    bytes.remove_prefix(size);
  }
  co_return true;
}

void Session::BeginWatching() {
  watching_ = true;
  peer_gone_ = !socket_.is_open();
  asio::co_spawn(
      socket_.get_executor(),
      [self = shared_from_this()] { return self->WatchPeer(); },
      asio::detached);
}

Session::Awaitable<void> Session::WatchPeer() {
  while (buffer_.size() < kMaxPipelinedBytes) {
    error_code error;
    const size_t read = co_await socket_.async_read_some(
        buffer_.prepare(kReadBytes), Token(error));
    buffer_.commit(read);
    if (error == asio::error::operation_aborted && socket_.is_open()) break;
    if (error) {
      Close();  // also ends a write that nobody takes
      break;
    }
  }
  watching_ = false;
  OnWake();
}

Session::Awaitable<void> Session::EndWatching() {
  while (watching_) {
    error_code ignored;
    socket_.cancel(ignored);  // No write is under way; only the watch reads.
    co_await WaitForEvent(Clock::now() + std::chrono::milliseconds(100));
  }
  woken_ = false;
}

Session::Awaitable<void> Session::WaitForEvent(TimePoint limit) {
  if (!woken_) {
    error_code ignored;
    event_.expires_at(limit);
    co_await event_.async_wait(Token(ignored));
  }
  woken_ = false;
}

Session::Awaitable<void> Session::Linger() {
  error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  Arm(group_->config->limits.linger, Timeout::kRead);
  while (!error) {
    buffer_.consume(buffer_.size());
    co_await socket_.async_read_some(buffer_.prepare(kReadBytes), Token(error));
  }
}

void Session::Arm(std::chrono::milliseconds limit, Timeout what) {
  deadline_.expires_after(limit);
  deadline_.async_wait([weak = weak_from_this(), what](error_code error) {
    const std::shared_ptr<Session> self = weak.lock();
    // Armed anew after this wait had ended: not this one's business any more.
    if (error || self == nullptr || self->deadline_.expiry() > Clock::now()) {
      return;
    }
    self->timed_out_ = true;
    error_code ignored;
    if (what == Timeout::kRead) self->socket_.cancel(ignored);
    if (what == Timeout::kWrite) self->Close();
  });
}

void Session::Disarm() {
  deadline_.expires_at(asio::steady_timer::time_point::max());
}

Waker Session::MakeWaker() {
  return [weak = weak_from_this(), executor = socket_.get_executor()] {
    asio::post(executor, [weak] {
      if (const std::shared_ptr<Session> self = weak.lock()) self->OnWake();
    });
  };
}

void Session::OnWake() {
  woken_ = true;
  event_.cancel();
}

}  // namespace braid::server
