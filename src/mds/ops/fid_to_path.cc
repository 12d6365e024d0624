// fid_to_path: the names of a FID, one path for each link, relative to the root.
//
// A path is shown to those who may search all directories on it. Takes no latch: what is renamed
// meanwhile may be missing or shown at either place. Errors: kNoEntry (no such FID, or no name
// left), kAccess (no path may be shown).
#include <algorithm>

#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

constexpr uint32_t kLinksMax = 65536;
constexpr size_t kPathBytesMax = 1 << 20;
constexpr size_t kReplyBytesMax = 3 << 20;  // of the 4 MiB that a body may have

// The path of `link` up to the root. Errors: kAccess; kNoEntry when it is gone meanwhile.
Result<std::string> PathOf(OpContext* context, const mdt::LinkRow& link) {
  std::vector<std::string> names = {link.name};
  size_t bytes = link.name.size();
  for (Fid at = link.parent; at != kRootFid;) {
    SHEEN_TRY_ASSIGN(const mdt::Inode directory, context->Directory(at));
    SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
    SHEEN_TRY_ASSIGN(const std::vector<mdt::LinkRow> up, mdt::ListLinks(*context->txn, at, 1));
    if (up.empty()) return Fail(Errc::kNoEntry);
    names.push_back(up.front().name);
    bytes += names.back().size() + 1;
    if (bytes > kPathBytesMax) return Fail(Errc::kNameTooLong);
    at = up.front().parent;
  }
  std::string path;
  path.reserve(bytes);
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path.push_back('/');
    path.append(*name);
  }
  return path;
}

}  // namespace

Status FidToPath(OpContext* context, const v1::FidToPathRequest& request,
                 v1::FidToPathReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  if (fid == kRootFid) {
    reply->add_paths("");
    return {};
  }
  const uint32_t wanted = request.links_max() == 0 ? kLinksMax : request.links_max();
  SHEEN_TRY_ASSIGN(const std::vector<mdt::LinkRow> links,
                   mdt::ListLinks(*context->txn, fid, std::min(wanted, kLinksMax)));
  Errc reason = Errc::kNoEntry;
  size_t bytes = 0;
  for (const mdt::LinkRow& link : links) {
    Result<std::string> path = PathOf(context, link);
    if (!path) {
      reason = path.error().code();
      if (reason == Errc::kStale) reason = Errc::kNoEntry;
      if (reason != Errc::kAccess && reason != Errc::kNoEntry) {
        return std::unexpected(std::move(path).error());
      }
      continue;
    }
    bytes += path->size() + 8;
    if (bytes > kReplyBytesMax) break;
    reply->add_paths(std::move(*path));
  }
  if (reply->paths().empty()) return Fail(reason);
  return {};
}

}  // namespace sheen::mds::ops
