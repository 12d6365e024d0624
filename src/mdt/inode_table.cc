#include "mdt/inode_table.h"

#include <map>
#include <utility>

#include "base/bytes.h"
#include "lock/inode_bits.h"

namespace sheen::mdt {
namespace {

std::string FidPrefix(const Fid& fid) { return InodeKey(fid); }

// Damaged keys cannot be repaired by reading on: the caller's operation fails.
Status BadKey(std::string_view family) {
  return Fail(Errc::kCorrupt, std::string(family) + ": a key has the wrong length");
}

}  // namespace

Result<std::optional<Inode>> FindInode(const Txn& txn, const Fid& fid) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, txn.Get(kInodes, InodeKey(fid)));
  if (!bytes) return std::optional<Inode>();
  auto inode = DecodeInode(*bytes);
  if (!inode) return std::unexpected(Annotate(std::move(inode).error(), fid.ToString()));
  return std::optional(std::move(*inode));
}

void PutInode(Txn* txn, const Fid& fid, const Inode& inode, uint32_t bits) {
  txn->Put(kInodes, InodeKey(fid), Encode(inode));
  txn->Touch(fid, bits);
}

Status DeleteInode(Txn* txn, const Fid& fid, const Inode& inode) {
  if (inode.xattr_count > 0) {
    const std::string prefix = FidPrefix(fid);
    std::vector<std::string> keys;
    SHEEN_TRY(txn->Scan(kXattrs, prefix, prefix, [&](std::string_view key, std::string_view) {
      keys.emplace_back(key);
      return true;
    }));
    for (std::string& key : keys) txn->Delete(kXattrs, std::move(key));
  }
  txn->Delete(kInodes, InodeKey(fid));
  txn->Touch(fid, lock::kAllInodeBits, true);
  return {};
}

void AddLink(Txn* txn, const Fid& fid, const LinkRow& link) {
  txn->Put(kLinks, LinkKey(fid, link.parent, link.cookie), EncodeLink(link.name));
}

void RemoveLink(Txn* txn, const Fid& fid, const Fid& parent, uint64_t cookie) {
  txn->Delete(kLinks, LinkKey(fid, parent, cookie));
  txn->Touch(fid, lock::kLookup);
}

Result<std::vector<LinkRow>> ListLinks(const Txn& txn, const Fid& fid, uint32_t count_max) {
  std::vector<LinkRow> links;
  Status parsed;
  const std::string prefix = FidPrefix(fid);
  SHEEN_TRY(txn.Scan(kLinks, prefix, prefix, [&](std::string_view key, std::string_view value) {
    if (key.size() != 2 * Fid::kKeyBytes + 8) {
      parsed = BadKey("links");
      return false;
    }
    auto name = DecodeLink(value);
    if (!name) {
      parsed = std::unexpected(std::move(name).error());
      return false;
    }
    key.remove_prefix(Fid::kKeyBytes);
    const uint64_t cookie = LoadBig64(key.data() + Fid::kKeyBytes);
    links.push_back({Fid::FromKey(key), cookie, std::move(*name)});
    return links.size() < count_max;
  }));
  SHEEN_TRY(std::move(parsed));
  return links;
}

Result<std::optional<std::string>> FindXattr(const Txn& txn, const Fid& fid,
                                             std::string_view name) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, txn.Get(kXattrs, XattrKey(fid, name)));
  if (!bytes) return std::optional<std::string>();
  SHEEN_TRY_ASSIGN(std::string value, DecodeXattr(*bytes));
  return std::optional(std::move(value));
}

Status PutXattr(Txn* txn, const Fid& fid, Inode* inode, std::string_view name,
                std::string_view value) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> before, FindXattr(*txn, fid, name));
  if (!before) {
    if (inode->xattr_name_bytes + name.size() + 1 > kXattrNamesBytesMax) {
      return Fail(Errc::kNoSpace, fid.ToString() + ": its xattr names are full (64 KiB)");
    }
    ++inode->xattr_count;
    inode->xattr_name_bytes += static_cast<uint32_t>(name.size() + 1);
  }
  txn->Put(kXattrs, XattrKey(fid, name), EncodeXattr(value));
  txn->Touch(fid, lock::kXattr);
  return {};
}

Result<bool> RemoveXattr(Txn* txn, const Fid& fid, Inode* inode, std::string_view name) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> before, FindXattr(*txn, fid, name));
  if (!before) return false;
  --inode->xattr_count;
  inode->xattr_name_bytes -= static_cast<uint32_t>(name.size() + 1);
  txn->Delete(kXattrs, XattrKey(fid, name));
  txn->Touch(fid, lock::kXattr);
  return true;
}

Result<std::vector<std::string>> ListXattrs(const Txn& txn, const Fid& fid) {
  std::vector<std::string> names;
  const std::string prefix = FidPrefix(fid);
  SHEEN_TRY(txn.Scan(kXattrs, prefix, prefix, [&](std::string_view key, std::string_view) {
    names.emplace_back(key.substr(prefix.size()));
    return true;
  }));
  return names;
}

void AddOrphan(Txn* txn, const Fid& fid, int64_t unlinked_ns) {
  txn->Put(kOrphans, InodeKey(fid), EncodeOrphan(unlinked_ns));
}

void RemoveOrphan(Txn* txn, const Fid& fid) { txn->Delete(kOrphans, InodeKey(fid)); }

Result<std::vector<Fid>> ListOrphans(const Txn& txn, const Fid& from, uint32_t count_max) {
  std::vector<Fid> fids;
  Status parsed;
  const std::string start = InodeKey(from);
  SHEEN_TRY(txn.Scan(kOrphans, "", start, [&](std::string_view key, std::string_view) {
    if (key.size() != Fid::kKeyBytes) {
      parsed = BadKey("orphans");
      return false;
    }
    fids.push_back(Fid::FromKey(key));
    return fids.size() < count_max;
  }));
  SHEEN_TRY(std::move(parsed));
  return fids;
}

void AddOutbox(Txn* txn, const layout::Layout& layout, const OutboxRow& order) {
  std::map<uint32_t, OutboxRow> rows;  // by OST index
  for (const layout::Component& component : layout.components) {
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      auto [row, added] = rows.try_emplace(component.osts[stripe], order);
      row->second.objects.push_back(layout::ObjectOf(component, stripe));
    }
  }
  // The number keeps rows of several files in one transaction apart.
  for (const auto& [ost, row] : rows) {
    const auto number = static_cast<uint32_t>(txn->batch().operations().size());
    txn->Put(kOutbox, OutboxKey(ost, txn->transno(), number), Encode(row));
  }
}

}  // namespace sheen::mdt
