// Random operations on Sheen, alternating over its mounts, and the same on a local filesystem:
// every result, errno and attribute must be the same, and now and then the whole trees.
//
//   posix-random --local DIR --mount A [--mount B] --operations N

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <deque>
#include <set>

#include "posix/tools.h"

namespace sheen::posix {
namespace {

constexpr uint64_t kFileBytesMax = 200'000;
constexpr size_t kOpenMax = 8;
constexpr std::array<const char*, 4> kAttributes = {"user.a", "user.bb", "trusted.c", "security.d"};

// What a call gave: a number or an errno, and bytes.
struct Outcome {
  int64_t value = 0;
  std::string bytes;
  bool operator==(const Outcome&) const = default;
};

Outcome Result(int64_t value, std::string bytes = {}) {
  return {value < 0 ? -errno : value, value < 0 ? std::string() : std::move(bytes)};
}

std::string Shown(const Outcome& outcome) {
  std::string text = std::to_string(outcome.value);
  if (outcome.value < 0) text += std::string(" ") + std::strerror(static_cast<int>(-outcome.value));
  return text + " '" + outcome.bytes.substr(0, 200) + "'";
}

// One operation, made before it is known where it is done.
struct Operation {
  uint64_t kind = 0;
  std::string one;
  std::string two;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t slot = 0;
};

// Attributes that must agree; times as far as they were set.
std::string Attributes(const struct stat& s) {
  std::string text = std::to_string(s.st_mode) + " n" + std::to_string(s.st_nlink) + " " +
                     std::to_string(s.st_uid) + ":" + std::to_string(s.st_gid);
  if (!S_ISDIR(s.st_mode)) text += " size " + std::to_string(s.st_size);
  if (S_ISCHR(s.st_mode)) text += " rdev " + std::to_string(s.st_rdev);
  return text;
}

Outcome Look(const std::string& path) {
  struct stat status {};
  const int failed = lstat(path.c_str(), &status);
  return Result(failed, Attributes(status));
}

Outcome List(const std::string& path) {
  DIR* stream = opendir(path.c_str());
  if (stream == nullptr) return Result(-1);
  std::multiset<std::string> names;
  while (const dirent* entry = readdir(stream)) {
    names.insert(std::string(entry->d_name) + "/" + std::to_string(entry->d_type));
  }
  closedir(stream);
  std::string text;
  for (const std::string& name : names) text += name + " ";
  return Result(static_cast<int64_t>(names.size()), text);
}

Outcome ReadAll(int fd) {
  std::string bytes(kFileBytesMax + 1, '\0');
  const ssize_t got = pread(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return Result(got, std::to_string(std::hash<std::string>()(bytes)));
}

Outcome Contents(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return Result(-1);
  Outcome outcome = ReadAll(fd);
  close(fd);
  return outcome;
}

Outcome AttributeOf(const std::string& path, const char* name) {
  std::string value(70'000, '\0');
  const ssize_t got = lgetxattr(path.c_str(), name, value.data(), value.size());
  value.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return Result(got, value);
}

Outcome AttributeNames(const std::string& path) {
  std::string list(10'000, '\0');
  const ssize_t got = llistxattr(path.c_str(), list.data(), list.size());
  if (got < 0) return Result(-1);
  std::set<std::string> names;
  for (const char* at = list.data(); at < list.data() + got; at += std::strlen(at) + 1) {
    names.insert(at);
  }
  std::string text;
  for (const std::string& name : names) text += name + " ";
  return Result(got, text);
}

// One side: Sheen over its mounts, or the local filesystem. Descriptors by slot.
class Side final {
 public:
  explicit Side(std::vector<std::string> roots) : roots_(std::move(roots)) { slots_.fill(-1); }
  ~Side() {
    for (const int fd : slots_) {
      if (fd >= 0) close(fd);
    }
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  std::string Path(const std::string& name, uint64_t turn) const {
    return roots_[turn % roots_.size()] + name;
  }

  Outcome Do(const Operation& op, uint64_t turn) {
    const std::string one = Path(op.one, turn);
    const std::string two = Path(op.two, turn);
    if (op.kind < 12) return Names(op, one, two);
    if (op.kind < 20) return OnPath(op, one, turn);
    return OnDescriptor(op);
  }

 private:
  Outcome Names(const Operation& op, const std::string& one, const std::string& two) {
    const auto mode = static_cast<mode_t>(op.a % 512);
    switch (op.kind) {
      case 0:
      case 1:
        return Result(mkdir(one.c_str(), mode | 0700));
      case 2:
        return Result(rmdir(one.c_str()));
      case 3:
      case 4:
        return Result(unlink(one.c_str()));
      case 5:
      case 6:
        return Result(rename(one.c_str(), two.c_str()));
      case 7: {
        const unsigned flags = op.a % 2 == 0 ? RENAME_NOREPLACE : RENAME_EXCHANGE;
        return Result(renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, two.c_str(), flags));
      }
      case 8:
        return Result(link(one.c_str(), two.c_str()));
      case 9:
        return Result(symlink(op.two.c_str() + 1, one.c_str()));
      case 10:
        return Result(mknod(one.c_str(), (op.a % 2 == 0 ? S_IFIFO : S_IFCHR) | mode,
                            op.a % 2 == 0 ? 0 : 259));
      default:
        return List(one);
    }
  }

  Outcome OnPath(const Operation& op, const std::string& one, uint64_t turn) {
    switch (op.kind) {
      case 12:
        return Result(fchmodat(AT_FDCWD, one.c_str(), op.a % 4096, 0));
      case 13:
        return Result(
            lchown(one.c_str(), static_cast<uid_t>(op.a % 5), static_cast<gid_t>(op.b % 5)));
      case 14:
        return Result(truncate(one.c_str(), static_cast<off_t>(op.a % kFileBytesMax)));
      case 15:
        return SetAttribute(op, one);
      case 16:
        return Result(lremovexattr(one.c_str(), kAttributes[op.a % kAttributes.size()]));
      case 17:
        return AttributeOf(one, kAttributes[op.a % kAttributes.size()]);
      case 18:
        return SetTimes(op, one, turn);
      default:
        return Open(op, one);
    }
  }

  static Outcome SetAttribute(const Operation& op, const std::string& one) {
    const std::string value(op.b % (op.b % 50 == 0 ? 60'000 : 300), 'v');
    return Result(lsetxattr(one.c_str(), kAttributes[op.a % kAttributes.size()], value.data(),
                            value.size(), static_cast<int>(op.b / 7 % 3)));
  }

  // Set on one mount, seen on the next.
  Outcome SetTimes(const Operation& op, const std::string& one, uint64_t turn) {
    const std::array<timespec, 2> times = {timespec{static_cast<time_t>(op.a % 2'000'000'000), 7},
                                           timespec{static_cast<time_t>(op.b % 2'000'000'000), 9}};
    const int failed = utimensat(AT_FDCWD, one.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    if (failed != 0) return Result(failed);
    struct stat status {};
    lstat(Path(op.one, turn + 1).c_str(), &status);
    return Result(status.st_mtim.tv_sec, std::to_string(status.st_mtim.tv_nsec));
  }

  Outcome Open(const Operation& op, const std::string& one) {
    constexpr std::array<int, 6> kFlags = {O_CREAT,           O_CREAT | O_EXCL,   O_TRUNC,
                                           O_CREAT | O_TRUNC, O_APPEND | O_CREAT, O_NOFOLLOW};
    int& fd = slots_[op.slot];
    if (fd >= 0) close(fd);
    fd = open(one.c_str(), O_RDWR | O_NONBLOCK | kFlags[op.a % kFlags.size()], op.b % 512 | 0600);
    struct stat status {};
    const int64_t opened = fd >= 0 ? 0 : -1;
    // Devices and pipes are the kernel's own.
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
      close(fd);
      fd = -1;
    }
    return Result(opened);
  }

  Outcome OnDescriptor(const Operation& op) {
    int& fd = slots_[op.slot];
    if (fd < 0) return {};
    const auto offset = static_cast<off_t>(op.a % kFileBytesMax);
    const size_t length = std::min(op.b % 20'000, kFileBytesMax - static_cast<uint64_t>(offset));
    switch (op.kind) {
      case 20:
      case 21:
      case 22: {
        struct stat status {};
        // What is appended may not grow without end.
        if (fstat(fd, &status) == 0 && status.st_size > static_cast<off_t>(kFileBytesMax)) {
          return Result(ftruncate(fd, 0));
        }
        const std::string bytes(length, static_cast<char>('a' + op.b % 26));
        return Result(pwrite(fd, bytes.data(), length, offset));
      }
      case 23:
        return Result(ftruncate(fd, offset));
      case 24:
      case 25:
        return ReadAll(fd);
      case 26: {
        struct stat status {};
        const int failed = fstat(fd, &status);
        return Result(failed, Attributes(status));
      }
      default: {
        const int failed = close(fd);
        fd = -1;
        return Result(failed);
      }
    }
  }

  const std::vector<std::string> roots_;
  std::array<int, kOpenMax> slots_{};
};

class Comparison final {
 public:
  Comparison(const Options& options, Random* random)
      : random_(random), sheen_(Roots(options.mounts)), local_(Roots({options.local})) {
    mkdir(sheen_.Path("", 0).c_str(), 0755);
    mkdir(local_.Path("", 0).c_str(), 0755);
  }

  void Run(uint64_t operations) {
    for (number_ = 0; number_ < operations; ++number_) {
      const Operation op = Make();
      Note(op);
      const Outcome local = local_.Do(op, 0);
      Same(local, sheen_.Do(op, number_), "the call");
      if (local.value >= 0) ++successes_;
      for (const std::string& name : {op.one, op.two}) {
        if (op.kind < 20)
          Same(Look(local_.Path(name, 0)), Look(sheen_.Path(name, number_ + 1)),
               "attributes of " + name);
      }
      if (number_ % 1000 == 999) CompareTree("");
    }
    CompareTree("");
  }
  uint64_t successes() const { return successes_; }

 private:
  static std::vector<std::string> Roots(std::vector<std::string> tops) {
    for (std::string& top : tops) top += "/random-" + std::to_string(getpid());
    return tops;
  }

  std::string Name() {
    std::string name;
    for (uint64_t depth = random_->Below(3); depth > 0; --depth) {
      name += "/d" + std::to_string(random_->Below(3));
    }
    return name + (random_->OneIn(4) ? "/d" : "/n") + std::to_string(random_->Below(4));
  }

  Operation Make() {
    Operation op;
    op.kind = random_->Below(28);
    op.one = Name();
    op.two = Name();
    op.a = random_->Below(UINT_MAX);
    op.b = random_->Below(UINT_MAX);
    op.slot = random_->Below(kOpenMax);
    return op;
  }

  void Note(const Operation& op) {
    history_.push_back(std::to_string(number_) + " kind " + std::to_string(op.kind) + " " + op.one +
                       " " + op.two + " a " + std::to_string(op.a) + " b " + std::to_string(op.b) +
                       " slot " + std::to_string(op.slot));
    if (history_.size() > 40) history_.pop_front();
  }

  void Same(const Outcome& local, const Outcome& sheen, const std::string& what) {
    if (local == sheen) return;
    for (const std::string& line : history_) std::fprintf(stderr, "  %s\n", line.c_str());
    std::fprintf(stderr,
                 "posix-random: operation %llu: %s gives\n  %s locally and\n  %s on Sheen\n",
                 static_cast<unsigned long long>(number_), what.c_str(), Shown(local).c_str(),
                 Shown(sheen).c_str());
    std::exit(1);
  }

  void CompareTree(const std::string& directory) {
    const Outcome names = List(local_.Path(directory, 0));
    Same(names, List(sheen_.Path(directory, number_)), "listing of " + directory);
    for (size_t begin = 0; begin < names.bytes.size();) {
      const size_t end = names.bytes.find(' ', begin);
      const std::string entry = names.bytes.substr(begin, end - begin);
      begin = end + 1;
      const size_t slash = entry.find('/');
      const std::string name = directory + "/" + entry.substr(0, slash);
      if (entry[0] == '.') continue;
      const std::string here = local_.Path(name, 0);
      const std::string there = sheen_.Path(name, ++turn_);
      Same(Look(here), Look(there), "attributes of " + name);
      Same(AttributeNames(here), AttributeNames(there), "attribute names of " + name);
      const int type = std::atoi(entry.c_str() + slash + 1);
      if (type == DT_DIR) CompareTree(name);
      if (type == DT_REG) Same(Contents(here), Contents(there), "contents of " + name);
    }
  }

  Random* const random_;
  Side sheen_;
  Side local_;
  std::deque<std::string> history_;
  uint64_t number_ = 0;
  uint64_t successes_ = 0;
  uint64_t turn_ = 0;
};

}  // namespace
}  // namespace sheen::posix

int main(int argc, char** argv) {
  using namespace sheen::posix;
  const Options options = ParseOptions(argc, argv);
  if (options.local.empty()) {
    std::fprintf(stderr, "posix-random: --local is missing\n");
    return 2;
  }
  umask(022);
  Random random(Seed());
  Comparison comparison(options, &random);
  comparison.Run(options.operations);
  std::printf("posix-random: %llu operations agree, of them %llu successes\n",
              static_cast<unsigned long long>(options.operations),
              static_cast<unsigned long long>(comparison.successes()));
  return 0;
}
