// Rigs for tests of FileIo: the real thing in a temporary directory, and the fake.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/blocking_pool.h"
#include "base/clock.h"
#include "io/memory_file_io.h"
#include "io/uring_file_io.h"

namespace sheen::io {

using async::Task;

// Runs tasks to their end on a shard of its own.
class Rig {
 public:
  virtual ~Rig() = default;
  virtual FileIo* io() = 0;
  virtual async::Shard* shard() = 0;
  virtual std::string root() = 0;

  template <class T>
  T Wait(Task<T> task) {
    std::optional<T> out;
    // Posted: a task may ask for Shard::Current() before it first waits.
    shard()->Post([&] { shard()->Spawn(Store(std::move(task), &out)); });
    while (!out) shard()->RunOnce(std::chrono::milliseconds(20));
    return std::move(*out);
  }

 private:
  template <class T>
  static Task<void> Store(Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
};

class UringRig final : public Rig {
 public:
  UringRig() {
    char name[] = "/tmp/sheen-file-io-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~UringRig() override { std::filesystem::remove_all(root_); }
  FileIo* io() override { return &io_; }
  async::Shard* shard() override { return &shard_; }
  std::string root() override { return root_; }

 private:
  std::string root_;
  std::unique_ptr<UringPoller> poller_ = *UringPoller::Create({});
  async::BlockingPool pool_{2};
  async::Shard shard_{poller_.get(), &SystemClock()};
  UringFileIo io_{poller_.get(), &pool_};
};

// Jumps the clock instead of waiting.
class JumpPoller final : public async::Poller {
 public:
  explicit JumpPoller(ManualClock* clock) : clock_(clock) {}
  void Poll(Nanos max_wait) override { clock_->Advance(max_wait); }
  void Wake() override {}

 private:
  ManualClock* clock_;
};

class MemoryRig : public Rig {
 public:
  explicit MemoryRig(MemoryFileSystemOptions options = {}, Nanos latency_max = Nanos(0))
      : files_(options), io_(&files_, &shard_, {.latency_max = latency_max}) {
    files_.MakeDurableDirectory("/disk");
  }
  FileIo* io() override { return &io_; }
  async::Shard* shard() override { return &shard_; }
  std::string root() override { return "/disk"; }
  MemoryFileSystem* files() { return &files_; }

 private:
  ManualClock clock_;
  JumpPoller poller_{&clock_};
  async::Shard shard_{&poller_, &clock_};
  MemoryFileSystem files_;
  MemoryFileIo io_;
};

class SlowMemoryRig final : public MemoryRig {
 public:
  SlowMemoryRig() : MemoryRig({}, std::chrono::milliseconds(5)) {}
};

inline std::string Bytes(size_t size, int seed) {
  std::string out(size, 0);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + i / 251 + size_t(seed));
  return out;
}

// What both test cases below use, over a rig.
class Files {
 public:
  explicit Files(Rig* rig) : rig_(rig) {}
  FileId Open(const std::string& name, int flags = O_RDWR | O_CREAT) {
    const auto file = rig_->Wait(rig_->io()->Open(Path(name), flags));
    EXPECT_TRUE(file.has_value()) << file.error().ToString();
    return file.value_or(FileId::kNone);
  }
  std::string Path(const std::string& name) { return rig_->root() + "/" + name; }
  Status Write(FileId file, const std::string& data, uint64_t offset) {
    return rig_->Wait(rig_->io()->Write(file, AsBytes(data), offset));
  }
  std::string Read(FileId file, size_t size, uint64_t offset) {
    std::string out(size, '#');
    const auto count = rig_->Wait(
        rig_->io()->Read(file, {reinterpret_cast<std::byte*>(out.data()), out.size()}, offset));
    EXPECT_TRUE(count.has_value()) << count.error().ToString();
    out.resize(count.value_or(0));
    return out;
  }
  Errc OpenError(const std::string& name, int flags) {
    const auto file = rig_->Wait(rig_->io()->Open(Path(name), flags));
    if (file) {
      (void)rig_->Wait(rig_->io()->Close(*file));
      return Errc::kOk;
    }
    return file.error().code();
  }
  std::vector<std::string> List(const std::string& name) {
    auto names = rig_->Wait(rig_->io()->List(name.empty() ? rig_->root() : Path(name)));
    EXPECT_TRUE(names.has_value()) << names.error().ToString();
    std::sort(names->begin(), names->end());
    return std::move(*names);
  }
  void Sync(FileId file) { EXPECT_TRUE(rig_->Wait(rig_->io()->SyncData(file)).has_value()); }
  void SyncDir(const std::string& name) {
    const std::string path = name.empty() ? rig_->root() : Path(name);
    EXPECT_TRUE(rig_->Wait(rig_->io()->SyncDirectory(path)).has_value());
  }
  void MakeDir(const std::string& name) {
    EXPECT_TRUE(rig_->Wait(rig_->io()->MakeDirectory(Path(name))).has_value());
  }

 private:
  Rig* rig_;
};

}  // namespace sheen::io
