// A metadata target over a MemoryStore, for tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "kv/memory_store.h"
#include "mdt/mdt.h"

namespace sheen::mdt {

// Every name has the same hash: all of a directory is one run.
inline uint64_t ConstantHash(const std::array<uint8_t, 16>& /*key*/, std::string_view /*name*/) {
  return 1000;
}
// Few hashes, next to each other: runs overlap.
inline uint64_t CrowdedHash(const std::array<uint8_t, 16>& /*key*/, std::string_view name) {
  return 1000 + static_cast<uint64_t>(name.empty() ? 0 : name.back()) % 4;
}

class MdtFixture : public ::testing::Test {
 protected:
  MdtFixture() : store_(kv::OpenMemoryStore(&disk_)) {}

  void FormatAndOpen(NameHash::Function hash = &SipHash) {
    ASSERT_TRUE(Format(store_.get(), {.fsname = "sheen", .now_ns = 1}).has_value());
    Reopen(hash);
  }
  void Reopen(NameHash::Function hash = &SipHash) {
    mdt_.reset();
    auto opened = Mdt::Open(store_.get(), {.fsname = "sheen", .hash = hash});
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    mdt_ = std::move(*opened);
  }
  std::unique_ptr<Txn> Begin() {
    return std::make_unique<Txn>(store_.get(), mdt_->transnos(), kv::Blocking::kMayBlock);
  }

  kv::MemoryDisk disk_{kFamilyCount};
  std::unique_ptr<kv::Store> store_;
  std::unique_ptr<Mdt> mdt_;
};

}  // namespace sheen::mdt
