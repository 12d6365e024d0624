// The configuration files of AWS's tools: ~/.aws/credentials and ~/.aws/config, and the process's
// environment as a seam.
//
//   [default]                  [profile batch]            (in the credentials file: [batch])
//   aws_access_key_id = ...    role_arn = arn:aws:iam::...
//                              source_profile = default
//
// Indented lines are settings of a nested group and are skipped. '#' and ';' begin comments.
//
// Immutable after parsing.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sheen::s3 {

// Of a variable's name: its value; nullopt when it is not set, or empty.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
Environment ProcessEnvironment();

using Section = std::map<std::string, std::string, std::less<>>;
using IniFile = std::map<std::string, Section, std::less<>>;
IniFile ParseIni(std::string_view text);

class Profiles final {
 public:
  Profiles() = default;
  Profiles(IniFile credentials, IniFile config)
      : credentials_(std::move(credentials)), config_(std::move(config)) {}

  // Both files' settings of a profile; the credentials file's win. nullopt: neither has it.
  std::optional<Section> Find(const std::string& profile) const;

 private:
  IniFile credentials_;
  IniFile config_;
};

// Where the files are: AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, else below HOME.
std::string CredentialsPath(const Environment& environment);
std::string ConfigPath(const Environment& environment);

// Blocks. nullopt: cannot be read, or is longer than such a file may be (1 MiB).
std::optional<std::string> ReadSmallFile(const std::string& path);

}  // namespace sheen::s3
