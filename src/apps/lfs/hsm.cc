// lfs hsm_state, hsm_set, hsm_clear, hsm_action, hsm_restore, hsm_release, hsm_cancel: files from
// S3 as Lustre's users know them. Output has Lustre's form.
#include <fcntl.h>
#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <utility>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/options.h"

namespace sheen::lfs {

namespace {

struct Flag {
  uint32_t bit;
  const char* option;
  const char* shown;
};
// In the order in which Lustre shows them.
constexpr std::array<Flag, 7> kFlags{{{0x4, "", "released"},
                                      {0x1, "exists", "exists"},
                                      {0x2, "dirty", "dirty"},
                                      {0x8, "archived", "archived"},
                                      {0x10, "norelease", "never_release"},
                                      {0x20, "noarchive", "never_archive"},
                                      {0x40, "lost", "lost_from_hsm"}}};

constexpr OptionSpec kFlagSpecs[] = {
    {'e', "exists"},
    {'d', "dirty"},
    {'a', "archived"},
    {'r', "norelease"},
    {'A', "noarchive"},
    {'l', "lost"},
    {'i', "archive-id", Takes::kArgument},
    {'F', "force"},
};

constexpr OptionSpec kRequestSpecs[] = {
    {'l', "filelist", Takes::kArgument},
    {'D', "data", Takes::kArgument},
    {'a', "archive", Takes::kArgument},
};

std::string FlagText(const v1::HsmStateReply& state) {
  std::string out = fmt::format("(0x{:08x})", state.flags());
  for (const Flag& flag : kFlags) {
    if ((state.flags() & flag.bit) != 0) out += fmt::format(" {}", flag.shown);
  }
  if (state.archive_id() != 0) out += fmt::format(", archive_id:{}", state.archive_id());
  return out;
}

std::string ActionText(const v1::HsmStateReply& state) {
  if (state.action() == 0) {
    return state.failure().empty() ? "NOOP"
                                   : "NOOP (the last restore failed: " + state.failure() + ")";
  }
  const char* const name = state.action() == kHsmActionRestore ? "RESTORE" : "UNKNOWN";
  if (state.action_state() == 1) return fmt::format("{} waiting", name);
  return fmt::format("{} running ({} bytes moved)", name, state.action_bytes());
}

// Opens each file for what `show` does; the last error is the status.
int ForEachFile(const char* command, const Arguments& paths,
                const std::function<Status(const std::string&, const Device&)>& show) {
  if (paths.empty()) return ReportOptionError(command, {"missing file name"});
  int last = 0;
  for (const std::string& path : paths) {
    const auto device = Device::Open(path, O_RDONLY);
    const Status done = device ? show(path, *device) : Status(std::unexpected(device.error()));
    if (done) continue;
    const bool not_s3 = done.error().code() == Errc::kNotSupported;
    last = ReportError(command, "'" + path + (not_s3 ? "' was not imported from S3" : "'"),
                       done.error());
  }
  return last;
}

int ShowState(const char* command, const Arguments& args,
              std::string (*text)(const v1::HsmStateReply&)) {
  OptionReader reader(args, {});
  if (const auto option = reader.Next(); !option) return ReportOptionError(command, option.error());
  return ForEachFile(command, reader.Rest(), [text](const std::string& path, const Device& device) {
    const auto state = device.GetHsmState();
    if (!state) return Status(std::unexpected(state.error()));
    fmt::print("{}: {}\n", path, text(state->mds()));
    return Status();
  });
}

int ChangeFlags(const char* command, const Arguments& args, bool set) {
  OptionReader reader(args, kFlagSpecs);
  uint32_t bits = 0;
  IoctlHsmFlags flags;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(command, option.error());
    if (!*option) break;
    switch ((*option)->letter) {
      case 'e':
        bits |= 0x1;
        break;
      case 'd':
        bits |= 0x2;
        break;
      case 'a':
        bits |= 0x8;
        break;
      case 'r':
        bits |= 0x10;
        break;
      case 'A':
        bits |= 0x20;
        break;
      case 'l':
        bits |= 0x40;
        break;
      case 'F':
        break;
      default: {
        const std::string& text = *(*option)->value;
        const char* const end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, flags.archive_id);
        if (parsed.ec != std::errc() || parsed.ptr != end || !set) {
          return ReportOptionError(command, {"bad archive id '" + text + "'"});
        }
      }
    }
  }
  if (bits == 0) return ReportOptionError(command, {"no flag is given"});
  (set ? flags.set : flags.clear) = bits;
  return ForEachFile(command, reader.Rest(), [&flags](const std::string&, const Device& device) {
    return device.SetHsmFlags(flags);
  });
}

// What is behind an errno, for those who would not guess it.
const char* HintOf(uint32_t action, int error) {
  if (error == EOPNOTSUPP) return " (it was not imported from S3)";
  if (action != kHsmActionRelease) return "";
  if (error == EBUSY) return " (it is open for writing)";
  if (error == EPERM) {
    return " (it is not yours, was changed here, is kept by hsm_set --norelease, or its data "
           "repository is not linked)";
  }
  return "";
}

int Request(const char* command, const Arguments& args, uint32_t action) {
  OptionReader reader(args, kRequestSpecs);
  std::string list;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(command, option.error());
    if (!*option) break;
    if ((*option)->letter == 'l') list = *(*option)->value;
  }
  Arguments paths = reader.Rest();
  if (!list.empty()) {
    std::ifstream in(list);
    if (!in) return ReportError(command, "'" + list + "'", FailErrno(errno, list).error());
    for (std::string line; std::getline(in, line);) {
      if (!line.empty()) paths.push_back(line);
    }
  }
  if (paths.empty()) return ReportOptionError(command, {"missing file name"});
  int last = 0;
  for (const std::string& path : paths) {
    const auto device = Device::Open(path, O_RDONLY);
    Result<Fid> fid = device ? device->GetFid() : Result<Fid>(std::unexpected(device.error()));
    int error = fid ? 0 : ErrnoOf(fid.error().code());
    if (fid) {
      const auto done = device->HsmAction(action, {*fid}, 0);
      error = done ? done->errors.at(0) : ErrnoOf(done.error().code());
    }
    if (error == 0) continue;
    std::fflush(stdout);
    fmt::print(stderr, "Cannot send HSM request (use of {}): {}{}\n", path, std::strerror(error),
               HintOf(action, error));
    last = error;
  }
  return last;
}

}  // namespace

int RunHsmState(const Arguments& args) { return ShowState("hsm_state", args, FlagText); }
int RunHsmAction(const Arguments& args) { return ShowState("hsm_action", args, ActionText); }
int RunHsmSet(const Arguments& args) { return ChangeFlags("hsm_set", args, true); }
int RunHsmClear(const Arguments& args) { return ChangeFlags("hsm_clear", args, false); }
int RunHsmRestore(const Arguments& args) { return Request("hsm_restore", args, kHsmActionRestore); }
int RunHsmRelease(const Arguments& args) { return Request("hsm_release", args, kHsmActionRelease); }
int RunHsmCancel(const Arguments& args) { return Request("hsm_cancel", args, kHsmActionCancel); }

}  // namespace sheen::lfs
