#include "client/lost_data.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "sheen/result.h"

namespace sheen::client {
namespace {

// For the mount's owner alone: whose bytes they are is not asked here.
constexpr mode_t kFileMode = 0600;

Status WriteAll(int fd, ByteSpan bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, "write " + path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return ::fdatasync(fd) == 0 ? Status() : FailErrno(errno, "sync " + path);
}

Status WriteInto(const std::string& path, int flags, ByteSpan bytes, uint64_t offset) {
  const int fd =
      ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, kFileMode);
  if (fd < 0) return FailErrno(errno, "open " + path);
  Status written = WriteAll(fd, bytes, offset, path);
  ::close(fd);
  return written;
}

Status WritePiece(const std::string& path, uint64_t offset, ByteSpan bytes) {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(directory, error);
  if (error) return FailErrno(error.value(), "make the directory " + directory.string());
  std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  SHEEN_TRY(WriteInto(path + ".data", 0, bytes, offset));
  // Afterwards: a range that is named is there.
  const std::string line = fmt::format("{} {}\n", offset, bytes.size());
  return WriteInto(path + ".ranges", O_APPEND, AsBytes(line), 0);
}

}  // namespace

LostData::LostData(std::string directory, std::string fsname)
    : directory_(std::move(directory)), fsname_(std::move(fsname)) {}

LostData::~LostData() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::string LostData::Save(const std::string& file, uint64_t offset, ByteSpan bytes,
                           std::shared_ptr<const void> owner) {
  if (directory_.empty() || bytes.empty()) return "";
  const std::scoped_lock lock(mutex_);
  if (bytes.size() > kBytesMax - bytes_) {
    return fmt::format("; not saved, since {} bytes have been", bytes_);
  }
  bytes_ += bytes.size();
  if (!thread_.joinable()) {
    session_directory_ = fmt::format("{}/{}/{:%Y%m%dT%H%M%SZ}-{}", directory_, fsname_,
                                     fmt::gmtime(std::time(nullptr)), ::getpid());
    thread_ = std::thread([this] { Run(); });
  }
  std::string path = session_directory_ + "/" + file;
  std::string text = "; saved in " + path + ".data";
  pieces_.push_back({std::move(path), offset, bytes, std::move(owner)});
  changed_.notify_all();
  return text;
}

void LostData::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !pieces_.empty(); });
    if (pieces_.empty()) return;
    const Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    lock.unlock();
    const Status written = WritePiece(piece.path, piece.offset, piece.bytes);
    if (!written) {
      SHEEN_LOG(Error, "{}.data: {} bytes at {} that could not be stored are not saved either: {}",
                piece.path, piece.bytes.size(), piece.offset, written.error().ToString());
    }
    lock.lock();
  }
}

}  // namespace sheen::client
