#include "apps/lfs/find_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace sheen::lfs {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string BaseName(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "" : "/";
  const size_t slash = path.rfind('/', end);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     end - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

char TypeLetter(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFBLK:
      return 'b';
    case S_IFCHR:
      return 'c';
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    default:
      return 'f';
  }
}

std::string ModeText(mode_t mode) {
  std::string out(1, TypeLetter(mode) == 'f' ? '-' : TypeLetter(mode));
  constexpr char kLetters[] = "rwxrwxrwx";
  for (int bit = 8; bit >= 0; --bit) {
    out += (mode & (1U << bit)) != 0 ? kLetters[8 - bit] : '-';
  }
  const auto special = [&out](size_t at, bool set, char with, char without) {
    if (set) out[at] = out[at] == 'x' ? with : without;
  };
  special(3, (mode & S_ISUID) != 0, 's', 'S');
  special(6, (mode & S_ISGID) != 0, 's', 'S');
  special(9, (mode & S_ISVTX) != 0, 't', 'T');
  return out;
}

std::string UserName(uid_t uid) {
  const passwd* const user = ::getpwuid(uid);
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

std::string GroupName(gid_t gid) {
  const group* const team = ::getgrgid(gid);
  return team != nullptr ? team->gr_name : std::to_string(gid);
}

std::string TimeText(const timespec& time) {
  tm parts{};
  char text[64];
  ::localtime_r(&time.tv_sec, &parts);
  std::strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &parts);
  return text;
}

int64_t AgeOf(const timespec& time, int64_t now_ns) {
  return (now_ns - time.tv_sec * kSecond - time.tv_nsec) / kSecond;
}

std::string FidBare(const Fid& fid) {
  std::string text = fid.ToString();
  std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
  return text;
}

}  // namespace

Status FindFile::FetchLayout() {
  if (layout_) return {};
  layout_.emplace();
  const bool is_directory = S_ISDIR(info_.st_mode);
  if (!is_directory && !S_ISREG(info_.st_mode)) return {};
  SHEEN_TRY_ASSIGN(const Device device,
                   Device::Open(path_, is_directory ? O_RDONLY | O_DIRECTORY : O_RDONLY));
  Result<ShownLayout> shown = device.GetLayout(false);
  if (shown) {
    layout_ = std::move(*shown);
    return {};
  }
  // A directory without a default of its own.
  if (shown.error().code() != Errc::kNoData) return std::unexpected(shown.error());
  SHEEN_TRY_ASSIGN(layout_->fid, device.GetFid());
  return {};
}

Result<bool> FindFile::IsReleased() {
  constexpr uint32_t kReleased = 0x4;
  const bool imported = std::ranges::any_of(
      layout_->layout.components, [](const auto& one) { return one.source.has_value(); });
  if (!imported) return false;
  SHEEN_TRY_ASSIGN(const Device device, Device::Open(path_, O_RDONLY));
  SHEEN_TRY_ASSIGN(const v1::HsmFileState state, device.GetHsmState());
  return (state.mds().flags() & kReleased) != 0;
}

const layout::Component* FindFile::Shown() const {
  const auto& components = layout_->layout.components;
  const layout::Component* shown = components.empty() ? nullptr : &components.front();
  for (const layout::Component& component : components) {
    if (component.instantiated()) shown = &component;
  }
  return shown;
}

Result<bool> FindFile::Matches(const std::vector<FindTest>& tests) {
  // What needs no layout first: that costs nothing more.
  for (const FindTest& test : tests) {
    if (!NeedsLayout(test.field) && MatchesOwn(test) == test.negated) return false;
  }
  for (const FindTest& test : tests) {
    if (!NeedsLayout(test.field)) continue;
    SHEEN_TRY(FetchLayout());
    if (test.field == FindField::kLayout && test.text == "released") {
      SHEEN_TRY_ASSIGN(const bool released, IsReleased());
      if (released == test.negated) return false;
      continue;
    }
    if (MatchesLayout(test) == test.negated) return false;
  }
  return true;
}

bool FindFile::MatchesOwn(const FindTest& test) const {
  switch (test.field) {
    case FindField::kName:
      return ::fnmatch(test.text.c_str(), BaseName(path_).c_str(), 0) == 0;
    case FindField::kType:
      return test.text.find(TypeLetter(info_.st_mode)) != std::string::npos;
    case FindField::kSize:
      return Holds(test, static_cast<uint64_t>(info_.st_size));
    case FindField::kAccessed:
      return HoldsForAge(test, AgeOf(info_.st_atim, now_ns_));
    case FindField::kModified:
      return HoldsForAge(test, AgeOf(info_.st_mtim, now_ns_));
    case FindField::kChanged:
      return HoldsForAge(test, AgeOf(info_.st_ctim, now_ns_));
    case FindField::kUser:
      return info_.st_uid == test.number;
    case FindField::kGroup:
      return info_.st_gid == test.number;
    case FindField::kLinks:
      return Holds(test, info_.st_nlink);
    case FindField::kNewer: {
      const timespec& time = test.text == "a"   ? info_.st_atim
                             : test.text == "c" ? info_.st_ctim
                                                : info_.st_mtim;
      return time.tv_sec * kSecond + time.tv_nsec > test.time_ns;
    }
    case FindField::kPermissions: {
      const uint64_t mode = info_.st_mode & 07777;
      if (test.relation == Relation::kMore) return (mode & test.number) == test.number;
      if (test.relation == Relation::kLess) return test.number == 0 || (mode & test.number) != 0;
      return mode == test.number;
    }
    default:
      return false;
  }
}

bool FindFile::MatchesLayout(const FindTest& test) const {
  const auto listed = [&test](uint32_t index) {
    return std::ranges::find(test.indexes, index) != test.indexes.end();
  };
  if (test.field == FindField::kMdt) return listed(0);  // there is one MDT
  const auto& components = layout_->layout.components;
  const layout::Component* const shown = Shown();
  if (shown == nullptr) return false;
  const auto any = [&components](auto holds) { return std::ranges::any_of(components, holds); };
  switch (test.field) {
    case FindField::kStripeCount:
      return Holds(test, shown->stripe_count);
    case FindField::kStripeBytes:
      return Holds(test, shown->stripe_bytes);
    case FindField::kStripeIndex:
      return !shown->osts.empty() && listed(shown->osts.front());
    case FindField::kOst:
      return any([&](const auto& one) { return std::ranges::any_of(one.osts, listed); });
    case FindField::kLayout:
      if (test.text == "overstriped") return shown->overstriped;
      return test.text == "raid0" && !shown->overstriped;
    case FindField::kComponentCount:
      return Holds(test, layout_->layout.composite ? components.size() : 0);
    case FindField::kComponentStart:
      return any([&](const auto& one) { return Holds(test, one.start); });
    case FindField::kComponentEnd:
      return any([&](const auto& one) { return Holds(test, one.end); });
    case FindField::kComponentFlags:
      return any([&](const auto& one) { return test.flags.Matches(one); });
    case FindField::kPool:
      return any([&](const auto& one) { return one.pool == test.text; });
    default:
      return false;
  }
}

Result<std::string> FindFile::Print(const FindRequest& request) {
  switch (request.output) {
    case FindOutput::kLines:
      return path_ + "\n";
    case FindOutput::kNulls:
      return path_ + std::string(1, '\0');
    case FindOutput::kLong:
      return LongLine();
    case FindOutput::kFormat:
      if (request.format.find("%L") != std::string::npos) SHEEN_TRY(FetchLayout());
      return FormatLine(request.format);
  }
  return std::string();
}

std::string FindFile::LongLine() const {
  return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", info_.st_ino, info_.st_blocks / 2,
                     ModeText(info_.st_mode), info_.st_nlink, UserName(info_.st_uid),
                     GroupName(info_.st_gid), info_.st_size, TimeText(info_.st_mtim), path_);
}

std::string FindFile::FormatLine(const std::string& format) const {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    const char next = i + 1 < format.size() ? format[i + 1] : '\0';
    if (c == '\\' && next != '\0') {
      ++i;
      constexpr std::string_view kFrom = "nt0\\abfrv";
      constexpr std::string_view kTo("\n\t\0\\\a\b\f\r\v", 9);
      const size_t at = kFrom.find(next);
      out += at == std::string_view::npos ? std::string{'\\', next} : std::string(1, kTo[at]);
    } else if (c == '%' && next == 'L' && i + 2 < format.size()) {
      out += LustreDirective(format[i + 2]);
      i += 2;
    } else if (c == '%' && (next == 'A' || next == 'C' || next == 'T') && i + 2 < format.size() &&
               format[i + 2] == '@') {
      const timespec& time = next == 'A'   ? info_.st_atim
                             : next == 'C' ? info_.st_ctim
                                           : info_.st_mtim;
      out += fmt::format("{}.{:09}0", time.tv_sec, time.tv_nsec);
      i += 2;
    } else if (c == '%' && next != '\0') {
      out += Directive(next);
      ++i;
    } else {
      out += c;
    }
  }
  return out;
}

std::string FindFile::Directive(char letter) const {
  switch (letter) {
    case '%':
      return "%";
    case 'a':
      return TimeText(info_.st_atim);
    case 'b':
      return std::to_string(info_.st_blocks);
    case 'c':
      return TimeText(info_.st_ctim);
    case 'f':
      return BaseName(path_);
    case 'g':
      return GroupName(info_.st_gid);
    case 'G':
      return std::to_string(info_.st_gid);
    case 'i':
      return std::to_string(info_.st_ino);
    case 'k':
      return std::to_string((info_.st_blocks + 1) / 2);
    case 'm':
      return fmt::format("{:o}", info_.st_mode & 07777);
    case 'M':
      return ModeText(info_.st_mode);
    case 'n':
      return std::to_string(info_.st_nlink);
    case 'p':
      return path_;
    case 's':
      return std::to_string(info_.st_size);
    case 't':
      return TimeText(info_.st_mtim);
    case 'u':
      return UserName(info_.st_uid);
    case 'U':
      return std::to_string(info_.st_uid);
    case 'y':
      return std::string(1, TypeLetter(info_.st_mode));
    default:
      return std::string{'%', letter};
  }
}

std::string FindFile::LustreDirective(char letter) const {
  if (letter == 'F') return FidBare(layout_->fid);
  if (letter == 'h') return S_ISDIR(info_.st_mode) ? "none" : "";
  if (letter == 'P') return "0";
  if (letter == 'a') return "---";
  const layout::Component* const shown = Shown();
  if (shown == nullptr) return "";
  switch (letter) {
    case 'c':
      return shown->stripe_count == layout::kAllOsts ? "-1" : std::to_string(shown->stripe_count);
    case 'S':
      return std::to_string(shown->stripe_bytes);
    case 'i':
      return shown->osts.empty() ? "-1" : std::to_string(shown->osts.front());
    case 'o': {
      std::string list;
      for (const uint32_t ost : shown->osts)
        list += fmt::format("{}{}", list.empty() ? "" : ",", ost);
      return list;
    }
    case 'p':
      return shown->pool;
    default:
      return std::string("%L") + letter;
  }
}

}  // namespace sheen::lfs
