// ShardSet: the threads of a daemon. Each runs one Shard with its own ring, file access and
// transport; they share one pool for calls that block.
//
//   SHEEN_TRY_ASSIGN(auto shards, ShardSet::Start({.count = 2}));
//   shards->RunOnEach([&](ShardSet::Member* member) { ...; return Status{}; });
//   Status mounted = shards->Await<Status>(0, [&] { return filesystem.Mount(); });
//   shards->Stop();   // loops have ended, objects of the shards still exist
//
// Belongs to the main thread: RunOnEach, Await and Stop block and must not be called on a shard.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "async/blocking_pool.h"
#include "async/shard.h"
#include "io/uring.h"
#include "io/uring_file_io.h"
#include "rpc/tcp_transport.h"
#include "sheen/result.h"

namespace sheen::apps {

struct ShardSetOptions {
  uint32_t count = 1;
  // Thread i to the i-th usable core; only when there are as many threads as cores.
  bool pin = true;
  bool sqe128 = false;  // rings that carry FUSE
  uint32_t pool_threads = 4;
  rpc::TcpOptions tcp;
};

class ShardSet final {
 public:
  struct Member {
    uint32_t index = 0;
    std::unique_ptr<io::UringPoller> poller;
    std::unique_ptr<async::Shard> shard;
    std::unique_ptr<io::UringFileIo> files;
    std::unique_ptr<rpc::TcpTransport> transport;
  };

  // Errors: kNoSys (io_uring is switched off), kNoMemory.
  static Result<std::unique_ptr<ShardSet>> Start(ShardSetOptions options);
  ~ShardSet();
  ShardSet(const ShardSet&) = delete;
  ShardSet& operator=(const ShardSet&) = delete;

  uint32_t size() const { return static_cast<uint32_t>(members_.size()); }
  Member* At(uint32_t index) { return members_[index].get(); }
  async::BlockingPool* pool() { return &pool_; }

  // On shard `index`; waits for the result.
  Status RunOn(uint32_t index, const std::function<Status(Member*)>& work);
  // On each shard in turn, the first error ends it.
  Status RunOnEach(const std::function<Status(Member*)>& work);

  // Starts the task that `make` gives on shard `index` and waits for its result.
  template <class T>
  T Await(uint32_t index, std::function<async::Task<T>()> make) {
    auto done = std::make_shared<std::promise<T>>();
    std::future<T> result = done->get_future();
    async::Shard* shard = At(index)->shard.get();
    shard->Post([shard, make = std::move(make), done] { shard->Spawn(Deliver<T>(make, done)); });
    return result.get();
  }

  // Closes all connections, ends the loops and joins the threads. Idempotent.
  void Stop();

 private:
  explicit ShardSet(uint32_t pool_threads) : pool_(pool_threads) {}

  static void ThreadMain(ShardSet* set, Member* member, ShardSetOptions options,
                         std::shared_ptr<std::promise<Status>> started);

  template <class T>
  static async::Task<void> Deliver(std::function<async::Task<T>()> make,
                                   std::shared_ptr<std::promise<T>> done) {
    T value = co_await make();
    done->set_value(std::move(value));
  }

  async::BlockingPool pool_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::thread> threads_;
};

}  // namespace sheen::apps
