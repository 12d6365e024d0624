#include "apps/libsheen/path_walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>

namespace sheen::lib {
namespace {

constexpr int kLinksMax = 40;  // as Linux: MAXSYMLINKS
constexpr size_t kPathBytesMax = 4096;

void Split(const std::string& path, std::deque<std::string>* names) {
  std::deque<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  names->insert(names->begin(), parts.begin(), parts.end());
}

bool EndsInSlash(const std::string& path) {
  return path.ends_with('/') || path.ends_with("/.");
}

// One path under way.
struct Walk {
  const Walker* walker = nullptr;
  std::deque<std::string> names;  // still to go
  client::Attr at;                // a directory
  int links = 0;
  bool slash = false;  // behind the last name

  async::Task<Status> Begin(std::string path) {
    if (path.empty()) co_return Fail(Errc::kNoEntry, "an empty path");
    if (path.size() > kPathBytesMax) co_return Fail(Errc::kNameTooLong, path.substr(0, 64));
    Split(path, &names);
    slash = EndsInSlash(path);
    SHEEN_CO_TRY_ASSIGN(at, co_await walker->fs->GetAttr(walker->who, walker->fs->root()));
    co_return Status();
  }

  // Takes the first of `names`. With `follow` what a symbolic link says takes its place; without it
  // the link itself is given.
  async::Task<Result<client::Attr>> Step(bool follow) {
    const std::string name = std::move(names.front());
    names.pop_front();
    if (!S_ISDIR(at.mode)) co_return Fail(Errc::kNotDirectory, "before '" + name + "'");
    if (name == ".." && at.fid == walker->fs->root()) co_return at;
    Result<client::Attr> found = co_await walker->fs->Search(walker->who, at, name);
    if (!found) {
      co_return std::unexpected(Error(found.error().code(), "'" + name + "'" +
                                          (found.error().message().empty()
                                               ? ""
                                               : ": " + found.error().message())));
    }
    if (!follow || !S_ISLNK(found->mode)) co_return found;
    if (++links > kLinksMax) co_return Fail(Errc::kLoop, "too many symbolic links");
    SHEEN_CO_TRY_ASSIGN(const std::string target,
                        co_await walker->fs->ReadLink(walker->who, found->fid));
    if (target.starts_with('/')) {
      SHEEN_CO_TRY_ASSIGN(at, co_await walker->fs->GetAttr(walker->who, walker->fs->root()));
    }
    if (names.empty()) slash = slash || EndsInSlash(target);
    Split(target, &names);
    co_return at;
  }

  // Up to the last name.
  async::Task<Status> ToLast() {
    while (names.size() > 1 || (names.size() == 1 && names.front() == "..")) {
      SHEEN_CO_TRY_ASSIGN(at, co_await Step(true));
    }
    if (!S_ISDIR(at.mode)) co_return Fail(Errc::kNotDirectory, "within the path");
    co_return Status();
  }
};

}  // namespace

async::Task<Result<Place>> Walker::FindPlace(std::string path) const {
  Walk walk{.walker = this};
  SHEEN_CO_TRY(co_await walk.Begin(std::move(path)));
  SHEEN_CO_TRY(co_await walk.ToLast());
  co_return Place{walk.at.fid, walk.names.empty() ? "" : walk.names.front(), walk.at, walk.slash};
}

async::Task<Result<client::Attr>> Walker::Find(std::string path, bool follow) const {
  Walk walk{.walker = this};
  SHEEN_CO_TRY(co_await walk.Begin(std::move(path)));
  while (!walk.names.empty()) {
    const bool last = walk.names.size() == 1;
    SHEEN_CO_TRY_ASSIGN(walk.at, co_await walk.Step(follow || !last || walk.slash));
  }
  if (walk.slash && !S_ISDIR(walk.at.mode)) co_return Fail(Errc::kNotDirectory, "before a slash");
  co_return walk.at;
}

async::Task<Result<Place>> Walker::FindPlaceBeyondLinks(std::string path) const {
  Walk walk{.walker = this};
  SHEEN_CO_TRY(co_await walk.Begin(std::move(path)));
  for (;;) {
    SHEEN_CO_TRY(co_await walk.ToLast());
    if (walk.names.empty()) co_return Place{walk.at.fid, "", walk.at, walk.slash};
    const client::Attr directory = walk.at;
    const std::string name = walk.names.front();
    const Result<client::Attr> found = co_await fs->Search(who, directory, name);
    if (!found || !S_ISLNK(found->mode)) {
      co_return Place{directory.fid, name, directory, walk.slash};
    }
    SHEEN_CO_TRY_ASSIGN(walk.at, co_await walk.Step(true));
  }
}

}  // namespace sheen::lib
