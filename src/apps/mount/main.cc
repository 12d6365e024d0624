// mount.sheen: what mount(8) runs for `mount -t sheen`:
//
//   mount.sheen SPEC DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
//
// It becomes sheen-client, which stands beside it or in the PATH and returns when the mount is
// usable. Exit status as mount(8): 0 done, 1 wrong call, 2 no sheen-client, 32 not mounted.
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/common/version.h"

namespace {

constexpr int kUsage = 1;
constexpr int kSystem = 2;
// The boot's mount -a may have no PATH.
constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Call {
  std::vector<std::string> positional;
  std::string options;
  std::string name_space;
  bool sloppy = false;
  bool fake = false;
  bool verbose = false;
  bool good = true;
  bool version = false;
};

void PrintUsage() {
  std::fputs(
      "usage: mount.sheen HOST[:HOST...]:/FSNAME[/SUBDIR] DIRECTORY [-sfnv] [-N NAMESPACE] "
      "[-o OPTIONS]\n"
      "Called by mount(8): mount -t sheen HOST:/FSNAME DIRECTORY -o OPTIONS. Options: see "
      "sheen-client --help.\n",
      stderr);
}

Call ParseArguments(int argc, char** argv) {
  Call call;
  // mount(8) puts options behind the two names; getopt_long(3) of glibc permutes.
  int letter = 0;
  static constexpr option kLong[] = {{"version", no_argument, nullptr, 'V'}, {}};
  while ((letter = ::getopt_long(argc, argv, "sfnvN:o:t:hV", kLong, nullptr)) != -1) {
    switch (letter) {
      case 's':
        call.sloppy = true;
        break;
      case 'f':
        call.fake = true;
        break;
      case 'v':
        call.verbose = true;
        break;
      case 'N':
        call.name_space = optarg;
        break;
      case 'o':
        call.options += (call.options.empty() ? "" : ",") + std::string(optarg);
        break;
      case 'n':  // /etc/mtab is a link to /proc nowadays
      case 't':  // sheen.SUBTYPE: there are none
        break;
      case 'V':
        call.version = true;
        return call;
      default:
        call.good = false;
    }
  }
  for (int i = optind; i < argc; ++i) call.positional.emplace_back(argv[i]);
  call.good = call.good && call.positional.size() == 2;
  return call;
}

// mount --namespace: the number of a process or the path of a namespace.
bool EnterNamespace(const std::string& name) {
  const bool number = name.find_first_not_of("0123456789") == std::string::npos;
  const std::string path = number ? "/proc/" + name + "/ns/mnt" : name;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && ::setns(fd, CLONE_NEWNS) == 0) {
    ::close(fd);
    return true;
  }
  std::fprintf(stderr, "mount.sheen: cannot enter mount namespace %s: %s\n", path.c_str(),
               std::strerror(errno));
  return false;
}

std::string ClientBesideMe() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  // Installed, this program is in sbin and the client in bin.
  for (const auto& candidate :
       {self.parent_path() / "sheen-client", self.parent_path() / "../bin/sheen-client"}) {
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

int BecomeClient(const Call& call) {
  std::string options = call.options;
  if (call.sloppy) options += options.empty() ? "sloppy" : ",sloppy";
  std::vector<std::string> words = {"sheen-client", call.positional[0], call.positional[1]};
  if (!options.empty()) {
    words.emplace_back("-o");
    words.push_back(options);
  }
  if (call.verbose) {
    std::fputs("mount.sheen:", stdout);
    for (const std::string& word : words) std::printf(" %s", word.c_str());
    std::fputs("\n", stdout);
    std::fflush(stdout);
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string beside = ClientBesideMe();
  if (!beside.empty()) ::execv(beside.c_str(), argv.data());
  if (std::getenv("PATH") == nullptr) ::setenv("PATH", kDefaultPath, 1);
  ::execvp("sheen-client", argv.data());
  std::fprintf(
      stderr,
      "mount.sheen: cannot start sheen-client: %s; install it beside mount.sheen or in the "
      "PATH\n",
      std::strerror(errno));
  return kSystem;
}

}  // namespace

int main(int argc, char** argv) {
  const Call call = ParseArguments(argc, argv);
  if (call.version) {
    std::printf("mount.sheen %s\n", sheen::apps::kVersion);
    return 0;
  }
  if (!call.good) {
    PrintUsage();
    return kUsage;
  }
  if (call.fake) return 0;
  if (!call.name_space.empty() && !EnterNamespace(call.name_space)) return kSystem;
  return BecomeClient(call);
}
