// lfs migrate: drives the steps of sheen/ioctl.h for one file after the other. The client daemon
// copies; here are the order of the steps, progress, the bandwidth limit and the end by a signal.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/layout_source.h"
#include "apps/lfs/migrate_options.h"
#include "apps/lfs/pools.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "migrate";
// A step ends soon enough to be interrupted between two.
constexpr uint64_t kStepBytes = 32 << 20;
// Passes over the file while others may write, before they are held back.
constexpr int kOpenPasses = 3;

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

void NoteSignal(int signal) { interrupted = signal; }

// While it lives an interrupt ends the copy of a file, not the program in the middle of a step.
class SignalWatch final {
 public:
  SignalWatch() {
    struct sigaction action {};
    action.sa_handler = NoteSignal;
    for (int i = 0; i < 3; ++i) ::sigaction(kSignals[i], &action, &before_[i]);
  }
  ~SignalWatch() {
    for (int i = 0; i < 3; ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  static constexpr int kSignals[3] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3] {};
};

// Where it failed, as Lustre's messages name it.
struct Failure {
  std::string stage;
  Error error;
};
using Outcome = std::expected<void, Failure>;

std::unexpected<Failure> Failed(std::string stage, Error error) {
  return std::unexpected(Failure{std::move(stage), std::move(error)});
}

class Progress final {
 public:
  Progress(const std::string& path, const MigrateRequest& request)
      : request_(request), began_(Clock::now()), told_(began_) {
    if (request_.stats) fmt::print("{}:\n", path);
  }

  void Note(const IoctlCopy& step) {
    copied_ += step.copied;
    next_ = step.next;
    size_ = step.size;
    if (!request_.stats) return;
    if (Clock::now() - told_ < std::chrono::seconds(request_.stats_seconds)) return;
    told_ = Clock::now();
    Tell();
  }
  // Sleeps for as long as the copy is ahead of its limit.
  void Pace() const {
    if (request_.bytes_per_second == 0) return;
    const auto limit = static_cast<double>(request_.bytes_per_second);
    const double due = static_cast<double>(copied_) / limit;
    while (!interrupted && Seconds() < due) {
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(due - Seconds(), 0.2)));
    }
  }
  void End() const {
    if (request_.stats) Tell();
  }
  uint64_t copied() const { return copied_; }
  double Seconds() const {
    return std::chrono::duration<double>(Clock::now() - began_).count();
  }

 private:
  void Tell() const {
    constexpr double kMebibyte = 1 << 20;
    const double mib = static_cast<double>(copied_) / kMebibyte;
    const double rate = mib / std::max(Seconds(), 0.001);
    const uint64_t percent = size_ == 0 ? 100 : std::min(next_, size_) * 100 / size_;
    fmt::print(
        "- {{ seconds: {}, rmbps: {:.5g}, wmbps: {:.5g}, copied: {}, total: {}, pct: {}% }}\n",
        static_cast<uint64_t>(Seconds()), rate, rate, static_cast<uint64_t>(mib), size_ >> 20,
        percent);
    std::fflush(stdout);
  }

  const MigrateRequest& request_;
  const Clock::time_point began_;
  Clock::time_point told_;
  uint64_t copied_ = 0;
  uint64_t next_ = 0;
  uint64_t size_ = 0;
};

// Whoever uses the file waits for what is copied under the hold: that is not slowed down.
enum class CopyPace : uint8_t { kAsAsked, kFull };

Outcome CopyAll(const Device& device, Progress* progress, CopyPace pace) {
  uint64_t offset = 0;
  for (;;) {
    if (interrupted) return Failed("interrupted", Error(Errc::kInterrupted));
    const auto step = device.MigrateCopy(offset, kStepBytes);
    if (!step) return Failed("data copy failed", step.error());
    progress->Note(*step);
    if (step->next >= step->size) return {};
    offset = step->next;
    if (pace == CopyPace::kAsAsked) progress->Pace();
  }
}

// Passes until one in which nobody has written, or there were enough.
Outcome CopyWhileOpen(const Device& device, bool once, Progress* progress) {
  for (int pass = 0; pass < kOpenPasses; ++pass) {
    const auto before = device.DataVersion(0);
    if (!before) return Failed("cannot get data version", before.error());
    if (Outcome copied = CopyAll(device, progress, CopyPace::kAsAsked); !copied) {
      return copied;
    }
    const auto after = device.DataVersion(0);
    if (!after) return Failed("cannot get data version", after.error());
    if (once || *before == *after) return {};
  }
  return {};
}

// Of the directory that the file is in, for its first bytes: what a layout without a pool takes.
// Empty: none.
Result<std::string> PoolOfDirectory(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) return FailErrno(error.value(), path);
  SHEEN_TRY_ASSIGN(const Device directory, Device::Open(real.parent_path(), O_RDONLY));
  SHEEN_TRY_ASSIGN(const ShownLayout shown, directory.GetLayout(true));
  return shown.layout.empty() ? std::string() : shown.layout.components[0].pool;
}

// What was asked for, or what suits the file's size.
Result<layout::Layout> TemplateFor(const Device& device, const MigrateRequest& request,
                                   const std::string& path, uint64_t file_bytes) {
  layout::Layout layout = request.layout_template;
  if (!request.auto_stripe) return layout;
  SHEEN_TRY_ASSIGN(std::vector<v1::TargetSpace> targets, device.Targets());
  layout::Component& only = layout.components[0];
  if (only.pool.empty()) {
    SHEEN_TRY_ASSIGN(only.pool, PoolOfDirectory(path));
  }
  if (!only.pool.empty() && only.pool != layout::kIgnorePool) {
    SHEEN_TRY_ASSIGN(const v1::OstPoolList pools, device.Pools());
    SHEEN_TRY_ASSIGN(const std::set<uint32_t> members, MembersOfPool(pools, only.pool));
    std::erase_if(targets, [&members](const v1::TargetSpace& target) {
      return !target.is_mdt() && !members.contains(target.index());
    });
  }
  only.stripe_count = AutoStripeCount(file_bytes, targets, *request.auto_stripe);
  return layout;
}

// Of a name, or with --lustre-dir of a FID.
std::string PathOf(const std::string& given, const MigrateRequest& request) {
  if (request.directory.empty()) return given;
  return request.directory + "/.lustre/fid/" + given;
}

Outcome Migrate(const std::string& given, const MigrateRequest& request, Progress* progress) {
  const std::string path = PathOf(given, request);
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) != 0) {
    return Failed("cannot stat", FailErrno(errno, path).error());
  }
  if (!S_ISREG(attributes.st_mode)) return Failed("not a regular file", Error(Errc::kInvalid));
  const auto device = Device::Open(path, O_RDONLY);
  if (!device) return Failed("cannot open", device.error());
  if (const Status pools = CheckPools(*device, request.layout_template, request.pool_fsname);
      !pools) {
    return Failed(pools.error().message(), pools.error());
  }
  // Of a file with holes what it has of bytes.
  const auto stored = std::min<uint64_t>(static_cast<uint64_t>(attributes.st_size),
                                         static_cast<uint64_t>(attributes.st_blocks) * 512);
  const auto layout = TemplateFor(*device, request, path, stored);
  if (!layout) {
    return Failed("cannot choose a stripe count: " + layout.error().message(), layout.error());
  }
  if (const Status begun = device->MigrateBegin(*layout); !begun) {
    return Failed("cannot create the copy", begun.error());
  }
  if (Outcome copied = CopyWhileOpen(*device, request.non_block, progress); !copied) return copied;
  const auto complete = device->MigrateHold();
  if (!complete) return Failed("cannot get group lock", complete.error());
  if (!*complete && request.non_block) return Failed("file changed", Error(Errc::kBusy));
  if (!*complete) {
    if (Outcome copied = CopyAll(*device, progress, CopyPace::kFull); !copied) return copied;
  }
  if (interrupted) return Failed("interrupted", Error(Errc::kInterrupted));
  if (const Status swapped = device->MigrateFinish(); !swapped) {
    return Failed("cannot swap layout", swapped.error());
  }
  return {};
}

int MigrateOne(const std::string& path, const MigrateRequest& request) {
  Progress progress(path, request);
  const Outcome done = Migrate(path, request, &progress);
  progress.End();
  std::fflush(stdout);
  if (!done) {
    const Failure& failure = done.error();
    fmt::print(stderr, "error: lfs migrate: '{}': {}: {}\n", path, failure.stage,
               ErrnoText(failure.error));
    return ErrnoOf(failure.error.code());
  }
  if (request.verbose) {
    fmt::print("{}: migrated, {} bytes copied in {:.1f} s\n", path, progress.copied(),
               progress.Seconds());
  }
  return 0;
}

// Gives the exit status.
int ReadList(const MigrateRequest& request, Arguments* paths) {
  std::ifstream file;
  if (request.files_from != "-") file.open(request.files_from);
  if (request.files_from != "-" && !file) {
    return ReportError(kCommand, "cannot open file list '" + request.files_from + "'",
                       FailErrno(errno, request.files_from).error());
  }
  std::istream& in = request.files_from == "-" ? std::cin : file;
  for (std::string line; std::getline(in, line, request.null_separated ? '\0' : '\n');) {
    if (!line.empty()) paths->push_back(line);
  }
  return 0;
}

}  // namespace

int RunMigrate(const Arguments& args) {
  auto request = ParseMigrate(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  const int fetched = FetchTemplate(kCommand, request->copy_from, request->yaml_file,
                                    &request->layout_template);
  if (fetched != 0) return fetched;
  Arguments paths = request->paths;
  if (!request->files_from.empty()) {
    if (const int status = ReadList(*request, &paths); status != 0) return status;
  }
  int last = 0;
  {
    const SignalWatch watch;
    for (const std::string& path : paths) {
      const int status = MigrateOne(path, *request);
      if (status != 0) last = status;
      if (interrupted) break;
    }
  }
  if (interrupted) ::raise(interrupted);
  return last;
}

}  // namespace sheen::lfs
