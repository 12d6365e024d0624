// An open file or directory of a Sheen mount, and the ioctls of sheen/ioctl.h on it.
//
// Every error is one of errno's; kNotTty when the file is on another filesystem.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fid/fid.h"
#include "layout/layout.h"
#include "sheen/ioctl.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::lfs {

struct ShownLayout {
  Fid fid;
  layout::Layout layout;  // empty: a file without a layout
  bool inherited = false;
};

// Moved only.
class Device final {
 public:
  // ioctl(2) on the file; tests put a client daemon of their own here.
  using Caller = std::function<Status(unsigned long command, IoctlMessage* message)>;

  explicit Device(Caller caller) : caller_(std::move(caller)) {}
  // `flags` as open(2); O_CLOEXEC and O_NONBLOCK are added. Does not create.
  static Result<Device> Open(const std::string& path, int flags);
  Result<Fid> GetFid() const;
  // `effective`: of a directory without a default of its own, what is inherited.
  Result<ShownLayout> GetLayout(bool effective) const;
  Status SetLayout(const layout::Layout& layout_template) const;
  Status RemoveLayout() const;
  Result<Fid> CreateWithLayout(const std::string& name, uint32_t mode,
                               const layout::Layout& layout_template) const;
  Result<std::vector<v1::TargetSpace>> Targets() const;
  Result<std::vector<std::string>> FidToPath(const Fid& fid) const;
  // Of the changelog of MDT `mdt`. Errors: kNoSuchDevice, kNoEntry (no such user), kPerm, kInvalid.
  Result<v1::ReadChangelogReply> ReadChangelog(uint32_t mdt,
                                               const v1::ReadChangelogRequest& request) const;
  Status ClearChangelog(uint32_t mdt, const v1::ClearChangelogRequest& request) const;
  // UUID of the mount.
  Result<std::string> ClientUuid() const;

 private:
  Status Call(unsigned long command, IoctlMessage* message) const;
  Caller caller_;
};

}  // namespace sheen::lfs
