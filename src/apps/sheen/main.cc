// sheen: everything about a Sheen filesystem that Lustre has no word for: format, dev, status,
// support-bundle.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>

#include "apps/common/version.h"
#include "apps/common/words.h"
#include "apps/sheen/cluster_status.h"
#include "apps/sheen/dev_cluster.h"
#include "apps/sheen/dev_status.h"
#include "apps/sheen/doctor.h"
#include "apps/sheen/format.h"
#include "apps/sheen/hsm.h"
#include "apps/sheen/repo.h"
#include "apps/sheen/status_server.h"
#include "apps/sheen/support_bundle.h"
#include "apps/sheen/top.h"
#include "base/log.h"
#include "rpc/address.h"

namespace sheen::apps {
namespace {

// The values of all flags; each subcommand uses its own.
struct Flags {
  std::string fsname = "sheen";
  uint32_t index = 0;
  std::vector<std::string> mgs;
  std::string directory;
  std::string size;
  std::string name = "dev";
  std::string mount;
  std::string client_options;
  std::string daemon;
  std::string signal = "KILL";
  std::string server;
  std::string instance;
  std::string doctor_server;
  uint32_t oss_count = 2;
  uint32_t ost_count = 4;
  bool no_mount = false;
  bool agent = false;
  bool json = false;
  double interval_s = 1;
  uint64_t rounds = 0;
};

// The command that was chosen, to be run after parsing.
using Action = std::function<Status()>;

CLI::App* AddCommand(CLI::App* parent, const std::string& name, const std::string& about,
                     Action* chosen, Action action) {
  CLI::App* command = parent->add_subcommand(name, about);
  command->callback([chosen, action = std::move(action)] { *chosen = action; });
  return command;
}

Status RunFormatMdt(const Flags& flags) {
  SHEEN_TRY_ASSIGN(const std::string name, FormatMdt({.directory = NormalPath(flags.directory),
                                                      .fsname = flags.fsname,
                                                      .index = flags.index}));
  std::printf("%s is made in %s; serve it with: sheen-mds --dir %s\n", name.c_str(),
              flags.directory.c_str(), flags.directory.c_str());
  return {};
}

Status RunFormatOst(const Flags& flags) {
  FormatOstOptions options;
  options.directory = NormalPath(flags.directory);
  options.fsname = flags.fsname;
  options.index = flags.index;
  options.mgs = flags.mgs;
  if (!flags.size.empty()) {
    SHEEN_TRY_ASSIGN(options.size_bytes, ParseSize(flags.size));
  }
  SHEEN_TRY_ASSIGN(const std::string name, FormatOst(options));
  std::printf("%s is made in %s; serve it with: sheen-oss --target %s%s\n", name.c_str(),
              flags.directory.c_str(), flags.directory.c_str(),
              flags.mgs.empty() ? " --mgs HOST:CONTROLPORT" : "");
  return {};
}

Status RunUp(const Flags& flags, const CLI::App& command) {
  DevUpOptions options;
  options.name = flags.name;
  if (command.count("--dir") > 0) options.directory = flags.directory;
  if (command.count("--mount") > 0) options.mount = flags.mount;
  if (command.count("--oss") > 0) options.oss_count = flags.oss_count;
  if (command.count("--osts") > 0) options.ost_count = flags.ost_count;
  if (command.count("--client-opt") > 0) options.client_options = flags.client_options;
  if (command.count("--size") > 0) {
    SHEEN_TRY_ASSIGN(options.ost_bytes, ParseSize(flags.size));
  }
  options.no_mount = flags.no_mount;
  options.agent = flags.agent;
  return DevCluster::Up(options);
}

// Opens the instance and does `work` with it.
Status WithCluster(const Flags& flags, const std::function<Status(DevCluster*)>& work) {
  SHEEN_TRY_ASSIGN(const auto cluster, DevCluster::Open(flags.name));
  return work(cluster.get());
}

Status RunDevStatus(const Flags& flags) {
  SHEEN_TRY_ASSIGN(const DevState state, LoadState(flags.name));
  const std::string text = flags.json ? StatusAsJson(state) : StatusAsText(state);
  std::fputs(text.c_str(), stdout);
  return {};
}

Status RunStatus(const Flags& flags) {
  if (!flags.server.empty() && !flags.instance.empty()) {
    return Fail(Errc::kInvalid, "--server and --dev name two daemons: give one of them");
  }
  Result<std::string> text;
  if (!flags.server.empty()) {
    SHEEN_TRY_ASSIGN(const rpc::Address address, rpc::ParseAddress(flags.server, 7989));
    text = ClusterStatus(address, flags.json);
  } else if (!flags.instance.empty()) {
    text = StatusOfInstance(flags.instance, flags.json);
  } else {
    text = StatusOfWhoeverAnswers(flags.json);
  }
  if (!text) return std::unexpected(text.error());
  std::fputs(text->c_str(), stdout);
  return {};
}

Status RunSupportBundle(SupportBundleOptions options, const std::string& log_size, bool json) {
  if (!log_size.empty()) {
    SHEEN_TRY_ASSIGN(options.log_bytes_max, ParseSize(log_size));
  }
  SHEEN_TRY_ASSIGN(const SupportBundle bundle, MakeSupportBundle(options));
  if (json) {
    std::fputs(bundle.AsJson().c_str(), stdout);
    return {};
  }
  std::printf(
      "%s%s is made. It holds names of hosts, addresses and paths: look through it before you "
      "pass it on.\n",
      bundle.AsText().c_str(), bundle.path.c_str());
  return {};
}

void AddSupportBundle(CLI::App* app, Flags* flags, Action* chosen) {
  auto options = std::make_shared<SupportBundleOptions>();
  auto log_size = std::make_shared<std::string>();
  CLI::App* command = AddCommand(
      app, "support-bundle", "collect this host's logs, configuration and state in a file", chosen,
      [options, log_size, flags] { return RunSupportBundle(*options, *log_size, flags->json); });
  command->add_option("--out", options->path,
                      "the file (default sheen-support-HOST-TIME.tar.gz, here)");
  command->add_option("--server", options->servers,
                      "HOST:CONTROLPORT of a daemon of this host to ask besides those found");
  command->add_option("--config-dir", options->configuration,
                      "where the configuration is (default /etc/sheen)");
  command->add_option("--log-size", *log_size, "how much of the end of each log (default 1M)");
  command->add_flag("--json", flags->json, "what is in it, for programs");
}

void AddFormat(CLI::App* app, Flags* flags, Action* chosen) {
  CLI::App* format = app->add_subcommand("format", "make an empty directory a target");
  format->require_subcommand(1);
  CLI::App* mdt = AddCommand(format, "mdt", "a metadata target, for sheen-mds", chosen,
                             [flags] { return RunFormatMdt(*flags); });
  CLI::App* ost = AddCommand(format, "ost", "an object storage target, for sheen-oss", chosen,
                             [flags] { return RunFormatOst(*flags); });
  for (CLI::App* command : {mdt, ost}) {
    command->add_option("--fsname", flags->fsname, "1 to 8 characters (default sheen)");
    command->add_option("--index", flags->index, "index of the target (default 0)")
        ->check(CLI::Range(0, 65535));
    command->add_option("--mgs", flags->mgs, "HOST:CONTROLPORT of the management server")
        ->delimiter(',');
    command->add_option("--dir", flags->directory, "an empty directory, made if missing")
        ->required();
  }
  ost->add_option("--size", flags->size, "limit of the OST, as 512M or 1T (default: the disk's)");
}

void AddDevDaemons(CLI::App* dev, Flags* flags, Action* chosen) {
  CLI::App* kill =
      AddCommand(dev, "kill", "send a daemon a signal (default KILL)", chosen, [flags] {
        return WithCluster(*flags, [flags](DevCluster* cluster) -> Status {
          SHEEN_TRY_ASSIGN(const int signal, ParseSignal(flags->signal));
          return cluster->Kill(flags->daemon, signal);
        });
      });
  kill->add_option("--signal", flags->signal, "KILL, TERM, STOP, CONT ...");
  CLI::App* start = AddCommand(dev, "start", "start a daemon that does not run", chosen, [flags] {
    return WithCluster(*flags,
                       [flags](DevCluster* cluster) { return cluster->Start(flags->daemon); });
  });
  CLI::App* stop = AddCommand(dev, "stop", "stop a daemon cleanly", chosen, [flags] {
    return WithCluster(*flags,
                       [flags](DevCluster* cluster) { return cluster->Stop(flags->daemon); });
  });
  for (CLI::App* command : {kill, start, stop}) {
    command
        ->add_option("daemon", flags->daemon, "mds0, oss0, oss1 ..., agent0, client:MOUNTPOINT")
        ->required();
  }
}

void AddDevMounts(CLI::App* dev, Flags* flags, Action* chosen) {
  CLI::App* mount = nullptr;
  // The command's own pointer tells whether --client-opt was given; it lives as long as the app.
  auto given = std::make_shared<CLI::App*>(nullptr);
  mount = AddCommand(dev, "mount", "mount the filesystem", chosen, [flags, given] {
    return WithCluster(*flags, [flags, given](DevCluster* cluster) {
      std::optional<std::string> options;
      if ((*given)->count("--client-opt") > 0) options = flags->client_options;
      return cluster->Mount(flags->mount, options);
    });
  });
  *given = mount;
  mount->add_option("--client-opt", flags->client_options, "mount options, as io_uring=off,ro");
  CLI::App* umount = AddCommand(dev, "umount", "unmount it", chosen, [flags] {
    return WithCluster(*flags,
                       [flags](DevCluster* cluster) { return cluster->Unmount(flags->mount); });
  });
  for (CLI::App* command : {mount, umount}) {
    command->add_option("mountpoint", flags->mount, "directory (default: the one of `up`)");
  }
}

void AddDev(CLI::App* app, Flags* flags, Action* chosen) {
  CLI::App* dev = app->add_subcommand("dev", "a whole cluster on this machine, to try and to test");
  dev->require_subcommand(1);
  auto self = std::make_shared<CLI::App*>(nullptr);
  CLI::App* up = AddCommand(dev, "up", "make it if there is none, start and mount it", chosen,
                            [flags, self] { return RunUp(*flags, **self); });
  *self = up;
  up->add_option("--dir", flags->directory,
                 "where data and logs go (default /var/lib/sheen/dev/NAME)");
  up->add_option("--mount", flags->mount, "where to mount (default DIR/mnt)");
  up->add_option("--oss", flags->oss_count, "object storage servers (default 2)")
      ->check(CLI::Range(1, 64));
  up->add_option("--osts", flags->ost_count, "OSTs of all servers together (default 4)")
      ->check(CLI::Range(1, 1024));
  up->add_option("--size", flags->size, "limit of each OST, as 512M (default: the disk's)");
  up->add_option("--client-opt", flags->client_options, "mount options, as io_uring=off,ro");
  up->add_flag("--agent", flags->agent, "an agent too, for data repositories in S3");
  up->add_flag("--no-mount", flags->no_mount, "servers only");
  AddCommand(dev, "down", "unmount and stop everything; the data stays", chosen, [flags] {
    return WithCluster(*flags, [](DevCluster* cluster) { return cluster->Down(); });
  });
  AddCommand(dev, "destroy", "down, and remove the data", chosen, [flags] {
    return WithCluster(*flags, [](DevCluster* cluster) { return cluster->Destroy(); });
  });
  AddDevMounts(dev, flags, chosen);
  AddDevDaemons(dev, flags, chosen);
  CLI::App* status = AddCommand(dev, "status", "show the daemons", chosen,
                                [flags] { return RunDevStatus(*flags); });
  status->add_flag("--json", flags->json, "for programs");
  for (CLI::App* command : dev->get_subcommands({})) {
    command->add_option("--name", flags->name, "which instance (default dev)");
  }
}

constexpr const char* kImportHelp =
    "what is taken over from S3 by itself: some of new,changed,deleted, or none";
constexpr const char* kEveryHelp = "how often S3 is looked at for it, as 5m (the default), or off";

void AddRepoAdd(CLI::App* add, RepoFlags* flags) {
  add->add_option("path", flags->path, "directory in the filesystem, as /data")->required();
  add->add_option("url", flags->url, "s3://BUCKET/PREFIX")->required();
  add->add_option("--endpoint", flags->endpoint, "URL of the S3 server (default: AWS)");
  add->add_option("--region", flags->region, "region (default: what the server says)");
  add->add_flag("--path-style", flags->path_style, "HOST/BUCKET/KEY, not BUCKET.HOST/KEY");
  add->add_option("--profile", flags->profile, "profile of ~/.aws, on the agents' hosts");
  add->add_option("--credentials", flags->credentials,
                  "credentials file, on the agents' hosts (default: as AWS's tools)");
  add->add_option("--imported-file-chunk-size", flags->chunk,
                  "files get floor(size / this) + 1 stripes (default 1G)");
  add->add_option("--concurrency", flags->concurrency, "requests at a time, of each agent");
  add->add_option("--requests-per-second", flags->requests, "of each agent (default: no limit)");
  add->add_option("--bandwidth", flags->bandwidth, "bytes a second, of each agent, as 200M");
  add->add_flag("--no-import-on-create", flags->no_import, "link only");
  add->add_option("--import", flags->import, kImportHelp);
  add->add_option("--every", flags->every, kEveryHelp);
}

// An option of update, which changes only what is given.
void AddSetting(CLI::Option* option, const char* name, RepoFlags* flags) {
  option->each([flags, name](const std::string&) { flags->given.insert(name); });
}

void AddRepoUpdate(CLI::App* update, RepoFlags* flags) {
  const auto add = [update, flags](const char* name, auto* value, const char* about) {
    AddSetting(update->add_option("--" + std::string(name), *value, about), name, flags);
  };
  add("endpoint", &flags->endpoint, "another URL of the same S3 server");
  add("region", &flags->region, "region");
  add("profile", &flags->profile, "profile of ~/.aws, on the agents' hosts");
  add("credentials", &flags->credentials, "credentials file, on the agents' hosts");
  add("imported-file-chunk-size", &flags->chunk, "of files that are imported from now on");
  add("concurrency", &flags->concurrency, "requests at a time, of each agent");
  add("requests-per-second", &flags->requests, "of each agent; 0: no limit");
  add("bandwidth", &flags->bandwidth, "bytes a second, of each agent, as 200M; 0: no limit");
  add("import", &flags->import, kImportHelp);
  add("every", &flags->every, kEveryHelp);
  AddSetting(update->add_flag("--no-head,!--head", flags->no_head,
                              "objects carry no POSIX attributes (--head: they do)"),
             "no-head", flags);
}

void AddRepo(CLI::App* app, RepoFlags* flags, Action* chosen) {
  CLI::App* repo = app->add_subcommand("repo", "data repositories: directories linked to S3");
  repo->require_subcommand(1);
  CLI::App* add = AddCommand(repo, "add", "link a directory to a prefix, and import it", chosen,
                             [flags] { return RepoAdd(*flags); });
  AddRepoAdd(add, flags);
  CLI::App* list = AddCommand(repo, "list", "the data repositories", chosen,
                              [flags] { return RepoList(*flags); });
  CLI::App* show = AddCommand(repo, "show", "one of them", chosen,
                              [flags] { return RepoShow(*flags); });
  CLI::App* update = AddCommand(repo, "update", "change settings of a link", chosen,
                                [flags] { return RepoUpdate(*flags); });
  AddRepoUpdate(update, flags);
  CLI::App* remove = AddCommand(repo, "remove", "unlink; files that S3 has go", chosen,
                                [flags] { return RepoRemove(*flags); });
  CLI::App* import = AddCommand(repo, "import", "bring names up to date with S3", chosen,
                                [flags] { return RepoImport(*flags); });
  CLI::App* status = AddCommand(repo, "status", "data repositories and agents", chosen,
                                [flags] { return RepoStatus(*flags); });
  status->add_option("path", flags->path, "a repository, or a file on a mount: what of it is here");
  import->add_option("--import", flags->import,
                     "some of new,changed,deleted (default new,changed)");
  for (CLI::App* command : {show, update, remove, import}) {
    command->add_option("path", flags->path, "as it was linked")->required();
  }
  remove->add_flag("--keep-data", flags->keep_data, "all files stay");
  for (CLI::App* command : {add, import}) {
    command->add_flag("--no-head", flags->no_head,
                      "objects carry no POSIX attributes: do not ask for them");
    command->add_option("--failures", flags->failures, "file for a CSV of what cannot be imported");
  }
  for (CLI::App* command : {add, list, show, update, remove, import, status}) {
    command->add_option("--server", flags->server,
                        "HOST:CONTROLPORT of the MDS (default 127.0.0.1:7989)");
    command->add_option("--dev", flags->dev, "an instance of `sheen dev` instead");
    command->add_flag("--json", flags->json, "for programs");
  }
}

void AddHsm(CLI::App* app, HsmFlags* flags, Action* chosen) {
  CLI::App* prefetch = AddCommand(app, "prefetch", "bring files from S3 before they are read",
                                  chosen, [flags] { return RunPrefetch(*flags); });
  prefetch->add_flag("--wait", flags->wait, "until all is here; progress on a terminal");
  CLI::App* release = AddCommand(app, "release", "drop from the OSTs what S3 has", chosen,
                                 [flags] { return RunRelease(*flags); });
  release->add_option("--older-than", flags->older_than,
                      "only what was not read or changed for so long, as 7d");
  release->add_option("--high", flags->high, "only when an OST is fuller than so many percent")
      ->check(CLI::Range(1.0, 100.0));
  release->add_option("--low", flags->low, "the longest unused first, until none is fuller")
      ->check(CLI::Range(1.0, 100.0));
  for (CLI::App* command : {prefetch, release}) {
    command->add_option("paths", flags->paths, "files, and directories with all below them");
    command->add_option("--from", flags->from, "a list of paths, one a line; - is standard input");
    command->add_flag("--json", flags->json, "for programs");
  }
}

Status RunTopCommand(const Flags& flags) {
  const std::chrono::duration<double> interval(flags.interval_s);
  return RunTop({.interval = std::chrono::duration_cast<Nanos>(interval),
                 .rounds = flags.rounds,
                 .json = flags.json});
}

Status RunDoctorCommand(const Flags& flags) {
  DoctorOptions options{.directory = flags.directory, .mgs = {}, .json = flags.json};
  if (!flags.doctor_server.empty()) {
    SHEEN_TRY_ASSIGN(options.mgs, rpc::ParseAddress(flags.doctor_server, 7989));
  }
  return RunDoctor(options);
}

void AddLooks(CLI::App* app, Flags* flags, Action* chosen) {
  CLI::App* status = AddCommand(app, "status", "ask a daemon of this host how it is", chosen,
                                [flags] { return RunStatus(*flags); });
  status->add_option("--server", flags->server,
                     "HOST:CONTROLPORT (default: the MDS of this host, an instance of `sheen dev`, "
                     "or the OSS of this host, whichever answers first)");
  status->add_option("--dev", flags->instance, "an instance of `sheen dev` instead");
  CLI::App* top = AddCommand(app, "top", "show what this host's daemons do, by target and client",
                             chosen, [flags] { return RunTopCommand(*flags); });
  top->add_option("--interval", flags->interval_s, "seconds between two looks (default 1)")
      ->check(CLI::Range(0.1, 3600.0));
  top->add_option("--rounds", flags->rounds, "how often (default: until it is interrupted)");
  CLI::App* doctor =
      AddCommand(app, "doctor", "look for what commonly goes wrong, and say what to do", chosen,
                 [flags] { return RunDoctorCommand(*flags); });
  doctor->add_option("--dir", flags->directory,
                     "try the disk under this directory with synced writes, too");
  doctor->add_option("--server", flags->doctor_server,
                     "HOST:CONTROLPORT of the MDS: try the ports of all servers, and S3, too");
  for (CLI::App* command : {status, top, doctor}) {
    command->add_flag("--json", flags->json, "for programs");
  }
}

// Or an option.
bool IsCommand(const CLI::App& app, const std::string& word) {
  const auto all = app.get_subcommands([&word](const CLI::App* one) {
    return one->get_name() == word;
  });
  return word.starts_with('-') || !all.empty();
}

int Main(int argc, char** argv) {
  LogToStderr("sheen");
  SetLogLevel(LogLevel::Error);
  ::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Sheen, a parallel filesystem: formatting, a cluster to try, status", "sheen");
  app.set_version_flag("--version", std::string("sheen ") + kVersion);
  app.require_subcommand(1);
  Flags flags;
  Action chosen;
  AddFormat(&app, &flags, &chosen);
  AddDev(&app, &flags, &chosen);
  AddSupportBundle(&app, &flags, &chosen);
  AddLooks(&app, &flags, &chosen);
  RepoFlags repo_flags;
  AddRepo(&app, &repo_flags, &chosen);
  HsmFlags hsm_flags;
  AddHsm(&app, &hsm_flags, &chosen);
  if (const std::string word = argc > 1 ? argv[1] : "-"; !IsCommand(app, word)) {
    std::fprintf(stderr, "sheen: '%s' is no command; sheen --help lists them\n", word.c_str());
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  const Status done = chosen();
  const bool printed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (done && !printed) {
    std::fprintf(stderr, "sheen: cannot write the output: %s\n", std::strerror(errno));
    return 1;
  }
  if (done) return 0;
  std::fprintf(stderr, "sheen: %s\n", Sentence(done.error()).c_str());
  return 1;
}

}  // namespace
}  // namespace sheen::apps

int main(int argc, char** argv) { return sheen::apps::Main(argc, argv); }
