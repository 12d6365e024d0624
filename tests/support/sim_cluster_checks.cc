// What may never be, whoever does what in a SimCluster.
#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "client/state.h"
#include "mdt/records.h"
#include "mdt/schema.h"
#include "support/sim_cluster_parts.h"

namespace sheen::test {
namespace {

struct Holder {
  size_t client = 0;
  lock::Extent extent;
};

// mdt::InodeKey backwards.
Fid FidOf(std::string_view key) {
  return {LoadBig64(key.data()), LoadBig32(key.data() + sizeof(uint64_t)), 0};
}

}  // namespace

void SimCluster::CheckExclusive() {
  CheckWriteLocks();
  CheckKeptAttributes();
}

// No two clients hold write locks on the same bytes of an object.
void SimCluster::CheckWriteLocks() {
  std::map<std::pair<uint32_t, layout::ObjectId>, std::vector<Holder>> held;
  for (size_t i = 0; i < clients_.size(); ++i) {
    for (const auto& file : clients_[i]->filesystem->state()->files.All()) {
      if (!file->held()->HasLocks()) continue;
      for (const client::ExtentLock& lock : file->held()->locks()) {
        if (lock.state != client::ExtentLock::State::kHeld) continue;
        std::vector<Holder>& holders = held[{lock.ost, lock.object}];
        for (const Holder& other : holders) {
          EXPECT_TRUE(other.client == i || !other.extent.Overlaps(lock.extent))
              << "clients " << other.client << " and " << i << " both hold a write lock on an"
              << " object of OST " << lock.ost << " from " << lock.extent.start;
        }
        holders.push_back({i, lock.extent});
        ++seen_.locks;
      }
    }
  }
}

// What a client would answer by its locks is what the MDS has: nobody changes it under them.
void SimCluster::CheckKeptAttributes() {
  if (mds_ == nullptr || mds_dead_) return;
  const auto cursor = mds_->store->NewCursor(mdt::kInodes, kv::Blocking::kMayBlock);
  for (cursor->Seek(""); cursor->Valid(); cursor->Next()) {
    const Fid fid = FidOf(cursor->key());
    const auto inode = mdt::DecodeInode(cursor->value());
    ASSERT_TRUE(inode) << inode.error().ToString();
    for (size_t i = 0; i < clients_.size(); ++i) {
      const auto attr = clients_[i]->filesystem->state()->locks.FindAttr(fid, clock_.Monotonic());
      if (!attr) continue;
      ++seen_.attrs;
      // Of a file that it alone writes a client knows a later time.
      const bool later = inode->size_unsafe() && attr->ctime_ns > inode->ctime_ns;
      EXPECT_TRUE(later || attr->ctime_ns == inode->ctime_ns)
          << fid.ToString() << " client " << i << ": " << attr->ctime_ns << ", of " << attr->size
          << " bytes; the MDS: " << inode->ctime_ns << ", of " << inode->size << " bytes, "
          << (inode->size_unsafe() ? "unsafe" : "safe");
      EXPECT_EQ(std::tuple(attr->mode, attr->nlink, attr->uid, attr->gid),
                std::tuple(inode->mode, inode->nlink, inode->uid, inode->gid))
          << "client " << i << " answers for " << fid.ToString() << " what the MDS has changed";
    }
  }
}

}  // namespace sheen::test
