#include "kv/rocks_start.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/log.h"

namespace sheen::kv {
namespace {

// A table for each family, manifest, options, log of events, next log.
constexpr uint64_t kFilesToStart = 32;

struct Room {
  uint64_t disk_bytes = 0;  // 0: the disk does not say
  uint64_t bytes = 0;
  bool files_counted = false;
  uint64_t files = 0;
};

std::string ReservePath(const std::string& directory) { return directory + "/sheen.reserve"; }

Result<Room> RoomOf(const std::string& directory) {
  struct statvfs space {};
  if (::statvfs(directory.c_str(), &space) != 0) return FailErrno(errno, "statvfs " + directory);
  const bool root = ::geteuid() == 0;  // who may use what the disk keeps for root
  return Room{.disk_bytes = space.f_blocks * space.f_frsize,
              .bytes = (root ? space.f_bfree : space.f_bavail) * space.f_frsize,
              .files_counted = space.f_files > 0,
              .files = root ? space.f_ffree : space.f_favail};
}

uint64_t LogBytes(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    if (file.path().extension() != ".log") continue;
    const uint64_t size = file.file_size(error);
    if (!error) bytes += size;
  }
  return bytes;
}

Status Check(const std::string& directory, const Room& room, uint64_t need) {
  if (room.disk_bytes != 0 && room.bytes < need) {
    return Fail(Errc::kNoSpace,
                fmt::format("the disk of {} is full: {} KiB are free, the start of this store "
                            "needs {} KiB; remove what else lies on that disk, or enlarge it, and "
                            "start again (nothing was changed)",
                            directory, room.bytes >> 10, (need >> 10) + 1));
  }
  if (room.files_counted && room.files < kFilesToStart) {
    return Fail(Errc::kNoSpace,
                fmt::format("the disk of {} has {} free inodes, the start of this store needs {}; "
                            "remove files from that disk and start again (nothing was changed)",
                            directory, room.files, kFilesToStart));
  }
  return {};
}

}  // namespace

Status MakeRoomToStart(const std::string& directory) {
  const uint64_t need = BytesToStart(LogBytes(directory));
  SHEEN_TRY_ASSIGN(const Room before, RoomOf(directory));
  if (Check(directory, before, need)) return {};
  if (::unlink(ReservePath(directory).c_str()) == 0) {
    SHEEN_LOG(Warn,
              "the disk of {} is full ({} KiB free); the store starts from what was kept for "
              "this: delete something soon",
              directory, before.bytes >> 10);
  }
  SHEEN_TRY_ASSIGN(const Room after, RoomOf(directory));
  return Check(directory, after, need);
}

void KeepStartReserve(const std::string& directory) {
  const auto room = RoomOf(directory);
  if (!room) return;
  const uint64_t bytes = StartReserve(room->disk_bytes);
  if (bytes == 0 || room->bytes / 4 < bytes) return;
  const std::string path = ReservePath(directory);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // Where files are written elsewhere than they lay, nothing can be set aside.
  if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) ::unlink(path.c_str());
  ::close(fd);
}

}  // namespace sheen::kv
