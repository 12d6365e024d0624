#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/layout_yaml.h"
#include "apps/lfs/setstripe_options.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "setstripe";
constexpr mode_t kModeDefault = 0644;

mode_t CurrentUmask() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}

// Lustre's sentence, which scripts look for.
int ReportSetError(const std::string& path, const Error& error) {
  const int number = ErrnoOf(error.code());
  const bool already = number == EEXIST || number == EALREADY;
  fmt::print(stderr, "lfs {}: setstripe error for '{}': {}\n", kCommand, path,
             already ? "stripe already set" : ErrnoText(error));
  return number;
}

int SetExisting(const std::string& path, const SetstripeRequest& request, bool is_directory) {
  const auto device = Device::Open(path, is_directory ? O_RDONLY | O_DIRECTORY : O_WRONLY);
  if (!device) return ReportError(kCommand, "unable to open '" + path + "'", device.error());
  const Status status =
      request.remove ? device->RemoveLayout() : device->SetLayout(request.layout_template);
  return status ? 0 : ReportSetError(path, status.error());
}

int CreateNew(const std::string& path, const SetstripeRequest& request) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string parent = ".";
  if (slash != std::string::npos) parent = slash == 0 ? "/" : path.substr(0, slash);
  if (name.empty())
    return ReportError(kCommand, "unable to open '" + path + "'", Error(Errc::kIsDirectory));
  const auto device = Device::Open(parent, O_RDONLY | O_DIRECTORY);
  if (!device) return ReportError(kCommand, "unable to open '" + path + "'", device.error());
  const auto made =
      device->CreateWithLayout(name, kModeDefault & ~CurrentUmask(), request.layout_template);
  if (made) return 0;
  // Somebody else was faster: then it is an existing file.
  if (made.error().code() == Errc::kExists) return SetExisting(path, request, false);
  return ReportSetError(path, made.error());
}

int SetOne(const std::string& path, const SetstripeRequest& request) {
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) != 0) {
    if (errno != ENOENT || request.remove)
      return ReportError(kCommand, "unable to open '" + path + "'", FailErrno(errno, path).error());
    return CreateNew(path, request);
  }
  if (S_ISDIR(attributes.st_mode)) return SetExisting(path, request, true);
  if (!S_ISREG(attributes.st_mode))
    return ReportError(kCommand, "'" + path + "' is neither a file nor a directory",
                       Error(Errc::kInvalid));
  if (request.remove)
    return ReportError(kCommand, "cannot remove the layout of file '" + path + "'",
                       Error(Errc::kNotSupported));
  return SetExisting(path, request, false);
}

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

// --copy and --yaml. Gives the exit status.
int FetchTemplate(SetstripeRequest* request) {
  if (!request->copy_from.empty()) {
    auto layout = LayoutOf(request->copy_from);
    if (!layout) {
      return ReportError(kCommand, "cannot get the layout of '" + request->copy_from + "'",
                         layout.error());
    }
    request->layout_template = std::move(*layout);
  }
  if (request->yaml_file.empty()) return 0;
  std::ifstream in(request->yaml_file);
  if (!in) {
    return ReportError(kCommand, "cannot open layout file '" + request->yaml_file + "'",
                       FailErrno(errno, request->yaml_file).error());
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto layout = ParseLayoutYaml(text);
  if (!layout) {
    return ReportError(kCommand, request->yaml_file + ": " + layout.error().message(),
                       layout.error());
  }
  request->layout_template = std::move(*layout);
  return 0;
}

}  // namespace

int RunSetstripe(const Arguments& args) {
  auto request = ParseSetstripe(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  if (const int status = FetchTemplate(&*request); status != 0) return status;
  int first = 0;
  for (const std::string& path : request->paths) {
    const int status = SetOne(path, *request);
    if (first == 0) first = status;
  }
  return first;
}

}  // namespace sheen::lfs
