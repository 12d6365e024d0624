#include "kv/rocks_space.h"

#include <rocksdb/file_system.h>

#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace sheen::kv {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// Names of the tables that compactions are about to make. Thread-safe.
class Announced final : public rocksdb::EventListener {
 public:
  void OnTableFileCreationStarted(const rocksdb::TableFileCreationBriefInfo& info) override {
    if (info.reason != rocksdb::TableFileCreationReason::kCompaction) return;
    const std::scoped_lock lock(mutex_);
    names_.insert(info.file_path);
  }
  // True once for each announced name.
  bool Take(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    return names_.erase(name) > 0;
  }

 private:
  std::mutex mutex_;  // guards names_
  std::set<std::string> names_;
};

class LimitedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LimitedFile(std::unique_ptr<rocksdb::FSWritableFile> file, const CompactionRoom* room)
      : FSWritableFileOwnerWrapper(std::move(file)), room_(room) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    IOStatus room = Check(data);
    return room.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : room;
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    IOStatus room = Check(data);
    return room.ok() ? FSWritableFileOwnerWrapper::Append(data, options, verification, debug)
                     : room;
  }
  // A table's whole size would be taken at its first byte.
  void PrepareWrite(size_t /*offset*/, size_t /*length*/, const IOOptions& /*options*/,
                    IODebugContext* /*debug*/) override {}
  IOStatus Allocate(uint64_t /*offset*/, uint64_t /*length*/, const IOOptions& /*options*/,
                    IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }

 private:
  IOStatus Check(const Slice& data) const {
    if ((*room_)() >= data.size()) return IOStatus::OK();
    return IOStatus::NoSpace("the rest of the disk is kept for the log and for flushes");
  }
  const CompactionRoom* const room_;
};

class LimitedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  LimitedFileSystem(CompactionRoom room, std::shared_ptr<Announced> announced)
      : FileSystemWrapper(rocksdb::FileSystem::Default()),
        room_(std::move(room)),
        announced_(std::move(announced)) {}
  const char* Name() const override { return "sheen.LimitedFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext* debug) override {
    IOStatus made = FileSystemWrapper::NewWritableFile(name, options, result, debug);
    if (announced_->Take(name) && made.ok()) {
      *result = std::make_unique<LimitedFile>(std::move(*result), &room_);
    }
    return made;
  }
  // After a "no space" RocksDB would start only what fits twice, and so what wins space back not
  // at all. What does not fit is stopped here, and tried again a second later.
  IOStatus GetFreeSpace(const std::string& /*path*/, const IOOptions& /*options*/, uint64_t* bytes,
                        IODebugContext* /*debug*/) override {
    *bytes = UINT64_MAX / 4;
    return IOStatus::OK();
  }

 private:
  const CompactionRoom room_;
  const std::shared_ptr<Announced> announced_;
};

}  // namespace

LimitedEnv LimitCompactions(CompactionRoom room) {
  auto announced = std::make_shared<Announced>();
  auto files = std::make_shared<LimitedFileSystem>(std::move(room), announced);
  return {rocksdb::NewCompositeEnv(std::move(files)), std::move(announced)};
}

}  // namespace sheen::kv
