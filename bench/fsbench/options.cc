#include "fsbench/options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "fsbench/pattern.h"

namespace fsbench {
namespace {

constexpr char kUsage[] =
    R"(usage: fsbench --dir DIR[,DIR...] [OPTIONS]
  --procs P          processes, that begin each phase together (default 1)
  --phases LIST      of the phases below, in this order (default: down to write_fsync)
  --files N          files a process (default 2000); --file-bytes B: bytes of each (default 0)
  --mib M            MiB a process of the big file (default 256)
  --seconds S        of the random phases (default 2); --depth D: threads a process there
  --record-bytes B   of the record phases (default 47008), a multiple of 8
  --shared-dir       all processes' small files in one directory
  --shared-file      one big file for all processes; else one each
  --fsync            before a sequentially written file is closed
  --keep             leave the files there
  --pid PID,...      daemons whose CPU time is reported
  --label TEXT       is repeated in the output
Phases: create, stat, open_read_close, unlink: operations a second; seq_write, seq_read: 1 MiB a
call, MiB/s; rand_read, rand_write: 4 KiB with O_DIRECT, IOPS; write_fsync: 4 KiB and fsync, IOPS;
create_fsync: as create, with an fsync before each close; small_write: as seq_write by 4 KiB a call;
record_write, record_read: records, MiB/s, of all processes in turn in a shared file, each reading
what its neighbour wrote.
)";

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) out.push_back(part);
  return out;
}

const std::vector<std::string> kDefaultPhases = {"create",    "stat",       "open_read_close",
                                                 "unlink",    "seq_write",  "seq_read",
                                                 "rand_read", "rand_write", "write_fsync"};
const std::set<std::string> kMorePhases = {"create_fsync", "small_write", "record_write",
                                           "record_read"};

bool IsPhase(const std::string& name) {
  return kMorePhases.contains(name) ||
         std::find(kDefaultPhases.begin(), kDefaultPhases.end(), name) != kDefaultPhases.end();
}

bool Refuse(const std::string& why) {
  fmt::print(stderr, "fsbench: {}\n{}", why, kUsage);
  return false;
}

bool Validate(const Options& options) {
  if (options.directories.empty()) return Refuse("--dir is needed");
  if (options.procs < 1 || options.procs > kProcsMax) {
    return Refuse(fmt::format("--procs: 1 to {}", kProcsMax));
  }
  if (options.mib == 0) return Refuse("--mib: at least 1");
  if (options.depth == 0 || options.depth > 1024) return Refuse("--depth: 1 to 1024");
  if (options.file_bytes > kTransferBytesMax) return Refuse("--file-bytes: at most 1 MiB");
  if (options.record_bytes == 0 || options.record_bytes % 8 != 0 ||
      options.record_bytes > kTransferBytesMax) {
    return Refuse("--record-bytes: a multiple of 8, at most 1 MiB");
  }
  for (const std::string& phase : options.phases) {
    if (!IsPhase(phase)) return Refuse(fmt::format("--phases: no phase is called '{}'", phase));
  }
  return true;
}

using Setter = std::function<void(Options*, const char*)>;

uint32_t Number(const char* text) { return static_cast<uint32_t>(std::strtoul(text, nullptr, 10)); }

const std::map<std::string, Setter> kWithValue = {
    {"dir", [](Options* o, const char* v) { o->directories = Split(v); }},
    {"procs", [](Options* o, const char* v) { o->procs = Number(v); }},
    {"files", [](Options* o, const char* v) { o->files = Number(v); }},
    {"mib", [](Options* o, const char* v) { o->mib = Number(v); }},
    {"seconds", [](Options* o, const char* v) { o->seconds = std::strtod(v, nullptr); }},
    {"phases", [](Options* o, const char* v) { o->phases = Split(v); }},
    {"file-bytes", [](Options* o, const char* v) { o->file_bytes = Number(v); }},
    {"record-bytes", [](Options* o, const char* v) { o->record_bytes = Number(v); }},
    {"depth", [](Options* o, const char* v) { o->depth = Number(v); }},
    {"label", [](Options* o, const char* v) { o->label = v; }},
    {"pid",
     [](Options* o, const char* v) {
       for (const std::string& pid : Split(v)) o->server_pids.push_back(std::atoi(pid.c_str()));
     }},
};
const std::map<std::string, bool Options::*> kSwitches = {
    {"shared-dir", &Options::shared_directory},
    {"shared-file", &Options::shared_file},
    {"fsync", &Options::fsync},
    {"keep", &Options::keep},
};

}  // namespace

bool ParseOptions(int argc, char** argv, Options* out) {
  out->phases = kDefaultPhases;
  std::vector<option> known;
  for (const auto& [name, set] : kWithValue) {
    known.push_back({name.c_str(), required_argument, nullptr, 0});
  }
  for (const auto& [name, member] : kSwitches) {
    known.push_back({name.c_str(), no_argument, nullptr, 0});
  }
  known.push_back({});
  opterr = 0;
  int index = 0;
  for (int got = 0; (got = getopt_long(argc, argv, "", known.data(), &index)) != -1;) {
    if (got != 0) return Refuse(fmt::format("{}: no such option, or no value", argv[optind - 1]));
    const std::string name = known[static_cast<size_t>(index)].name;
    if (const auto with_value = kWithValue.find(name); with_value != kWithValue.end()) {
      with_value->second(out, optarg);
    } else {
      out->*kSwitches.at(name) = true;
    }
  }
  if (optind < argc) return Refuse(fmt::format("unexpected argument '{}'", argv[optind]));
  return Validate(*out);
}

}  // namespace fsbench
