// What several clients do to the same things at the same time, in a SimCluster in which everything
// may fail, and what must be true of it:
//
//   names    a symbolic link under a few names, made and removed: what is looked up was there
//   slots    places of a file, written and read: what is read was written last, or is being written
//   log      records appended: each is there once, whole
//   counter  read and written back one higher under a file lock: each turn counts once
//   own      files of a client that it writes and syncs on an OST that may be full or failing: what
//            was synced stays, what was refused is the old or the new
//
// Shard-confined. A client that the test has lost (`lost`) ends after its next operation, and what
// it was told from then on counts for nothing.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/filesystem.h"
#include "sim/history.h"
#include "support/sim_cluster.h"

namespace sheen::test {

struct Worker {
  client::Filesystem* fs = nullptr;
  int number = 0;
  // It may be lost: what it did counts from its fsync on.
  bool mortal = false;
  bool lost = false;
};

class SharedWork final {
 public:
  // OST `troubled` holds what may be refused, the others all else.
  SharedWork(SimCluster* cluster, uint64_t seed, uint32_t troubled)
      : shard_(cluster->shard()), random_(seed), troubled_(troubled) {}

  // Makes the files, and these directories. Before all else.
  async::Task<void> Prepare(client::Filesystem* fs, std::vector<std::string> directories,
                            std::vector<Fid>* out);
  async::Task<void> Run(Worker* worker, int steps);
  // Its process has died.
  void Lose(Worker* worker);
  // When nobody works any more.
  async::Task<void> CheckAll(client::Filesystem* fs);
  int done() const { return done_; }
  int refused() const { return refused_; }

 private:
  // What a file of one writer may hold; empty: it need not be there.
  using Allowed = std::set<std::string>;

  async::Task<void> Step(Worker* worker);
  async::Task<void> EndName(Worker* worker, size_t name, size_t write);
  async::Task<void> MakeName(Worker* worker);
  async::Task<void> RemoveName(Worker* worker);
  async::Task<void> LookAtName(Worker* worker);
  async::Task<void> PutSlot(Worker* worker);
  async::Task<void> GetSlot(Worker* worker);
  async::Task<void> Append(Worker* worker);
  async::Task<void> Count(Worker* worker);
  async::Task<void> CountLocked(Worker* worker, uint64_t handle);
  async::Task<void> WriteOwn(Worker* worker);
  async::Task<Result<std::string>> ReadFile(client::Filesystem* fs, Fid fid);
  async::Task<void> CheckOwn(client::Filesystem* fs, std::string name, Allowed allowed);
  void CheckLog(const std::string& text);
  void CheckSlot(uint64_t slot, const std::string& bytes, Nanos begin) const;

  async::Shard* const shard_;
  Random random_;
  const uint32_t troubled_;
  Fid names_dir_;
  Fid own_dir_;
  Fid slots_;
  Fid log_;
  Fid counter_;
  std::vector<History> names_;
  std::vector<History> slot_values_;
  std::map<std::string, bool> records_;      // was it answered?
  std::set<uint64_t> counter_values_ = {0};  // what it may be now
  int in_turn_ = 0;                          // who has the lock, as far as they know
  std::map<std::string, Allowed> own_;
  int64_t last_ = 0;  // value of a name or a slot
  int done_ = 0;
  int refused_ = 0;
};

}  // namespace sheen::test
