#include "apps/sheen/hsm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/lfs/device.h"
#include "base/random.h"

namespace sheen::apps {
namespace {

using Json = nlohmann::json;
using lfs::Device;

constexpr size_t kFilesPerCall = 1000;
constexpr auto kProgressLook = std::chrono::milliseconds(500);
// OSTs report their space once a second.
constexpr auto kSpaceLook = std::chrono::milliseconds(1500);
constexpr size_t kFailuresShown = 20;

// A regular file of a mount.
struct Candidate {
  Fid fid;
  std::string path;
  int64_t used_s = 0;  // last read or change
  bool named = false;  // by itself, not by a directory above it
};

// The files of one mount.
struct Mounted {
  std::string anchor;  // a path there
  std::vector<Candidate> files;
};
using Mounts = std::map<dev_t, Mounted>;

// As st_ino has it: hazards of identity end at the mount.
Fid FidOfInode(uint64_t inode) { return {inode >> 24, static_cast<uint32_t>(inode & 0xFFFFFF), 0}; }

void AddFile(const std::string& path, const struct stat& info, bool named, Mounts* mounts) {
  Mounted& mounted = (*mounts)[info.st_dev];
  if (mounted.anchor.empty()) mounted.anchor = path;
  mounted.files.push_back({FidOfInode(info.st_ino), path,
                           std::max<int64_t>(info.st_atim.tv_sec, info.st_mtim.tv_sec), named});
}

Status AddPath(const std::string& path, Mounts* mounts) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return FailErrno(errno, path);
  if (S_ISREG(info.st_mode)) AddFile(path, info, true, mounts);
  if (!S_ISDIR(info.st_mode)) return {};
  std::error_code error;
  std::filesystem::recursive_directory_iterator walk(
      path, std::filesystem::directory_options::skip_permission_denied, error);
  const std::filesystem::recursive_directory_iterator end;
  for (; !error && walk != end; walk.increment(error)) {
    struct stat below {};
    const std::string name = walk->path().string();
    if (::lstat(name.c_str(), &below) != 0) continue;  // gone meanwhile
    if (S_ISREG(below.st_mode)) AddFile(name, below, false, mounts);
  }
  if (error) return FailErrno(error.value(), "reading " + path);
  return {};
}

Result<Mounts> Find(const HsmFlags& flags) {
  Mounts mounts;
  for (const std::string& path : flags.paths) SHEEN_TRY(AddPath(path, &mounts));
  if (!flags.from.empty()) {
    std::ifstream file;
    if (flags.from != "-") file.open(flags.from);
    if (flags.from != "-" && !file) return FailErrno(errno, flags.from);
    std::istream& in = flags.from == "-" ? std::cin : file;
    for (std::string line; std::getline(in, line);) {
      if (!line.empty()) SHEEN_TRY(AddPath(line, &mounts));
    }
  }
  if (flags.paths.empty() && flags.from.empty()) {
    return Fail(Errc::kInvalid, "name files or directories, or a list of them with --from");
  }
  return mounts;
}

Result<Device> OpenMount(const Mounted& mounted) {
  auto device = Device::Open(mounted.anchor, O_RDONLY);
  if (!device) {
    // What its owner alone may read: any directory of the mount will do.
    const std::string above = std::filesystem::path(mounted.anchor).parent_path().string();
    device = Device::Open(above.empty() ? "." : above, O_RDONLY);
  }
  if (!device) return std::unexpected(device.error());
  if (!device->GetFid()) {
    return Fail(Errc::kNotTty, mounted.anchor + " is not on a Sheen filesystem");
  }
  return device;
}

// ---- prefetch ----

struct Asked {
  uint64_t queued = 0;
  std::vector<std::string> refused;
};

Result<Asked> AskRestores(const Device& device, const Mounted& mounted, uint64_t job) {
  Asked out;
  for (size_t begin = 0; begin < mounted.files.size(); begin += kFilesPerCall) {
    const size_t end = std::min(mounted.files.size(), begin + kFilesPerCall);
    std::vector<Fid> fids;
    for (size_t i = begin; i < end; ++i) fids.push_back(mounted.files[i].fid);
    SHEEN_TRY_ASSIGN(const Device::HsmDone done,
                     device.HsmAction(lfs::kHsmActionRestore, fids, job));
    out.queued += done.amount;
    for (size_t i = 0; i < done.errors.size(); ++i) {
      if (done.errors[i] == 0 || done.errors[i] == ESTALE) continue;  // gone meanwhile
      out.refused.push_back(mounted.files[begin + i].path + ": " + std::strerror(done.errors[i]));
    }
  }
  return out;
}

std::string PathOf(const Mounted& mounted, const v1::Fid& fid) {
  for (const Candidate& file : mounted.files) {
    if (file.fid.seq == fid.seq() && file.fid.oid == fid.oid()) return file.path;
  }
  return Fid{fid.seq(), fid.oid(), 0}.ToString();
}

void ShowProgress(const v1::HsmJobReply& job, uint64_t queued, double seconds) {
  if (::isatty(STDERR_FILENO) == 0) return;
  const uint64_t left = job.waiting() + job.running();
  const uint64_t ended = queued - std::min(queued, left);
  const double rate = static_cast<double>(ended) / std::max(seconds, 0.001);
  const double eta = rate > 0 ? static_cast<double>(left) / rate : 0;
  std::fputs(fmt::format("\r{} of {} files, {:.0f}/s, {} MiB, {} failed, {:.0f} s to go   ", ended,
                         queued, rate, job.bytes() >> 20, job.failed(), eta)
                 .c_str(),
             stderr);
  if (left == 0) std::fputs("\n", stderr);
}

// Until nothing of the job is left. A restart of the MDS in between is only a pause.
Result<v1::HsmJobReply> WaitFor(const Device& device, uint64_t job, uint64_t queued) {
  const auto began = std::chrono::steady_clock::now();
  for (;;) {
    SHEEN_TRY_ASSIGN(const v1::HsmJobReply now, device.HsmJob(job));
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
    ShowProgress(now, queued, passed.count());
    if (now.waiting() + now.running() == 0) return now;
    std::this_thread::sleep_for(kProgressLook);
  }
}

struct Prefetched {
  uint64_t files = 0;
  uint64_t queued = 0;
  uint64_t failed = 0;
  uint64_t bytes = 0;
  std::vector<std::string> failures;
};

Status PrefetchMount(const Mounted& mounted, bool wait, Prefetched* sum) {
  SHEEN_TRY_ASSIGN(const Device device, OpenMount(mounted));
  const uint64_t job = RandomU64() | 1;
  SHEEN_TRY_ASSIGN(const Asked asked, AskRestores(device, mounted, job));
  sum->files += mounted.files.size();
  sum->queued += asked.queued;
  sum->failed += asked.refused.size();
  sum->failures.insert(sum->failures.end(), asked.refused.begin(), asked.refused.end());
  if (!wait || asked.queued == 0) return {};
  SHEEN_TRY_ASSIGN(const v1::HsmJobReply done, WaitFor(device, job, asked.queued));
  sum->failed += done.failed();
  sum->bytes += done.bytes();
  for (const v1::HsmJobReply::Failure& failure : done.failures()) {
    sum->failures.push_back(PathOf(mounted, failure.fid()) + ": " + failure.reason());
  }
  return {};
}

void ShowFailures(const std::vector<std::string>& failures) {
  std::fflush(stdout);
  for (size_t i = 0; i < failures.size() && i < kFailuresShown; ++i) {
    std::fprintf(stderr, "%s\n", failures[i].c_str());
  }
  if (failures.size() > kFailuresShown) {
    std::fprintf(stderr, "and %zu more\n", failures.size() - kFailuresShown);
  }
}

// ---- release ----

struct Released {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t changed = 0;  // or kept, or somebody else's
  uint64_t open = 0;
  uint64_t not_s3 = 0;
  std::vector<std::string> failures;  // of files that were named themselves
};

void Count(const Candidate& file, int error, Released* sum) {
  switch (error) {
    case 0:
      ++sum->files;
      return;
    case EPERM:
      ++sum->changed;
      break;
    case EBUSY:
      ++sum->open;
      break;
    case EOPNOTSUPP:
      ++sum->not_s3;
      break;
    default:
      break;
  }
  if (!file.named) return;
  const char* const why = error == EPERM   ? "changed here, kept by norelease, not yours, or its "
                                             "data repository is not linked"
                          : error == EBUSY ? "open for writing"
                          : error == EOPNOTSUPP ? "not imported from S3"
                                                : std::strerror(error);
  sum->failures.push_back(fmt::format("{}: {}", file.path, why));
}

Status ReleaseSome(const Device& device, std::span<const Candidate> files, Released* sum) {
  std::vector<Fid> fids;
  for (const Candidate& file : files) fids.push_back(file.fid);
  SHEEN_TRY_ASSIGN(const Device::HsmDone done, device.HsmAction(lfs::kHsmActionRelease, fids, 0));
  sum->bytes += done.amount;
  for (size_t i = 0; i < files.size(); ++i) Count(files[i], done.errors[i], sum);
  return {};
}

// Of the fullest OST, percent.
Result<double> Fullness(const Device& device) {
  SHEEN_TRY_ASSIGN(const std::vector<v1::TargetSpace> targets, device.Targets());
  double out = 0;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt() || target.bytes_total() == 0) continue;
    const double free =
        static_cast<double>(target.bytes_available()) / static_cast<double>(target.bytes_total());
    out = std::max(out, 100 * (1 - free));
  }
  return out;
}

// With watermarks: the longest unused first, as many as it takes.
Status ReleaseMount(const HsmFlags& flags, int64_t unused_before_s, Mounted* mounted,
                    Released* sum) {
  SHEEN_TRY_ASSIGN(const Device device, OpenMount(*mounted));
  std::erase_if(mounted->files,
                [unused_before_s](const Candidate& file) { return file.used_s > unused_before_s; });
  const bool watermarks = flags.high > 0;
  if (watermarks) {
    SHEEN_TRY_ASSIGN(const double full, Fullness(device));
    if (full < flags.high) return {};
    std::ranges::sort(mounted->files, {}, &Candidate::used_s);
  }
  // Small steps: what is dropped beyond need must be fetched again.
  const size_t step = watermarks ? kFilesPerCall / 10 : kFilesPerCall;
  const std::span<const Candidate> all(mounted->files);
  for (size_t begin = 0; begin < all.size(); begin += step) {
    const uint64_t before = sum->bytes;
    SHEEN_TRY(ReleaseSome(device, all.subspan(begin, std::min(step, all.size() - begin)), sum));
    if (!watermarks || sum->bytes == before) continue;
    std::this_thread::sleep_for(kSpaceLook);
    SHEEN_TRY_ASSIGN(const double full, Fullness(device));
    if (full <= flags.low) break;
  }
  return {};
}

}  // namespace

Result<int64_t> ParseAge(const std::string& text) {
  const std::map<char, int64_t> units = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  const auto unit = text.empty() ? units.end() : units.find(text.back());
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool good = unit != units.end() && end == text.c_str() + text.size() - 1 &&
                    end != text.c_str() && number >= 0 && number < 1e6;
  if (!good) {
    return Fail(Errc::kInvalid,
                fmt::format("'{}' is no age; write a number and s, m, h or d, as 7d", text));
  }
  return static_cast<int64_t>(number * static_cast<double>(unit->second));
}

Status RunPrefetch(const HsmFlags& flags) {
  SHEEN_TRY_ASSIGN(const Mounts mounts, Find(flags));
  Prefetched sum;
  for (const auto& [device, mounted] : mounts) {
    SHEEN_TRY(PrefetchMount(mounted, flags.wait, &sum));
  }
  if (flags.json) {
    const Json out = {{"files", sum.files}, {"queued", sum.queued}, {"failed", sum.failed},
                      {"bytes", sum.bytes}, {"waited", flags.wait}, {"failures", sum.failures}};
    std::printf("%s\n", out.dump(2).c_str());
  } else if (flags.wait) {
    std::printf(
        "%s",
        fmt::format("{} files looked at, {} brought or here, {} failed; {} bytes came "
                    "from S3\n",
                    sum.files, sum.files - std::min(sum.files, sum.failed), sum.failed, sum.bytes)
            .c_str());
  } else {
    std::printf("%s", fmt::format("{} files looked at, {} will be brought; lctl get_param "
                                  "mdt.*.hsm.actions on the MDS's host shows them\n",
                                  sum.files, sum.queued)
                          .c_str());
  }
  ShowFailures(sum.failures);
  if (sum.failed == 0) return {};
  return Fail(Errc::kIo, fmt::format("{} files could not be brought", sum.failed));
}

Status RunRelease(const HsmFlags& flags) {
  if ((flags.high > 0) != (flags.low > 0) || flags.low > flags.high || flags.high > 100) {
    return Fail(Errc::kInvalid, "--high and --low go together, as --high 90 --low 80");
  }
  int64_t unused_before_s = INT64_MAX;
  if (!flags.older_than.empty()) {
    SHEEN_TRY_ASSIGN(const int64_t age, ParseAge(flags.older_than));
    unused_before_s = ::time(nullptr) - age;
  }
  SHEEN_TRY_ASSIGN(Mounts mounts, Find(flags));
  Released sum;
  for (auto& [device, mounted] : mounts) {
    SHEEN_TRY(ReleaseMount(flags, unused_before_s, &mounted, &sum));
  }
  if (flags.json) {
    const Json out = {{"released", sum.files},          {"bytes", sum.bytes},
                      {"changed_or_kept", sum.changed}, {"open", sum.open},
                      {"not_from_s3", sum.not_s3},      {"failures", sum.failures}};
    std::printf("%s\n", out.dump(2).c_str());
  } else {
    std::printf("%s",
                fmt::format("{} files released, {} bytes; left alone: {} changed here or kept, "
                            "{} open for writing, {} not from S3\n",
                            sum.files, sum.bytes, sum.changed, sum.open, sum.not_s3)
                    .c_str());
  }
  ShowFailures(sum.failures);
  if (sum.failures.empty()) return {};
  return Fail(Errc::kPerm, fmt::format("{} files were not released", sum.failures.size()));
}

Result<bool> ShowHsmFile(const std::string& path, bool json) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const auto device = Device::Open(path, O_RDONLY);
  if (!device) return std::unexpected(device.error());
  const auto state = device->GetHsmState();
  if (!state && state.error().code() == Errc::kNotTty) return false;
  if (!state) return std::unexpected(Annotate(state.error(), path + ": "));
  static constexpr const char* kStates[] = {"in S3", "here", "changed here", "hole",
                                            "changed here"};
  const v1::HsmStateReply& mds = state->mds();
  Json ranges = Json::array();
  for (const v1::FileRange& range : state->ranges()) {
    const char* const word = range.state() < std::size(kStates) ? kStates[range.state()] : "?";
    ranges.push_back({{"begin", range.begin()}, {"end", range.end()}, {"state", word}});
  }
  if (json) {
    const Json out = {{"path", path},
                      {"flags", mds.flags()},
                      {"repository", mds.archive_id()},
                      {"key", mds.key()},
                      {"etag", mds.etag()},
                      {"object_bytes", mds.object_bytes()},
                      {"bytes_in_s3", state->bytes_absent()},
                      {"bytes_here", state->bytes_clean()},
                      {"bytes_changed", state->bytes_changed()},
                      {"failure", mds.failure()},
                      {"ranges", ranges},
                      {"ranges_cut", state->ranges_cut()}};
    std::printf("%s\n", out.dump(2).c_str());
    return true;
  }
  if (mds.archive_id() == 0) {
    std::printf("%s: not from S3\n", path.c_str());
    return true;
  }
  std::printf("%s",
              fmt::format("{}: key {} of repository {}, ETag {}\n{} bytes only in S3, {} here "
                          "too, {} changed here\n",
                          path, mds.key(), mds.archive_id(), mds.etag(), state->bytes_absent(),
                          state->bytes_clean(), state->bytes_changed())
                  .c_str());
  if (!mds.failure().empty()) std::printf("last restore: %s\n", mds.failure().c_str());
  for (const Json& range : ranges) {
    std::printf("  %14llu - %14llu  %s\n",
                static_cast<unsigned long long>(range["begin"].get<uint64_t>()),
                static_cast<unsigned long long>(range["end"].get<uint64_t>()),
                range["state"].get<std::string>().c_str());
  }
  return true;
}

}  // namespace sheen::apps
