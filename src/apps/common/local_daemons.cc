#include "apps/common/local_daemons.h"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "apps/common/mount_spec.h"
#include "apps/common/ost_notes.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrograms[] = {"sheen-mds", "sheen-oss", "sheen-client"};
constexpr std::string_view kListen = "0A";  // net/tcp_states.h: TCP_LISTEN
constexpr std::string_view kSocket = "socket:[";

std::vector<std::string> WordsOf(const fs::path& process) {
  std::vector<std::string> out;
  const Result<std::string> text = ReadWholeFile(process / "cmdline");
  if (!text) return out;
  std::istringstream words(*text);
  for (std::string word; std::getline(words, word, '\0');) out.push_back(word);
  return out;
}

// "0100007F:1F34", or with 32 digits: the address in the host's byte order, word by word.
bool ParseSocket(const std::string& text, rpc::Address* out) {
  const size_t colon = text.find(':');
  if (colon != 8 && colon != 32) return false;
  uint32_t words[4] = {};
  for (size_t i = 0; i < colon / 8; ++i) {
    words[i] = static_cast<uint32_t>(std::strtoul(text.substr(i * 8, 8).c_str(), nullptr, 16));
  }
  out->port = static_cast<uint16_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 16));
  const bool any = std::ranges::all_of(words, [](uint32_t word) { return word == 0; });
  char host[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(colon == 8 ? AF_INET : AF_INET6, words, host, sizeof host);
  out->host = any ? "127.0.0.1" : host;
  return true;
}

// What its descriptors are: inodes of sockets, and files that standard error goes to.
void LookAtDescriptors(const fs::path& process, std::vector<std::string>* inodes,
                       LocalDaemon* daemon) {
  std::error_code error;
  for (fs::directory_iterator it(process / "fd", error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(it->path(), gone).string();
    if (target.starts_with(kSocket)) {
      inodes->push_back(target.substr(kSocket.size(), target.size() - kSocket.size() - 1));
    }
    const bool is_file = target.starts_with("/") && fs::is_regular_file(target, gone);
    if (it->path().filename() == "2" && is_file) daemon->logs.push_back(target);
  }
}

void FindLogs(LocalDaemon* daemon) {
  for (const std::string& path : daemon->Values("log")) daemon->logs.push_back(path);
  std::vector<std::string> options = daemon->Values("options");
  for (size_t i = 0; i + 1 < daemon->words.size(); ++i) {
    if (daemon->words[i] != "-o") continue;
    const auto more = SplitOptions(daemon->words[i + 1]);
    options.insert(options.end(), more.begin(), more.end());
  }
  for (const std::string& option : options) {
    if (option.starts_with("log=")) daemon->logs.push_back(option.substr(4));
  }
  std::ranges::sort(daemon->logs);
  const auto repeated = std::ranges::unique(daemon->logs);
  daemon->logs.erase(repeated.begin(), repeated.end());
}

}  // namespace

std::vector<std::string> LocalDaemon::Values(const std::string& name) const {
  std::vector<std::string> out;
  const std::string flag = "--" + name;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string value;
    if (words[i] == flag && i + 1 < words.size()) value = words[i + 1];
    if (words[i].starts_with(flag + "=")) value = words[i].substr(flag.size() + 1);
    for (std::string& part : SplitOptions(value)) out.push_back(std::move(part));
  }
  return out;
}

std::vector<rpc::Address> ListeningAddresses(const std::string& table,
                                             const std::vector<std::string>& inodes) {
  std::vector<rpc::Address> out;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    // sl local remote state queues timer retransmits uid timeout inode ...
    std::istringstream fields(line);
    std::vector<std::string> field;
    for (std::string text; fields >> text;) field.push_back(text);
    if (field.size() < 10 || field[3] != kListen) continue;
    if (std::ranges::find(inodes, field[9]) == inodes.end()) continue;
    rpc::Address address;
    if (!ParseSocket(field[1], &address)) continue;
    if (std::ranges::find(out, address) == out.end()) out.push_back(address);
  }
  return out;
}

std::vector<LocalDaemon> FindLocalDaemons() {
  std::vector<LocalDaemon> out;
  std::error_code error;
  const fs::path own_network = fs::read_symlink("/proc/self/ns/net", error);
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string pid = it->path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    LocalDaemon daemon;
    daemon.words = WordsOf(it->path());
    if (daemon.words.empty()) continue;  // a kernel thread, or ended
    daemon.program = fs::path(daemon.words[0]).filename();
    if (std::ranges::find(kPrograms, daemon.program) == std::end(kPrograms)) continue;
    daemon.pid = static_cast<pid_t>(std::stol(pid));
    std::error_code hidden;
    daemon.same_network = fs::read_symlink(it->path() / "ns/net", hidden) == own_network;
    std::vector<std::string> inodes;
    LookAtDescriptors(it->path(), &inodes, &daemon);
    FindLogs(&daemon);
    for (const char* name : {"net/tcp", "net/tcp6"}) {
      const Result<std::string> table = ReadWholeFile(it->path() / name);
      if (!table || !daemon.same_network) continue;
      for (const auto& address : ListeningAddresses(*table, inodes)) {
        daemon.listening.push_back(address);
      }
    }
    out.push_back(std::move(daemon));
  }
  std::ranges::sort(out, {}, &LocalDaemon::pid);
  return out;
}

}  // namespace sheen::apps
