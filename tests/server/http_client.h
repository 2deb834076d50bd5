// The client's end of HTTP/1.1 over a loopback socket, as bare as a test of a
// server needs it: what is sent is what the test says, byte for byte.
//
// Threads: one at a time. Every wait ends after 30 s, and fails the test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/json_value.h"

namespace braid::server {

struct ClientResponse {
  int status = 0;
  std::string head;  // status line and fields, as they came
  std::string body;  // without chunks' framing
  // Value of a field, in the spelling of the server; empty when absent.
  std::string Field(std::string_view name) const;
  JsonValue json() const;  // fails the test when the body is none
};

class HttpClient {
 public:
  // Connected. `receive_buffer` > 0: SO_RCVBUF, for readers that are to be
  // slow.
  explicit HttpClient(uint16_t port, int receive_buffer = 0);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  void Send(std::string_view bytes);
  // With Host, Content-Length and Content-Type.
  void SendRequest(std::string_view method, std::string_view path,
                   std::string_view body = "", std::string_view fields = "");

  // The next response as a whole.
  ClientResponse Receive();
  // Only its head; the body is left to ReceiveChunk.
  ClientResponse ReceiveHead();
  // Nothing: that was the last. Of a chunked response.
  std::optional<std::string> ReceiveChunk();
  // All that comes until the server closes.
  std::string ReceiveAll();

  ClientResponse Post(std::string_view path, std::string_view body);
  ClientResponse Get(std::string_view path);

 private:
  bool ReadSome();  // false: closed
  std::string ReadLine();
  std::string ReadBytes(size_t size);

  int fd_ = -1;
  std::string buffer_;
};

// The data of every server-sent event in `body`, comments left out.
std::vector<std::string> EventsOf(std::string_view body);

}  // namespace braid::server
