#include "fuse/caller.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>

namespace sheen::fuse {
namespace {

constexpr size_t kStatusBytesMax = 8192;

// The set in the line "NAME:\t0000000000000100": bit n - 1 is signal n.
uint64_t SignalsIn(std::string_view status, std::string_view name) {
  const size_t line = status.find(name);
  if (line == std::string_view::npos) return 0;
  const size_t from = status.find_first_not_of(" \t", line + name.size());
  if (from == std::string_view::npos) return 0;
  uint64_t set = 0;
  std::from_chars(status.data() + from, status.data() + status.size(), set, 16);
  return set;
}

}  // namespace

bool HasKillPending(std::string_view status) {
  constexpr uint64_t kKill = 1ULL << (SIGKILL - 1);
  return ((SignalsIn(status, "\nSigPnd:") | SignalsIn(status, "\nShdPnd:")) & kKill) != 0;
}

bool IsBeingKilled(uint32_t tid) {
  char path[32];
  *fmt::format_to_n(path, sizeof path - 1, "/proc/{}/status", tid).out = '\0';
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[kStatusBytesMax];
  const ssize_t got = ::read(fd, text, sizeof text);
  ::close(fd);
  return got > 0 && HasKillPending({text, static_cast<size_t>(got)});
}

}  // namespace sheen::fuse
