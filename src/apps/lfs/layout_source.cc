#include "apps/lfs/layout_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/layout_yaml.h"

namespace sheen::lfs {

namespace {

Result<layout::Layout> LayoutOf(const std::string& path) {
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) != 0) return FailErrno(errno, path);
  const bool is_directory = S_ISDIR(attributes.st_mode);
  SHEEN_TRY_ASSIGN(const Device device,
                   Device::Open(path, is_directory ? O_RDONLY | O_DIRECTORY : O_RDONLY));
  SHEEN_TRY_ASSIGN(ShownLayout shown, device.GetLayout(is_directory));
  if (shown.layout.empty()) return Fail(Errc::kNoData, path + " has no layout");
  return layout::TemplateOf(shown.layout);
}

}  // namespace

int FetchTemplate(std::string_view command, const std::string& copy_from,
                  const std::string& yaml_file, layout::Layout* out) {
  if (!copy_from.empty()) {
    auto layout = LayoutOf(copy_from);
    if (!layout) {
      return ReportError(command, "cannot get the layout of '" + copy_from + "'",
                         layout.error());
    }
    *out = std::move(*layout);
  }
  if (yaml_file.empty()) return 0;
  std::ifstream in(yaml_file);
  if (!in) {
    return ReportError(command, "cannot open layout file '" + yaml_file + "'",
                       FailErrno(errno, yaml_file).error());
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto layout = ParseLayoutYaml(text);
  if (!layout) {
    return ReportError(command, yaml_file + ": " + layout.error().message(),
                       layout.error());
  }
  *out = std::move(*layout);
  return 0;
}

}  // namespace sheen::lfs
