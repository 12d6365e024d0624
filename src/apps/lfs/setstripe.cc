#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/layout_source.h"
#include "apps/lfs/pools.h"
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

using Action = SetstripeRequest::Action;

Status Apply(const Device& device, const SetstripeRequest& request) {
  switch (request.action) {
    case Action::kRemove:
      return device.RemoveLayout();
    case Action::kAdd:
      return device.AddComponents(request.layout_template);
    case Action::kDelete:
      return device.DeleteComponents(request.component_id);
    case Action::kSetFlags:
      return device.SetComponentFlags(request.component_id, request.flags.with,
                                      request.flags.without);
    case Action::kSet:
      break;
  }
  return device.SetLayout(request.layout_template);
}

int SetExisting(const std::string& path, const SetstripeRequest& request, bool is_directory) {
  const auto device = Device::Open(path, is_directory ? O_RDONLY | O_DIRECTORY : O_WRONLY);
  if (!device) return ReportError(kCommand, "unable to open '" + path + "'", device.error());
  if (const Status pools = CheckPools(*device, request.layout_template, request.pool_fsname);
      !pools)
    return ReportError(kCommand, pools.error().message(), pools.error());
  const Status status = Apply(*device, request);
  if (status) return 0;
  if (request.action == Action::kSet) return ReportSetError(path, status.error());
  const char* const what = request.action == Action::kAdd      ? "cannot add components to"
                           : request.action == Action::kDelete ? "cannot delete components of"
                           : request.action == Action::kSetFlags ? "cannot set component flags of"
                                                               : "cannot remove the layout of";
  return ReportError(kCommand, std::string(what) + " '" + path + "'", status.error());
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
  if (const Status pools = CheckPools(*device, request.layout_template, request.pool_fsname);
      !pools)
    return ReportError(kCommand, pools.error().message(), pools.error());
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
    if (errno != ENOENT || request.action != Action::kSet)
      return ReportError(kCommand, "unable to open '" + path + "'", FailErrno(errno, path).error());
    return CreateNew(path, request);
  }
  if (S_ISDIR(attributes.st_mode)) return SetExisting(path, request, true);
  if (!S_ISREG(attributes.st_mode))
    return ReportError(kCommand, "'" + path + "' is neither a file nor a directory",
                       Error(Errc::kInvalid));
  if (request.action == Action::kRemove)
    return ReportError(kCommand, "cannot remove the layout of file '" + path + "'",
                       Error(Errc::kNotSupported));
  return SetExisting(path, request, false);
}

}  // namespace

int RunSetstripe(const Arguments& args) {
  auto request = ParseSetstripe(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  const int fetched = FetchTemplate(kCommand, request->copy_from, request->yaml_file,
                                    &request->layout_template);
  if (fetched != 0) return fetched;
  int first = 0;
  for (const std::string& path : request->paths) {
    const int status = SetOne(path, *request);
    if (first == 0) first = status;
  }
  return first;
}

}  // namespace sheen::lfs
