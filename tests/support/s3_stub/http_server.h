// A small HTTP/1.1 server for tests: one thread, epoll, keep-alive, bodies that are generated as
// they are sent, and the misbehaviour of real networks on request.
//
// The handler runs on the server's thread. Start and Stop belong to one other thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace sheen::s3_stub {

using Headers = std::vector<std::pair<std::string, std::string>>;
using Clock = std::chrono::steady_clock;

struct Request {
  std::string method;
  std::string path;   // raw, before '?'
  std::string query;  // raw, after it
  Headers headers;    // names in lower case, values trimmed, as they came
  std::string body;

  std::string_view Find(std::string_view lower_name) const;
};

// Bytes of a body from an offset on: as many as are at hand, at least one.
using BodySource = std::function<std::string_view(uint64_t offset)>;

struct Response {
  int status = 200;
  Headers headers;
  std::string body;          // unless there is a source
  BodySource source;
  uint64_t source_bytes = 0;
  bool head = false;         // announce the body, do not send it
  std::optional<uint64_t> announced_bytes;  // a Content-Length that lies
  std::chrono::milliseconds delay{0};       // before the first byte
  std::optional<uint64_t> cut_after;        // bytes of the body, then the connection is closed
  std::optional<uint64_t> stall_after;      // bytes of the body, then nothing for ever
  bool reset = false;        // no answer: the connection is reset
  std::string raw;           // sent instead of everything, then closed
};

struct Rates {
  double stream_bytes_per_second = 0;  // 0: no limit
  double total_bytes_per_second = 0;
};

class HttpServer final {
 public:
  using Handler = std::function<Response(const Request&)>;

  explicit HttpServer(Handler handler);
  ~HttpServer();

  // Port 0: any free one. False: it cannot be bound.
  bool Start(const std::string& address, uint16_t port);
  void Stop();
  uint16_t port() const { return port_; }
  // Thread-safe; of bodies begun after.
  void SetRates(Rates rates);
  uint64_t connections() const { return connections_count_; }

 private:
  struct Connection;
  struct Bucket {
    double rate = 0;
    double tokens = 0;
    Clock::time_point last{};
    double Available(Clock::time_point now);
    double Most() const;
  };

  void Loop();
  void Accept();
  void OnReadable(Connection* connection);
  bool TakeRequest(Connection* connection);
  void Begin(Connection* connection, Request request);
  void Send(Connection* connection);
  bool SendHead(Connection* connection);
  bool SendBody(Connection* connection);
  size_t Allowance(Connection* connection, uint64_t wanted);
  void Finished(Connection* connection);
  void Close(Connection* connection, bool reset);
  void Watch(Connection* connection, bool writable);
  int HandleTimers();

  const Handler handler_;
  int listen_fd_ = -1;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> connections_count_{0};
  std::atomic<double> stream_rate_{0};
  std::atomic<double> total_rate_{0};
  Bucket total_;
  int served_last_ = -1;
  std::map<int, std::unique_ptr<Connection>> connections_;
};

}  // namespace sheen::s3_stub
