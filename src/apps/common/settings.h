// Settings: a daemon's command line and its TOML file in one table. Every key is a flag and every
// flag a key, spelled alike: --control-port 7989 on the command line is "control-port = 7989" in
// the file. The command line wins.
//
//   Settings settings({.program = "sheen-mds", .about = "...", .config = "/etc/sheen/mds.toml"});
//   settings.Text("dir", &options.dir, "directory of the MDT");
//   switch (settings.Parse(argc, argv)) ...
//
// Not thread-safe; used by main() before anything else starts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sheen::apps {

struct SettingsOptions {
  std::string program;
  std::string about;
  std::string config;  // read when it is there; empty: the program has no file
};

enum class ParseOutcome : uint8_t {
  kRun,     // go on
  kDone,    // --help or --version was answered: exit 0
  kUsage,   // the command line is wrong and the user has been told: exit 2
  kFailed,  // the configuration file is wrong and the user has been told: exit 2
};

class Settings final {
 public:
  explicit Settings(SettingsOptions options);
  ~Settings();
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  // The target keeps its value where neither command line nor file names the key, and must outlive
  // Parse(). REQUIRES: each key once.
  void Text(const std::string& key, std::string* target, const std::string& help);
  // As List(), with a one-letter flag too: -o a,b. What the command line gives does not replace the
  // file's but follows it: mount(8) always gives an -o.
  void ShortList(char letter, const std::string& key, std::vector<std::string>* target,
                 const std::string& help);
  // Values from `low` to `high`, both included.
  void Number(const std::string& key, int64_t* target, const std::string& help, int64_t low,
              int64_t high);
  void Switch(const std::string& key, bool* target, const std::string& help);
  // --key A --key B, or --key A,B; in the file an array or one string.
  void List(const std::string& key, std::vector<std::string>* target, const std::string& help);
  void Positional(const std::string& name, std::string* target, const std::string& help);

  // Prints what is wrong to stderr, as "program: what (and what to do)".
  ParseOutcome Parse(int argc, const char* const* argv);
  // Given on the command line or in the file.
  bool Given(const std::string& key) const;

  // What Parse() does with the file. Errors: kNoEntry, kInvalid, with file, line and remedy.
  Status ReadFile(const std::string& path);

 private:
  struct Entry;

  void AddList(const std::string& flags, const std::string& key, std::vector<std::string>* target,
               const std::string& help);

  const SettingsOptions options_;
  std::unique_ptr<CLI::App> app_;
  std::map<std::string, Entry> entries_;
  std::string config_path_;
  bool show_version_ = false;
};

}  // namespace sheen::apps
