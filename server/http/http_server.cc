#include "server/http/http_server.h"

#include <atomic>
#include <thread>
#include <utility>  // Boost 1.74 forgets it (std::exchange)
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/http/session.h"

namespace braid::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// One thread with the connections that belong to it.
struct EventLoop {
  SessionGroup group;  // outlives the sessions that the context holds
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{
      context.get_executor()};
  std::thread thread;
};

// Closing one may end others' coroutines, and so change the set.
void CloseSessions(const SessionGroup& group, void (Session::*close)()) {
  const std::vector<Session*> sessions(group.sessions.begin(),
                                       group.sessions.end());
  for (Session* session : sessions) (session->*close)();
}

absl::Status BindError(const HttpServerConfig& config, const error_code& e) {
  const std::string message = absl::StrCat(
      "--http ", config.host, ":", config.port, ": ",
      e == asio::error::address_in_use ? "address already in use" : e.message(),
      "; choose another with --http");
  return e == asio::error::address_in_use ? absl::AlreadyExistsError(message)
                                          : absl::InvalidArgumentError(message);
}

}  // namespace

struct HttpServer::Impl {
  HttpServerConfig config;
  std::atomic<const Router*> router;
  std::vector<std::unique_ptr<EventLoop>> loops;
  std::unique_ptr<tcp::acceptor> acceptor;  // on the first loop
  std::unique_ptr<asio::steady_timer> retry;
  size_t next_loop = 0;
  uint16_t port = 0;
  bool stopped = false;

  absl::Status Bind();
  void Accept();
  void OnAccept(EventLoop& loop, error_code error, tcp::socket socket);
  void StopSessions(std::chrono::milliseconds grace);
};

absl::Status HttpServer::Impl::Bind() {
  error_code error;
  asio::io_context& context = loops.front()->context;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(
      config.host, absl::StrCat(config.port),
      tcp::resolver::passive | tcp::resolver::address_configured, error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--http ", config.host, ":", config.port,
                     ": the host is not an address of this machine; choose "
                     "another with --http"));
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor = std::make_unique<tcp::acceptor>(context);
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error)
    acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (error) return BindError(config, error);
  port = acceptor->local_endpoint(error).port();
  return absl::OkStatus();
}

void HttpServer::Impl::Accept() {
  EventLoop& loop = *loops[next_loop];
  next_loop = (next_loop + 1) % loops.size();
  acceptor->async_accept(loop.context,
                         [this, &loop](error_code error, tcp::socket socket) {
                           OnAccept(loop, error, std::move(socket));
                         });
}

void HttpServer::Impl::OnAccept(EventLoop& loop, error_code error,
                                tcp::socket socket) {
  if (!acceptor->is_open()) return;
  if (error) {
    // Out of descriptors, most likely: wait until some are given back.
    retry->expires_after(std::chrono::milliseconds(50));
    retry->async_wait([this](error_code e) {
      if (!e && acceptor->is_open()) Accept();
    });
    return;
  }
  asio::post(loop.context, [this, &loop, s = std::move(socket)]() mutable {
    const size_t share = config.limits.connections / loops.size() + 1;
    if (loop.group.stopping || loop.group.sessions.size() >= share) {
      return;  // Closing it at once is all the help there is to spare.
    }
    std::make_shared<Session>(std::move(s), &loop.group)->Start();
  });
  Accept();
}

// Each loop closes its idle connections and runs until it has none left.
void HttpServer::Impl::StopSessions(std::chrono::milliseconds grace) {
  for (auto& loop : loops) {
    asio::post(loop->context, [this, &loop = *loop, grace] {
      if (&loop == loops.front().get()) {
        error_code ignored;
        acceptor->close(ignored);
        retry->cancel();
      }
      loop.group.stopping = true;
      CloseSessions(loop.group, &Session::CloseIfIdle);
      if (loop.group.sessions.empty()) return;
      loop.group.grace =
          std::make_unique<asio::steady_timer>(loop.context, grace);
      loop.group.grace->async_wait(
          [&loop](error_code) { CloseSessions(loop.group, &Session::Close); });
    });
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    HttpServerConfig config, const Router* router) {
  auto impl = std::make_unique<Impl>();
  impl->config = std::move(config);
  impl->router = router;
  for (int i = 0; i < impl->config.threads; ++i) {
    auto loop = std::make_unique<EventLoop>();
    loop->group.config = &impl->config;
    loop->group.router = &impl->router;
    impl->loops.push_back(std::move(loop));
  }
  impl->retry =
      std::make_unique<asio::steady_timer>(impl->loops.front()->context);
  BRAID_RETURN_IF_ERROR(impl->Bind());
  impl->Accept();
  for (auto& loop : impl->loops) {
    loop->thread = std::thread([&loop = *loop] { loop.context.run(); });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() { Stop(std::chrono::milliseconds(0)); }

uint16_t HttpServer::port() const { return impl_->port; }

void HttpServer::Serve(const Router* router) { impl_->router = router; }

void HttpServer::Stop(std::chrono::milliseconds grace) {
  if (std::exchange(impl_->stopped, true)) return;
  impl_->StopSessions(grace);
  for (auto& loop : impl_->loops) loop->work.reset();
  for (auto& loop : impl_->loops) {
    loop->thread.join();
    loop->group.grace.reset();
  }
}

}  // namespace braid::server
