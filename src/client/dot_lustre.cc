#include "client/dot_lustre.h"

#include <sys/stat.h>

namespace sheen::client {
namespace {

constexpr char kName[] = ".lustre";

}  // namespace

Attr DotLustreAttr(const Fid& fid) {
  Attr attr;
  attr.fid = fid;
  attr.mode = S_IFDIR | S_IXUSR;
  attr.nlink = 2;
  attr.size = 4096;
  return attr;
}

std::optional<Result<Fid>> DotLustreChild(const Fid& parent, const std::string& name) {
  if (parent == kRootFid && name == kName) return kDotLustre;
  if (!IsDotLustre(parent)) return std::nullopt;
  if (name == ".") return parent;
  if (name == "..") return parent == kDotLustre ? kRootFid : kDotLustre;
  if (parent == kDotLustre) {
    if (name == "fid") return kDotLustreFid;
    return Result<Fid>(Fail(Errc::kNoEntry));
  }
  Fid fid;
  if (!Fid::Parse(name, &fid) || !fid.Valid()) return Result<Fid>(Fail(Errc::kNoEntry));
  return fid;
}

Status CheckNotDotLustre(const Fid& parent, const std::string& name) {
  if (!IsDotLustre(parent) && !(parent == kRootFid && name == kName)) return {};
  return Fail(Errc::kPerm, ".lustre is made by the mount and cannot be changed");
}

}  // namespace sheen::client
