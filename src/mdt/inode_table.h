// Inodes and what hangs on them: the link list (fid to path), xattrs, the open-unlinked table.
//
// Pure over Txn. REQUIRES of all that change: the caller holds the FID's latch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lock/inode_bits.h"
#include "mdt/records.h"
#include "mdt/txn.h"

namespace sheen::mdt {

// nullopt: no such inode.
Result<std::optional<Inode>> FindInode(const Txn& txn, const Fid& fid);
// `bits`: what of it has changed, for those who hold locks on it.
void PutInode(Txn* txn, const Fid& fid, const Inode& inode, uint32_t bits = lock::kAttrBits);
// With its xattrs. Not its links: they went with its names.
Status DeleteInode(Txn* txn, const Fid& fid, const Inode& inode);

struct LinkRow {
  Fid parent;
  uint64_t cookie = 0;
  std::string name;
};
void AddLink(Txn* txn, const Fid& fid, const LinkRow& link);
void RemoveLink(Txn* txn, const Fid& fid, const Fid& parent, uint64_t cookie);
// At most `count_max` of them, in key order.
Result<std::vector<LinkRow>> ListLinks(const Txn& txn, const Fid& fid, uint32_t count_max);

Result<std::optional<std::string>> FindXattr(const Txn& txn, const Fid& fid, std::string_view name);
// These two keep the inode's xattr counts; the caller writes it back.
Status PutXattr(Txn* txn, const Fid& fid, Inode* inode, std::string_view name,
                std::string_view value);
// False: there was none.
Result<bool> RemoveXattr(Txn* txn, const Fid& fid, Inode* inode, std::string_view name);
Result<std::vector<std::string>> ListXattrs(const Txn& txn, const Fid& fid);

void AddOrphan(Txn* txn, const Fid& fid, int64_t unlinked_ns);
void RemoveOrphan(Txn* txn, const Fid& fid);
// At most `count_max` from `from` on (FID order).
Result<std::vector<Fid>> ListOrphans(const Txn& txn, const Fid& from, uint32_t count_max);

// One outbox row for each OST that has objects of `layout`. Takes the transno.
void AddOutbox(Txn* txn, const layout::Layout& layout, const OutboxRow& order);

}  // namespace sheen::mdt
