#include "apps/common/ost_notes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace sheen::apps {
namespace {

std::string PathOf(const std::string& directory) { return directory + "/oss.json"; }

Status WriteAndSync(int fd, const std::string& path, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, "write " + path);
    done += static_cast<size_t>(n);
  }
  if (::fsync(fd) != 0) return FailErrno(errno, "fsync " + path);
  return {};
}

}  // namespace

Result<std::string> ReadWholeFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FailErrno(errno, "open " + path);
  std::string text;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
  const int error = n < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return FailErrno(error, "read " + path);
  return text;
}

Status WriteFileAtomically(const std::string& path, const std::string& text) {
  const std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return FailErrno(errno, "open " + temporary);
  const Status written = WriteAndSync(fd, temporary, text);
  ::close(fd);
  if (!written || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    if (!written) return written;
    return FailErrno(error, "rename to " + path);
  }
  const std::string directory = std::filesystem::path(path).parent_path();
  const int directory_fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return FailErrno(errno, "open " + directory);
  const int synced = ::fsync(directory_fd);
  const int error = errno;
  ::close(directory_fd);
  if (synced != 0) return FailErrno(error, "fsync " + directory);
  return {};
}

Result<OstNotes> ReadOstNotes(const std::string& directory) {
  const std::string path = PathOf(directory);
  const Result<std::string> text = ReadWholeFile(path);
  if (!text && text.error().code() == Errc::kNoEntry) return OstNotes{};
  if (!text) return std::unexpected(text.error());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  OstNotes notes;
  bool good = json.is_object();
  if (good && json.contains("mgs")) {
    good = json["mgs"].is_array();
    for (const auto& entry : json["mgs"]) {
      good = good && entry.is_string();
      if (good) notes.mgs.push_back(entry.get<std::string>());
    }
  }
  if (good && json.contains("server_name")) {
    good = json["server_name"].is_string();
    if (good) notes.server_name = json["server_name"].get<std::string>();
  }
  if (good) return notes;
  return Fail(Errc::kCorrupt,
              fmt::format("{} is damaged; remove it (the server then registers anew) and give "
                          "--mgs HOST:CONTROLPORT",
                          path));
}

Status WriteOstNotes(const std::string& directory, const OstNotes& notes) {
  const nlohmann::json json = {{"mgs", notes.mgs}, {"server_name", notes.server_name}};
  return WriteFileAtomically(PathOf(directory), json.dump(2) + "\n");
}

}  // namespace sheen::apps
