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

// Lustre's numbers (HUA_*).
inline constexpr uint32_t kHsmActionRestore = 11;
inline constexpr uint32_t kHsmActionRelease = 12;
inline constexpr uint32_t kHsmActionCancel = 14;

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
  Status AddComponents(const layout::Layout& layout_template) const;
  // 0: all that have no objects.
  Status DeleteComponents(uint32_t id) const;
  // layout::ComponentFlag bits.
  Status SetComponentFlags(uint32_t id, uint32_t set, uint32_t clear) const;
  Result<Fid> CreateWithLayout(const std::string& name, uint32_t mode,
                               const layout::Layout& layout_template) const;
  Result<std::vector<v1::TargetSpace>> Targets() const;
  Result<v1::OstPoolList> Pools() const;
  Result<std::vector<std::string>> FidToPath(const Fid& fid) const;
  // Of the changelog of MDT `mdt`. Errors: kNoSuchDevice, kNoEntry (no such user), kPerm, kInvalid.
  Result<v1::ReadChangelogReply> ReadChangelog(uint32_t mdt,
                                               const v1::ReadChangelogRequest& request) const;
  Status ClearChangelog(uint32_t mdt, const v1::ClearChangelogRequest& request) const;
  // ---- files from S3 ----
  Result<v1::HsmFileState> GetHsmState() const;
  Status SetHsmFlags(const IoctlHsmFlags& flags) const;
  struct HsmDone {
    std::vector<int> errors;  // errno of each file
    uint64_t amount = 0;      // bytes released, or restores queued
  };
  // REQUIRES: at most kIoctlFidsMax files.
  Result<HsmDone> HsmAction(uint32_t action, const std::vector<Fid>& fids, uint64_t job) const;
  Result<v1::HsmJobReply> HsmJob(uint64_t job) const;
  // UUID of the mount.
  Result<std::string> ClientUuid() const;
  // `flags`: kIoctlAsIs, kIoctlAlone.
  Result<uint64_t> DataVersion(uint32_t flags) const;
  Status SwapLayouts(const Fid& other) const;
  // Steps of a migrate (sheen/ioctl.h). A template without components: as the layout is.
  Status MigrateBegin(const layout::Layout& layout_template) const;
  Result<IoctlCopy> MigrateCopy(uint64_t offset, uint64_t length) const;
  Result<bool> MigrateHold() const;
  Status MigrateFinish() const;

 private:
  // All chunks of an answer.
  Result<std::string> ReadAll(unsigned long command) const;
  Status Call(unsigned long command, IoctlMessage* message) const;
  Status SendLayout(const layout::Layout& layout_template, uint32_t flags) const;
  Caller caller_;
};

}  // namespace sheen::lfs
