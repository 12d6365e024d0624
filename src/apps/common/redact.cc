#include "apps/common/redact.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace sheen::apps {
namespace {

constexpr std::string_view kNames[] = {"secret",    "password",    "passwd",      "passphrase",
                                       "token",     "credential",  "access_key",  "access-key",
                                       "accesskey", "private_key", "private-key", "privatekey",
                                       "api_key",   "api-key",     "apikey",      "authorization"};
constexpr std::string_view kPemBegin = "-----BEGIN ";
constexpr std::string_view kPemEnd = "-----END ";

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}
bool IsBlank(char c) { return c == ' ' || c == '\t'; }

size_t SkipBlanks(std::string_view text, size_t at) {
  while (at < text.size() && IsBlank(text[at])) ++at;
  return at;
}

// Behind the closing quotes of the string that begins at `at`; the end when they are missing.
size_t EndOfQuoted(std::string_view text, size_t at) {
  const char quote = text[at];
  const std::string triple(3, quote);
  if (text.substr(at, 3) == triple) {
    const size_t close = text.find(triple, at + 3);
    return close == std::string_view::npos ? text.size() : close + 3;
  }
  for (size_t i = at + 1; i < text.size() && text[i] != '\n'; ++i) {
    if (text[i] == '\\' && quote == '"') {
      ++i;
    } else if (text[i] == quote) {
      return i + 1;
    }
  }
  return std::min(text.find('\n', at), text.size());
}

// Behind the array or table that begins at `at`.
size_t EndOfBrackets(std::string_view text, size_t at) {
  int depth = 0;
  for (size_t i = at; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      i = std::max(EndOfQuoted(text, i), i + 1);
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    ++i;
    if (depth == 0) return i;
  }
  return text.size();
}

size_t EndOfValue(std::string_view text, size_t at) {
  if (at == text.size()) return at;
  if (text[at] == '"' || text[at] == '\'') return EndOfQuoted(text, at);
  if (text[at] == '[' || text[at] == '{') return EndOfBrackets(text, at);
  while (at < text.size() && !IsBlank(text[at]) && text[at] != '\n' && text[at] != ',' &&
         text[at] != ';' && text[at] != '&') {
    ++at;
  }
  return at;
}

struct Range {
  size_t begin = 0;
  size_t end = 0;
};

// The value of the sensitive name that `found` is a part of, if there is one behind it.
std::optional<Range> ValueBehind(std::string_view text, size_t found, std::string_view name) {
  size_t at = found + name.size();
  while (at < text.size() && IsNameCharacter(text[at])) ++at;
  if (at < text.size() && (text[at] == '"' || text[at] == '\'')) ++at;  // "name": ...
  at = SkipBlanks(text, at);
  if (at == text.size() || (text[at] != '=' && text[at] != ':')) return std::nullopt;
  at = SkipBlanks(text, at + 1);
  const size_t end =
      name == "authorization" ? std::min(text.find('\n', at), text.size()) : EndOfValue(text, at);
  if (end == at) return std::nullopt;
  return Range{at, end};
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string WithoutNamed(std::string text, std::string_view name) {
  const std::string lower = Lower(text);
  std::string out;
  size_t copied = 0;
  for (size_t found = 0; (found = lower.find(name, found)) != std::string::npos;) {
    const auto value = ValueBehind(text, found, name);
    found += name.size();
    if (!value || value->begin < copied) continue;
    out.append(text, copied, value->begin - copied).append(kRemoved);
    copied = value->end;
    found = std::max(found, copied);
  }
  return out.append(text, copied);
}

std::string WithoutUrlPasswords(const std::string& text) {
  std::string out;
  size_t copied = 0;
  for (size_t found = 0; (found = text.find("://", found)) != std::string::npos;) {
    found += 3;
    const size_t end = std::min(text.find_first_of("/ \t\n\"'", found), text.size());
    const size_t colon = text.find(':', found);
    const size_t at = text.rfind('@', end);
    if (colon >= end || at == std::string::npos || at <= colon) continue;
    out.append(text, copied, colon + 1 - copied).append(kRemoved);
    copied = at;
  }
  return out.append(text, copied);
}

std::string WithoutPrivatePem(const std::string& text) {
  std::string out;
  size_t copied = 0;
  for (size_t found = 0; (found = text.find(kPemBegin, found)) != std::string::npos;) {
    const size_t line_end = std::min(text.find('\n', found), text.size());
    if (text.substr(found, line_end - found).find("PRIVATE KEY") == std::string::npos) {
      found = line_end;
      continue;
    }
    const size_t close = text.find(kPemEnd, line_end);
    out.append(text, copied, line_end - copied).append("\n").append(kRemoved);
    copied = close == std::string::npos ? text.size() : close;
    if (copied < text.size()) out.append("\n");
    found = copied;
  }
  return out.append(text, copied);
}

}  // namespace

std::string WithoutSecrets(std::string_view text) {
  std::string out = WithoutPrivatePem(WithoutUrlPasswords(std::string(text)));
  for (const std::string_view name : kNames) out = WithoutNamed(std::move(out), name);
  return out;
}

}  // namespace sheen::apps
