#include "apps/sheen/format.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <filesystem>

#include "apps/common/ost_notes.h"
#include "apps/common/shard_set.h"
#include "apps/common/words.h"
#include "base/clock.h"
#include "kv/rocks_store.h"
#include "mdt/mdt.h"
#include "mdt/schema.h"
#include "ost/format.h"
#include "rpc/address.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

// RocksDB's log and first table take a few MiB, and it does not bear a full disk at all.
constexpr uint64_t kFreeBytesMin = 16 << 20;

Status CheckFreeSpace(const std::string& directory) {
  struct statvfs space {};
  if (::statvfs(directory.c_str(), &space) != 0) return FailErrno(errno, "statvfs " + directory);
  const uint64_t free = uint64_t{space.f_bavail} * space.f_frsize;
  if (free >= kFreeBytesMin) return {};
  return Fail(Errc::kNoSpace,
              fmt::format("not enough space for {}: its disk has {} bytes free, a target needs {}; "
                          "free some, or give a directory on another disk",
                          directory, free, FormatSize(kFreeBytesMin)));
}

// There, a directory, and empty but for what mkfs leaves.
Status PrepareDirectory(const std::string& directory) {
  if (directory.empty()) return Fail(Errc::kInvalid, "no directory: give --dir DIR");
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return FailErrno(error.value(), "create " + directory);
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name == "lost+found") continue;
    return Fail(
        Errc::kNotEmpty,
        fmt::format("{} is not empty (it holds {}); give an empty directory, or remove what "
                    "is in it if nobody needs it: nothing is overwritten here",
                    directory, name));
  }
  if (error) return FailErrno(error.value(), "read " + directory);
  return CheckFreeSpace(directory);
}

}  // namespace

Result<std::string> FormatMdt(const FormatMdtOptions& options) {
  SHEEN_TRY(CheckFsname(options.fsname));
  if (options.index != 0) {
    return Fail(Errc::kInvalid,
                fmt::format("MDT index {}: a filesystem has one MDT in this version, index 0",
                            options.index));
  }
  SHEEN_TRY(PrepareDirectory(options.directory));
  kv::RocksOptions rocks;
  rocks.directory = options.directory;
  rocks.families = mdt::FamilyNames();
  rocks.create = true;
  SHEEN_TRY_ASSIGN(const auto store, kv::OpenRocksStore(rocks));
  mdt::FormatOptions format;
  format.fsname = options.fsname;
  format.index = options.index;
  format.root_uid = options.root_uid;
  format.root_gid = options.root_gid;
  format.now_ns = SystemClock().Wall().count();
  SHEEN_TRY(mdt::Format(store.get(), format));
  return fmt::format("{}-MDT{:04x}", options.fsname, options.index);
}

Result<std::string> FormatOst(const FormatOstOptions& options) {
  SHEEN_TRY(CheckFsname(options.fsname));
  for (const std::string& mgs : options.mgs) SHEEN_TRY(rpc::ParseAddress(mgs, 7989));
  if (options.size_bytes != 0 && options.size_bytes < ost::kSizeLimitBytesMin) {
    return Fail(Errc::kInvalid,
                fmt::format("an OST of {} is too small; give at least {}",
                            FormatSize(options.size_bytes), FormatSize(ost::kSizeLimitBytesMin)));
  }
  SHEEN_TRY(PrepareDirectory(options.directory));
  // Before the superblock: a directory with a superblock is complete.
  SHEEN_TRY(WriteOstNotes(options.directory, {options.mgs, ""}));
  kv::RocksOptions rocks;
  rocks.directory = options.directory + "/index";
  rocks.families = ost::IndexFamilies();
  rocks.create = true;
  SHEEN_TRY_ASSIGN(const auto index, kv::OpenRocksStore(rocks));
  SHEEN_TRY_ASSIGN(const auto shards, ShardSet::Start({.count = 1, .pin = false}));
  ost::FormatOptions format;
  format.directory = options.directory;
  format.fsname = options.fsname;
  format.ost_index = options.index;
  format.size_limit_bytes = options.size_bytes;
  format.now_ns = SystemClock().Wall().count();
  using Formatted = Result<ost::Superblock>;
  const Formatted superblock = shards->Await<Formatted>(
      0, [&] { return ost::Format(shards->At(0)->files.get(), index.get(), std::move(format)); });
  if (!superblock) return std::unexpected(superblock.error());
  return superblock->TargetName();
}

}  // namespace sheen::apps
