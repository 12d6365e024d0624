// Every fault point with every action that applies to it, under a load that passes all of them: the
// load sees no error, nothing is done twice, and no point is left out.
//
// All points of a step are armed at once, each to happen once; tours of the load are made until all
// have. A tour makes files in a directory of its own, looks at what it made from both clients and
// takes everything away again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/convert.h"
#include "client/shard_context.h"
#include "client/state.h"
#include "mdt/changelog_records.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using client::FidToWire;
using rpc::FaultAction;
using rpc::FaultPoints;
using rpc::Opcode;

constexpr int kToursMax = 12;
constexpr uint64_t kRecordBytes = 50'000;

template <class T>
bool Good(const T& result, const std::string& what) {
  EXPECT_TRUE(result) << what << ": " << (result ? "" : result.error().ToString());
  return result.has_value();
}

// Answered from no cache.
template <class Request>
async::Task<void> Raw(Filesystem* fs, Opcode opcode, Request request,
                      client::CredentialId who = 0) {
  const auto answer = co_await fs->state()->Here()->Mds(client::MakeCall(opcode, who, request));
  Good(answer, std::string(rpc::NameOf(opcode)));
}

class Tour final {
 public:
  Tour(Filesystem* alice, Filesystem* bob, int number)
      : alice_(alice), bob_(bob), name_("tour" + std::to_string(number)) {
    // One that the server has not heard of.
    stranger_ = alice_->CredentialFor(1000 + static_cast<uint32_t>(number), 100, {});
  }

  async::Task<void> Run() {
    co_await Names();
    if (Failed()) co_return;
    co_await Attributes();
    co_await Data();
    co_await HeldBack();
    co_await Layouts();
    co_await Locks();
    co_await SizeReport();
    co_await Rest();
    if (!Failed()) co_await Remove();
  }

 private:
  static bool Failed() { return ::testing::Test::HasFailure(); }

  async::Task<void> Names() {
    auto made = co_await alice_->MakeNode(who_, alice_->root(), name_, {.mode = S_IFDIR | 0755});
    if (!Good(made, "mkdir")) co_return;
    dir_ = made->fid;
    made = co_await alice_->MakeNode(who_, dir_, "sub", {.mode = S_IFDIR | 0755});
    Good(made, "mkdir");
    auto opened = co_await alice_->Create(who_, dir_, "f", {.mode = 0644, .flags = O_RDWR});
    if (!Good(opened, "create")) co_return;
    EXPECT_TRUE(opened->created) << "made twice";
    file_ = opened->attr.fid;
    handle_ = opened->handle;
    Good(co_await alice_->Link(who_, file_, dir_, "hard"), "link");
    Good(co_await alice_->Symlink(who_, dir_, "soft", "to"), "symlink");
    Good(co_await alice_->Rename(who_, dir_, "hard", dir_, "harder", 0), "rename");
    const auto text = co_await bob_->ReadLink(0, (co_await Find(bob_, "soft")));
    if (Good(text, "readlink")) EXPECT_EQ(*text, "to");
    co_await CheckNames({"sub", "f", "harder", "soft"});
    v1::LookupRequest lookup;
    FidToWire(dir_, lookup.mutable_parent());
    lookup.set_name("f");
    co_await Raw(alice_, Opcode::kMdsLookup, lookup, stranger_);
    v1::FidToPathRequest path;
    FidToWire(file_, path.mutable_fid());
    co_await Raw(bob_, Opcode::kMdsFidToPath, path);
  }
  async::Task<Fid> Find(Filesystem* fs, std::string name) {
    const auto found = co_await fs->Lookup(0, dir_, name);
    co_return Good(found, "lookup " + name) ? found->fid : Fid();
  }
  async::Task<void> CheckNames(std::set<std::string> expected) {
    for (Filesystem* fs : {alice_, bob_}) {
      std::set<std::string> found;
      const auto batch = co_await fs->ReadDir(0, dir_, 0, true);
      if (!Good(batch, "readdir")) co_return;
      for (const auto& entry : batch->entries) found.insert(entry.name);
      EXPECT_EQ(found, expected);
    }
  }

  async::Task<void> Attributes() {
    client::AttrChange change;
    change.valid = v1::SET_MODE;
    change.mode = 0600;
    const auto set = co_await alice_->SetAttr(who_, file_, change, 0);
    if (Good(set, "chmod")) EXPECT_EQ(set->nlink, 2U) << "linked twice, or not";
    v1::GetAttrRequest ask;
    FidToWire(file_, ask.mutable_fid());
    co_await Raw(bob_, Opcode::kMdsGetAttr, ask);
    Good(co_await alice_->SetXattr(who_, file_, "user.x", "1", XATTR_CREATE_), "setxattr");
    const auto value = co_await bob_->GetXattr(0, file_, "user.x");
    if (Good(value, "getxattr")) EXPECT_EQ(*value, "1");
    Good(co_await bob_->ListXattr(0, file_), "listxattr");
    Good(co_await alice_->RemoveXattr(who_, file_, "user.x"), "removexattr");
    const layout::Layout striped = layout::PlainTemplate(1, 1 << 20);
    Good(co_await alice_->SetLayout(who_, dir_, layout::Encode(striped)), "setstripe");
    Good(co_await bob_->GetLayout(0, file_, false), "getstripe");
  }
  static constexpr uint32_t XATTR_CREATE_ = 1;

  // Two components, so that a write asks for the second.
  async::Task<void> Data() {
    const std::string data(kRecordBytes, 'd');
    const uint64_t far = uint64_t{101} << 20;
    for (const uint64_t at : {uint64_t{0}, far}) {
      const auto wrote =
          co_await alice_->Write(file_, handle_, at, AsBytes(data), {.direct = true});
      Good(wrote, "write");
    }
    Good(co_await alice_->Fallocate(file_, handle_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                    4096),
         "punch");
    Good(co_await alice_->Fsync(file_), "fsync");
    Good(co_await bob_->Seek(file_, 0, client::SeekKind::kData), "seek");
    client::AttrChange cut;
    cut.set_size = true;
    cut.size = 2 * 4096;
    Good(co_await alice_->SetAttr(who_, file_, cut, handle_), "truncate");
    co_await CheckBytes(bob_, std::string(4096, '\0') + std::string(4096, 'd'));
  }
  async::Task<void> CheckBytes(Filesystem* fs, std::string expected) {
    const auto opened = co_await fs->Open(0, file_, O_RDONLY);
    if (!Good(opened, "open")) co_return;
    std::string bytes(expected.size() + 100, '?');
    const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    const auto read = co_await fs->Read(file_, opened->handle, 0, out);
    if (Good(read, "read")) bytes.resize(*read);
    EXPECT_TRUE(bytes == expected) << "other bytes, or " << bytes.size() << " of them";
    const auto attr = co_await fs->GetAttr(0, file_);
    if (Good(attr, "stat")) EXPECT_EQ(attr->size, expected.size());
    Good(co_await fs->Close(file_, opened->handle), "close");
  }

  // Alone for a while alice holds writes back; bob's read calls them in.
  async::Task<void> HeldBack() {
    const auto opened =
        co_await alice_->Create(who_, dir_, "held", {.mode = 0644, .flags = O_RDWR});
    if (!Good(opened, "create")) co_return;
    const Fid fid = opened->attr.fid;
    const std::string data(kRecordBytes, 'h');
    for (uint64_t i = 0; i < 4; ++i) {
      Good(co_await alice_->Write(fid, opened->handle, i * kRecordBytes, AsBytes(data), {}),
           "write");
    }
    const auto reader = co_await bob_->Open(0, fid, O_RDONLY);
    if (!Good(reader, "open")) co_return;
    std::string bytes(4 * kRecordBytes, '?');
    const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    const auto read = co_await bob_->Read(fid, reader->handle, 0, out);
    if (Good(read, "read")) EXPECT_EQ(*read, bytes.size());
    EXPECT_TRUE(bytes == std::string(bytes.size(), 'h'));
    Good(co_await alice_->Fsync(fid), "fsync");
    Good(co_await bob_->Close(fid, reader->handle), "close");
    Good(co_await alice_->Close(fid, opened->handle), "close");
    Good(co_await alice_->Unlink(who_, dir_, "held"), "unlink");
  }

  // Two files exchange their layouts, with their bytes.
  async::Task<void> Layouts() {
    std::vector<client::Opened> files;
    for (const std::string name : {"one", "two"}) {
      const auto opened =
          co_await alice_->Create(who_, dir_, name, {.mode = 0644, .flags = O_RDWR});
      if (!Good(opened, "create")) co_return;
      files.push_back(*opened);
      Good(co_await alice_->Write(opened->attr.fid, opened->handle, 0, AsBytes(name), {}), "write");
    }
    const Fid one = files[0].attr.fid;
    Good(co_await alice_->SwapLayouts(who_, one, files[0].handle, files[1].attr.fid), "swap");
    std::string bytes(3, '?');
    const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    const auto reader = co_await bob_->Open(0, one, O_RDONLY);
    if (!Good(reader, "open")) co_return;
    const auto read = co_await bob_->Read(one, reader->handle, 0, out);
    if (Good(read, "read")) EXPECT_EQ(bytes, "two") << "exchanged twice, or not";
    Good(co_await bob_->Close(one, reader->handle), "close");
    for (const client::Opened& opened : files) {
      Good(co_await alice_->Close(opened.attr.fid, opened.handle), "close");
    }
    Good(co_await alice_->Unlink(who_, dir_, "one"), "unlink");
    Good(co_await alice_->Unlink(who_, dir_, "two"), "unlink");
  }

  // Bob waits for what alice has; then another request of his is given up.
  async::Task<void> Locks() {
    client::FileLockSpec spec;
    spec.type = lock::FileLockType::kWrite;
    spec.extent = {0, 10};
    spec.owner = 1;
    Good(co_await alice_->SetLock(file_, handle_, spec, {}), "lock");
    const auto opened = co_await bob_->Open(0, file_, O_RDWR);
    if (!Good(opened, "open")) co_return;
    Good(co_await bob_->GetLock(file_, spec), "getlk");
    const uint64_t ticket = bob_->NewLockTicket();
    async::Shard* const shard = async::Shard::Current();
    shard->AddTimer(shard->Now() + std::chrono::milliseconds(50),
                    [this, ticket] { bob_->InterruptLock(ticket); });
    const Status given_up =
        co_await bob_->SetLock(file_, opened->handle, spec, {.wait = true, .ticket = ticket});
    EXPECT_FALSE(given_up);
    shard->AddTimer(shard->Now() + std::chrono::milliseconds(50), [this, shard, spec] {
      shard->Spawn([](Tour* tour, client::FileLockSpec mine) -> async::Task<void> {
        mine.type = lock::FileLockType::kUnlock;
        Good(co_await tour->alice_->SetLock(tour->file_, tour->handle_, mine, {}), "unlock");
      }(this, spec));
    });
    Good(co_await bob_->SetLock(file_, opened->handle, spec, {.wait = true}), "lock, waiting");
    spec.type = lock::FileLockType::kUnlock;
    Good(co_await bob_->SetLock(file_, opened->handle, spec, {}), "unlock");
    Good(co_await bob_->Close(file_, opened->handle), "close");
    v1::FileLockReclaimRequest reclaim;
    reclaim.set_boot(bob_->identity().Session("mds0").server_boot);
    co_await Raw(bob_, Opcode::kMdsFileLockReclaim, reclaim);
    v1::FileLockCancelRequest cancel;
    FidToWire(file_, cancel.mutable_fid());
    cancel.set_id(1ULL << 40);
    co_await Raw(bob_, Opcode::kMdsFileLockCancel, cancel);
  }

  // A writer whose close says nothing of the size: who looks next finds it out and reports it.
  async::Task<void> SizeReport() {
    const auto opened = co_await bob_->Open(0, file_, O_RDWR);
    if (!Good(opened, "open")) co_return;
    v1::CloseRequest close;
    FidToWire(file_, close.mutable_fid());
    close.set_handle(opened->handle);
    close.set_size_unknown(true);
    co_await Raw(bob_, Opcode::kMdsClose, close);
    Good(co_await alice_->Close(file_, handle_), "close");
    Good(co_await alice_->GetAttr(0, file_), "stat");
    Good(co_await bob_->GetAttr(0, file_), "stat");
    const Status closed = co_await bob_->Close(file_, opened->handle);
    static_cast<void>(closed);  // it is not open there any more
  }

  async::Task<void> Rest() {
    Good(co_await alice_->StatFs(), "statfs");
    co_await Raw(alice_, Opcode::kMdsAllocateSequence, v1::AllocateSequenceRequest());
    co_await Raw(alice_, Opcode::kMdsClusterMap, v1::ClusterMapRequest());
    co_await Raw(alice_, Opcode::kMdsSync, v1::MdsSyncRequest());
    co_await Raw(alice_, Opcode::kMdsLockCancel, v1::LockList());
    co_await CheckChangelog();
    v1::ClearChangelogRequest clear;
    clear.set_user("cl1");
    Good(co_await alice_->ClearChangelog(0, clear), "changelog_clear");
    co_await OfS3();
    co_await RawOst(Opcode::kOstStatFs, v1::OstStatFsRequest());
    co_await RawOst(Opcode::kOstLockCancel, v1::OstLockCancelRequest());
    co_await RawOst(Opcode::kOstLockDeclare, v1::OstLockDeclareRequest());
  }
  // What was done once is recorded once, whatever was sent or executed again.
  async::Task<void> CheckChangelog() {
    std::map<uint32_t, std::vector<std::string>> names;  // by type
    v1::ReadChangelogRequest request;
    for (bool end = false; !end;) {
      const auto page = co_await alice_->ReadChangelog(0, request);
      if (!Good(page, "changelog")) co_return;
      for (const v1::ChangelogRecord& record : page->records()) {
        if (client::FidFromWire(record.parent()) == dir_) {
          names[record.type()].push_back(record.name());
        }
      }
      request.set_start(page->next());
      end = page->end();
    }
    const auto of = [&names](mdt::LogType type) { return names[static_cast<uint32_t>(type)]; };
    using Names = std::vector<std::string>;
    EXPECT_EQ(of(mdt::LogType::kMakeDir), Names{"sub"});
    EXPECT_EQ(of(mdt::LogType::kCreate), (Names{"f", "held", "one", "two"}));
    EXPECT_EQ(of(mdt::LogType::kHardLink), Names{"hard"});
    EXPECT_EQ(of(mdt::LogType::kSymlink), Names{"soft"});
    EXPECT_EQ(of(mdt::LogType::kRename), Names{"harder"});
  }

  // There is nothing from S3 here: most are refused, and change nothing.
  async::Task<void> OfS3() {
    client::ShardContext* const here = alice_->state()->Here();
    v1::HsmStateRequest state;
    client::FidToWire(file_, state.mutable_fid());
    v1::HsmSetRequest set;
    client::FidToWire(file_, set.mutable_fid());
    v1::HsmReleaseRequest release;
    client::FidToWire(file_, release.mutable_fid());
    v1::HsmRequest restore;
    restore.set_action(11);
    client::FidToWire(file_, restore.add_fids());
    const auto ask = [here](Opcode opcode, const auto& request) {
      return here->Mds(client::MakeCall(opcode, 0, request));
    };
    const auto of_state = co_await ask(Opcode::kMdsHsmState, state);
    const auto of_set = co_await ask(Opcode::kMdsHsmSet, set);
    const auto of_release = co_await ask(Opcode::kMdsHsmRelease, release);
    const auto of_restore = co_await ask(Opcode::kMdsHsmRequest, restore);
    const auto of_job = co_await ask(Opcode::kMdsHsmJob, v1::HsmJobRequest());
    for (const Opcode opcode : {Opcode::kOstResidency, Opcode::kOstRelease}) {
      const auto answer =
          co_await here->Ost(0, client::MakeCall(opcode, 0, v1::OstResidencyRequest()));
      static_cast<void>(answer);
    }
  }
  template <class Request>
  async::Task<void> RawOst(Opcode opcode, Request request) {
    const auto answer =
        co_await alice_->state()->Here()->Ost(0, client::MakeCall(opcode, 0, request));
    Good(answer, std::string(rpc::NameOf(opcode)));
  }

  async::Task<void> Remove() {
    for (const char* name : {"f", "harder", "soft"}) {
      Good(co_await alice_->Unlink(who_, dir_, name), std::string("unlink ") + name);
    }
    Good(co_await alice_->RemoveDir(who_, dir_, "sub"), "rmdir");
    co_await CheckNames({});
    Good(co_await alice_->RemoveDir(who_, alice_->root(), name_), "rmdir");
    const auto gone = co_await bob_->Lookup(0, bob_->root(), name_);
    EXPECT_FALSE(gone);
  }

  Filesystem* const alice_;
  Filesystem* const bob_;
  const std::string name_;
  const client::CredentialId who_ = 0;
  client::CredentialId stranger_ = 0;
  Fid dir_;
  Fid file_;
  uint64_t handle_ = 0;
};

struct Side {
  rpc::FaultNode node;
  std::string name;  // in the simulated network
};

async::Task<void> FollowChangelog(mds::MdsService* mds) {
  Good(co_await mds->ChangeChangelogUser(v1::ChangelogUserRequest()), "changelog_register");
}

// Changes of what is from S3: nothing here is.
bool NeedsS3(const std::string& name) {
  return name.starts_with("server.chang") &&
         (name.ends_with(".mds_hsm_set") || name.ends_with(".mds_hsm_request"));
}

class SimFaultPoints : public ::testing::TestWithParam<FaultAction> {
 protected:
  SimFaultPoints() : cluster_({.seed = TestSeed(), .ost_count = 1}) {
    cluster_.Run(FollowChangelog(cluster_.mds()));
    alice_ = cluster_.AddClient("alice");
    bob_ = cluster_.AddClient("bob");
  }
  void MakeTour() {
    Tour tour(alice_, bob_, ++tours_);
    const auto done = cluster_.Begin(tour.Run());
    const Nanos patience = cluster_.shard()->Now() + std::chrono::minutes(20);
    while (!*done && cluster_.shard()->Now() < patience) {
      async::RunFor(cluster_.shard(), std::chrono::milliseconds(20));
      cluster_.Revive();
    }
    ASSERT_TRUE(*done) << "something waits for ever";
  }
  // Of all points of the side that this action applies to.
  void FireAll(const Side& side) {
    FaultPoints* const faults = cluster_.faults(side.name);
    std::set<std::string> left;
    for (const std::string& name : FaultPoints::NamesOf(side.node)) {
      const auto actions = FaultPoints::ActionsOf(name);
      // Nobody unmounts here, and a client is not killed: it would be the load.
      if (std::ranges::find(actions, GetParam()) == actions.end()) continue;
      if (name.ends_with(".goodbye") || NeedsS3(name)) continue;
      if (GetParam() == FaultAction::kKill && side.node == rpc::FaultNode::kClient) continue;
      left.insert(name);
      ASSERT_TRUE(faults->Arm(name, {.action = GetParam(), .delay_ms = 300}));
    }
    const size_t armed = left.size();
    for (int i = 0; i < kToursMax && !left.empty() && !HasFailure(); ++i) {
      MakeTour();
      // A ping goes out when a connection has been idle.
      async::RunFor(cluster_.shard(), std::chrono::seconds(12));
      cluster_.Revive();
      std::erase_if(left, [faults](const std::string& name) { return faults->HitsOf(name) > 0; });
    }
    for (const std::string& name : left) ADD_FAILURE() << name << " is never passed";
    faults->Disarm();
    std::printf("%s: %zu points with %s\n", side.name.c_str(), armed,
                std::string(FaultPoints::NameOf(GetParam())).c_str());
    if (!HasFailure()) MakeTour();
  }

  SimCluster cluster_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
  int tours_ = 0;
};

TEST_P(SimFaultPoints, OfTheMds) { FireAll({rpc::FaultNode::kMds, "mds0"}); }
TEST_P(SimFaultPoints, OfTheOss) { FireAll({rpc::FaultNode::kOss, "oss0"}); }
// Between them the two clients pass all of theirs.
TEST_P(SimFaultPoints, OfAClient) {
  if (GetParam() == FaultAction::kError || GetParam() == FaultAction::kKill) return;
  FaultPoints* const alice = cluster_.faults("alice");
  FaultPoints* const bob = cluster_.faults("bob");
  std::set<std::string> left;
  for (const std::string& name : FaultPoints::NamesOf(rpc::FaultNode::kClient)) {
    const auto actions = FaultPoints::ActionsOf(name);
    if (std::ranges::find(actions, GetParam()) == actions.end()) continue;
    if (name.ends_with(".goodbye")) continue;
    left.insert(name);
    for (FaultPoints* faults : {alice, bob}) {
      ASSERT_TRUE(faults->Arm(name, {.action = GetParam(), .delay_ms = 300}));
    }
  }
  const size_t armed = left.size();
  for (int i = 0; i < kToursMax && !left.empty() && !HasFailure(); ++i) {
    MakeTour();
    std::erase_if(left, [&](const std::string& name) {
      return alice->HitsOf(name) + bob->HitsOf(name) > 0;
    });
  }
  for (const std::string& name : left) ADD_FAILURE() << name << " is never passed";
  std::printf("clients: %zu points with %s\n", armed,
              std::string(FaultPoints::NameOf(GetParam())).c_str());
}

INSTANTIATE_TEST_SUITE_P(Sim, SimFaultPoints,
                         ::testing::Values(FaultAction::kDrop, FaultAction::kDelay,
                                           FaultAction::kDuplicate, FaultAction::kError,
                                           FaultAction::kKill),
                         [](const auto& info) {
                           return std::string(FaultPoints::NameOf(info.param));
                         });

TEST(SimFaultPointsTest, ThereAreManyAndNoneTwice) {
  std::set<std::string> names;
  size_t count = 0;
  for (const auto node : {rpc::FaultNode::kClient, rpc::FaultNode::kMds, rpc::FaultNode::kOss}) {
    for (const std::string& name : FaultPoints::NamesOf(node)) {
      EXPECT_FALSE(FaultPoints::ActionsOf(name).empty()) << name;
      names.insert(name);
      ++count;
    }
  }
  EXPECT_GE(names.size(), 150U);
  EXPECT_LE(count - names.size(), 2U) << "only pings and goodbyes are two servers' points";
}

}  // namespace
}  // namespace sheen::test
