// Rig for tests of TcpTransport: shards on threads of their own, an echoing server, a client, and
// raw sockets that need not keep the rules.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/random.h"
#include "rpc/tcp_transport.h"
#include "unit/rpc/raw_socket.h"

namespace sheen::rpc {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A shard on a thread of its own, with a transport.
class Node final {
 public:
  explicit Node(TcpOptions options = {})
      : transport_(
            std::make_unique<TcpTransport>(&shard_, poller_.get(), &pool_, std::move(options))),
        thread_([this] { shard_.Run(); }) {}
  ~Node() { Stop(); }

  // Runs `work` on the shard and waits for it.
  void Do(const std::function<void()>& work) {
    std::promise<void> done;
    shard_.Post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  void Stop() {
    if (!thread_.joinable()) return;
    std::promise<void> stopped;
    shard_.Post([&] { shard_.Spawn(StopTransport(&stopped)); });
    stopped.get_future().wait();
    EXPECT_EQ(transport_->link_count(), 0U);
    shard_.Stop();
    thread_.join();
  }
  // nullptr and *error when it fails.
  std::unique_ptr<Link> Connect(const Address& address, Error* error = nullptr,
                                Nanos timeout = seconds(10)) {
    std::promise<Result<std::unique_ptr<Link>>> done;
    shard_.Post([&] { shard_.Spawn(ConnectTask(address, timeout, &done)); });
    Result<std::unique_ptr<Link>> link = done.get_future().get();
    if (link) return std::move(*link);
    if (error != nullptr) {
      *error = std::move(link).error();
    } else {
      ADD_FAILURE() << link.error().ToString();
    }
    return nullptr;
  }
  TcpTransport* transport() { return transport_.get(); }

 private:
  async::Task<void> StopTransport(std::promise<void>* stopped) {
    co_await transport_->Stop();
    stopped->set_value();
  }
  async::Task<void> ConnectTask(Address address, Nanos timeout,
                                std::promise<Result<std::unique_ptr<Link>>>* done) {
    done->set_value(co_await transport_->Connect(address, timeout));
  }

  std::unique_ptr<io::UringPoller> poller_ = *io::UringPoller::Create({});
  async::Shard shard_{poller_.get(), &SystemClock()};
  async::BlockingPool pool_{1};
  std::unique_ptr<TcpTransport> transport_;
  std::thread thread_;
};

// Sends every message back. Destroyed with its link.
class EchoPeer final : public LinkHandler {
 public:
  EchoPeer(std::unique_ptr<Link> link, bool established) : link_(std::move(link)) {
    if (established) link_->SetEstablished();
    link_->SetHandler(this);
  }
  MutableByteSpan SinkFor(const FrameHeader&) override { return {}; }
  void OnMessage(Message message) override {
    message.header.flags |= kReply;
    link_->Send(std::move(message));
    ++echo_count;
  }
  void OnClosed(const Error& reason) override {
    std::lock_guard lock(mutex_);
    reason_ = reason;
    link_.reset();
    closed_.notify_all();
  }
  Error AwaitClosed() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(closed_.wait_for(lock, seconds(20), [&] { return link_ == nullptr; }));
    return reason_;
  }
  Link* link() { return link_.get(); }

  int echo_count = 0;  // of the server's shard

 private:
  std::mutex mutex_;
  std::condition_variable closed_;
  std::unique_ptr<Link> link_;
  Error reason_;
};

// Keeps what it received; lives on the client's shard, asked from the test's thread.
class Collector final : public LinkHandler {
 public:
  MutableByteSpan SinkFor(const FrameHeader&) override { return sink; }
  void OnMessage(Message message) override {
    std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_all();
  }
  void OnClosed(const Error& reason) override {
    std::lock_guard lock(mutex_);
    reason_ = reason;
    closed_ = true;
    changed_.notify_all();
  }
  Message AwaitMessage() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, seconds(20), [&] { return !messages_.empty(); }));
    if (messages_.empty()) return {};
    Message message = std::move(messages_.front());
    messages_.pop_front();
    return message;
  }
  Error AwaitClosed() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, seconds(20), [&] { return closed_; }));
    return reason_;
  }
  size_t message_count() {
    std::lock_guard lock(mutex_);
    return messages_.size();
  }

  MutableByteSpan sink;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> messages_;
  Error reason_;
  bool closed_ = false;
};

inline io::Buffer Pattern(size_t size, uint64_t seed) {
  io::Buffer buffer = io::Buffer::Allocate(size);
  Random random(seed);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t value = random.Next();
    std::memcpy(buffer.data() + i, &value, std::min<size_t>(8, size - i));
  }
  return buffer;
}

class TcpTransportTest : public ::testing::Test {
 protected:
  void StartServer(TcpOptions options = {}, const std::string& host = "127.0.0.1",
                   bool established = true) {
    server_ = std::make_unique<Node>(std::move(options));
    server_->Do([&] {
      auto listener =
          server_->transport()->Listen({host, 0}, [this, established](std::unique_ptr<Link> link) {
            std::lock_guard lock(mutex_);
            peers_.push_back(std::make_unique<EchoPeer>(std::move(link), established));
            accepted_.notify_all();
          });
      ASSERT_TRUE(listener.has_value()) << listener.error().ToString();
      listener_ = std::move(*listener);
      port_ = listener_->port();
    });
  }
  EchoPeer* Peer(size_t index) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(accepted_.wait_for(lock, seconds(20), [&] { return peers_.size() > index; }));
    return peers_.size() > index ? peers_[index].get() : nullptr;
  }
  void ConnectClient(TcpOptions options = {}) {
    client_ = std::make_unique<Node>(std::move(options));
    link_ = client_->Connect({"127.0.0.1", port_});
    ASSERT_NE(link_, nullptr);
    client_->Do([&] {
      link_->SetHandler(&collector_);
      link_->SetEstablished();
    });
  }
  void Send(Message message) {
    client_->Do([&] { link_->Send(std::move(message)); });
  }
  void TearDown() override {
    if (client_) {
      client_->Do([&] { link_.reset(); });
      client_->Stop();
    }
    if (server_) {
      server_->Do([&] { listener_.reset(); });
      server_->Stop();
    }
  }

  std::mutex mutex_;
  std::condition_variable accepted_;
  std::vector<std::unique_ptr<EchoPeer>> peers_;
  std::unique_ptr<Node> server_;
  std::unique_ptr<Listener> listener_;
  uint16_t port_ = 0;
  Collector collector_;
  std::unique_ptr<Node> client_;
  std::unique_ptr<Link> link_;
};

}  // namespace sheen::rpc
