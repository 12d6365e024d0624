// The fixture's functions; a _test.cc so that it is part of the unit test program.
#include "mds_fixture.h"

#include "mds/pending.h"
#include "mdt/mdt.h"
#include "mdt/repository_records.h"

namespace sheen::mds {

void MdsFixture::SetUp() {
  clock_.Advance(std::chrono::seconds(1));
  store_ = kv::OpenMemoryStore(&disk_);
  ASSERT_TRUE(
      mdt::Format(store_.get(), {.fsname = "sheen", .root_mode = 01777, .now_ns = 1}).has_value());
  // A fixed hash key, so that listings have the same order in every run.
  const auto bytes = store_->Get(mdt::kConfig, mdt::kSuperblockKey, kv::Blocking::kMayBlock);
  mdt::Superblock superblock = mdt::DecodeSuperblock(**bytes).value();
  superblock.hash_key = {1, 2, 3};
  kv::Batch batch;
  batch.Put(mdt::kConfig, std::string(mdt::kSuperblockKey), mdt::Encode(superblock));
  ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
  Start();
  RegisterOsts();
  session_ = Connect();
}

void MdsFixture::TearDown() {
  disk_.WouldBlockEvery(0);
  CheckStore();
  const Status stopped = Run(service_->Stop());
  EXPECT_TRUE(stopped.has_value());
}

void MdsFixture::Start() {
  service_ = std::make_unique<MdsService>(
      MdsOptions{.store = store_.get(),
                 .pool = &pool_,
                 .objects = &objects_,
                 .agents = agents_,
                 .clock = &clock_,
                 .fsname = "sheen",
                 .own_space = [this] { return Result<v1::TargetSpace>(own_space_); },
                 .on_map_changed = [this](uint64_t version) { map_versions_.push_back(version); },
                 .on_session_evicted = [this](uint64_t id) { evicted_sessions_.push_back(id); },
                 // Its clients have no connections.
                 .session_lease = std::chrono::hours(1000)});
  const Status opened = service_->Open();
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  if (background_) service_->StartBackground(&shard_);
}

void MdsFixture::Kill() {
  // Its loops must end before it goes; what they would write they may not.
  disk_.FailWrites(Errc::kIo);
  (void)Run(service_->Stop());
  service_.reset();
  disk_.FailWrites(Errc::kOk);
}

void MdsFixture::PowerCutAndStart(size_t keep_batches) {
  Kill();
  disk_.PowerCut(keep_batches);
  Start();
  Beat();
  Reconnect();
}

void MdsFixture::RegisterOsts() {
  for (uint32_t oss = 0; oss < 2; ++oss) {
    v1::RegisterServerRequest request;
    request.set_fsname("sheen");
    request.mutable_server()->add_hosts("10.0.0." + std::to_string(oss + 1));
    request.mutable_server()->set_data_port(7990);
    request.mutable_server()->set_control_port(7991);
    for (uint32_t i = 0; i < 2; ++i) {
      v1::TargetEntry* target = request.add_targets();
      target->set_index(2 * oss + i);
      target->set_uuid(std::string(16, static_cast<char>('a' + 2 * oss + i)));
    }
    ASSERT_TRUE(service_->RegisterServer(request).has_value());
  }
  Beat();
}

void MdsFixture::Beat() {
  if (!service_) return;
  for (uint32_t oss = 0; oss < 2; ++oss) {
    v1::HeartbeatRequest beat;
    beat.set_fsname("sheen");
    beat.set_server_name("oss" + std::to_string(oss));
    for (uint32_t i = 0; i < 2; ++i) {
      v1::TargetSpace* space = beat.add_targets();
      space->set_index(2 * oss + i);
      space->set_bytes_total(1ULL << 40);
      space->set_bytes_free(1ULL << 39);
      space->set_bytes_available(1ULL << 39);
      space->set_files_free(1 << 20);
    }
    (void)service_->Heartbeat(beat);
  }
}

void MdsFixture::SetCredentials(rpc::Session* session) {
  ASSERT_TRUE(session->SetCredential(kUserCredential, {1000, 1000, {50}}).has_value());
  ASSERT_TRUE(session->SetCredential(kOtherCredential, {2000, 2000, {}}).has_value());
}

std::shared_ptr<rpc::Session> MdsFixture::Connect() {
  const auto session =
      std::make_shared<rpc::Session>(next_session_++, Uuid::Random(), std::array<uint8_t, 16>{});
  SetCredentials(session.get());
  EXPECT_TRUE(
      Run(service_->Save(session->id(), session->client_uuid(), session->secret())).has_value());
  sessions_.push_back(session);
  const auto granted = CallAs<v1::AllocateSequenceReply>(session, rpc::Opcode::kMdsAllocateSequence,
                                                         v1::AllocateSequenceRequest());
  EXPECT_TRUE(granted.ok()) << granted.message;
  if (sequence_ == 0) sequence_ = granted.reply.seq();
  return session;
}

void MdsFixture::Reconnect() {
  for (const auto& loaded : service_->LoadSessions()) {
    for (auto& session : sessions_) {
      if (session->id() != loaded->id()) continue;
      EXPECT_EQ(session->client_uuid(), loaded->client_uuid());
      if (session == session_) session_ = loaded;
      session = loaded;
      SetCredentials(loaded.get());
    }
  }
}

v1::CreateRequest MdsFixture::CreateOf(const Fid& parent, const std::string& name, uint32_t flags) {
  v1::CreateRequest request;
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  SetFid(NewFid(), request.mutable_fid());
  request.set_mode(0644);
  request.set_open_flags(flags);
  request.set_handle(next_handle_++);
  return request;
}

Fid MdsFixture::Create(const Fid& parent, const std::string& name) {
  const v1::CreateRequest request = CreateOf(parent, name, O_RDONLY | O_CREAT | O_EXCL);
  const auto created = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  EXPECT_TRUE(created.ok()) << name << ": " << created.message;
  const Fid fid = FidOf(created.reply.attr().fid());
  EXPECT_TRUE(Close(fid, request.handle()).ok());
  return fid;
}

Fid MdsFixture::MakeDir(const Fid& parent, const std::string& name, uint32_t mode) {
  v1::MakeNodeRequest request;
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  const Fid fid = NewFid();
  SetFid(fid, request.mutable_fid());
  request.set_mode(S_IFDIR | mode);
  const auto made = Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request);
  EXPECT_TRUE(made.ok()) << name << ": " << made.message;
  return fid;
}

Errc MdsFixture::Unlink(const Fid& parent, const std::string& name, CallOptions options) {
  v1::UnlinkRequest request;
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  return Call<v1::UnlinkReply>(rpc::Opcode::kMdsUnlink, request, options).status;
}

Errc MdsFixture::RemoveDir(const Fid& parent, const std::string& name, CallOptions options) {
  v1::RemoveDirRequest request;
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  return Call<v1::RemoveDirReply>(rpc::Opcode::kMdsRemoveDir, request, options).status;
}

Errc MdsFixture::Rename(const Fid& from, const std::string& name, const Fid& to,
                        const std::string& new_name, uint32_t flags, CallOptions options) {
  v1::RenameRequest request;
  SetFid(from, request.mutable_old_parent());
  request.set_old_name(name);
  SetFid(to, request.mutable_new_parent());
  request.set_new_name(new_name);
  request.set_flags(flags);
  return Call<v1::RenameReply>(rpc::Opcode::kMdsRename, request, options).status;
}

Errc MdsFixture::LinkTo(const Fid& fid, const Fid& parent, const std::string& name) {
  v1::LinkRequest request;
  SetFid(fid, request.mutable_fid());
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  return Call<v1::LinkReply>(rpc::Opcode::kMdsLink, request).status;
}

Answered<v1::LookupReply> MdsFixture::Lookup(const Fid& parent, const std::string& name,
                                             CallOptions options) {
  v1::LookupRequest request;
  SetFid(parent, request.mutable_parent());
  request.set_name(name);
  return Call<v1::LookupReply>(rpc::Opcode::kMdsLookup, request, options);
}

Fid MdsFixture::Find(const Fid& parent, const std::string& name) {
  const auto found = Lookup(parent, name);
  return found.ok() ? FidOf(found.reply.attr().fid()) : Fid();
}

v1::Attr MdsFixture::Attr(const Fid& fid) {
  v1::GetAttrRequest request;
  SetFid(fid, request.mutable_fid());
  const auto got = Call<v1::GetAttrReply>(rpc::Opcode::kMdsGetAttr, request);
  EXPECT_TRUE(got.ok()) << fid.ToString() << ": " << got.message;
  return got.reply.attr();
}

Answered<v1::OpenReply> MdsFixture::Open(const Fid& fid, uint64_t handle, uint32_t flags,
                                         CallOptions options) {
  v1::OpenRequest request;
  SetFid(fid, request.mutable_fid());
  request.set_flags(flags);
  request.set_handle(handle);
  return Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, request, options);
}

Answered<v1::CloseReply> MdsFixture::Close(const Fid& fid, uint64_t handle) {
  v1::CloseRequest request;
  SetFid(fid, request.mutable_fid());
  request.set_handle(handle);
  return Call<v1::CloseReply>(rpc::Opcode::kMdsClose, request);
}

Answered<v1::SetAttrReply> MdsFixture::Chmod(const Fid& fid, uint32_t mode, CallOptions options) {
  v1::SetAttrRequest request;
  SetFid(fid, request.mutable_fid());
  request.set_valid(v1::SET_MODE);
  request.set_mode(mode);
  return Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request, options);
}

Answered<v1::SetAttrReply> MdsFixture::Chown(const Fid& fid, uint32_t uid, uint32_t gid,
                                             CallOptions options) {
  v1::SetAttrRequest request;
  SetFid(fid, request.mutable_fid());
  request.set_valid(v1::SET_UID | v1::SET_GID);
  request.set_uid(uid);
  request.set_gid(gid);
  return Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request, options);
}

std::vector<std::string> MdsFixture::Names(const Fid& directory, uint32_t entries_max) {
  std::vector<std::string> names;
  uint64_t cookie = 0;
  for (;;) {
    v1::ReadDirRequest request;
    SetFid(directory, request.mutable_fid());
    request.set_cookie(cookie);
    request.set_entries_max(entries_max);
    const auto page = Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, request);
    EXPECT_TRUE(page.ok()) << page.message;
    for (const v1::Entry& entry : page.reply.entries()) {
      EXPECT_GT(entry.cookie(), cookie);
      cookie = entry.cookie();
      names.push_back(entry.name());
    }
    if (page.reply.end() || !page.ok()) return names;
    EXPECT_GT(page.reply.entries_size(), 0);
  }
}

std::string MdsFixture::Dump() {
  std::string out;
  for (kv::Family family = 0; family < mdt::kFamilyCount; ++family) {
    const auto cursor = store_->NewCursor(family, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) {
      out += std::to_string(family) + ":";
      out.append(cursor->key());
      out += "=";
      out.append(cursor->value());
      out += "\n";
    }
  }
  return out;
}

// Every pending inode has its row, and every row its inode.
void CheckPending(kv::Store* store) {
  const auto scan = [store](mdt::Family family, auto row) {
    const auto cursor = store->NewCursor(family, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) row(cursor->key(), cursor->value());
  };
  std::set<Fid> pending;
  scan(mdt::kConfig, [&](std::string_view key, std::string_view) {
    if (key.starts_with(mdt::kPendingPrefix)) pending.insert(mdt::DecodePendingKey(key)->fid);
  });
  scan(mdt::kInodes, [&](std::string_view key, std::string_view value) {
    const Fid fid = Fid::FromKey(key);
    const mdt::Inode inode = mdt::DecodeInode(value).value();
    EXPECT_EQ(IsPending(inode), pending.erase(fid) == 1) << fid.ToString();
  });
  EXPECT_TRUE(pending.empty()) << "pending rows of no inode";
}

void MdsFixture::CheckStore() {
  CheckPending(store_.get());
  struct Seen {
    mdt::Inode inode;
    uint32_t names = 0;
    uint32_t links = 0;
    uint32_t subdirectories = 0;
    uint64_t entries = 0;
    uint32_t tombstones = 0;
    bool orphan = false;
  };
  std::map<Fid, Seen> inodes;
  const auto each = [&](mdt::Family family, auto row) {
    const auto cursor = store_->NewCursor(family, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) row(cursor->key(), cursor->value());
  };
  each(mdt::kInodes, [&](std::string_view key, std::string_view value) {
    inodes[Fid::FromKey(key)].inode = mdt::DecodeInode(value).value();
  });
  each(mdt::kDirents, [&](std::string_view key, std::string_view value) {
    const Fid parent = Fid::FromKey(key);
    const mdt::Dirent entry = mdt::DecodeDirent(value).value();
    ASSERT_TRUE(inodes.contains(parent)) << "rows of no directory: " << parent.ToString();
    if (entry.tombstone) {
      ++inodes[parent].tombstones;
      return;
    }
    ASSERT_TRUE(inodes.contains(entry.fid)) << "name without inode: " << entry.name;
    Seen& child = inodes[entry.fid];
    const bool unsure = IsPending(child.inode) && child.inode.IsRegular();
    EXPECT_EQ(unsure ? 0 : child.inode.DirentType(), entry.type) << entry.name;
    ++child.names;
    ++inodes[parent].entries;
    if (child.inode.IsDirectory()) {
      ++inodes[parent].subdirectories;
      EXPECT_EQ(child.inode.parent, parent) << entry.name;
    }
    const uint64_t cookie = LoadBig64(key.data() + Fid::kKeyBytes);
    const auto link =
        store_->Get(mdt::kLinks, mdt::LinkKey(entry.fid, parent, cookie), kv::Blocking::kMayBlock);
    ASSERT_TRUE(link.has_value() && link->has_value()) << "name without link row: " << entry.name;
    EXPECT_EQ(mdt::DecodeLink(**link).value(), entry.name);
  });
  each(mdt::kLinks, [&](std::string_view key, std::string_view) {
    const Fid fid = Fid::FromKey(key);
    ASSERT_TRUE(inodes.contains(fid)) << "link row of no inode";
    ++inodes[fid].links;
  });
  each(mdt::kOrphans, [&](std::string_view key, std::string_view) {
    ASSERT_TRUE(inodes.contains(Fid::FromKey(key))) << "orphan without inode";
    inodes[Fid::FromKey(key)].orphan = true;
  });
  for (const auto& [fid, seen] : inodes) {
    SCOPED_TRACE(fid.ToString());
    EXPECT_EQ(seen.names, seen.links);
    EXPECT_EQ(seen.entries, seen.inode.entry_count);
    EXPECT_EQ(seen.tombstones, seen.inode.tombstone_count);
    EXPECT_EQ(seen.orphan, seen.inode.nlink == 0);
    if (fid != kRootFid && !seen.orphan) EXPECT_GT(seen.names, 0u) << "inode without a name";
    if (!seen.inode.IsDirectory()) {
      EXPECT_EQ(seen.inode.nlink, seen.names);
    } else if (!seen.orphan) {
      EXPECT_EQ(seen.inode.nlink, 2 + seen.subdirectories);
    }
  }
}

}  // namespace sheen::mds
