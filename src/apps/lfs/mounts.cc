#include "apps/lfs/mounts.h"

#include <cerrno>
#include <fstream>
#include <sstream>

namespace sheen::lfs {

namespace {

constexpr char kMountInfo[] = "/proc/self/mountinfo";
constexpr std::string_view kType = "fuse.sheen";

// Blanks and backslashes are written as three octal digits: "\040".
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [text, i](size_t k) {
      return i + k < text.size() && text[i + k] >= '0' && text[i + k] <= '7';
    };
    if (text[i] == '\\' && digit(1) && digit(2) && digit(3)) {
      out += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string FsnameOf(std::string_view source) {
  const size_t at = source.rfind(":/");
  if (at == std::string_view::npos) return std::string(source);
  const std::string_view rest = source.substr(at + 2);
  return std::string(rest.substr(0, rest.find('/')));
}

// id parent major:minor root DIRECTORY options [optional ...] - TYPE SOURCE superoptions
std::optional<MountEntry> ParseLine(const std::string& line) {
  std::istringstream words(line);
  std::string word;
  std::string directory;
  for (int i = 0; i < 5; ++i) {
    if (!(words >> directory)) return std::nullopt;
  }
  while (words >> word && word != "-") {
  }
  std::string source;
  if (!(words >> word >> source) || word != kType) return std::nullopt;
  MountEntry mount{Unescape(directory), Unescape(source), {}};
  mount.fsname = FsnameOf(mount.source);
  return mount;
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (auto mount = ParseLine(line)) mounts.push_back(*std::move(mount));
  }
  return mounts;
}

Result<std::vector<MountEntry>> ReadMounts() {
  std::ifstream file(kMountInfo);
  if (!file) return FailErrno(errno, kMountInfo);
  std::stringstream text;
  text << file.rdbuf();
  return ParseMountInfo(text.str());
}

std::optional<MountEntry> MountOf(const std::vector<MountEntry>& mounts, std::string_view path) {
  std::optional<MountEntry> best;
  for (const MountEntry& mount : mounts) {
    const std::string& directory = mount.directory;
    const bool inside = directory == "/" || path == directory ||
                        (path.starts_with(directory) && path[directory.size()] == '/');
    if (inside && (!best || directory.size() >= best->directory.size())) best = mount;
  }
  return best;
}

}  // namespace sheen::lfs
