// One HTTP/1.1 connection: reads a request, answers it, and goes on with the
// next. Pipelined requests are answered in order.
//
// Threads: everything runs on the event loop that owns the socket; only a Waker
// may be called from elsewhere. A session lives as long as its coroutines.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>  // Boost 1.74 forgets it (std::exchange)

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "absl/strings/string_view.h"
#include "server/http/http_server.h"
#include "server/http/message.h"
#include "server/http/router.h"

namespace braid::server {

class Session;

// What the sessions of one event loop share. Touched on that loop only.
struct SessionGroup {
  const HttpServerConfig* config;
  const std::atomic<const Router*>* router;
  std::unordered_set<Session*> sessions;
  bool stopping = false;  // answer what is under way, then close
  // While stopping: closes the sessions that take too long. Cancelled by the
  // last one.
  std::unique_ptr<boost::asio::steady_timer> grace;
};

class Session final : public std::enable_shared_from_this<Session> {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;

  // `group` outlives the session.
  Session(Socket socket, SessionGroup* group);
  ~Session();

  void Start();
  // Closes a connection that waits for a request; others close by themselves
  // after the current answer, because the group is stopping.
  void CloseIfIdle();
  void Close();

 private:
  using Clock = std::chrono::steady_clock;
  using TimePoint = Clock::time_point;
  enum class Timeout { kRead, kWrite };

  Awaitable<void> Run();
  // False: the connection is over.
  Awaitable<bool> WaitForRequest();
  Awaitable<bool> ReadRequest();
  template <typename Header>
  void TakeHead(const Header& header);
  Awaitable<bool> Answer();
  Awaitable<bool> SendWhole(HttpResponse response);
  Awaitable<bool> SendLater(LaterResponse later);
  Awaitable<bool> SendStream(StreamedResponse stream);
  // Answers trouble with reading a request, and closes.
  Awaitable<void> Refuse(HttpResponse response);
  Awaitable<bool> Write(absl::string_view bytes);
  // Reads on beside a generation, to notice that the client has gone; what
  // comes of a next request stays in the buffer.
  Awaitable<void> WatchPeer();
  void BeginWatching();
  Awaitable<void> EndWatching();
  // Until a wake-up, the peer's end, or `limit`.
  Awaitable<void> WaitForEvent(TimePoint limit);
  Awaitable<void> Linger();

  void Arm(std::chrono::milliseconds limit, Timeout what);
  void Disarm();
  Waker MakeWaker();
  void OnWake();
  std::string Head(const HttpHeaders& headers, int status,
                   absl::string_view content_type, bool keep_alive) const;

  Socket socket_;
  SessionGroup* const group_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer event_;
  HttpRequest request_;
  absl::string_view route_ = "other";
  bool http_1_0_ = false;
  bool keep_alive_ = false;
  bool idle_ = false;
  bool timed_out_ = false;
  bool woken_ = false;
  bool watching_ = false;
  bool peer_gone_ = false;
};

}  // namespace braid::server
