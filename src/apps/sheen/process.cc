#include "apps/sheen/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <thread>

#include "apps/common/ost_notes.h"

// glibc 2.36's header does not say itself that these are C functions.
extern "C" {
#include <sys/pidfd.h>
}

namespace sheen::apps {
namespace {

constexpr int kReadyFd = 3;  // in the daemon

struct Stat {
  char state = 'X';
  uint64_t start_time = 0;
};

// proc(5), /proc/PID/stat: the name in parentheses may hold anything, the rest are numbers.
std::optional<Stat> ReadStat(const std::string& path) {
  const Result<std::string> text = ReadWholeFile(path);
  if (!text) return std::nullopt;
  const size_t close = text->rfind(')');
  if (close == std::string::npos) return std::nullopt;
  std::istringstream words(text->substr(close + 1));
  Stat out;
  std::string word;
  for (int field = 3; words >> word; ++field) {
    if (field == 3) out.state = word[0];
    if (field == 22) {
      std::from_chars(word.data(), word.data() + word.size(), out.start_time);
      return out;
    }
  }
  return std::nullopt;
}

std::optional<Stat> ReadStat(pid_t pid) { return ReadStat(fmt::format("/proc/{}/stat", pid)); }

// A pidfd of the process if it is still the same one, else -1.
int OpenSame(const ProcessId& process) {
  if (process.pid <= 0) return -1;
  const int fd = ::pidfd_open(process.pid, 0);
  if (fd < 0) return -1;
  const std::optional<Stat> stat = ReadStat(process.pid);
  if (stat && stat->start_time == process.start_time) return fd;
  ::close(fd);
  return -1;
}

int PollMillis(Nanos patience) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count());
}

std::string ReadLine(int fd, Nanos patience) {
  const Nanos end = SystemClock().Monotonic() + patience;
  std::string text;
  char buffer[512];
  while (text.find('\n') == std::string::npos) {
    pollfd waiting{fd, POLLIN, 0};
    const Nanos left = end - SystemClock().Monotonic();
    if (left <= Nanos(0) || ::poll(&waiting, 1, PollMillis(left) + 1) <= 0) break;
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) return text.empty() ? "end" : text;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text.substr(0, text.find('\n'));
}

std::string LastLine(const std::string& path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

}  // namespace

ProcessState StateOf(const ProcessId& process) {
  if (process.pid <= 0) return ProcessState::kGone;
  const std::optional<Stat> stat = ReadStat(process.pid);
  if (!stat || stat->start_time != process.start_time) return ProcessState::kGone;
  if (stat->state == 'Z' || stat->state == 'X') return ProcessState::kGone;
  return stat->state == 'T' || stat->state == 't' ? ProcessState::kFrozen : ProcessState::kRunning;
}

Result<Spawned> Spawn(const SpawnOptions& options) {
  int fds[2] = {-1, -1};
  if (::pipe2(fds, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  std::vector<std::string> words = {options.program};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  words.push_back(fmt::format("--ready-fd={}", kReadyFd));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, options.log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&files, fds[1], kReadyFd);
  // A file that the caller has open in a mount would keep it from being unmounted.
  posix_spawn_file_actions_addclosefrom_np(&files, kReadyFd + 1);
  posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, options.program.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  ::close(fds[1]);
  if (error != 0) {
    ::close(fds[0]);
    return FailErrno(error, fmt::format("start {} with log {}", options.program, options.log));
  }
  const std::optional<Stat> stat = ReadStat(pid);  // ours, so there until it is waited for
  return Spawned{{pid, stat ? stat->start_time : 0}, fds[0], options.program, options.log};
}

Result<std::map<std::string, int64_t>> WaitReady(Spawned spawned, Nanos patience) {
  const std::string line = ReadLine(spawned.ready_fd, patience);
  ::close(spawned.ready_fd);
  const std::string name = std::filesystem::path(spawned.program).filename();
  if (line.starts_with("ready ")) {
    const nlohmann::json json = nlohmann::json::parse(line.substr(6), nullptr, false);
    std::map<std::string, int64_t> ports;
    if (json.is_object()) {
      for (const auto& [key, value] : json.items()) {
        if (value.is_number_integer()) ports[key] = value.get<int64_t>();
      }
    }
    return ports;
  }
  const bool said = line.starts_with("failed ");
  const bool ended = said || line == "end";
  if (!ended) ::kill(spawned.process.pid, SIGKILL);
  ::waitpid(spawned.process.pid, nullptr, 0);
  if (said) return Fail(Errc::kIo, fmt::format("{}: {}", name, line.substr(7)));
  if (!ended) {
    return Fail(Errc::kTimedOut,
                fmt::format("{} did not become ready in time; see its log {}", name, spawned.log));
  }
  // It had nowhere else to say why, as before it has read its command line.
  const std::string reason = LastLine(spawned.log);
  return Fail(Errc::kIo, reason.empty() ? fmt::format("{} ended before it served", name) : reason);
}

Result<bool> Signal(const ProcessId& process, int signal) {
  const int fd = OpenSame(process);
  if (fd < 0) return false;
  const int sent = ::pidfd_send_signal(fd, signal, nullptr, 0);
  const int error = errno;
  ::close(fd);
  if (sent == 0) return true;
  if (error == ESRCH) return false;
  return FailErrno(error, fmt::format("signal process {}", process.pid));
}

bool WaitGone(const ProcessId& process, Nanos patience) {
  const int fd = OpenSame(process);
  if (fd < 0) return true;
  pollfd waiting{fd, POLLIN, 0};
  const int ready = ::poll(&waiting, 1, PollMillis(patience));
  ::close(fd);
  if (ready > 0) ::waitpid(process.pid, nullptr, WNOHANG);  // a child of this command
  return ready > 0;
}

namespace {

// Who waits in the kernel and cannot be interrupted obeys before it executes anything more of its
// program; and it may wait for this very process, as a notice does for a page that one of its
// requests has locked.
bool StandsStill(char state) { return std::string_view("TtDZX").contains(state); }

}  // namespace

bool WaitFrozen(const ProcessId& process, Nanos patience) {
  const Nanos end = SystemClock().Monotonic() + patience;
  const std::string tasks = fmt::format("/proc/{}/task", process.pid);
  while (StateOf(process) != ProcessState::kGone) {
    std::error_code error;
    bool all = true;
    for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
      const std::optional<Stat> stat = ReadStat(task.path() / "stat");
      all = all && (!stat || StandsStill(stat->state));
    }
    if (all && !error) return true;
    if (SystemClock().Monotonic() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

Result<bool> Terminate(const ProcessId& process, Nanos patience) {
  SHEEN_TRY_ASSIGN(const bool alive, Signal(process, SIGTERM));
  if (!alive) return true;
  SHEEN_TRY(Signal(process, SIGCONT));
  if (WaitGone(process, patience)) return true;
  SHEEN_TRY(Signal(process, SIGKILL));
  if (!WaitGone(process, std::chrono::seconds(10))) {
    return Fail(Errc::kTimedOut,
                fmt::format("process {} does not end after SIGKILL; it waits in the "
                            "kernel: see /proc/{}/stack",
                            process.pid, process.pid));
  }
  return false;
}

Result<int> ParseSignal(const std::string& text) {
  std::string name = text;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int number = 1; number < NSIG; ++number) {
    const char* known = ::sigabbrev_np(number);
    if ((known != nullptr && name == known) || name == std::to_string(number)) return number;
  }
  return Fail(Errc::kInvalid,
              fmt::format("'{}' is no signal; write KILL, TERM, STOP or CONT", text));
}

Result<std::string> FindProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::vector<std::filesystem::path> places = {self.parent_path()};
  const char* path = std::getenv("PATH");
  std::istringstream words(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string word; std::getline(words, word, ':');) places.emplace_back(word);
  for (const std::filesystem::path& place : places) {
    if (place.empty()) continue;
    const std::string candidate = place / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Fail(Errc::kNoEntry,
              fmt::format("{} is neither beside {} nor in the PATH; build or install "
                          "it",
                          name, self.string()));
}

}  // namespace sheen::apps
