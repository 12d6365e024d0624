#include "fuse/job_id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace sheen::fuse {
namespace {

constexpr size_t kEnvironmentBytesMax = 256 << 10;
constexpr uint32_t kReaders = 4;
constexpr std::string_view kCodes = "eughHpj";

// As much as fits. Empty: there is no such process, or it may not be looked at.
std::string ReadProc(int32_t pid, const char* file, size_t bytes_max) {
  const std::string path = fmt::format("/proc/{}/{}", pid, file);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text;
  char buffer[4096];
  ssize_t got = 0;
  while (text.size() < bytes_max && (got = ::read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
  }
  ::close(fd);
  return text;
}

std::string ProgramOf(int32_t pid) {
  std::string name = ReadProc(pid, "comm", 64);
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

bool IsVariableName(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, fits);
}

struct Caller {
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

std::string Expand(std::string_view name, const Caller& caller, const std::string& job) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '%' || i + 1 == name.size()) {
      out += name[i];
      continue;
    }
    const std::string host = name[i + 1] == 'h' || name[i + 1] == 'H' ? HostName() : "";
    switch (name[++i]) {
      case 'e':
        out += ProgramOf(caller.pid);
        break;
      case 'u':
        out += std::to_string(caller.uid);
        break;
      case 'g':
        out += std::to_string(caller.gid);
        break;
      case 'h':
        out += host;
        break;
      case 'H':
        out += host.substr(0, host.find('.'));
        break;
      case 'p':
        out += std::to_string(caller.pid);
        break;
      default:
        out += job;
    }
  }
  return out;
}

}  // namespace

JobIds* JobIds::Instance() {
  // Never destroyed: an exit waits for no reader.
  static JobIds* const ids = new JobIds();
  return ids;
}

std::shared_future<std::string> JobIds::Ask(int32_t pid, uint32_t uid, uint32_t gid) {
  const auto answer = std::make_shared<std::promise<std::string>>();
  const std::scoped_lock lock(mutex_);
  if (readers_ == nullptr) readers_ = std::make_unique<async::BlockingPool>(kReaders);
  readers_->Submit([=, this] { answer->set_value(Of(pid, uid, gid)); });
  return answer->get_future().share();
}

std::string JobIds::Of(int32_t pid, uint32_t uid, uint32_t gid) const {
  if (!enabled()) return {};
  std::string variable;
  std::string name;
  std::string job;
  {
    const std::scoped_lock lock(mutex_);
    variable = variable_;
    name = name_;
    job = session_;
  }
  const Caller caller{pid, uid, gid};
  const bool by_name = variable == "nodelocal" || name.find("%j") != std::string::npos;
  std::string out;
  if (variable == "procname_uid") {
    out = Expand("%e.%u", caller, "");
  } else {
    if (variable != "session" && variable != "nodelocal") {
      job = VariableIn(ReadProc(pid, "environ", kEnvironmentBytesMax), variable);
    }
    out = by_name ? Expand(name, caller, job) : job;
  }
  out.resize(std::min(out.size(), kBytesMax));
  return out;
}

std::string JobIds::variable() const {
  const std::scoped_lock lock(mutex_);
  return variable_;
}

std::string JobIds::name() const {
  const std::scoped_lock lock(mutex_);
  return name_;
}

std::string JobIds::session() const {
  const std::scoped_lock lock(mutex_);
  return session_;
}

Status JobIds::SetVariable(const std::string& variable) {
  if (!IsVariableName(variable)) {
    return Fail(Errc::kInvalid,
                "it must be disable, procname_uid, nodelocal, session, or the name of an "
                "environment variable, as SLURM_JOB_ID");
  }
  const std::scoped_lock lock(mutex_);
  variable_ = variable;
  enabled_.store(variable != "disable");
  return {};
}

Status JobIds::SetName(const std::string& name) {
  for (size_t i = name.find('%'); i != std::string::npos; i = name.find('%', i + 2)) {
    if (i + 1 < name.size() && kCodes.find(name[i + 1]) != std::string_view::npos) continue;
    return Fail(Errc::kInvalid, "after % one of e, u, g, h, H, p, j must follow");
  }
  if (name.empty() || name.size() > 2 * kBytesMax) {
    return Fail(Errc::kInvalid, "it must have 1 to 62 characters");
  }
  const std::scoped_lock lock(mutex_);
  name_ = name;
  return {};
}

Status JobIds::SetSession(const std::string& session) {
  if (session.size() > kBytesMax) return Fail(Errc::kInvalid, "it must have at most 31 characters");
  const std::scoped_lock lock(mutex_);
  session_ = session;
  return {};
}

std::string_view VariableIn(std::string_view environment, std::string_view name) {
  while (!environment.empty()) {
    const std::string_view entry = environment.substr(0, environment.find('\0'));
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
    environment.remove_prefix(std::min(entry.size() + 1, environment.size()));
  }
  return {};
}

}  // namespace sheen::fuse
