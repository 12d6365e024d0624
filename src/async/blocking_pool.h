// Threads for calls that block (RocksDB syncs, open(2) of cold files, getaddrinfo), so that shards
// never do. The queue is bounded by the callers: each waits for its own call.
//
//   const Status synced = co_await pool->Run<Status>([&] { return kv->Sync(); });
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "async/shard.h"
#include "async/sync.h"

namespace sheen::async {

// Thread-safe. The destructor finishes what is queued.
class BlockingPool final {
 public:
  // 0 threads: work runs inline, at once, on the caller (the simulator).
  explicit BlockingPool(uint32_t thread_count);
  ~BlockingPool();

  void Submit(std::function<void()> work);

  // Runs `work` on a pool thread and resumes the caller on its own shard with the result.
  // `work` and what it refers to must stay alive until then; they do when they are the awaiting
  // coroutine's locals.
  template <class T>
  Task<T> Run(std::function<T()> work) {
    Shard* shard = Shard::Current();
    OneShot<T> done;
    Submit([&work, &done, shard] {
      auto result = std::make_shared<T>(work());
      auto deliver = [&done, result] { done.Set(std::move(*result)); };
      shard->Post(deliver);
    });
    co_return co_await done;
  }

 private:
  void WorkerLoop();

  std::mutex mutex_;  // guards queue_, stopping_
  std::condition_variable ready_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sheen::async
