#include "apps/common/settings.h"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "apps/common/version.h"

namespace sheen::apps {
namespace {

std::string Expected(const std::string& path, const toml::node& node, const std::string& key,
                     std::string_view what) {
  return fmt::format("{}:{}: {} must be {}; correct that line", path, node.source().begin.line, key,
                     what);
}

}  // namespace

struct Settings::Entry {
  CLI::Option* option = nullptr;
  bool in_file = false;
  bool joins = false;  // the file's value comes first, the command line's behind it
  // Takes the file's value. The error is the sentence after "KEY must be".
  std::function<std::string(const toml::node&)> take;
};

Settings::Settings(SettingsOptions options)
    : options_(std::move(options)),
      app_(std::make_unique<CLI::App>(options_.about, options_.program)) {
  app_->add_flag("--version", show_version_, "print the version and exit");
  if (!options_.config.empty()) {
    app_->add_option(
        "--config", config_path_,
        fmt::format("configuration file (default {}, if it is there)", options_.config));
  }
}

Settings::~Settings() = default;

void Settings::Text(const std::string& key, std::string* target, const std::string& help) {
  Entry& entry = entries_[key];
  entry.option = app_->add_option("--" + key, *target, help);
  entry.take = [target](const toml::node& node) -> std::string {
    const auto value = node.value_exact<std::string>();
    if (!value) return "a string in quotes";
    *target = *value;
    return {};
  };
}

void Settings::Number(const std::string& key, int64_t* target, const std::string& help, int64_t low,
                      int64_t high) {
  Entry& entry = entries_[key];
  entry.option = app_->add_option("--" + key, *target, help)->check(CLI::Range(low, high));
  entry.take = [target, low, high](const toml::node& node) -> std::string {
    const auto value = node.value_exact<int64_t>();
    if (!value || *value < low || *value > high) {
      return fmt::format("a whole number from {} to {}", low, high);
    }
    *target = *value;
    return {};
  };
}

void Settings::Switch(const std::string& key, bool* target, const std::string& help) {
  Entry& entry = entries_[key];
  entry.option = app_->add_flag("--" + key, *target, help);
  entry.take = [target](const toml::node& node) -> std::string {
    const auto value = node.value_exact<bool>();
    if (!value) return "true or false";
    *target = *value;
    return {};
  };
}

void Settings::List(const std::string& key, std::vector<std::string>* target,
                    const std::string& help) {
  AddList("--" + key, key, target, help);
}

void Settings::ShortList(char letter, const std::string& key, std::vector<std::string>* target,
                         const std::string& help) {
  AddList(fmt::format("-{},--{}", letter, key), key, target, help);
  entries_[key].joins = true;
}

void Settings::AddList(const std::string& flags, const std::string& key,
                       std::vector<std::string>* target, const std::string& help) {
  Entry& entry = entries_[key];
  entry.option = app_->add_option(flags, *target, help)->delimiter(',')->expected(1)->take_all();
  entry.take = [target, &entry](const toml::node& node) -> std::string {
    std::vector<std::string> values;
    if (const auto one = node.value_exact<std::string>()) values.push_back(*one);
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) {
        const auto text = element.value_exact<std::string>();
        if (!text) return "an array of strings";
        values.push_back(*text);
      }
    } else if (values.empty()) {
      return "a string or an array of strings";
    }
    if (entry.joins) values.insert(values.end(), target->begin(), target->end());
    *target = std::move(values);
    return {};
  };
}

void Settings::Positional(const std::string& name, std::string* target, const std::string& help) {
  app_->add_option(name, *target, help);
}

Status Settings::ReadFile(const std::string& path) {
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    if (error.source().begin.line == 0) {
      return Fail(Errc::kNoEntry,
                  fmt::format("cannot read the configuration file {}: {}; check the path given by "
                              "--config and the file's permissions",
                              path, error.description()));
    }
    return Fail(Errc::kInvalid,
                fmt::format("{}:{}: {}; correct that line (the file is TOML: key = value)", path,
                            error.source().begin.line, error.description()));
  }
  for (auto&& [name, node] : table) {
    const std::string key(name.str());
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) {
      return Fail(
          Errc::kInvalid,
          fmt::format("{}:{}: unknown key '{}'; remove it, or see `{} --help`: keys are its "
                      "flags without the dashes in front",
                      path, name.source().begin.line, key, options_.program));
    }
    entry->second.in_file = true;
    if (entry->second.option->count() > 0 && !entry->second.joins) continue;
    const std::string wrong = entry->second.take(node);
    if (!wrong.empty()) return Fail(Errc::kInvalid, Expected(path, node, key, wrong));
  }
  return {};
}

ParseOutcome Settings::Parse(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app_->help().c_str(), stdout);
    return ParseOutcome::kDone;
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "%s: %s; see `%s --help`\n", options_.program.c_str(), error.what(),
                 options_.program.c_str());
    return ParseOutcome::kUsage;
  }
  if (show_version_) {
    std::printf("%s %s\n", options_.program.c_str(), kVersion);
    return ParseOutcome::kDone;
  }
  std::string path = config_path_;
  if (path.empty() && !options_.config.empty() && ::access(options_.config.c_str(), F_OK) == 0) {
    path = options_.config;
  }
  if (path.empty()) return ParseOutcome::kRun;
  const Status read = ReadFile(path);
  if (read) return ParseOutcome::kRun;
  std::fprintf(stderr, "%s: %s\n", options_.program.c_str(), read.error().message().c_str());
  return ParseOutcome::kFailed;
}

bool Settings::Given(const std::string& key) const {
  const auto entry = entries_.find(key);
  return entry != entries_.end() && (entry->second.in_file || entry->second.option->count() > 0);
}

}  // namespace sheen::apps
