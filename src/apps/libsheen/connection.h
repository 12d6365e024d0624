// What a sheen::Mount consists of: threads with their rings, and one client::Filesystem on them.
// The waiting functions hand a task to a shard and wait for its result.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "apps/common/shard_set.h"
#include "client/filesystem.h"
#include "sheen/client.h"

namespace sheen::lib {

class Connection final {
 public:
  static Result<std::unique_ptr<Connection>> Open(const std::string& source,
                                                  const ConnectOptions& options);
  ~Connection();
  // Waits until what was written is stored, for ConnectOptions::end_patience_s at most. Nothing may
  // be called after it. Errors: kIo (not all of it is known to be stored).
  Status Close();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  client::Filesystem* fs() { return fs_.get(); }
  client::CredentialId who() const { return who_; }
  bool superuser() const { return superuser_; }
  uint32_t umask() const { return umask_; }
  // Shards take turns.
  uint32_t NextShard() { return turn_.fetch_add(1) % shards_->size(); }

  // Not on a thread of the library.
  template <class T>
  T Await(uint32_t shard, std::function<async::Task<T>()> make) {
    return shards_->Await<T>(shard, std::move(make));
  }
  template <class T>
  T Await(std::function<async::Task<T>()> make) {
    return Await<T>(NextShard(), std::move(make));
  }
  // `make` runs on the shard, and its task to its end, which the destructor waits for.
  void Start(uint32_t shard, std::function<async::Task<void>()> make);

 private:
  Connection() = default;

  async::Task<void> RunStarted(std::function<async::Task<void>()> make);

  std::unique_ptr<apps::ShardSet> shards_;
  std::unique_ptr<client::Filesystem> fs_;
  client::CredentialId who_ = 0;
  bool superuser_ = false;
  bool connected_ = false;
  Nanos end_patience_ = Nanos::max();
  uint32_t umask_ = 022;
  std::atomic<uint32_t> turn_{0};
  std::atomic<uint64_t> started_{0};  // and not ended
};

}  // namespace sheen::lib
