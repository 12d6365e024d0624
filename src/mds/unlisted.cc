#include "mds/unlisted.h"

#include <algorithm>

#include "mds/op_context.h"
#include "mdt/repository_records.h"

namespace sheen::mds {
namespace {

constexpr size_t kKeyBytesMax = 1024;  // S3's

Result<std::vector<uint32_t>> ReadMarks(const mdt::Txn& txn) {
  std::vector<uint32_t> out;
  Status parsed;
  const std::string prefix(mdt::kUnlistedPrefix);
  SHEEN_TRY(txn.Scan(mdt::kConfig, prefix, prefix, [&](std::string_view key, std::string_view) {
    const Result<uint32_t> id = mdt::DecodeUnlistedKey(key);
    if (id) out.push_back(*id);
    if (!id) parsed = std::unexpected(id.error());
    return id.has_value();
  }));
  SHEEN_TRY(std::move(parsed));
  return out;
}

// "a/b/" below the link's directory; nullopt: it is not below it.
Result<std::optional<std::string>> PathBelow(const OpContext& context, const Fid& top, Fid at) {
  std::string path;
  while (at != top) {
    if (at == kRootFid || path.size() > kKeyBytesMax) return std::nullopt;
    SHEEN_TRY_ASSIGN(const std::vector<mdt::LinkRow> links, mdt::ListLinks(*context.txn, at, 1));
    if (links.empty()) return std::nullopt;
    path.insert(0, links[0].name + "/");
    at = links[0].parent;
  }
  return path;
}

}  // namespace

void UnlistedLinks::NoteAbsent(uint32_t id, const std::string& key, Nanos now) {
  const std::scoped_lock lock(mutex_);
  if (!links_.contains(id)) return;
  std::unordered_map<std::string, Nanos>& absent = absent_[id];
  if (absent.size() >= kAbsentMax) {
    std::erase_if(absent, [now](const auto& one) { return one.second <= now; });
  }
  if (absent.size() < kAbsentMax) absent[key] = now + kAbsentFor;
}

bool UnlistedLinks::IsAbsent(uint32_t id, const std::string& key, Nanos now) const {
  const std::scoped_lock lock(mutex_);
  const auto link = absent_.find(id);
  if (link == absent_.end()) return false;
  const auto found = link->second.find(key);
  return found != link->second.end() && now < found->second;
}

Status UnlistedLinks::Load(mdt::Mdt* mdt) {
  std::map<uint32_t, Link> found;
  {
    const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
    SHEEN_TRY_ASSIGN(const std::vector<uint32_t> marks, ReadMarks(txn));
    for (const uint32_t id : marks) {
      SHEEN_TRY_ASSIGN(const auto bytes, txn.Get(mdt::kConfig, mdt::RepositoryKey(id)));
      if (!bytes) continue;
      SHEEN_TRY_ASSIGN(const mdt::RepositoryRow row, mdt::DecodeRepository(*bytes));
      found[id] = {row.directory, row.prefix};
    }
  }
  const std::scoped_lock lock(mutex_);
  links_ = std::move(found);
  any_.store(!links_.empty(), std::memory_order_release);
  return {};
}

void UnlistedLinks::Set(uint32_t id, Link link) {
  const std::scoped_lock lock(mutex_);
  links_[id] = std::move(link);
  any_.store(true, std::memory_order_release);
}

void UnlistedLinks::Remove(uint32_t id) {
  const std::scoped_lock lock(mutex_);
  links_.erase(id);
  absent_.erase(id);
  any_.store(!links_.empty(), std::memory_order_release);
}

std::optional<UnlistedLinks::Link> UnlistedLinks::Find(uint32_t id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = links_.find(id);
  return found == links_.end() ? std::nullopt : std::optional(found->second);
}

uint32_t UnlistedLinks::LinkedTo(const Fid& directory) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find_if(
      links_, [&directory](const auto& one) { return one.second.directory == directory; });
  return found == links_.end() ? 0 : found->first;
}

std::vector<uint32_t> UnlistedLinks::All() const {
  const std::scoped_lock lock(mutex_);
  std::vector<uint32_t> out;
  for (const auto& [id, link] : links_) out.push_back(id);
  return out;
}

Result<std::optional<UnlistedName>> FindUnlisted(OpContext* context, const Fid& parent,
                                                 const mdt::Inode& directory,
                                                 std::string_view name) {
  const UnlistedLinks& unlisted = context->core->unlisted;
  if (!unlisted.any() || directory.nlink == 0) return std::nullopt;
  UnlistedName out{.link = unlisted.LinkedTo(parent), .key = {}};
  if (out.link == 0) {
    if (directory.extra.empty()) return std::nullopt;
    SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(directory.extra));
    out.link = source.link;
    out.key = source.key;
  }
  const auto link = unlisted.Find(out.link);
  if (!link) return std::nullopt;
  if (parent == link->directory) {
    out.key = link->prefix;
  } else {
    // One that was renamed here stands for nothing in S3.
    SHEEN_TRY_ASSIGN(const auto path, PathBelow(*context, link->directory, parent));
    if (!path || link->prefix + *path != out.key) return std::nullopt;
  }
  out.key += name;
  if (out.key.size() > kKeyBytesMax) return std::nullopt;
  SHEEN_TRY_ASSIGN(const bool taken, WasTakenAway(*context, out.link, out.key));
  if (taken) return std::nullopt;
  return out;
}

Status NoteTakenAway(OpContext* context, const mdt::Inode& inode) {
  const bool by_client = context->session != nullptr;
  if (!context->core->unlisted.any() || !by_client || inode.extra.empty()) return {};
  SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode.extra));
  if (!context->core->unlisted.Find(source.link)) return {};
  context->txn->Put(mdt::kConfig, mdt::TakenAwayKey(source.link, source.key),
                    mdt::EncodeUnlisted());
  return {};
}

Result<bool> WasTakenAway(const OpContext& context, uint32_t link, std::string_view key) {
  if (!context.core->unlisted.Find(link)) return false;
  SHEEN_TRY_ASSIGN(const auto row,
                   context.txn->Get(mdt::kConfig, mdt::TakenAwayKey(link, key)));
  return row.has_value();
}

}  // namespace sheen::mds
