#include "support/s3_stub/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace sheen::s3_stub {
namespace {

constexpr size_t kHeadBytesMax = 64 * 1024;
constexpr uint64_t kBodyBytesMax = 1ULL << 30;
constexpr size_t kSendBytesMax = 256 * 1024;
constexpr double kPieceBytes = 64 * 1024;

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool ParseHead(std::string_view head, Request* out) {
  size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  const size_t first = line.find(' ');
  const size_t second = line.rfind(' ');
  if (first == std::string_view::npos || second <= first) return false;
  out->method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const size_t question = target.find('?');
  out->path = target.substr(0, question);
  if (question != std::string_view::npos) out->query = target.substr(question + 1);
  while (end != std::string_view::npos) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos) continue;
    out->headers.emplace_back(Lower(field.substr(0, colon)), Trim(field.substr(colon + 1)));
  }
  return true;
}

const char* Reason(int status) { return status < 300 ? "OK" : "Error"; }

}  // namespace

std::string_view Request::Find(std::string_view lower_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return {};
}

struct HttpServer::Connection {
  int fd = -1;
  std::string in;
  std::optional<Request> request;  // whose body is still coming
  uint64_t body_wanted = 0;
  bool answering = false;
  bool keep_alive = true;
  Response response;
  std::string out_head;
  size_t head_sent = 0;
  uint64_t body_sent = 0;
  uint64_t body_bytes = 0;
  Bucket stream;
  std::optional<Clock::time_point> wake_at;
  bool writable_watched = false;
};

double HttpServer::Bucket::Available(Clock::time_point now) {
  if (last.time_since_epoch().count() != 0) {
    tokens += rate * std::chrono::duration<double>(now - last).count();
  }
  last = now;
  tokens = std::min(tokens, Most());
  return tokens;
}

double HttpServer::Bucket::Most() const { return std::max(rate / 50, 4096.0); }  // 20 ms of it

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {}
HttpServer::~HttpServer() { Stop(); }

bool HttpServer::Start(const std::string& address, uint16_t port) {
  listen_fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1) return false;
  if (bind(listen_fd_, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) return false;
  if (listen(listen_fd_, 1024) != 0) return false;
  socklen_t length = sizeof where;
  getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&where), &length);
  port_ = ntohs(where.sin_port);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  for (const int fd : {listen_fd_, wake_fd_}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  }
  thread_ = std::thread([this] { Loop(); });
  return true;
}

void HttpServer::Stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  const uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
  thread_.join();
  for (const auto& [fd, connection] : connections_) close(fd);
  connections_.clear();
  close(listen_fd_);
  close(epoll_fd_);
  close(wake_fd_);
}

void HttpServer::SetRates(Rates rates) {
  stream_rate_ = rates.stream_bytes_per_second;
  total_rate_ = rates.total_bytes_per_second;
}

void HttpServer::Loop() {
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    const int wait_ms = HandleTimers();
    const int count = epoll_wait(epoll_fd_, events.data(), events.size(), wait_ms);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_fd_) continue;
      if (fd == listen_fd_) {
        Accept();
        continue;
      }
      const auto found = connections_.find(fd);
      if (found == connections_.end()) continue;
      Connection* const connection = found->second.get();
      if (events[i].events & EPOLLOUT) {
        Watch(connection, false);
        Send(connection);
      } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        OnReadable(connection);
      }
    }
  }
}

// Runs what is due; gives the milliseconds until the next.
int HttpServer::HandleTimers() {
  const auto now = Clock::now();
  std::vector<Connection*> due;
  auto next = now + std::chrono::seconds(1);
  for (const auto& [fd, connection] : connections_) {
    if (!connection->wake_at) continue;
    if (*connection->wake_at <= now) due.push_back(connection.get());
    next = std::min(next, *connection->wake_at);
  }
  // Whoever comes after the one that got bytes last: those of the total are shared, turn by turn.
  const auto after = [this](const Connection* one) { return one->fd > served_last_; };
  std::ranges::rotate(due, std::ranges::find_if(due, after));
  for (Connection* const connection : due) {
    connection->wake_at.reset();
    Send(connection);
  }
  if (!due.empty()) return 0;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  return static_cast<int>(std::max<int64_t>(wait.count(), 0));
}

void HttpServer::Accept() {
  for (;;) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connections_[fd] = std::move(connection);
    ++connections_count_;
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  }
}

void HttpServer::Watch(Connection* connection, bool writable) {
  if (connection->writable_watched == writable) return;
  connection->writable_watched = writable;
  epoll_event event{.events = EPOLLIN, .data = {.fd = connection->fd}};
  if (writable) event.events |= EPOLLOUT;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection->fd, &event);
}

void HttpServer::OnReadable(Connection* connection) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = recv(connection->fd, buffer.data(), buffer.size(), 0);
    if (got > 0) {
      connection->in.append(buffer.data(), static_cast<size_t>(got));
      continue;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    Close(connection, false);
    return;
  }
  if (!connection->answering) TakeRequest(connection);
}

// False: no whole request is there, or the connection is gone.
bool HttpServer::TakeRequest(Connection* connection) {
  if (!connection->request) {
    const size_t end = connection->in.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (connection->in.size() > kHeadBytesMax) Close(connection, false);
      return false;
    }
    Request request;
    const bool parsed = ParseHead(std::string_view(connection->in).substr(0, end), &request);
    const std::string length(request.Find("content-length"));
    connection->body_wanted = std::strtoull(length.c_str(), nullptr, 10);
    connection->in.erase(0, end + 4);
    if (!parsed || connection->body_wanted > kBodyBytesMax ||
        !request.Find("transfer-encoding").empty()) {
      Close(connection, false);
      return false;
    }
    if (Lower(request.Find("expect")) == "100-continue") {
      (void)!send(connection->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    }
    connection->request = std::move(request);
  }
  if (connection->in.size() < connection->body_wanted) return false;
  Request request = *std::move(connection->request);
  connection->request.reset();
  request.body = connection->in.substr(0, connection->body_wanted);
  connection->in.erase(0, connection->body_wanted);
  Begin(connection, std::move(request));
  return true;
}

void HttpServer::Begin(Connection* connection, Request request) {
  connection->answering = true;
  connection->keep_alive = Lower(request.Find("connection")) != "close";
  Response& response = connection->response;
  response = handler_(request);
  if (response.reset) {
    Close(connection, true);
    return;
  }
  connection->body_bytes = response.source ? response.source_bytes : response.body.size();
  connection->body_sent = 0;
  connection->head_sent = 0;
  connection->stream = Bucket{.rate = stream_rate_};
  std::string& head = connection->out_head;
  if (!response.raw.empty()) {
    head = response.raw;
    connection->body_bytes = 0;
    connection->keep_alive = false;
  } else {
    head = "HTTP/1.1 " + std::to_string(response.status) + " " + Reason(response.status) + "\r\n";
    for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
    if (response.status != 204) {
      const uint64_t said = response.announced_bytes.value_or(connection->body_bytes);
      head += "Content-Length: " + std::to_string(said) + "\r\n";
    }
    head += "\r\n";
  }
  if (response.head) connection->body_bytes = 0;
  if (response.delay.count() > 0) {
    connection->wake_at = Clock::now() + response.delay;
  } else {
    Send(connection);
  }
}

void HttpServer::Send(Connection* connection) {
  if (!connection->answering) return;
  if (!SendHead(connection)) return;
  if (connection->body_sent < connection->body_bytes) {
    const Response& response = connection->response;
    if (response.cut_after && connection->body_sent >= *response.cut_after) {
      Close(connection, false);
      return;
    }
    if (response.stall_after && connection->body_sent >= *response.stall_after) return;
    if (!SendBody(connection)) return;
    if (connection->body_sent < connection->body_bytes) {
      connection->wake_at = Clock::now();  // others' turn
      return;
    }
  }
  Finished(connection);
}

// False: not yet, or the connection is gone.
bool HttpServer::SendHead(Connection* connection) {
  while (connection->head_sent < connection->out_head.size()) {
    const std::string_view rest =
        std::string_view(connection->out_head).substr(connection->head_sent);
    const int more = connection->body_bytes > 0 ? MSG_MORE : 0;
    const ssize_t sent = send(connection->fd, rest.data(), rest.size(), MSG_NOSIGNAL | more);
    if (sent < 0 && errno == EAGAIN) {
      Watch(connection, true);
      return false;
    }
    if (sent <= 0) {
      Close(connection, false);
      return false;
    }
    connection->head_sent += static_cast<size_t>(sent);
  }
  return true;
}

// No trickle: less than a piece is waited for, while others send.
size_t HttpServer::Allowance(Connection* connection, uint64_t wanted) {
  const auto now = Clock::now();
  total_.rate = total_rate_;
  double allowed = static_cast<double>(wanted);
  double piece = std::min(allowed, kPieceBytes);
  for (const Bucket* const bucket : {&connection->stream, &total_}) {
    if (bucket->rate > 0) piece = std::min(piece, bucket->Most());
  }
  double wait_seconds = 0;
  for (Bucket* const bucket : {&connection->stream, &total_}) {
    if (bucket->rate <= 0) continue;
    const double available = bucket->Available(now);
    allowed = std::min(allowed, available);
    wait_seconds = std::max(wait_seconds, (piece - available) / bucket->rate);
  }
  if (allowed < piece) {
    connection->wake_at = now + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(wait_seconds));
    return 0;
  }
  return static_cast<size_t>(allowed);
}

bool HttpServer::SendBody(Connection* connection) {
  const Response& response = connection->response;
  uint64_t wanted = connection->body_bytes - connection->body_sent;
  for (const std::optional<uint64_t>& end : {response.cut_after, response.stall_after}) {
    if (end) wanted = std::min(wanted, *end - connection->body_sent);
  }
  const size_t allowed = Allowance(connection, std::min<uint64_t>(wanted, kSendBytesMax));
  if (allowed == 0) return false;
  std::string_view bytes = response.source
                               ? response.source(connection->body_sent)
                               : std::string_view(response.body).substr(connection->body_sent);
  bytes = bytes.substr(0, allowed);
  const ssize_t sent = send(connection->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) {
    Watch(connection, true);
    return false;
  }
  if (sent <= 0) {
    Close(connection, false);
    return false;
  }
  connection->body_sent += static_cast<uint64_t>(sent);
  connection->stream.tokens -= static_cast<double>(sent);
  total_.tokens -= static_cast<double>(sent);
  served_last_ = connection->fd;
  return true;
}

void HttpServer::Finished(Connection* connection) {
  connection->answering = false;
  connection->response = Response{};
  if (!connection->keep_alive) {
    Close(connection, false);
    return;
  }
  if (!connection->in.empty()) TakeRequest(connection);
}

void HttpServer::Close(Connection* connection, bool reset) {
  if (reset) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  const int fd = connection->fd;
  close(fd);
  connections_.erase(fd);
}

}  // namespace sheen::s3_stub
