// One file that `lfs find` has come to: what tests and directives ask of it.
//
// Single-threaded.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "apps/lfs/device.h"
#include "apps/lfs/find_options.h"

namespace sheen::lfs {

class FindFile final {
 public:
  // `now_ns`: what ages are counted from.
  FindFile(std::string path, const struct stat& info, int64_t now_ns)
      : path_(std::move(path)), info_(info), now_ns_(now_ns) {}

  // Errors: the layout was needed and could not be got.
  Result<bool> Matches(const std::vector<FindTest>& tests);
  // What is printed of it, with the line's end.
  Result<std::string> Print(const FindRequest& request);

 private:
  Status FetchLayout();
  // Of an imported file: some of it is only in S3.
  Result<bool> IsReleased();
  bool MatchesOwn(const FindTest& test) const;
  bool MatchesLayout(const FindTest& test) const;
  // The component that single values are about: the last that has objects, else the first.
  const layout::Component* Shown() const;
  std::string Directive(char letter) const;
  std::string LustreDirective(char letter) const;
  std::string FormatLine(const std::string& format) const;
  std::string LongLine() const;

  const std::string path_;
  const struct stat info_;
  const int64_t now_ns_;
  std::optional<ShownLayout> layout_;  // once it was fetched
};

}  // namespace sheen::lfs
