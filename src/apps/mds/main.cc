// sheen-mds: one metadata server.
#include <cstdio>

#include "apps/common/words.h"
#include "apps/mds/mds_daemon.h"

namespace sheen::apps {
namespace {

Status Check(MdsConfig* config) {
  if (config->dir.empty()) {
    return Fail(Errc::kInvalid,
                "no directory: give --dir DIR, the one that `sheen format mdt --dir DIR` made");
  }
  if (!config->fsname.empty()) SHEEN_TRY(CheckFsname(config->fsname));
  return config->network.Check();
}

int Main(int argc, char** argv) {
  MdsConfig config;
  config.network.port = 7988;
  config.network.control_port = 7989;
  Settings settings({.program = "sheen-mds",
                     .about = "Sheen metadata server: serves one MDT and the management service",
                     .config = "/etc/sheen/mds.toml"});
  settings.Text("dir", &config.dir, "directory of the MDT, made by `sheen format mdt`");
  settings.Text("fsname", &config.fsname, "refuse a target of another filesystem");
  config.network.AddTo(&settings);
  config.daemon.AddTo(&settings);
  switch (settings.Parse(argc, argv)) {
    case ParseOutcome::kRun:
      break;
    case ParseOutcome::kDone:
      return 0;
    case ParseOutcome::kUsage:
    case ParseOutcome::kFailed:
      return kExitMisconfigured;
  }
  Daemon daemon("sheen-mds");
  const Status log = daemon.OpenLog(config.daemon);
  if (!log) return daemon.FailStart(log.error());
  const Status checked = Check(&config);
  if (!checked) return daemon.FailStart(checked.error());
  MdsDaemon mds(std::move(config));
  const Status started = mds.Start();
  if (!started) return daemon.FailStart(started.error());
  daemon.Ready({{"data_port", mds.port()}, {"control_port", mds.control_port()},
                {"metrics_port", mds.metrics_port()}});
  daemon.WaitForStop();
  mds.Stop();
  return 0;
}

}  // namespace
}  // namespace sheen::apps

int main(int argc, char** argv) { return sheen::apps::Main(argc, argv); }
