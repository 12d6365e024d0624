// changelog, changelog_clear: what was changed in the filesystem, record by record.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "apps/lfs/changelog_format.h"
#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/mounts.h"
#include "apps/lfs/options.h"
#include "mdt/changelog_records.h"

namespace sheen::lfs {
namespace {

constexpr int kJson = 256;
constexpr useconds_t kFollowMicros = 200'000;

constexpr OptionSpec kSpecs[] = {{'f', "follow"},
                                 {'u', "user", Takes::kArgument},
                                 {'m', "mask", Takes::kArgument},
                                 {kJson, "json"}};

struct Wanted {
  bool follow = false;
  bool json = false;
  mdt::LogMask mask = ~mdt::LogMask{0};
  std::string mdt;
  v1::ReadChangelogRequest request;
};

bool ParseIndex(const std::string& text, uint64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

std::expected<Wanted, OptionError> ParseArguments(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  Wanted wanted;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    const std::string value = (*option)->value.value_or("");
    if ((*option)->letter == 'f') wanted.follow = true;
    if ((*option)->letter == kJson) wanted.json = true;
    if ((*option)->letter == 'u') wanted.request.set_user(value);
    if ((*option)->letter != 'm') continue;
    const auto mask = mdt::ParseLogMask(value, mdt::DefaultLogMask());
    if (!mask) return std::unexpected(OptionError{"--mask: " + mask.error().message()});
    wanted.mask = *mask;
  }
  const Arguments rest = reader.Rest();
  if (rest.empty()) return std::unexpected(OptionError{"missing MDT name"});
  if (rest.size() > 3) return std::unexpected(OptionError{"'" + rest[3] + "' is too much"});
  wanted.mdt = rest[0];
  uint64_t numbers[2] = {0, 0};
  for (size_t i = 1; i < rest.size(); ++i) {
    if (!ParseIndex(rest[i], &numbers[i - 1])) {
      return std::unexpected(OptionError{"'" + rest[i] + "' is no record number"});
    }
  }
  wanted.request.set_start(numbers[0]);
  wanted.request.set_end(numbers[1]);
  return wanted;
}

// "sheen-MDT0000": a mount of that filesystem, and the MDT's index.
struct Mdt {
  Device device;
  uint32_t index = 0;
};

// Of a mount point: its first MDT.
Result<Mdt> OpenMdt(const std::string& name) {
  if (name.starts_with('/') || name.starts_with('.')) {
    auto device = Device::Open(name, O_RDONLY | O_DIRECTORY);
    if (!device) return std::unexpected(device.error());
    return Mdt{std::move(*device), 0};
  }
  constexpr std::string_view kInfix = "-MDT";
  const size_t at = name.rfind(kInfix);
  const std::string digits = at == std::string::npos ? "" : name.substr(at + kInfix.size());
  uint32_t index = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), index, 16);
  if (digits.size() != 4 || error != std::errc() || end != digits.data() + digits.size()) {
    return Fail(Errc::kInvalid, "'" + name + "' is no MDT's name, as sheen-MDT0000");
  }
  SHEEN_TRY_ASSIGN(const std::vector<MountEntry> mounts, ReadMounts());
  const std::string fsname = name.substr(0, at);
  const auto mount = std::ranges::find(mounts, fsname, &MountEntry::fsname);
  if (mount == mounts.end()) {
    return Fail(Errc::kNoSuchDevice, "filesystem '" + fsname + "' is not mounted here");
  }
  auto device = Device::Open(mount->directory, O_RDONLY | O_DIRECTORY);
  if (!device) return std::unexpected(device.error());
  return Mdt{std::move(*device), index};
}

// Prints one answer. False: the output is gone.
bool Print(const Wanted& wanted, const v1::ReadChangelogReply& reply) {
  for (const v1::ChangelogRecord& record : reply.records()) {
    if ((wanted.mask & (mdt::LogMask{1} << (record.type() & 31U))) == 0) continue;
    fmt::print("{}",
               wanted.json ? ChangelogRecordJson(record) : FormatChangelogRecord(record));
  }
  return std::ferror(stdout) == 0;
}

}  // namespace

int RunChangelog(const Arguments& args) {
  auto wanted = ParseArguments(args);
  if (!wanted) return ReportOptionError("changelog", wanted.error());
  const auto mdt = OpenMdt(wanted->mdt);
  if (!mdt) return ReportError("changelog", mdt.error().message(), mdt.error());
  for (;;) {
    const auto reply = mdt->device.ReadChangelog(mdt->index, wanted->request);
    if (!reply) {
      const bool user = reply.error().code() == Errc::kNoEntry;
      return ReportError("changelog",
                         user ? "no changelog user: " + wanted->request.user()
                              : "cannot read the changelog of " + wanted->mdt,
                         reply.error());
    }
    if (!Print(*wanted, *reply)) return EPIPE;
    wanted->request.set_start(reply->next());
    const bool past = wanted->request.end() != 0 && reply->next() > wanted->request.end();
    if (past || (reply->end() && !wanted->follow)) return 0;
    if (!reply->end()) continue;
    std::fflush(stdout);
    ::usleep(kFollowMicros);
  }
}

int RunChangelogClear(const Arguments& args) {
  v1::ClearChangelogRequest request;
  uint64_t end = 0;
  if (args.size() != 4) {
    return ReportOptionError("changelog_clear", {"an MDT, a user and a record are needed"});
  }
  if (!ParseIndex(args[3], &end)) {
    return ReportOptionError("changelog_clear", {"'" + args[3] + "' is no record number"});
  }
  request.set_user(args[2]);
  request.set_end(end);
  const auto mdt = OpenMdt(args[1]);
  if (!mdt) return ReportError("changelog_clear", mdt.error().message(), mdt.error());
  const Status cleared = mdt->device.ClearChangelog(mdt->index, request);
  if (cleared) return 0;
  std::string message = "cannot purge records for '" + args[2] + "'";
  if (cleared.error().code() == Errc::kInvalid) message = "record out of range: " + args[3];
  if (cleared.error().code() == Errc::kNoEntry) message = "no changelog user: " + args[2];
  return ReportError("changelog_clear", message, cleared.error());
}

}  // namespace sheen::lfs
