// One OST on memory: a disk (files and index) that outlives the target that serves it, so that a
// test can kill the target or cut the power and open it again.
//
//   OstWorld world;  world.Start();
//   world.Write(id, 0, "abc");  world.PowerCut();  world.Start();
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/blocking_pool.h"
#include "async/sim_poller.h"
#include "io/memory_file_io.h"
#include "kv/memory_store.h"
#include "ost/target.h"
#include "support/mortal_disk.h"

namespace sheen::test {

struct OstWorldOptions {
  uint64_t size_limit_bytes = 0;
  uint64_t capacity_bytes = uint64_t{1} << 40;
  uint32_t open_objects_max = 4096;
  uint64_t commit_bytes = 64 << 20;
};

class OstWorld final {
 public:
  explicit OstWorld(OstWorldOptions options = {})
      : options_(options), files({.capacity_bytes = options.capacity_bytes}) {
    files.MakeDurableDirectory("/ost");
    Format();
  }

  template <class T>
  static async::Task<void> Keep(async::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  // Runs `task` to its end on the shard.
  template <class T>
  T Run(async::Task<T> task) {
    std::optional<T> out;
    Start(std::move(task), &out);
    Finish(&out);
    return std::move(*out);
  }
  template <class T>
  void Start(async::Task<T> task, std::optional<T>* out) {
    auto holder = std::make_shared<async::Task<T>>(std::move(task));
    shard.Post([this, holder, out] { shard.Spawn(Keep(std::move(*holder), out)); });
  }
  template <class T>
  void Finish(std::optional<T>* out) {
    ASSERT_TRUE(async::RunUntil(
        &shard, [&] { return out->has_value(); }, std::chrono::hours(1)));
  }

  void Format() {
    ost::FormatOptions format;
    format.directory = "/ost";
    format.fsname = "sheen";
    format.ost_index = 3;
    format.size_limit_bytes = options_.size_limit_bytes;
    format.now_ns = clock.Wall().count();
    auto new_store = kv::OpenMemoryStore(&disk);
    io::MemoryFileIo new_io(&files, &shard);
    const auto formatted = Run(ost::Format(&new_io, new_store.get(), format));
    ASSERT_TRUE(formatted) << formatted.error().ToString();
  }

  ost::OpenOptions Options() {
    ost::OpenOptions open;
    open.directory = "/ost";
    open.fsname = "sheen";
    open.index = store.get();
    open.pool = &pool;
    open.lock_directory = false;
    open.open_objects_max = options_.open_objects_max;
    open.commit_bytes = options_.commit_bytes;
    open.machine_boot_id = "boot" + std::to_string(machine_boots);
    return open;
  }
  Status TryStart() {
    fuse = std::make_shared<Fuse>();
    real_store_ = kv::OpenMemoryStore(&disk);
    store = std::make_unique<MortalStore>(real_store_.get(), fuse);
    real_io_ = std::make_unique<io::MemoryFileIo>(&files, &shard);
    io = std::make_unique<MortalFileIo>(real_io_.get(), fuse);
    auto opened = Run(ost::Target::Open(io.get(), Options()));
    if (!opened) return std::unexpected(opened.error());
    target = std::move(*opened);
    return {};
  }
  void Start() {
    const Status started = TryStart();
    ASSERT_TRUE(started) << started.error().ToString();
  }
  // The process dies: what it did to files and index stays.
  void Kill() {
    fuse->Blow();
    // What is under way ends, without effect on the disk.
    async::RunUntil(
        &shard, [&] { return shard.live_tasks() == 0; }, std::chrono::hours(1));
    target.reset();
    io.reset();
    real_io_.reset();
    store.reset();
    real_store_.reset();
  }
  // The machine too: what was not synced is lost; of the index's unsynced batches the first
  // `keep_batches` stay.
  void PowerCut(size_t keep_batches = 0) {
    Kill();
    files.PowerCut();
    disk.PowerCut(keep_batches);
    ++machine_boots;
  }
  void TornPowerCut(Random* random) {
    Kill();
    files.PowerCutKeepingSome(random);
    disk.PowerCut(random->Below(disk.unsynced_batches() + 1));
    ++machine_boots;
  }
  void Close() {
    const Status closed = Run(target->Close(io.get()));
    ASSERT_TRUE(closed) << closed.error().ToString();
    Kill();
  }

  Result<ost::ChangeResult> Write(const layout::ObjectId& id, uint64_t offset,
                                  const std::string& data, uint32_t layout_generation = 1) {
    return Run(target->Write(io.get(), {.id = id,
                                        .offset = offset,
                                        .data = AsBytes(data),
                                        .owner = {.layout_generation = layout_generation}}));
  }
  Result<ost::ChangeResult> Truncate(const layout::ObjectId& id, uint64_t size,
                                     bool create = false) {
    return Run(target->Truncate(
        io.get(), {.id = id, .size = size, .owner = {.layout_generation = 1}, .create = create}));
  }
  Result<ost::ChangeResult> Allocate(const layout::ObjectId& id, int mode, uint64_t offset,
                                     uint64_t length) {
    return Run(target->Allocate(io.get(), {.id = id,
                                           .offset = offset,
                                           .length = length,
                                           .mode = mode,
                                           .owner = {.layout_generation = 1}}));
  }
  Result<std::string> Read(const layout::ObjectId& id, uint64_t offset, size_t length) {
    std::string out(length, '?');
    const auto result = Run(
        target->Read(io.get(), id, offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}));
    if (!result) return std::unexpected(result.error());
    out.resize(result->bytes);
    return out;
  }
  // All of it; a failed read shows as text that no test writes.
  std::string Contents(const layout::ObjectId& id) {
    const auto text = Read(id, 0, 1 << 20);
    return text ? *text : "<" + text.error().ToString() + ">";
  }
  Result<ost::ObjectAttr> GetAttr(const layout::ObjectId& id) {
    return Run(target->GetAttr(io.get(), id));
  }
  Status Destroy(std::vector<layout::ObjectId> ids) {
    return Run(target->Destroy(io.get(), std::move(ids)));
  }
  Status Commit() { return Run(target->Commit(io.get())); }
  void Tick(int64_t oldest_request_ns = INT64_MAX) { Run(TickTask(oldest_request_ns)); }

 private:
  async::Task<bool> TickTask(int64_t oldest_request_ns) {
    co_await target->Tick(io.get(), oldest_request_ns);
    co_return true;
  }

  const OstWorldOptions options_;
  std::unique_ptr<io::MemoryFileIo> real_io_;
  std::unique_ptr<kv::Store> real_store_;

 public:
  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  async::BlockingPool pool{0};
  io::MemoryFileSystem files;
  kv::MemoryDisk disk{ost::IndexFamilies().size()};
  uint32_t machine_boots = 0;
  std::shared_ptr<Fuse> fuse = std::make_shared<Fuse>();
  std::unique_ptr<kv::Store> store;
  std::unique_ptr<MortalFileIo> io;
  std::unique_ptr<ost::Target> target;
};

inline layout::ObjectId ObjectNumber(uint32_t number) {
  return {{kFirstClientSequence, number + 1, 0}, 0x10000000007, 0};
}

}  // namespace sheen::test
