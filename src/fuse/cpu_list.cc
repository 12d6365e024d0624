#include "fuse/cpu_list.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <string>

namespace sheen::fuse {
namespace {

constexpr const char* kPossiblePath = "/sys/devices/system/cpu/possible";
// Linux's NR_CPUS is at most 8192; a queue id has 16 bits.
constexpr uint32_t kCoresMax = 65536;
// Of /proc/PID/stat, counted from 1 (proc(5)).
constexpr int kProcessorField = 39;
constexpr size_t kStatBytes = 1024;

// Reads a number from the front of `*text` and removes it.
bool TakeNumber(std::string_view* text, uint32_t* out) {
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), *out);
  if (failed != std::errc() || *out >= kCoresMax) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

}  // namespace

Result<uint32_t> CountCores(std::string_view list) {
  uint32_t count = 0;
  std::string_view rest = list;
  while (true) {
    uint32_t first = 0;
    if (!TakeNumber(&rest, &first)) break;
    uint32_t last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      if (!TakeNumber(&rest, &last) || last < first) break;
    }
    count += last - first + 1;
    if (rest.empty()) return count;
    if (!rest.starts_with(',')) break;
    rest.remove_prefix(1);
  }
  return Fail(Errc::kInvalid, fmt::format("\"{}\" is no list of cores", list));
}

Result<uint32_t> PossibleCores() {
  std::ifstream file(kPossiblePath);
  std::string list;
  if (!(file >> list)) return Fail(Errc::kIo, fmt::format("cannot read {}", kPossiblePath));
  return CountCores(list);
}

int BoundCore() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) != 1) return -1;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) return core;
  }
  return -1;
}

int CoreOfThread(uint32_t tid) {
  char path[32];
  *fmt::format_to_n(path, sizeof path - 1, "/proc/{}/stat", tid).out = '\0';
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[kStatBytes];
  const ssize_t got = read(fd, text, sizeof text);
  close(fd);
  if (got <= 0) return -1;
  std::string_view rest(text, static_cast<size_t>(got));
  // The name, field 2, may hold anything; it ends at the last parenthesis.
  const size_t name_end = rest.rfind(')');
  if (name_end == std::string_view::npos) return -1;
  rest.remove_prefix(name_end);
  for (int field = 2; field < kProcessorField; ++field) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return -1;
    rest.remove_prefix(space + 1);
  }
  uint32_t core = 0;
  return TakeNumber(&rest, &core) ? static_cast<int>(core) : -1;
}

}  // namespace sheen::fuse
