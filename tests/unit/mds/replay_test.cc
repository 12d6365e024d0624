// Exactly once: resends, replays after a power cut, operations that would block.
#include <cstdlib>
#include <functional>
#include <set>

#include "base/random.h"
#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class ReplayTest : public MdsFixture {
 protected:
  void Sync() {
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  }
  template <class Reply, class Request>
  Answered<Reply> Again(rpc::Opcode opcode, const Request& request, const Answered<Reply>& first,
                        uint16_t flags) {
    return Call<Reply>(opcode, request, {.flags = flags, .xid = first.xid});
  }
};

TEST_F(ReplayTest, AResendIsAnsweredFromItsSlotAndNotExecutedAgain) {
  Create(kRootFid, "a");
  Create(kRootFid, "b");
  v1::UnlinkRequest request;
  SetFid(kRootFid, request.mutable_parent());
  request.set_name("a");
  const auto first = Call<v1::UnlinkReply>(rpc::Opcode::kMdsUnlink, request);
  ASSERT_TRUE(first.ok());
  Create(Fid(kRootFid), "c");
  const auto late = Again(rpc::Opcode::kMdsUnlink, request, first, rpc::kResend);
  EXPECT_EQ(late.status, Errc::kStale) << "its slot was used again";

  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "d"));
  v1::CreateRequest other = CreateOf(kRootFid, "never");
  const auto same = Again(rpc::Opcode::kMdsCreate, other, made, rpc::kResend);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same.transno, made.transno);
  EXPECT_EQ(same.reply.SerializeAsString(), made.reply.SerializeAsString());
  EXPECT_EQ(Find(kRootFid, "never"), Fid());
}

TEST_F(ReplayTest, SlotsSurviveARestart) {
  const v1::CreateRequest request = CreateOf(kRootFid, "f");
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  Sync();
  PowerCutAndStart();
  const auto again = Again(rpc::Opcode::kMdsCreate, request, made, rpc::kResend | rpc::kReplay);
  ASSERT_TRUE(again.ok()) << again.message;
  EXPECT_EQ(again.transno, made.transno);
  EXPECT_EQ(again.reply.SerializeAsString(), made.reply.SerializeAsString());
}

// It did not know the handle when it said which it has, so the server must learn of it now: nobody
// else may say how long the file is.
TEST_F(ReplayTest, AnOpeningThatIsAnsweredAfterARestartIsKnown) {
  const Fid file = Create(kRootFid, "f");
  v1::OpenRequest open;
  SetFid(file, open.mutable_fid());
  open.set_flags(O_WRONLY);
  open.set_handle(70);
  const auto opened = Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, open);
  ASSERT_TRUE(opened.ok());
  v1::CreateRequest create = CreateOf(kRootFid, "made");
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, create, {.slot = 2});
  ASSERT_TRUE(made.ok());
  const Fid made_file = FidOf(made.reply.attr().fid());
  Sync();
  PowerCutAndStart();
  RunFor(std::chrono::seconds(1));
  const auto report = [this](const Fid& fid, uint64_t epoch, uint64_t size) {
    v1::ReportSizeRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_size_epoch(epoch);
    request.set_size(size);
    return Call<v1::ReportSizeReply>(rpc::Opcode::kMdsReportSize, request, {.slot = 3})
        .reply.accepted();
  };
  // Before the answer: nobody knows that it is open.
  EXPECT_TRUE(report(file, Attr(file).size_epoch(), 5));
  EXPECT_FALSE(Attr(file).size_unsafe());
  const auto again = Again(rpc::Opcode::kMdsOpen, open, opened, rpc::kResend);
  ASSERT_TRUE(again.ok()) << again.message;
  EXPECT_EQ(again.reply.attr().size(), 5u);
  EXPECT_TRUE(Attr(file).size_unsafe());
  EXPECT_FALSE(report(file, again.reply.attr().size_epoch(), 5));
  const auto made_again =
      Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, create,
                            {.flags = rpc::kResend, .xid = made.xid, .slot = 2});
  ASSERT_TRUE(made_again.ok()) << made_again.message;
  EXPECT_TRUE(made_again.reply.created());
  EXPECT_TRUE(made_again.reply.attr().size_unsafe());
  EXPECT_FALSE(report(made_file, made_again.reply.attr().size_epoch(), 0));
  // And its close counts.
  v1::CloseRequest close;
  SetFid(file, close.mutable_fid());
  close.set_handle(70);
  close.set_wrote(true);
  close.set_size(9);
  close.set_size_epoch(again.reply.attr().size_epoch());
  EXPECT_TRUE(Call<v1::CloseReply>(rpc::Opcode::kMdsClose, close, {.slot = 4}).ok());
  EXPECT_EQ(Attr(file).size(), 9u);
  EXPECT_FALSE(Attr(file).size_unsafe());
}

TEST_F(ReplayTest, FailuresAreNotRemembered) {
  v1::LinkRequest request;
  SetFid(Create(kRootFid, "f"), request.mutable_fid());
  SetFid(kRootFid, request.mutable_parent());
  request.set_name("f");
  const auto failed = Call<v1::LinkReply>(rpc::Opcode::kMdsLink, request);
  EXPECT_EQ(failed.status, Errc::kExists);
  EXPECT_EQ(failed.transno, 0u);
}

// One of each kind of operation on a directory, with what the replies decided put into the
// requests.
struct Kept {
  v1::CreateRequest create;
  v1::MakeNodeRequest mkdir;
  v1::LinkRequest link;
  v1::RenameRequest rename;
  v1::SetAttrRequest chmod;
  v1::UnlinkRequest unlink;
  Answered<v1::CreateReply> created;
  Answered<v1::MakeNodeReply> made;
  Answered<v1::LinkReply> linked;
  Answered<v1::RenameReply> renamed;
  Answered<v1::SetAttrReply> changed;
  Answered<v1::UnlinkReply> unlinked;
};

class KeptRequestsTest : public ReplayTest {
 protected:
  void FillMakers(const Fid& directory, Kept* kept) {
    kept->create = CreateOf(directory, "file");
    kept->created = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, kept->create);
    kept->create.set_decided_layout(kept->created.reply.attr().layout());
    kept->create.set_decided_time_ns(kept->created.reply.attr().ctime_ns());
    kept->create.set_decided_cookie(kept->created.reply.cookie());
    clock_.Advance(std::chrono::milliseconds(1));
    SetFid(directory, kept->mkdir.mutable_parent());
    SetFid(NewFid(), kept->mkdir.mutable_fid());
    kept->mkdir.set_name("sub");
    kept->mkdir.set_mode(S_IFDIR | 0755);
    kept->made = Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, kept->mkdir);
    kept->mkdir.set_decided_time_ns(kept->made.reply.attr().ctime_ns());
    kept->mkdir.set_decided_cookie(kept->made.reply.cookie());
    clock_.Advance(std::chrono::milliseconds(1));
    *kept->link.mutable_fid() = kept->create.fid();
    SetFid(directory, kept->link.mutable_parent());
    kept->link.set_name("second");
    kept->linked = Call<v1::LinkReply>(rpc::Opcode::kMdsLink, kept->link);
    kept->link.set_decided_time_ns(kept->linked.reply.attr().ctime_ns());
    kept->link.set_decided_cookie(kept->linked.reply.cookie());
    clock_.Advance(std::chrono::milliseconds(1));
  }
  void FillChanges(const Fid& directory, Kept* kept) {
    SetFid(directory, kept->rename.mutable_old_parent());
    kept->rename.set_old_name("second");
    *kept->rename.mutable_new_parent() = kept->mkdir.fid();
    kept->rename.set_new_name("moved");
    kept->renamed = Call<v1::RenameReply>(rpc::Opcode::kMdsRename, kept->rename);
    kept->rename.set_decided_time_ns(kept->renamed.reply.time_ns());
    kept->rename.set_decided_cookie(kept->renamed.reply.cookie());
    clock_.Advance(std::chrono::milliseconds(1));
    *kept->chmod.mutable_fid() = kept->create.fid();
    kept->chmod.set_valid(v1::SET_MODE);
    kept->chmod.set_mode(0600);
    kept->changed = Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, kept->chmod);
    kept->chmod.set_decided_ctime_ns(kept->changed.reply.attr().ctime_ns());
    SetFid(directory, kept->unlink.mutable_parent());
    kept->unlink.set_name("file");
    kept->unlinked = Call<v1::UnlinkReply>(rpc::Opcode::kMdsUnlink, kept->unlink);
    kept->unlink.set_decided_time_ns(kept->unlinked.reply.time_ns());
  }
  std::string Picture(const std::vector<Fid>& fids) {
    std::string out;
    for (const Fid& fid : fids) {
      const v1::Attr attr = Attr(fid);
      out += attr.SerializeAsString();
      if (!S_ISDIR(attr.mode())) continue;
      v1::ReadDirRequest list;
      SetFid(fid, list.mutable_fid());
      out += Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, list).reply.SerializeAsString();
    }
    return out;
  }
  template <class Reply, class Request>
  void Replay(rpc::Opcode opcode, const Request& request, const Answered<Reply>& first) {
    const auto again = Call<Reply>(
        opcode, request, {.flags = rpc::kReplay | rpc::kResend, .xid = first.xid, .slot = 2});
    EXPECT_TRUE(again.ok()) << rpc::NameOf(opcode) << ": " << again.message;
    EXPECT_EQ(again.reply.SerializeAsString(), first.reply.SerializeAsString())
        << rpc::NameOf(opcode);
  }
};

// Lost in a power cut and replayed, while the clock and the round robin have moved on.
TEST_F(KeptRequestsTest, LostOperationsReplayedWithDecidedFieldsGiveTheSameResult) {
  const Fid d = MakeDir(kRootFid, "d");
  Sync();
  Kept kept;
  FillMakers(d, &kept);
  FillChanges(d, &kept);
  const std::vector<Fid> fids = {d, FidOf(kept.create.fid()), FidOf(kept.mkdir.fid())};
  const std::string before = Picture(fids);

  PowerCutAndStart();
  EXPECT_EQ(Find(d, "sub"), Fid()) << "lost";
  clock_.Advance(std::chrono::seconds(30));
  Beat();
  Create(kRootFid, "moves the round robin on");
  Replay(rpc::Opcode::kMdsCreate, kept.create, kept.created);
  Replay(rpc::Opcode::kMdsMakeNode, kept.mkdir, kept.made);
  Replay(rpc::Opcode::kMdsLink, kept.link, kept.linked);
  Replay(rpc::Opcode::kMdsRename, kept.rename, kept.renamed);
  Replay(rpc::Opcode::kMdsSetAttr, kept.chmod, kept.changed);
  Replay(rpc::Opcode::kMdsUnlink, kept.unlink, kept.unlinked);
  EXPECT_EQ(Picture(fids), before);
}

TEST_F(ReplayTest, AReplayMayNotNameObjectsOfOthers) {
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "f"));
  Sync();
  PowerCutAndStart();
  v1::CreateRequest request = CreateOf(kRootFid, "thief");
  request.set_decided_layout(made.reply.attr().layout());
  EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request, {.flags = rpc::kReplay}).status,
            Errc::kInvalid);
}

TEST_F(ReplayTest, DecidedFieldsAreIgnoredOutsideReplays) {
  v1::MakeNodeRequest request;
  SetFid(kRootFid, request.mutable_parent());
  SetFid(NewFid(), request.mutable_fid());
  request.set_name("d");
  request.set_mode(S_IFDIR);
  request.set_decided_time_ns(5);
  request.set_decided_cookie(1234);
  const auto made = Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request);
  EXPECT_NE(made.reply.attr().ctime_ns(), 5);
  EXPECT_NE(made.reply.cookie(), 1234u);
}

TEST_F(ReplayTest, AnswersThatPromiseDurabilityKeepIt) {
  v1::AllocateSequenceRequest ask;
  const auto granted = Call<v1::AllocateSequenceReply>(rpc::Opcode::kMdsAllocateSequence, ask);
  EXPECT_EQ(disk_.unsynced_batches(), 0u);
  const Fid file = Create(kRootFid, "f");
  v1::InstantiateRequest grow;
  SetFid(file, grow.mutable_fid());
  grow.set_length(1ULL << 30);
  ASSERT_TRUE(Call<v1::InstantiateReply>(rpc::Opcode::kMdsInstantiate, grow).ok());
  EXPECT_EQ(disk_.unsynced_batches(), 0u);
  const auto next = Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest());
  EXPECT_TRUE(next.ok());
  PowerCutAndStart();
  EXPECT_EQ(Find(kRootFid, "f"), file);
  EXPECT_GT(Call<v1::AllocateSequenceReply>(rpc::Opcode::kMdsAllocateSequence, ask).reply.seq(),
            granted.reply.seq());
}

TEST_F(ReplayTest, LastCommittedFollowsTheCommitInterval) {
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "f"));
  EXPECT_LT(service_->LastCommitted(0), made.transno);
  RunFor(std::chrono::seconds(2));
  EXPECT_GE(service_->LastCommitted(0), made.transno);
  EXPECT_EQ(disk_.unsynced_batches(), 0u);
  EXPECT_TRUE(service_->CheckCommitted(0, made.transno).has_value());
  EXPECT_FALSE(service_->CheckCommitted(0, service_->LastCommitted(0) + 1000).has_value());
}

TEST_F(ReplayTest, AFailedSyncIsAnsweredAsAFailureAndStopsTheTarget) {
  Create(kRootFid, "f");
  disk_.FailWrites(Errc::kIo);
  EXPECT_EQ(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).status, Errc::kIo);
  disk_.FailWrites(Errc::kOk);
  EXPECT_EQ(Lookup(kRootFid, "f").status, Errc::kIo) << "stopped: nothing is answered";
  EXPECT_FALSE(service_->StopReason().empty());
  Kill();
  Start();
}

TEST_F(ReplayTest, RequestsThatMakeNoSenseAreRefused) {
  v1::LookupRequest request;
  SetFid(kRootFid, request.mutable_parent());
  request.set_name("x");
  EXPECT_EQ(Call<v1::LookupReply>(rpc::Opcode::kOstRead, request).status, Errc::kNoSys);
  const auto raw = [&](std::shared_ptr<rpc::Session> session, uint32_t target) {
    rpc::Request frame;
    frame.header.opcode = rpc::Opcode::kMdsLookup;
    frame.header.target = target;
    frame.session = std::move(session);
    frame.body = "\xff\xff\xff";
    return Run(service_->Handle(std::move(frame))).status;
  };
  EXPECT_EQ(raw(session_, 0), Errc::kProtocol);
  EXPECT_EQ(raw(session_, 3), Errc::kNotThisServer);
  EXPECT_EQ(raw(std::make_shared<rpc::Session>(999, Uuid::Random(), std::array<uint8_t, 16>{}), 0),
            Errc::kEvicted);
  EXPECT_EQ(
      Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "x"), {.slot = 1 << 20})
          .status,
      Errc::kProtocol);
}

// One script of mixed operations from a seed, with every n-th non-blocking call of the store sent
// to the pool: answers and store never differ from those of a store that never blocks.
class WouldBlockTest : public MdsFixture {
 public:
  void TestBody() override {}
  void Begin() { SetUp(); }
  void End() { TearDown(); }
  std::string Script(uint64_t seed, uint64_t would_block_every) {
    disk_.WouldBlockEvery(would_block_every);
    Random random(seed);
    std::string out;
    std::vector<Fid> directories = {kRootFid, MakeDir(kRootFid, "d0"), MakeDir(kRootFid, "d1")};
    const auto any = [&] { return directories[random.Below(directories.size())]; };
    const auto name = [&] { return "n" + std::to_string(random.Below(6)); };
    for (int step = 0; step < 120; ++step) {
      clock_.AdvanceTo(std::chrono::seconds(100 + step));
      Beat();
      Errc status = Errc::kOk;
      switch (random.Below(7)) {
        case 0:
        case 1: {
          const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(any(), name()));
          status = made.status;
          break;
        }
        case 2: {
          const Fid parent = any();
          const std::string unlinked = name();
          status = Unlink(parent, unlinked);
          break;
        }
        case 3: {
          const Fid from = any(), to = any();
          const std::string old_name = name(), new_name = name();
          const auto flags = static_cast<uint32_t>(random.Below(3));
          status = Rename(from, old_name, to, new_name, flags);
          break;
        }
        case 4: {
          const Fid found = Find(any(), name());
          const Fid to = any();
          const std::string linked = name();
          if (!found.empty()) status = LinkTo(found, to, linked);
          break;
        }
        case 5: {
          const Fid found = Find(any(), name());
          if (!found.empty()) status = Chown(found, 1000, 1000).status;
          break;
        }
        default:
          for (const std::string& listed : Names(any(), 3)) out += listed + ",";
      }
      out += std::to_string(static_cast<int>(status)) + " ";
    }
    disk_.WouldBlockEvery(0);
    for (const Fid& directory : directories) {
      v1::ReadDirRequest list;
      SetFid(directory, list.mutable_fid());
      list.set_plus(true);
      const auto page = Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, list);
      for (const v1::Entry& entry : page.reply.entries()) {
        // Births differ: numbers that were given up leave gaps.
        v1::Attr attr = entry.attr();
        attr.clear_layout();
        names_.emplace(entry.name() + attr.SerializeAsString());
      }
    }
    for (const std::string& line : names_) out += line;
    return out;
  }

 private:
  std::multiset<std::string> names_;
};

TEST(WouldBlockScript, BlockingOnEveryNthCallNeverChangesResults) {
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  SCOPED_TRACE("SHEEN_SEED=" + std::to_string(seed));
  const auto run = [&](uint64_t every) {
    WouldBlockTest world;
    world.Begin();
    const std::string out = world.Script(seed, every);
    world.End();
    return out;
  };
  const std::string expected = run(0);
  for (const uint64_t every : {1u, 2u, 3u, 5u, 7u, 11u})
    EXPECT_TRUE(run(every) == expected) << every;
}

}  // namespace
}  // namespace sheen::mds
