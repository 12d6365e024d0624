#include "s3/aws_config.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr size_t kFileBytesMax = 1024 * 1024;

std::string PathOf(const Environment& environment, const char* variable, const char* name) {
  if (const auto path = environment(variable)) {
    if (!path->starts_with("~/")) return *path;
    return environment("HOME").value_or("/root") + path->substr(1);
  }
  return environment("HOME").value_or("/root") + "/.aws/" + name;
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == 0) return std::nullopt;
    return std::string(value);
  };
}

IniFile ParseIni(std::string_view text) {
  IniFile out;
  Section* section = nullptr;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::string_view content = Trim(line);
    if (content.empty() || content[0] == '#' || content[0] == ';') continue;
    if (content[0] == '[') {
      const size_t close = content.find(']');
      section = nullptr;
      if (close == std::string_view::npos) continue;
      section = &out[std::string(Trim(content.substr(1, close - 1)))];
      continue;
    }
    const bool nested = line[0] == ' ' || line[0] == '\t';
    const size_t equals = content.find('=');
    if (nested || section == nullptr || equals == std::string_view::npos) continue;
    (*section)[Lower(Trim(content.substr(0, equals)))] = Trim(content.substr(equals + 1));
  }
  return out;
}

std::optional<Section> Profiles::Find(const std::string& profile) const {
  std::optional<Section> found;
  auto config = config_.find("profile " + profile);
  if (config == config_.end() && profile == "default") config = config_.find(profile);
  if (config != config_.end()) found = config->second;
  const auto credentials = credentials_.find(profile);
  if (credentials != credentials_.end()) {
    if (!found) found.emplace();
    for (const auto& [name, value] : credentials->second) (*found)[name] = value;
  }
  return found;
}

std::string CredentialsPath(const Environment& environment) {
  return PathOf(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
}
std::string ConfigPath(const Environment& environment) {
  return PathOf(environment, "AWS_CONFIG_FILE", "config");
}

std::optional<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.good()) return std::nullopt;
  std::string text(kFileBytesMax + 1, 0);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return std::nullopt;
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) return std::nullopt;
  return text;
}

}  // namespace sheen::s3
