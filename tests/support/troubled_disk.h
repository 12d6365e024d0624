// A disk in trouble: slow, full or failing. Wraps a FileIo; what is wrong is decided while it runs,
// for all who share the DiskTrouble.
//
// Shard-confined.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "io/file_io.h"

namespace sheen::test {

struct DiskTrouble {
  Nanos write_delay{0};  // of each call that changes something
  Nanos sync_delay{0};   // of each sync
  Nanos read_delay{0};
  // kOk: it works. What fails changes nothing, but for a sync: nobody knows what became of that.
  Errc fail_writes = Errc::kOk;
  Errc fail_syncs = Errc::kOk;
  Errc fail_reads = Errc::kOk;
  uint64_t failed = 0;  // calls
};

class TroubledFileIo final : public io::FileIo {
 public:
  TroubledFileIo(io::FileIo* inner, std::shared_ptr<DiskTrouble> trouble)
      : inner_(inner), trouble_(std::move(trouble)) {}

  async::Task<Result<io::FileId>> Open(std::string path, int flags) override {
    return inner_->Open(std::move(path), flags);
  }
  async::Task<Status> Close(io::FileId file) override { return inner_->Close(file); }
  async::Task<Result<size_t>> Read(io::FileId file, MutableByteSpan out, uint64_t offset) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->read_delay, &DiskTrouble::fail_reads));
    co_return co_await inner_->Read(file, out, offset);
  }
  async::Task<Status> Write(io::FileId file, ByteSpan data, uint64_t offset) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->write_delay, &DiskTrouble::fail_writes));
    co_return co_await inner_->Write(file, data, offset);
  }
  async::Task<Status> SyncData(io::FileId file) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->sync_delay, &DiskTrouble::fail_syncs));
    co_return co_await inner_->SyncData(file);
  }
  async::Task<Status> SyncDirectory(std::string path) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->sync_delay, &DiskTrouble::fail_syncs));
    co_return co_await inner_->SyncDirectory(std::move(path));
  }
  async::Task<Result<io::FileStat>> Stat(io::FileId file) override { return inner_->Stat(file); }
  async::Task<Result<io::FileStat>> StatPath(std::string path) override {
    return inner_->StatPath(std::move(path));
  }
  async::Task<Status> Truncate(io::FileId file, uint64_t size) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->write_delay, nullptr));
    co_return co_await inner_->Truncate(file, size);
  }
  async::Task<Status> Allocate(io::FileId file, int mode, uint64_t offset,
                               uint64_t length) override {
    SHEEN_CO_TRY(co_await Meet(trouble_->write_delay, &DiskTrouble::fail_writes));
    co_return co_await inner_->Allocate(file, mode, offset, length);
  }
  async::Task<Result<uint64_t>> Seek(io::FileId file, uint64_t offset, int whence) override {
    return inner_->Seek(file, offset, whence);
  }
  async::Task<Status> Unlink(std::string path) override { return inner_->Unlink(std::move(path)); }
  async::Task<Status> MakeDirectory(std::string path) override {
    return inner_->MakeDirectory(std::move(path));
  }
  async::Task<Status> Rename(std::string from, std::string to) override {
    return inner_->Rename(std::move(from), std::move(to));
  }
  async::Task<Result<std::vector<std::string>>> List(std::string directory) override {
    return inner_->List(std::move(directory));
  }
  async::Task<Result<io::DiskSpace>> Space(std::string path) override {
    return inner_->Space(std::move(path));
  }

 private:
  async::Task<Status> Meet(Nanos delay, Errc DiskTrouble::*fails) {
    if (delay > Nanos(0)) co_await async::Shard::Current()->Sleep(delay);
    if (fails == nullptr || *trouble_.*fails == Errc::kOk) co_return Status();
    ++trouble_->failed;
    co_return Fail(*trouble_.*fails, "the disk is in trouble");
  }

  io::FileIo* const inner_;
  const std::shared_ptr<DiskTrouble> trouble_;
};

}  // namespace sheen::test
