#include "apps/sheen/top.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <tuple>

#include "apps/common/node_control.h"
#include "apps/common/run_directory.h"

namespace sheen::apps {
namespace {

constexpr const char* kPatterns[] = {"mdt.*.md_stats", "obdfilter.*.stats", "mdt.*.exports.*.*",
                                     "ost.OSS.exports.*.*", "*.*.job_stats", "*.*.uid_stats"};

Result<std::vector<v1::GetParamsReply>> AskAll() {
  v1::LocalRequest request;
  for (const char* pattern : kPatterns) request.mutable_get_params()->add_patterns(pattern);
  std::vector<v1::GetParamsReply> replies;
  bool any = false;
  for (const std::string& socket : DaemonSockets()) {
    Result<v1::LocalReply> reply = AskDaemon(socket, request);
    if (!reply) continue;
    any = true;
    replies.push_back(std::move(*reply->mutable_get_params()));
  }
  if (any) return replies;
  return Fail(Errc::kUnavailable,
              "no Sheen daemon of this host answers; start one, or name the directory of its "
              "control socket in SHEEN_RUN_DIR");
}

// Levels of a parameter's name.
std::vector<std::string> LevelsOf(const std::string& name) {
  std::vector<std::string> levels;
  std::istringstream in(name);
  for (std::string level; std::getline(in, level, '.');) levels.push_back(level);
  return levels;
}

// "name N samples [unit] min max sum sumsq" and, of clients, "name N".
TopNumbers NumbersOf(const std::string& text) {
  TopNumbers out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    std::string samples;
    std::string unit;
    uint64_t count = 0;
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t sum = 0;
    if (!(words >> name >> count)) continue;
    const bool is_tally = static_cast<bool>(words >> samples >> unit >> low >> high >> sum);
    if (name == "read_bytes") {
      out.read_bytes = is_tally ? sum : count;
    } else if (name == "write_bytes") {
      out.written_bytes = is_tally ? sum : count;
    } else if (name == "reqs") {
      out.requests = count;
    } else if (is_tally && unit == "[usecs]" && !name.starts_with("wait_") &&
               !name.ends_with("dir_rename")) {
      out.requests += count;
      out.busy_micros += sum;
    }
  }
  return out;
}

// The number behind "samples:" or "sum:"; 0: there is none.
uint64_t FieldOf(const std::string& line, const std::string& name) {
  const size_t at = line.find(name + ":");
  if (at == std::string::npos) return 0;
  return std::strtoull(line.c_str() + at + name.size() + 1, nullptr, 10);
}

// Of Lustre's job_stats: "- job_id: NAME" and "  open: { samples: N, unit: usecs, ..., sum: S".
void AddOrigins(const std::string& text, std::map<std::string, TopNumbers>* out) {
  std::istringstream lines(text);
  TopNumbers* numbers = nullptr;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.starts_with("- ") ? line.substr(2) : line);
    std::string name;
    std::string value;
    words >> name >> value;
    if (line.starts_with("- ")) {
      numbers = &(*out)[value];
    } else if (numbers == nullptr || value != "{") {
      continue;
    } else if (name == "read_bytes:") {
      numbers->read_bytes += FieldOf(line, " sum");
    } else if (name == "write_bytes:") {
      numbers->written_bytes += FieldOf(line, " sum");
    } else {
      numbers->requests += FieldOf(line, "samples");
    }
  }
}

double PerSecond(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

using Row = std::pair<std::string, TopNumbers>;

// The busiest first; what did nothing is left out of clients.
std::vector<Row> RowsOf(const std::map<std::string, TopNumbers>& before,
                        const std::map<std::string, TopNumbers>& now, bool idle_too) {
  std::vector<Row> rows;
  for (const auto& [name, numbers] : now) {
    const auto earlier = before.find(name);
    // One that has just come did all of it within the interval.
    const TopNumbers change = earlier == before.end() ? numbers : numbers - earlier->second;
    if (idle_too || change.requests > 0) rows.emplace_back(name, change);
  }
  std::ranges::sort(rows, [idle_too](const Row& a, const Row& b) {
    if (idle_too || a.second.requests == b.second.requests) return a.first < b.first;
    return a.second.requests > b.second.requests;
  });
  return rows;
}

std::string LineOf(const std::string& name, const TopNumbers& change, double seconds) {
  constexpr double kMiB = 1 << 20;
  const double mean = change.requests == 0 ? 0
                                           : static_cast<double>(change.busy_micros) /
                                                 static_cast<double>(change.requests);
  std::string out =
      fmt::format("{:<40} {:>9.0f} {:>9.1f} {:>9.1f}", name, PerSecond(change.requests, seconds),
                  PerSecond(change.read_bytes, seconds) / kMiB,
                  PerSecond(change.written_bytes, seconds) / kMiB);
  if (change.busy_micros > 0) out += fmt::format(" {:>9.0f}", mean);
  return out + "\n";
}

}  // namespace

TopNumbers TopNumbers::operator-(const TopNumbers& before) const {
  // Numbers that were cleared in between begin anew.
  const auto less = [](uint64_t now, uint64_t then) { return now >= then ? now - then : now; };
  return {less(requests, before.requests), less(read_bytes, before.read_bytes),
          less(written_bytes, before.written_bytes), less(busy_micros, before.busy_micros)};
}

TopNumbers& TopNumbers::operator+=(const TopNumbers& other) {
  requests += other.requests;
  read_bytes += other.read_bytes;
  written_bytes += other.written_bytes;
  busy_micros += other.busy_micros;
  return *this;
}

TopSample SampleOf(const std::vector<v1::GetParamsReply>& replies) {
  TopSample sample;
  for (const v1::GetParamsReply& reply : replies) {
    for (const v1::ParamValue& param : reply.params()) {
      const std::vector<std::string> levels = LevelsOf(param.name());
      if (levels.size() == 3 && levels[2] == "job_stats") {
        AddOrigins(param.value(), &sample.jobs);
      } else if (levels.size() == 3 && levels[2] == "uid_stats") {
        AddOrigins(param.value(), &sample.users);
      } else if (levels.size() == 3) {
        sample.targets[levels[1]] += NumbersOf(param.value());
      } else if (levels.size() == 5 && levels[4] == "stats") {
        sample.clients[levels[3]] += NumbersOf(param.value());
      } else if (levels.size() == 5 && levels[4] == "nid") {
        sample.names[levels[3]] = param.value();
      }
    }
  }
  return sample;
}

std::string FormatTop(const TopSample& before, const TopSample& now, double seconds) {
  std::string out = fmt::format("{:<40} {:>9} {:>9} {:>9} {:>9}\n", "TARGET", "OPS/S", "READ MiB",
                                "WRITE MiB", "MEAN us");
  for (const auto& [name, change] : RowsOf(before.targets, now.targets, true)) {
    out += LineOf(name, change, seconds);
  }
  out += fmt::format("\n{:<40} {:>9} {:>9} {:>9}\n", "CLIENT", "REQS/S", "READ MiB", "WRITE MiB");
  for (const auto& [uuid, change] : RowsOf(before.clients, now.clients, false)) {
    const auto name = now.names.find(uuid);
    out += LineOf(name == now.names.end() || name->second.empty() ? uuid : name->second, change,
                  seconds);
  }
  for (const auto& [title, past, present] :
       {std::tuple("UID", &before.users, &now.users), {"JOB", &before.jobs, &now.jobs}}) {
    const std::vector<Row> rows = RowsOf(*past, *present, false);
    if (rows.empty()) continue;
    out += fmt::format("\n{:<40} {:>9} {:>9} {:>9}\n", title, "OPS/S", "READ MiB", "WRITE MiB");
    for (const auto& [name, change] : rows) out += LineOf(name, change, seconds);
  }
  return out;
}

std::string FormatTopJson(const TopSample& before, const TopSample& now, double seconds) {
  nlohmann::json out = {{"seconds", seconds},
                        {"targets", nlohmann::json::array()},
                        {"clients", nlohmann::json::array()},
                        {"users", nlohmann::json::array()},
                        {"jobs", nlohmann::json::array()}};
  const auto entry = [](const TopNumbers& change) {
    return nlohmann::json{{"requests", change.requests},
                          {"read_bytes", change.read_bytes},
                          {"written_bytes", change.written_bytes}};
  };
  for (const auto& [name, change] : RowsOf(before.targets, now.targets, true)) {
    out["targets"].push_back(entry(change));
    out["targets"].back()["name"] = name;
    out["targets"].back()["busy_micros"] = change.busy_micros;
  }
  for (const auto& [uuid, change] : RowsOf(before.clients, now.clients, true)) {
    const auto name = now.names.find(uuid);
    out["clients"].push_back(entry(change));
    out["clients"].back()["uuid"] = uuid;
    out["clients"].back()["name"] = name == now.names.end() ? "" : name->second;
  }
  for (const auto& [name, change] : RowsOf(before.users, now.users, true)) {
    out["users"].push_back(entry(change));
    out["users"].back()["uid"] = name;
  }
  for (const auto& [name, change] : RowsOf(before.jobs, now.jobs, true)) {
    out["jobs"].push_back(entry(change));
    out["jobs"].back()["job_id"] = name;
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status RunTop(const TopOptions& options) {
  SHEEN_TRY_ASSIGN(std::vector<v1::GetParamsReply> replies, AskAll());
  TopSample before = SampleOf(replies);
  Nanos taken = SystemClock().Monotonic();
  const bool screen = ::isatty(STDOUT_FILENO) != 0 && !options.json;
  for (uint64_t round = 0; options.rounds == 0 || round < options.rounds; ++round) {
    std::this_thread::sleep_for(options.interval);
    SHEEN_TRY_ASSIGN(replies, AskAll());
    const TopSample now = SampleOf(replies);
    const Nanos time = SystemClock().Monotonic();
    const double seconds = std::chrono::duration<double>(time - taken).count();
    if (screen) fmt::print("\x1b[H\x1b[2J");
    fmt::print(
        "{}", options.json ? FormatTopJson(before, now, seconds) : FormatTop(before, now, seconds));
    // Whoever read it has gone.
    if (std::fflush(stdout) != 0) return {};
    before = now;
    taken = time;
  }
  return {};
}

}  // namespace sheen::apps
