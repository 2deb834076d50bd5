#include "tests/server/http_client.h"

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "gtest/gtest.h"

namespace braid::server {

std::string ClientResponse::Field(std::string_view name) const {
  const std::string key = "\r\n" + std::string(name) + ": ";
  const size_t at = head.find(key);
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

JsonValue ClientResponse::json() const {
  auto value = ParseJson(body);
  EXPECT_TRUE(value.ok()) << value.status() << ": " << body;
  return value.ok() ? *std::move(value) : JsonValue();
}

HttpClient::HttpClient(uint16_t port, int receive_buffer)
    : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
  BRAID_CHECK(fd_ >= 0);
  const timeval limit{.tv_sec = 30, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (receive_buffer > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
               sizeof(receive_buffer));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(
      connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0)
      << std::strerror(errno);
}

HttpClient::~HttpClient() { close(fd_); }

void HttpClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    // A server that refuses a request need not read it to its end.
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void HttpClient::SendRequest(std::string_view method, std::string_view path,
                             std::string_view body, std::string_view fields) {
  std::string request;
  request.append(method).append(" ").append(path);
  request += " HTTP/1.1\r\nHost: test\r\n";
  if (!body.empty()) {
    absl::StrAppend(&request, "Content-Type: application/json\r\n",
                    "Content-Length: ", body.size(), "\r\n");
  }
  Send(request.append(fields).append("\r\n").append(body));
}

bool HttpClient::ReadSome() {
  char bytes[16 << 10];
  const ssize_t n = recv(fd_, bytes, sizeof(bytes), 0);
  if (n < 0) {
    EXPECT_EQ(errno, ECONNRESET) << std::strerror(errno);
  }
  if (n <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(n));
  return true;
}

std::string HttpClient::ReadLine() {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!ReadSome()) return "";
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return line;
}

std::string HttpClient::ReadBytes(size_t size) {
  while (buffer_.size() < size && ReadSome()) {
  }
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, bytes.size());
  return bytes;
}

ClientResponse HttpClient::ReceiveHead() {
  ClientResponse response;
  for (std::string line = ReadLine(); !line.empty(); line = ReadLine()) {
    response.head += line + "\r\n";
  }
  if (response.head.size() >= 12) {
    response.status = std::stoi(response.head.substr(9, 3));
  }
  return response;
}

std::optional<std::string> HttpClient::ReceiveChunk() {
  const std::string line = ReadLine();
  if (line.empty()) return std::nullopt;  // Closed before the end.
  const size_t size = std::stoul(line, nullptr, 16);
  std::string chunk = ReadBytes(size);
  ReadLine();
  if (size == 0) return std::nullopt;
  return chunk;
}

ClientResponse HttpClient::Receive() {
  ClientResponse response = ReceiveHead();
  if (response.Field("Transfer-Encoding") == "chunked") {
    while (auto chunk = ReceiveChunk()) response.body += *chunk;
  } else if (const std::string size = response.Field("Content-Length");
             !size.empty()) {
    response.body = ReadBytes(std::stoul(size));
  }
  return response;
}

std::string HttpClient::ReceiveAll() {
  while (ReadSome()) {
  }
  return std::exchange(buffer_, {});
}

ClientResponse HttpClient::Post(std::string_view path, std::string_view body) {
  SendRequest("POST", path, body);
  return Receive();
}

ClientResponse HttpClient::Get(std::string_view path) {
  SendRequest("GET", path);
  return Receive();
}

std::vector<std::string> EventsOf(std::string_view body) {
  constexpr std::string_view kData = "data: ";
  std::vector<std::string> events;
  while (!body.empty()) {
    const size_t end = body.find("\n\n");
    EXPECT_NE(end, std::string_view::npos) << "cut off: " << body;
    if (end == std::string_view::npos) break;
    const std::string_view event = body.substr(0, end);
    if (event.starts_with(kData)) {
      events.emplace_back(event.substr(kData.size()));
    } else {
      EXPECT_TRUE(event.starts_with(":")) << event;
    }
    body.remove_prefix(end + 2);
  }
  return events;
}

}  // namespace braid::server
