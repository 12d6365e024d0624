// sheen-oss: one object storage server.
#include <cstdio>

#include "apps/common/words.h"
#include "apps/oss/oss_daemon.h"

namespace sheen::apps {
namespace {

Status Check(OssConfig* config) {
  if (config->targets.empty()) {
    return Fail(
        Errc::kInvalid,
        "no target: give --target DIR, one that `sheen format ost --dir DIR` made, once for "
        "each OST");
  }
  if (!config->fsname.empty()) SHEEN_TRY(CheckFsname(config->fsname));
  return config->network.Check();
}

int Main(int argc, char** argv) {
  OssConfig config;
  config.network.port = 7990;
  config.network.control_port = 7991;
  Settings settings({.program = "sheen-oss",
                     .about = "Sheen object storage server: serves one or more OSTs",
                     .config = "/etc/sheen/oss.toml"});
  settings.List("target", &config.targets,
                "directory of an OST, made by `sheen format ost`; once "
                "for each");
  settings.List("mgs", &config.mgs,
                "HOST:CONTROLPORT of the management server (default: what the OST was formatted "
                "for)");
  settings.Text("fsname", &config.fsname, "refuse targets of another filesystem");
  settings.Text("name", &config.name,
                "name of this server (default: the management server's choice)");
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
  Daemon daemon("sheen-oss");
  const Status log = daemon.OpenLog(config.daemon);
  if (!log) return daemon.FailStart(log.error());
  const Status checked = Check(&config);
  if (!checked) return daemon.FailStart(checked.error());
  config.stop_pending = [&daemon] { return daemon.StopPending(); };
  OssDaemon oss(std::move(config));
  const Status started = oss.Start();
  if (!started) return daemon.FailStart(started.error());
  daemon.Ready({{"data_port", oss.port()}, {"control_port", oss.control_port()},
                {"metrics_port", oss.metrics_port()}});
  daemon.WaitForStop();
  oss.Stop();
  return 0;
}

}  // namespace
}  // namespace sheen::apps

int main(int argc, char** argv) { return sheen::apps::Main(argc, argv); }
