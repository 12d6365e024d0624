#include "apps/common/mount_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include "apps/common/words.h"

namespace sheen::apps {
namespace {

std::unexpected<Error> BadSpec(std::string_view text, std::string_view why) {
  return Fail(
      Errc::kInvalid,
      fmt::format("'{}' names no Sheen filesystem: {}; write HOST:/FSNAME, as mds1:/sheen or "
                  "[::1]:/sheen/subdirectory",
                  text, why));
}

// Takes "host", "host@tcp" or "[v6]@tcp0" off the front of `rest`, without the separator.
Result<std::string> TakeHost(std::string_view text, std::string_view* rest) {
  std::string host;
  if (rest->starts_with('[')) {
    const size_t close = rest->find(']');
    if (close == std::string_view::npos) return BadSpec(text, "a bracket is not closed");
    host = rest->substr(1, close - 1);
    rest->remove_prefix(close + 1);
  } else {
    const size_t end = std::min(rest->find_first_of("@:,"), rest->size());
    host = rest->substr(0, end);
    rest->remove_prefix(end);
  }
  if (rest->starts_with('@')) {
    const size_t end = std::min(rest->find_first_of(":,"), rest->size());
    std::string_view network = rest->substr(1, end - 1);
    rest->remove_prefix(end);
    const bool tcp = network.starts_with("tcp") &&
                     std::ranges::all_of(network.substr(3),
                                         [](unsigned char c) { return std::isdigit(c) != 0; });
    if (!tcp) {
      return BadSpec(text, fmt::format("'{}' is a network Sheen has not, it has tcp", network));
    }
  }
  if (host.empty() || host.find('/') != std::string::npos) {
    return BadSpec(text, "there is no host before the colon");
  }
  return host;
}

// Words that concern mount(8), the boot or the kernel alone, or that are so in any case here.
bool IsIgnored(std::string_view name) {
  static constexpr std::string_view kWords[] = {"defaults",
                                                "_netdev",
                                                "auto",
                                                "noauto",
                                                "nofail",
                                                "user",
                                                "nouser",
                                                "users",
                                                "owner",
                                                "group",
                                                "rw",
                                                "suid",
                                                "dev",
                                                "exec",
                                                "async",
                                                "atime",
                                                "relatime",
                                                "norelatime",
                                                "diratime",
                                                "strictatime",
                                                "nostrictatime",
                                                "lazytime",
                                                "nolazytime",
                                                "loud",
                                                "silent",
                                                "nomand",
                                                "user_xattr",
                                                "lazystatfs",
                                                "nolazystatfs",
                                                "verbose",
                                                "noverbose",
                                                "always_ping",
                                                "user_fid2path",
                                                "nouser_fid2path",
                                                "nodiratime"};
  return std::ranges::find(kWords, name) != std::end(kWords) || name.starts_with("x-") ||
         name.starts_with("X-") || name.starts_with("comment=");
}

Status SetNumber(std::string_view name, std::string_view value, int64_t low, int64_t high,
                 int64_t* out) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < low || number > high) {
    return Fail(Errc::kInvalid, fmt::format("mount option {}={}: it must be a number from {} to {}",
                                            name, value, low, high));
  }
  *out = number;
  return {};
}

Status SetWord(std::string_view name, std::string_view value,
               std::initializer_list<std::string_view> words, std::string* out) {
  if (std::ranges::find(words, value) == words.end()) {
    return Fail(Errc::kInvalid, fmt::format("mount option {}={}: it must be one of {}", name, value,
                                            fmt::join(words, ", ")));
  }
  *out = value;
  return {};
}

bool ApplySwitch(std::string_view name, ClientOptions* out) {
  const std::map<std::string_view, std::pair<bool*, bool>> switches = {
      {"ro", {&out->read_only, true}},
      {"rw", {&out->read_only, false}},
      {"noatime", {&out->noatime, true}},
      {"atime", {&out->noatime, false}},
      {"relatime", {&out->noatime, false}},
      {"nosuid", {&out->nosuid, true}},
      {"suid", {&out->nosuid, false}},
      {"nodev", {&out->nodev, true}},
      {"dev", {&out->nodev, false}},
      {"noexec", {&out->noexec, true}},
      {"exec", {&out->noexec, false}},
      {"allow_other", {&out->allow_other, true}},
      {"noallow_other", {&out->allow_other, false}},
      {"fg", {&out->foreground, true}},
      {"sloppy", {&out->sloppy, true}},
      {"flock", {&out->local_locks, false}},
      {"localflock", {&out->local_locks, true}},
  };
  const auto found = switches.find(name);
  if (found == switches.end()) return false;
  *found->second.first = found->second.second;
  return true;
}

// False: not known.
Result<bool> ApplyValue(std::string_view name, std::string_view value, ClientOptions* out) {
  if (name == "port") {
    SHEEN_TRY(SetNumber(name, value, 1, 65535, &out->port));
  } else if (name == "shards") {
    SHEEN_TRY(SetNumber(name, value, 0, 256, &out->shards));
  } else if (name == "deadline" || name == "timeout") {
    SHEEN_TRY(SetNumber(name, value, 0, 1'000'000'000, &out->timeout_s));
  } else if (name == "read_ahead_kb") {
    SHEEN_TRY(SetNumber(name, value, 0, 1 << 20, &out->read_ahead_kb));
  } else if (name == "io_uring") {
    SHEEN_TRY(SetWord(name, value, {"auto", "on", "off"}, &out->io_uring));
  } else if (name == "log_level") {
    SHEEN_TRY(SetWord(name, value, {"debug", "info", "warn", "error"}, &out->log_level));
  } else if (name == "checksums" || name == "write_behind" || name == "recovery") {
    std::string word;
    SHEEN_TRY(SetWord(name, value, {"on", "off"}, &word));
    bool* const set = name == "checksums"      ? &out->checksums
                      : name == "write_behind" ? &out->write_behind
                                               : &out->recovery;
    *set = word == "on";
  } else if (name == "metrics") {
    if (value.empty()) return Fail(Errc::kInvalid, "mount option metrics=: it must be [HOST:]PORT");
    out->metrics = value;
  } else if (name == "lost_data") {
    if (value != "off" && !value.starts_with('/')) {
      return Fail(Errc::kInvalid,
                  fmt::format("mount option lost_data={}: it must be a directory's path from the "
                              "root, or off",
                              value));
    }
    out->lost_data = value == "off" ? "" : value;
  } else if (name == "log") {
    if (value.empty()) return Fail(Errc::kInvalid, "mount option log=: it must name a file");
    out->log = value;
  } else {
    return false;
  }
  return true;
}

Status ApplyOne(const std::string& option, ClientOptions* out) {
  if (ApplySwitch(option, out) || IsIgnored(option)) return {};
  const size_t equals = option.find('=');
  if (equals != std::string::npos) {
    SHEEN_TRY_ASSIGN(const bool known,
                     ApplyValue(std::string_view(option).substr(0, equals),
                                std::string_view(option).substr(equals + 1), out));
    if (known) return {};
  }
  if (option == "remount") {
    return Fail(Errc::kInvalid,
                "mount option remount: a Sheen mount cannot be changed; umount it and mount it "
                "again with the options wanted");
  }
  if (out->sloppy) {
    out->ignored.push_back(option);
    return {};
  }
  return Fail(Errc::kInvalid, fmt::format("unknown mount option '{}'; remove it, or see "
                                          "`sheen-client --help`",
                                          option));
}

}  // namespace

Result<MountSpec> ParseMountSpec(std::string_view text) {
  MountSpec spec;
  std::string_view rest = text;
  while (!rest.starts_with('/')) {
    SHEEN_TRY_ASSIGN(std::string host, TakeHost(text, &rest));
    spec.hosts.push_back(std::move(host));
    if (rest.empty()) return BadSpec(text, "there is no :/FSNAME");
    if (!rest.starts_with(':') && !rest.starts_with(',')) {
      return BadSpec(text, "what follows the host is no colon");
    }
    rest.remove_prefix(1);
  }
  if (spec.hosts.empty()) return BadSpec(text, "there is no host");
  rest.remove_prefix(1);
  const size_t slash = std::min(rest.find('/'), rest.size());
  spec.fsname = rest.substr(0, slash);
  SHEEN_TRY(CheckFsname(spec.fsname));
  rest.remove_prefix(slash);
  // Slashes in front, behind and doubled ones go.
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, end);
    if (part == "." || part == "..") return BadSpec(text, "the subdirectory has a '.' or '..'");
    if (!part.empty()) spec.subdir += (spec.subdir.empty() ? "" : "/") + std::string(part);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return spec;
}

std::vector<std::string> SplitOptions(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) out.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

Status ApplyMountOptions(const std::vector<std::string>& options, ClientOptions* out) {
  // Whether unknown ones are tolerated does not depend on the order.
  if (std::ranges::find(options, "sloppy") != options.end()) out->sloppy = true;
  for (const std::string& option : options) {
    if (!option.empty()) SHEEN_TRY(ApplyOne(option, out));
  }
  return {};
}

}  // namespace sheen::apps
