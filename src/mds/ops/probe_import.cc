// probe_import: the MDS's own operation that says which objects of a listing are new or changed, so
// that only for those their attributes are asked of S3. It changes nothing, and makes no directory.
// What an import would refuse counts as new: it is the import that says why.
#include <map>

#include "mds/import_compare.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

class Walk final {
 public:
  Walk(OpContext* context, const Fid& base) : context_(context) { known_[""] = base; }

  // nullopt: it is not there, or no directory.
  Result<std::optional<Fid>> Directory(const std::string& path) {
    const auto found = known_.find(path);
    if (found != known_.end()) return found->second;
    SHEEN_TRY_ASSIGN(const std::optional<mdt::Inode> inode, Entry(path));
    std::optional<Fid> fid;
    if (inode && inode->IsDirectory()) fid = last_;
    known_[path] = fid;
    return fid;
  }
  // The inode at `path` below the base.
  Result<std::optional<mdt::Inode>> Entry(const std::string& path) {

    const size_t slash = path.rfind('/');
    const std::string above = slash == path.npos ? "" : path.substr(0, slash);
    SHEEN_TRY_ASSIGN(const std::optional<Fid> parent, Directory(above));
    if (!parent) return std::nullopt;
    parent_ = *parent;
    const std::string name = slash == path.npos ? path : path.substr(slash + 1);
    SHEEN_TRY_ASSIGN(const mdt::Found found, context_->Find(*parent, name));
    if (!found.entry) return std::nullopt;
    last_ = found.entry->fid;
    return mdt::FindInode(*context_->txn, last_);
  }

  const Fid& parent() const { return parent_; }  // of the last Entry()

 private:
  OpContext* const context_;
  Fid parent_;
  Fid last_;  // that Entry() found
  std::map<std::string, std::optional<Fid>, std::less<>> known_;
};

struct Standing {
  v1::ImportWhat what = v1::IMPORT_CREATED;
  bool of_known = false;  // people may have seen the name's attributes
};

Result<Standing> StandingOf(Walk* walk, const v1::ImportEntriesRequest& request,
                            const v1::ImportEntry& entry) {
  SHEEN_TRY_ASSIGN(const std::optional<mdt::Inode> inode, walk->Entry(entry.path()));
  if (!inode) return Standing{};
  SHEEN_TRY_ASSIGN(const ImportStanding standing,
                   CompareImported(*inode, request.repository(), entry, request.pending()));
  if (!standing.refusal.empty()) return Standing{};
  return Standing{standing.what, !standing.pending};
}

// Whether S3 has the name just as it is here.
Result<bool> IsInS3(Walk* walk, const v1::ImportEntriesRequest& request,
                    const v1::ImportEntry& entry) {
  SHEEN_TRY_ASSIGN(const std::optional<mdt::Inode> inode, walk->Entry(entry.path()));
  if (!inode || inode->IsDirectory()) return false;
  SHEEN_TRY_ASSIGN(const ImportStanding standing,
                   CompareImported(*inode, request.repository(), entry, true));
  if (!standing.refusal.empty()) return false;
  return standing.what == v1::IMPORT_UNCHANGED || standing.same_content;
}

}  // namespace

Status ProbeImport(OpContext* context, std::string_view body, std::string* reply) {
  v1::ProbeOrder order;
  if (!order.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad probe");
  SHEEN_TRY_ASSIGN(const Fid base, ValidFid(order.base()));
  const v1::ImportEntriesRequest& request = order.request();
  Walk walk(context, base);
  v1::ImportEntriesReply out;
  for (int i = 0; request.drop() && i < request.entries_size(); ++i) {
    SHEEN_TRY_ASSIGN(const bool same, IsInS3(&walk, request, request.entries(i)));
    if (!same) continue;
    out.add_wanted(static_cast<uint32_t>(i));
    SetFid(walk.parent(), out.add_parents());
  }
  for (int i = 0; !request.drop() && i < request.entries_size(); ++i) {
    SHEEN_TRY_ASSIGN(const Standing standing, StandingOf(&walk, request, request.entries(i)));
    const v1::ImportWhat what = standing.what;
    const bool skipped = (what == v1::IMPORT_CREATED && request.skip_new()) ||
                         (what == v1::IMPORT_UPDATED && request.skip_changed());
    if (what == v1::IMPORT_UNCHANGED) {
      out.set_unchanged(out.unchanged() + 1);
    } else if (skipped) {
      out.set_skipped(out.skipped() + 1);
    } else {
      out.add_wanted(static_cast<uint32_t>(i));
      if (standing.of_known) out.add_changed(static_cast<uint32_t>(i));
    }
  }
  *reply = out.SerializeAsString();
  return {};
}

}  // namespace sheen::mds
