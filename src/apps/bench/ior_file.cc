#include "apps/bench/ior_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sheen::bench {
namespace {

constexpr uint32_t kFileMode = 0664;

int OpenFlags(OpenMode mode) { return mode.write ? O_CREAT | O_RDWR : O_RDONLY; }

class PosixFile final : public BenchFile {
 public:
  ~PosixFile() override {
    if (file_ >= 0) ::close(file_);
  }
  Status Open(const std::string& path, OpenMode mode) override {
    file_ = ::open(path.c_str(), OpenFlags(mode) | (mode.direct ? O_DIRECT : 0), kFileMode);
    if (file_ < 0) return FailErrno(errno, "open");
    return {};
  }
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    return Retried("read", [&] {
      return ::pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
    });
  }
  Result<size_t> WriteAt(uint64_t offset, std::span<const std::byte> data) override {
    return Retried("write", [&] {
      return ::pwrite(file_, data.data(), data.size(), static_cast<off_t>(offset));
    });
  }
  Status Sync() override {
    if (::fsync(file_) != 0) return FailErrno(errno, "fsync");
    return {};
  }
  Status Close() override {
    if (::close(std::exchange(file_, -1)) != 0) return FailErrno(errno, "close");
    return {};
  }

 private:
  template <class Call>
  static Result<size_t> Retried(const char* name, const Call& call) {
    for (;;) {
      const ssize_t n = call();
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return FailErrno(errno, name);
    }
  }
  int file_ = -1;
};

class SheenFile final : public BenchFile {
 public:
  explicit SheenFile(const Result<std::unique_ptr<Mount>>* mount) : mount_(mount) {}
  Status Open(const std::string& path, OpenMode mode) override {
    if (!*mount_) return std::unexpected(mount_->error());
    auto file = (**mount_)->Open(path, OpenFlags(mode), kFileMode);
    if (!file) return std::unexpected(file.error());
    file_ = std::move(*file);
    return {};
  }
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    return file_->Read(offset, out);
  }
  Result<size_t> WriteAt(uint64_t offset, std::span<const std::byte> data) override {
    return file_->Write(offset, data);
  }
  Status Sync() override { return file_->Sync(); }
  Status Close() override { return file_->Close(); }

 private:
  const Result<std::unique_ptr<Mount>>* const mount_;
  std::unique_ptr<File> file_;
};

Result<std::unique_ptr<Mount>> MountFor(const IorOptions& options) {
  if (options.api != Api::kSheen) return Fail(Errc::kInvalid, "not of this API");
  return Mount::Connect(options.sheen_source, {.port = options.sheen_port});
}

}  // namespace

BenchApi::BenchApi(const IorOptions& options) : api_(options.api), mount_(MountFor(options)) {}

std::unique_ptr<BenchFile> BenchApi::MakeFile() const {
  if (api_ == Api::kPosix) return std::make_unique<PosixFile>();
  return std::make_unique<SheenFile>(&mount_);
}

Status BenchApi::Remove(const std::string& path) const {
  if (api_ == Api::kSheen) {
    if (!mount_) return std::unexpected(mount_.error());
    return (*mount_)->Unlink(path);
  }
  if (::unlink(path.c_str()) != 0) return FailErrno(errno, "unlink");
  return {};
}

}  // namespace sheen::bench
