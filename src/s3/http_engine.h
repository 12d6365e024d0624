// The thread behind HttpClient: libcurl's multi interface over epoll, and who may send when.
// Internal to HttpClient.
//
// Thread-safe: Submit, Cancel, Hasten, Resume, AddLink, SetLimits, Counters. Everything else runs
// on its thread. Its one mutex is held while nothing else is locked.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "s3/http_transfer.h"
#include "s3/token_bucket.h"

namespace sheen::s3 {

class HttpEngine final : private Transfer::Engine {
 public:
  HttpEngine();
  ~HttpEngine();

  uint32_t AddLink(LinkOptions options);
  void SetLimits(uint32_t link, LinkOptions options);
  LinkCounters Counters(uint32_t link) const;

  void Submit(std::shared_ptr<Transfer> transfer);
  // The transfer still finishes, with kCancelled unless it has ended before.
  void Cancel(std::shared_ptr<Transfer> transfer);
  // It is a demand from now on.
  void Hasten(std::shared_ptr<Transfer> transfer);
  // The sink has taken what was queued.
  void Resume(std::shared_ptr<Transfer> transfer);

 private:
  struct SharedCounters {
    std::atomic<uint64_t> requests{0};
    std::atomic<uint64_t> body_bytes{0};
    std::atomic<uint64_t> connections{0};
    std::atomic<uint32_t> active{0};
    std::atomic<uint32_t> waiting{0};
  };
  struct Link {
    explicit Link(LinkOptions given);
    ~Link();
    LinkOptions options;
    TokenBucket requests;
    TokenBucket bytes;
    curl_slist* resolve = nullptr;
    bool WaitsAny() const;
    // The class whose next one that is paused may go on.
    std::optional<size_t> NextThrottled(Nanos now) const;
    // Beside demands so many prefetches are under way, and so many receive.
    uint32_t PrefetchesBeside() const;
    uint32_t ReceivingPrefetches() const;
    // The class whose next one may start; nullopt: none may.
    std::optional<size_t> NextClass(Nanos now) const;
    std::optional<size_t> NextWithBody(Nanos now) const;
    bool DemandsGoOn(Nanos now) const;

    uint32_t active = 0;
    uint32_t active_of[kPriorities] = {};
    Nanos demand_at{0};  // a demand began or ended last
    std::deque<std::shared_ptr<Transfer>> waiting[kPriorities];
    std::deque<std::shared_ptr<Transfer>> throttled[kPriorities];  // paused: rate, or demands
    std::shared_ptr<SharedCounters> counters;
  };

  // Transfer::Engine
  bool MayReceive(Transfer* transfer) override;
  void Received(Transfer* transfer, size_t bytes) override;

  static int OnSocket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int OnTimer(CURLM* multi, long timeout_ms, void* self);

  void Command(std::function<void()> command);
  void Loop();
  void WaitAndHandle(Nanos now);
  bool RunCommands();
  void ReapFinished();
  void Admit(Link* link, Nanos now);
  void Start(Link* link, std::shared_ptr<Transfer> transfer, Nanos now);
  void ReleaseThrottled(Link* link, Nanos now);
  void CheckIdle(Nanos now);
  void End(const std::shared_ptr<Transfer>& transfer);
  void DoCancel(const std::shared_ptr<Transfer>& transfer);
  void DoHasten(const std::shared_ptr<Transfer>& transfer);
  Nanos NextWork(Nanos now);

  CURLM* multi_ = nullptr;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  Nanos curl_deadline_{-1};  // when curl wants to be called; negative: not
  Nanos idle_check_at_{0};
  std::vector<CURL*> free_handles_;
  std::vector<std::unique_ptr<Link>> links_;
  std::unordered_map<Transfer*, std::shared_ptr<Transfer>> active_;
  bool stopping_ = false;

  mutable std::mutex mutex_;  // guards commands_, counters_
  std::vector<std::function<void()>> commands_;
  std::vector<std::shared_ptr<SharedCounters>> counters_;
  std::thread thread_;
};

}  // namespace sheen::s3
