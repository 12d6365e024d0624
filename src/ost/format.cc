#include "ost/format.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "ost/index_meta.h"

namespace sheen::ost {
namespace {

bool ValidFsname(const std::string& name) {
  return !name.empty() && name.size() <= kFsnameBytesMax &&
         std::ranges::all_of(name, [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

Status CheckOptions(const FormatOptions& options) {
  if (!ValidFsname(options.fsname)) {
    return Fail(Errc::kInvalid,
                fmt::format("filesystem name '{}' is not 1 to {} letters, digits, '_' or '-'",
                            options.fsname, kFsnameBytesMax));
  }
  if (options.ost_index > 0xFFFF) {
    return Fail(Errc::kInvalid, fmt::format("OST index {} is above 65535", options.ost_index));
  }
  if (options.size_limit_bytes != 0 && options.size_limit_bytes < kSizeLimitBytesMin) {
    return Fail(Errc::kInvalid, fmt::format("size {} is below the smallest OST, {} bytes",
                                            options.size_limit_bytes, kSizeLimitBytesMin));
  }
  return {};
}

async::Task<Status> MakeDirectory(io::FileIo* io, std::string path) {
  const Status made = co_await io->MakeDirectory(path);
  if (!made && made.error().code() != Errc::kExists) co_return made;
  co_return Status();
}

// objects/ with its 256 first-level directories; the second level comes with its first object.
async::Task<Status> MakeObjectDirectories(io::FileIo* io, std::string directory) {
  const std::string objects = directory + "/objects";
  SHEEN_CO_TRY(co_await MakeDirectory(io, objects));
  for (uint32_t i = 0; i < 256; ++i) {
    SHEEN_CO_TRY(co_await MakeDirectory(io, fmt::format("{}/{:02x}", objects, i)));
  }
  SHEEN_CO_TRY(co_await io->SyncDirectory(objects));
  co_return Status();
}

async::Task<Status> WriteAndSync(io::FileIo* io, io::FileId file, std::string bytes) {
  SHEEN_CO_TRY(co_await io->Write(file, AsBytes(bytes), 0));
  SHEEN_CO_TRY(co_await io->SyncData(file));
  co_return Status();
}

// A new file beside, synced, then renamed over: there is never half a superblock.
async::Task<Status> WriteSuperblock(io::FileIo* io, std::string directory, std::string bytes) {
  const std::string path = directory + "/superblock";
  const std::string new_path = path + ".new";
  SHEEN_CO_TRY_ASSIGN(const io::FileId file,
                      co_await io->Open(new_path, O_RDWR | O_CREAT | O_TRUNC));
  const Status written = co_await WriteAndSync(io, file, std::move(bytes));
  const Status closed = co_await io->Close(file);
  SHEEN_CO_TRY(written);
  SHEEN_CO_TRY(closed);
  SHEEN_CO_TRY(co_await io->Rename(new_path, path));
  SHEEN_CO_TRY(co_await io->SyncDirectory(directory));
  co_return Status();
}

Status CheckIndexEmpty(kv::Store* index, const std::string& directory) {
  const auto cursor = index->NewCursor(kObjectFamily, kv::Blocking::kMayBlock);
  cursor->Seek("");
  if (cursor->Valid()) {
    return Fail(Errc::kNotEmpty,
                fmt::format("{}/index holds objects but there is no superblock: this was an OST; "
                            "empty the directory first if its data are not needed",
                            directory));
  }
  return cursor->status();
}

}  // namespace

std::vector<std::string> IndexFamilies() {
  return {"objects", "pending", "tombstones", "sessions", "meta"};
}

async::Task<Result<Superblock>> Format(io::FileIo* io, kv::Store* index, FormatOptions options) {
  SHEEN_CO_TRY(CheckOptions(options));
  const Result<Superblock> there = co_await ReadSuperblock(io, options.directory);
  if (there) {
    co_return Fail(Errc::kExists, fmt::format("{} is already the OST {}; nothing was changed",
                                              options.directory, there->TargetName()));
  }
  if (there.error().code() != Errc::kNoEntry) co_return std::unexpected(there.error());
  SHEEN_CO_TRY(CheckIndexEmpty(index, options.directory));

  Superblock superblock;
  superblock.ost_index = options.ost_index;
  superblock.uuid = options.uuid.empty() ? Uuid::Random() : options.uuid;
  superblock.generation = options.generation;
  superblock.size_limit_bytes = options.size_limit_bytes;
  superblock.created_ns = options.now_ns;
  superblock.fsname = options.fsname;

  SHEEN_CO_TRY(co_await MakeObjectDirectories(io, options.directory));
  kv::Batch batch;
  batch.Put(kMetaFamily, std::string(kIdentityRow), EncodeIdentity(superblock));
  SHEEN_CO_TRY(index->Write(batch, kv::Blocking::kMayBlock));
  SHEEN_CO_TRY(index->Sync());
  SHEEN_CO_TRY(co_await WriteSuperblock(io, options.directory, EncodeSuperblock(superblock)));
  SHEEN_LOG(Info, "formatted {} as {}, uuid {}", options.directory, superblock.TargetName(),
            superblock.uuid.ToString());
  co_return superblock;
}

async::Task<Result<Superblock>> ReadSuperblock(io::FileIo* io, std::string directory) {
  const std::string path = directory + "/superblock";
  const Result<io::FileId> file = co_await io->Open(path, O_RDONLY);
  if (!file) {
    if (file.error().code() != Errc::kNoEntry) co_return std::unexpected(file.error());
    co_return Fail(Errc::kNoEntry,
                   fmt::format("{} is not an OST (no superblock): make one with `sheen format "
                               "--ost --index N {}`",
                               directory, directory));
  }
  std::string bytes(kSuperblockBytes + 1, '\0');  // one more, so that a longer file is noticed
  const MutableByteSpan out{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
  const Result<size_t> size = co_await io->Read(*file, out, 0);
  const Status closed = co_await io->Close(*file);
  if (!size) co_return std::unexpected(size.error());
  SHEEN_CO_TRY(closed);
  bytes.resize(*size);
  Result<Superblock> superblock = DecodeSuperblock(bytes);
  if (!superblock) co_return std::unexpected(Annotate(superblock.error(), path + ": "));
  co_return superblock;
}

}  // namespace sheen::ost
