// sheen-agent: talks to S3 for the OSSs and for imports. The credentials for S3 are found by it
// alone, where AWS's tools find them.
#include <signal.h>

#include "apps/agent/agent_daemon.h"
#include "apps/common/words.h"

namespace sheen::apps {
namespace {

Status Check(AgentConfig* config) {
  SHEEN_TRY(CheckFsname(config->fsname));
  return config->network.Check();
}

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  AgentConfig config;
  config.network.port = 7992;
  config.network.control_port = 7993;
  Settings settings({.program = "sheen-agent",
                     .about = "Sheen agent: brings data from S3 and imports buckets",
                     .config = "/etc/sheen/agent.toml"});
  settings.Text("mgs", &config.mgs, "HOST:CONTROLPORT of the management server");
  settings.Text("fsname", &config.fsname, "the filesystem to work for (default sheen)");
  settings.Text("name", &config.name, "name of this agent (default: of host and process)");
  settings.Number("request-timeout", &config.s3_timeout,
                  "seconds without progress after which a request to S3 fails (default 60)", 1,
                  3600);
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
  Daemon daemon("sheen-agent");
  const Status log = daemon.OpenLog(config.daemon);
  if (!log) return daemon.FailStart(log.error());
  const Status checked = Check(&config);
  if (!checked) return daemon.FailStart(checked.error());
  AgentDaemon agent(std::move(config));
  const Status started = agent.Start();
  if (!started) return daemon.FailStart(started.error());
  daemon.Ready({{"data_port", agent.port()}, {"control_port", agent.control_port()}});
  daemon.WaitForStop();
  agent.Stop();
  return 0;
}

}  // namespace
}  // namespace sheen::apps

int main(int argc, char** argv) { return sheen::apps::Main(argc, argv); }
