#include "mds/pending.h"

#include <algorithm>
#include <string>

#include "mds/op_context.h"
#include "mdt/repository_records.h"

namespace sheen::mds {

bool IsPending(const mdt::Inode& inode) {
  return !inode.extra.empty() && mdt::IsPendingSource(inode.extra);
}

void AddPending(OpContext* context, uint32_t link, const Fid& fid) {
  context->txn->Put(mdt::kConfig, mdt::PendingKey(link, fid), mdt::EncodePending());
  context->pending_added.emplace_back(link, 1);
}

void RemovePending(OpContext* context, uint32_t link, const Fid& fid) {
  context->txn->Delete(mdt::kConfig, mdt::PendingKey(link, fid));
  context->pending_added.emplace_back(link, -1);
}

Status PendingCounts::Load(mdt::Mdt* mdt) {
  std::map<uint32_t, int64_t> found;
  Status parsed;
  const std::string prefix(mdt::kPendingPrefix);
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  SHEEN_TRY(txn.Scan(mdt::kConfig, prefix, prefix, [&](std::string_view key, std::string_view) {
    const auto row = mdt::DecodePendingKey(key);
    if (!row) {
      parsed = std::unexpected(row.error());
      return false;
    }
    ++found[row->link];
    return true;
  }));
  SHEEN_TRY(std::move(parsed));
  const std::scoped_lock lock(mutex_);
  counts_ = std::move(found);
  return {};
}

void PendingCounts::Add(uint32_t link, int64_t names) {
  const std::scoped_lock lock(mutex_);
  counts_[link] += names;
}

uint64_t PendingCounts::Of(uint32_t link) const {
  const std::scoped_lock lock(mutex_);
  const auto found = counts_.find(link);
  return found == counts_.end() ? 0 : static_cast<uint64_t>(std::max<int64_t>(found->second, 0));
}

}  // namespace sheen::mds
