// lfs find: walks directories and shows what passes all tests.
#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "apps/lfs/command.h"
#include "apps/lfs/find_file.h"
#include "base/clock.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "find";

class Walk final {
 public:
  explicit Walk(const FindRequest& request)
      : request_(request), now_ns_(SystemClock().Wall().count()) {}

  // Goes on after errors, but not when nothing can be printed any more (a full disk).
  void Visit(const std::string& path, uint64_t depth) {
    if (std::ferror(stdout) != 0) return;
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) return Report(path, FailErrno(errno, path).error());
    if (depth >= request_.depth_min) Show(path, info);
    if (S_ISDIR(info.st_mode) && depth < request_.depth_max) Descend(path, depth);
  }
  // The first error's.
  int status() const { return status_; }

 private:
  void Show(const std::string& path, const struct stat& info) {
    FindFile file(path, info, now_ns_);
    const Result<bool> matches = file.Matches(request_.tests);
    if (!matches) return Report(path, matches.error());
    if (!*matches) return;
    const Result<std::string> line = file.Print(request_);
    if (!line) return Report(path, line.error());
    std::fwrite(line->data(), 1, line->size(), stdout);
  }

  // The names are read before any is visited: descriptors are needed for one level only.
  void Descend(const std::string& path, uint64_t depth) {
    DIR* const directory = ::opendir(path.c_str());
    if (directory == nullptr) return Report(path, FailErrno(errno, path).error());
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    const int error = errno;
    ::closedir(directory);
    if (error != 0) Report(path, FailErrno(error, path).error());
    for (const std::string& name : names) {
      Visit(path.ends_with('/') ? path + name : path + "/" + name, depth + 1);
    }
  }

  void Report(const std::string& path, const Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "lfs: failed for '{}': {}\n", path, ErrnoText(error));
    if (status_ == 0) status_ = ErrnoOf(error.code());
  }

  const FindRequest& request_;
  const int64_t now_ns_;
  int status_ = 0;
};

}  // namespace

int RunFind(const Arguments& args) {
  const auto request = ParseFind(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  Walk walk(*request);
  for (const std::string& path : request->paths) walk.Visit(path, 0);
  return walk.status();
}

}  // namespace sheen::lfs
