// FileIo and kv::Store of a process that dies: a fuse counts calls; when it is blown every call
// fails and changes nothing, which is what the disk sees of a process that was killed there.
//
// Shard-confined.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/file_io.h"
#include "kv/store.h"

namespace sheen::test {

class Fuse final {
 public:
  // The next `calls` changing calls go through, those after them do not.
  void BlowAfter(uint64_t calls) { left_ = calls; }
  void Blow() { left_ = 0; }
  bool blown() const { return left_ == 0; }
  // For every call that changes or syncs something.
  Status Use() {
    if (left_ == 0) return Fail(Errc::kIo, "the process is dead");
    if (left_ != kNever) --left_;
    ++used_;
    return {};
  }
  uint64_t used() const { return used_; }

 private:
  static constexpr uint64_t kNever = UINT64_MAX;
  uint64_t left_ = kNever;
  uint64_t used_ = 0;
};

class MortalFileIo final : public io::FileIo {
 public:
  MortalFileIo(io::FileIo* inner, std::shared_ptr<Fuse> fuse) : inner_(inner), fuse_(fuse) {}

  async::Task<Result<io::FileId>> Open(std::string path, int flags) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->Open(std::move(path), flags);
  }
  async::Task<Status> Close(io::FileId file) override { return inner_->Close(file); }
  async::Task<Result<size_t>> Read(io::FileId file, MutableByteSpan out, uint64_t offset) override {
    return inner_->Read(file, out, offset);
  }
  // The next write finds the disk full after so many bytes.
  void TearNextWrite(size_t bytes) { tear_after_ = bytes; }
  async::Task<Status> Write(io::FileId file, ByteSpan data, uint64_t offset) override {
    SHEEN_CO_TRY(fuse_->Use());
    if (tear_after_ < data.size()) {
      const ByteSpan landed = data.first(std::exchange(tear_after_, SIZE_MAX));
      SHEEN_CO_TRY(co_await inner_->Write(file, landed, offset));
      co_return Fail(Errc::kNoSpace, "the disk is full after a part of it");
    }
    co_return co_await inner_->Write(file, data, offset);
  }
  async::Task<Status> SyncData(io::FileId file) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->SyncData(file);
  }
  async::Task<Status> SyncDirectory(std::string path) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->SyncDirectory(std::move(path));
  }
  async::Task<Result<io::FileStat>> Stat(io::FileId file) override { return inner_->Stat(file); }
  async::Task<Result<io::FileStat>> StatPath(std::string path) override {
    return inner_->StatPath(std::move(path));
  }
  async::Task<Status> Truncate(io::FileId file, uint64_t size) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->Truncate(file, size);
  }
  async::Task<Status> Allocate(io::FileId file, int mode, uint64_t offset,
                               uint64_t length) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->Allocate(file, mode, offset, length);
  }
  async::Task<Result<uint64_t>> Seek(io::FileId file, uint64_t offset, int whence) override {
    return inner_->Seek(file, offset, whence);
  }
  async::Task<Status> Unlink(std::string path) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->Unlink(std::move(path));
  }
  async::Task<Status> MakeDirectory(std::string path) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->MakeDirectory(std::move(path));
  }
  async::Task<Status> Rename(std::string from, std::string to) override {
    SHEEN_CO_TRY(fuse_->Use());
    co_return co_await inner_->Rename(std::move(from), std::move(to));
  }
  async::Task<Result<std::vector<std::string>>> List(std::string directory) override {
    return inner_->List(std::move(directory));
  }
  async::Task<Result<io::DiskSpace>> Space(std::string path) override {
    return inner_->Space(std::move(path));
  }

 private:
  io::FileIo* const inner_;
  const std::shared_ptr<Fuse> fuse_;
  size_t tear_after_ = SIZE_MAX;
};

class MortalStore final : public kv::Store {
 public:
  MortalStore(kv::Store* inner, std::shared_ptr<Fuse> fuse) : inner_(inner), fuse_(fuse) {}

  Result<std::optional<std::string>> Get(kv::Family family, std::string_view key,
                                         kv::Blocking blocking) override {
    return inner_->Get(family, key, blocking);
  }
  std::unique_ptr<kv::Cursor> NewCursor(kv::Family family, kv::Blocking blocking) override {
    return inner_->NewCursor(family, blocking);
  }
  Status Write(const kv::Batch& batch, kv::Blocking blocking) override {
    SHEEN_TRY(fuse_->Use());
    return inner_->Write(batch, blocking);
  }
  Status Sync() override {
    SHEEN_TRY(fuse_->Use());
    return inner_->Sync();
  }
  Status ReclaimSpace(kv::Reclaim what) override {
    SHEEN_TRY(fuse_->Use());
    return inner_->ReclaimSpace(what);
  }
  uint64_t ApproximateBytes() const override { return inner_->ApproximateBytes(); }
  uint64_t DeletedRows() const override { return inner_->DeletedRows(); }

 private:
  kv::Store* const inner_;
  const std::shared_ptr<Fuse> fuse_;
};

}  // namespace sheen::test
