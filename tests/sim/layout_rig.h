// What tests of layouts under locks share: open handles of one file on several mounts, records to
// write, a migrate step by step.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {

inline constexpr uint64_t kMebibyte = 1 << 20;
inline constexpr uint64_t kRecordBytes = 40'000;

struct Handle {
  client::Filesystem* fs = nullptr;
  Fid fid;
  uint64_t id = 0;
};

inline std::string Plain(uint32_t stripe_count, uint64_t stripe_bytes) {
  return layout::Encode(layout::PlainTemplate(stripe_count, stripe_bytes));
}

inline std::string TwoComponents() {
  layout::Layout layout = layout::DefaultTemplate();
  layout.components.resize(2);
  layout.components[0].end = layout.components[1].start = kMebibyte;
  layout.components[1].end = layout::kEof;
  return layout::Encode(layout);
}

inline std::vector<std::byte> RecordOf(uint64_t version) {
  std::vector<std::byte> record(kRecordBytes);
  for (size_t at = 0; at < kRecordBytes; at += sizeof version) {
    std::memcpy(record.data() + at, &version, sizeof version);
  }
  return record;
}

inline async::Task<void> OpenAll(std::vector<client::Filesystem*> clients, std::string layout,
                          std::vector<Handle>* out) {
  for (client::Filesystem* fs : clients) {
    client::CreateOptions options{.mode = 0644, .flags = O_RDWR | O_CREAT};
    options.layout_template = layout;
    auto opened = co_await fs->Create(0, fs->root(), "shared", std::move(options));
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
    if (opened) out->push_back({fs, opened->attr.fid, opened->handle});
  }
}

inline async::Task<Status> CopyAll(Handle handle) {
  for (uint64_t offset = 0;;) {
    SHEEN_CO_TRY_ASSIGN(const client::CopyStep step,
                        co_await handle.fs->CopySome(handle.fid, handle.id, offset, kMebibyte));
    if (step.next >= step.size) co_return Status();
    offset = step.next;
  }
}

inline async::Task<Status> MigrateSteps(Handle handle, std::string layout, bool block) {
  client::Filesystem* const fs = handle.fs;
  SHEEN_CO_TRY(co_await fs->BeginCopy(0, handle.fid, handle.id, std::move(layout)));
  SHEEN_CO_TRY(co_await CopyAll(handle));
  SHEEN_CO_TRY_ASSIGN(const bool complete, co_await fs->HoldLayout(handle.fid, handle.id));
  if (!complete && !block) co_return Fail(Errc::kBusy, "written meanwhile");
  if (!complete) SHEEN_CO_TRY(co_await CopyAll(handle));
  co_return co_await fs->FinishCopy(handle.fid, handle.id);
}

inline async::Task<Status> Migrate(Handle handle, std::string layout, bool block) {
  Status done = co_await MigrateSteps(handle, std::move(layout), block);
  handle.fs->EndCopy(handle.fid, handle.id);
  co_return done;
}

inline uint32_t GenerationAt(const Handle& handle) {
  const auto file = handle.fs->state()->files.Find(handle.fid);
  return file && file->layout() ? file->layout()->generation : 0;
}

inline bool HoldsLayout(const Handle& handle) {
  const auto file = handle.fs->state()->files.Find(handle.fid);
  return file && file->layout_lock()
                     ->Held(handle.fs->state()->locks, async::Shard::Current()->Now())
                     .has_value();
}

// Another file with one record.
inline async::Task<void> MakeOther(client::Filesystem* fs, uint64_t version, Fid* out) {
  client::CreateOptions options{.mode = 0644, .flags = O_RDWR | O_CREAT};
  const auto opened = co_await fs->Create(0, fs->root(), "other", std::move(options));
  EXPECT_TRUE(opened);
  if (!opened) co_return;
  *out = opened->attr.fid;
  EXPECT_TRUE(co_await fs->Write(*out, opened->handle, 0, RecordOf(version), {}));
  EXPECT_TRUE(co_await fs->Close(*out, opened->handle));
}

inline async::Task<void> OpenToRead(client::Filesystem* fs, Fid fid, Handle* out) {
  EXPECT_TRUE(co_await fs->GetAttr(0, fid));
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened);
  if (opened) *out = {fs, fid, opened->handle};
}

// Mounts with the same file open for reading and writing.
class LayoutScene : public ::testing::Test {
 protected:
  void Start(std::vector<std::string> names, const std::string& layout) {
    for (const std::string& name : names) clients_.push_back(cluster_.AddClient(name));
    cluster_.Run(OpenAll(clients_, layout, &handles_));
    ASSERT_EQ(handles_.size(), names.size());
  }
  // Gives how long it took.
  Nanos Write(const Handle& handle, uint64_t offset, uint64_t version,
              client::WriteOptions options = {}) {
    const Nanos begun = cluster_.shard()->Now();
    cluster_.Run(WriteOne(handle, offset, version, options));
    return cluster_.shard()->Now() - begun;
  }
  static async::Task<void> WriteOne(Handle handle, uint64_t offset, uint64_t version,
                                    client::WriteOptions options) {
    const std::vector<std::byte> record = RecordOf(version);
    const auto wrote = co_await handle.fs->Write(handle.fid, handle.id, offset, record, options);
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    if (wrote) EXPECT_EQ(*wrote, kRecordBytes);
  }
  void ExpectRecord(const Handle& handle, uint64_t offset, uint64_t version) {
    cluster_.Run(ReadOne(handle, offset, version));
  }
  static async::Task<void> ReadOne(Handle handle, uint64_t offset, uint64_t version) {
    std::vector<std::byte> got(kRecordBytes);
    const auto read = co_await handle.fs->Read(handle.fid, handle.id, offset, got);
    EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
    EXPECT_TRUE(read && *read == kRecordBytes && got == RecordOf(version)) << "at " << offset;
  }
  void ExpectMigrated(const Handle& handle, const std::string& layout) {
    cluster_.Run([](Handle mover, std::string to) -> async::Task<void> {
      const Status moved = co_await test::Migrate(mover, std::move(to), true);
      EXPECT_TRUE(moved) << (moved ? "" : moved.error().ToString());
    }(handle, layout));
  }
  // To the hold, and no further.
  static async::Task<void> ToTheHold(Handle handle, std::string layout) {
    EXPECT_TRUE(co_await handle.fs->BeginCopy(0, handle.fid, handle.id, std::move(layout)));
    EXPECT_TRUE(co_await CopyAll(handle));
    const auto complete = co_await handle.fs->HoldLayout(handle.fid, handle.id);
    EXPECT_TRUE(complete) << (complete ? "" : complete.error().ToString());
  }
  Status Fsync(const Handle& handle) {
    Status out;
    cluster_.Run([](Handle one, Status* status) -> async::Task<void> {
      *status = co_await one.fs->Fsync(one.fid);
    }(handle, &out));
    return out;
  }
  void Pass(Nanos time) { async::RunFor(cluster_.shard(), time); }

  const uint64_t seed_ = TestSeed();
  SimCluster cluster_{{.seed = seed_}};
  Random random_{seed_};
  std::vector<client::Filesystem*> clients_;
  std::vector<Handle> handles_;
};

}  // namespace sheen::test
