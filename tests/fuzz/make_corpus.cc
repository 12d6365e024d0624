// Writes the corpus: one input per opcode that does the opcode's work on a small tree.
//   make_corpus DIRECTORY     -> DIRECTORY/mds/*, DIRECTORY/oss/*, DIRECTORY/frame/*

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/crc32c.h"
#include "fid/fid.h"
#include "fuzz/requests.h"
#include "layout/layout.h"
#include "rpc/frame.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::fuzz {
namespace {

using rpc::Opcode;

template <class M>
Input Make(Opcode opcode, const M& message, std::string bulk = {}) {
  return {opcode, 1, 0, message.SerializeAsString(), std::move(bulk)};
}

void Set(v1::Fid* out, Fid fid) {
  out->set_seq(fid.seq);
  out->set_oid(fid.oid);
}

constexpr Fid kFile{kFirstClientSequence, 1, 0};
constexpr Fid kDirectory{kFirstClientSequence, 2, 0};

Input Create(const std::string& name, Fid fid) {
  v1::CreateRequest m;
  Set(m.mutable_parent(), kRootFid);
  m.set_name(name);
  Set(m.mutable_fid(), fid);
  m.set_mode(S_IFREG | 0644);
  m.set_open_flags(O_RDWR);
  m.set_handle(7);
  return Make(Opcode::kMdsCreate, m);
}

Input MakeDirectory() {
  v1::MakeNodeRequest m;
  Set(m.mutable_parent(), kRootFid);
  m.set_name("d");
  Set(m.mutable_fid(), kDirectory);
  m.set_mode(S_IFDIR | 0755);
  return Make(Opcode::kMdsMakeNode, m);
}

template <class M>
Input OnFid(Opcode opcode, Fid fid) {
  M m;
  Set(m.mutable_fid(), fid);
  return Make(opcode, m);
}

template <class M>
Input OnName(Opcode opcode, const std::string& name) {
  M m;
  Set(m.mutable_parent(), kRootFid);
  m.set_name(name);
  return Make(opcode, m);
}

Input SetXattr() {
  v1::SetXattrRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_name("user.x");
  m.set_value("value");
  return Make(Opcode::kMdsSetXattr, m);
}

template <class M>
Input OnXattr(Opcode opcode) {
  M m;
  Set(m.mutable_fid(), kFile);
  m.set_name("user.x");
  return Make(opcode, m);
}

Input Rename() {
  v1::RenameRequest m;
  Set(m.mutable_old_parent(), kRootFid);
  m.set_old_name("f");
  Set(m.mutable_new_parent(), kDirectory);
  m.set_new_name("g");
  return Make(Opcode::kMdsRename, m);
}

Input Link() {
  v1::LinkRequest m;
  Set(m.mutable_fid(), kFile);
  Set(m.mutable_parent(), kRootFid);
  m.set_name("l");
  return Make(Opcode::kMdsLink, m);
}

Input SetAttr() {
  v1::SetAttrRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_valid(v1::SET_MODE | v1::SET_MTIME);
  m.set_mode(0600);
  m.set_mtime_ns(5);
  return Make(Opcode::kMdsSetAttr, m);
}

Input Open() {
  v1::OpenRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_flags(O_RDWR);
  m.set_handle(9);
  return Make(Opcode::kMdsOpen, m);
}

Input Close() {
  v1::CloseRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_handle(7);
  m.set_wrote(true);
  m.set_size(100);
  m.set_size_epoch(1);
  return Make(Opcode::kMdsClose, m);
}

Input ReadDir() {
  v1::ReadDirRequest m;
  Set(m.mutable_fid(), kRootFid);
  m.set_bytes_max(65536);
  m.set_plus(true);
  return Make(Opcode::kMdsReadDir, m);
}

Input Instantiate() {
  v1::InstantiateRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_offset(200 << 20);
  m.set_length(1);
  return Make(Opcode::kMdsInstantiate, m);
}

Input SetLayout() {
  v1::SetLayoutRequest m;
  Set(m.mutable_fid(), kDirectory);
  m.set_layout_template(layout::Encode(layout::DefaultTemplate()));
  return Make(Opcode::kMdsSetLayout, m);
}

Input LockCancel() {
  v1::LockList m;
  v1::InodeLock* lock = m.add_locks();
  Set(lock->mutable_fid(), kFile);
  lock->set_bits(0x13);
  return Make(Opcode::kMdsLockCancel, m);
}

void SetLock(v1::FileLock* out) {
  out->set_kind(1);
  out->set_type(1);
  out->set_owner(77);
  out->set_start(10);
  out->set_end(20);
  out->set_pid(5);
}

template <class M>
M OnFileLock() {
  M m;
  Set(m.mutable_fid(), kFile);
  SetLock(m.mutable_lock());
  return m;
}

Input FileLockSet() {
  auto m = OnFileLock<v1::FileLockSetRequest>();
  m.set_wait(true);
  m.set_id(1);
  return Make(Opcode::kMdsFileLockSet, m);
}

Input FileLockCancel() {
  v1::FileLockCancelRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_id(1);
  return Make(Opcode::kMdsFileLockCancel, m);
}

Input FileLockReclaim() {
  v1::FileLockReclaimRequest m;
  m.set_boot(1);
  v1::FileLockReclaimRequest::Held* held = m.add_locks();
  Set(held->mutable_fid(), kFile);
  SetLock(held->mutable_lock());
  m.set_done(true);
  return Make(Opcode::kMdsFileLockReclaim, m);
}

Input ReportSize() {
  v1::ReportSizeRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_size_epoch(1);
  m.set_size(9);
  return Make(Opcode::kMdsReportSize, m);
}

Input ReadChangelog() {
  v1::ReadChangelogRequest m;
  m.set_start(1);
  m.set_end(100);
  m.set_bytes_max(5000);
  m.set_user("cl1");
  return Make(Opcode::kMdsReadChangelog, m);
}

Input ClearChangelog() {
  v1::ClearChangelogRequest m;
  m.set_user("cl1");
  m.set_end(1);
  return Make(Opcode::kMdsClearChangelog, m);
}

Input HsmSet() {
  v1::HsmSetRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_set(0x10);
  m.set_clear(2);
  return Make(Opcode::kMdsHsmSet, m);
}

Input HsmRequest() {
  v1::HsmRequest m;
  m.set_action(11);
  Set(m.add_fids(), kFile);
  Set(m.add_fids(), kDirectory);
  m.set_job(5);
  return Make(Opcode::kMdsHsmRequest, m);
}

Input LayoutHold() {
  v1::LayoutHoldRequest m;
  Set(m.mutable_fid(), kFile);
  m.set_handle(7);
  return Make(Opcode::kMdsLayoutHold, m);
}

Input SwapLayouts() {
  v1::SwapLayoutsRequest m;
  for (v1::SwapLayoutsRequest::Side* side : {m.mutable_first(), m.mutable_second()}) {
    Set(side->mutable_fid(), kFile);
    side->set_handle(7);
    side->set_size(9);
  }
  return Make(Opcode::kMdsSwapLayouts, m);
}

std::vector<Input> MdsInputs() {
  return {OnName<v1::LookupRequest>(Opcode::kMdsLookup, "f"),
          OnFid<v1::GetAttrRequest>(Opcode::kMdsGetAttr, kFile),
          SetAttr(),
          Create("another", Fid{kFirstClientSequence, 9, 0}),
          MakeDirectory(),
          Link(),
          OnName<v1::UnlinkRequest>(Opcode::kMdsUnlink, "f"),
          OnName<v1::RemoveDirRequest>(Opcode::kMdsRemoveDir, "d"),
          Rename(),
          Open(),
          Close(),
          ReadDir(),
          OnFid<v1::ReadLinkRequest>(Opcode::kMdsReadLink, kFile),
          OnXattr<v1::GetXattrRequest>(Opcode::kMdsGetXattr),
          SetXattr(),
          OnFid<v1::ListXattrRequest>(Opcode::kMdsListXattr, kFile),
          OnXattr<v1::RemoveXattrRequest>(Opcode::kMdsRemoveXattr),
          OnFid<v1::GetLayoutRequest>(Opcode::kMdsGetLayout, kFile),
          Instantiate(),
          SetLayout(),
          Make(Opcode::kMdsStatFs, v1::StatFsRequest()),
          OnFid<v1::FidToPathRequest>(Opcode::kMdsFidToPath, kFile),
          Make(Opcode::kMdsAllocateSequence, v1::AllocateSequenceRequest()),
          Make(Opcode::kMdsSync, v1::MdsSyncRequest()),
          Make(Opcode::kMdsClusterMap, v1::ClusterMapRequest()),
          ReportSize(), LockCancel(),
          Make(Opcode::kMdsFileLockGet, OnFileLock<v1::FileLockGetRequest>()),
          FileLockSet(), FileLockCancel(), FileLockReclaim(),
          ReadChangelog(), ClearChangelog(), HsmSet(), HsmRequest(),
          OnFid<v1::HsmStateRequest>(Opcode::kMdsHsmState, kFile),
          OnFid<v1::HsmReleaseRequest>(Opcode::kMdsHsmRelease, kFile),
          Make(Opcode::kMdsHsmJob, v1::HsmJobRequest()),
          LayoutHold(), SwapLayouts()};
}

void SetObject(v1::ObjectName* out) {
  Set(out->mutable_fid(), kFile);
  out->set_birth(1ULL << 40);
}

Input Write() {
  v1::OstWriteRequest m;
  SetObject(m.mutable_object());
  const std::string data(5000, 'd');
  m.set_block_bytes(4096);
  m.add_block_crc(Crc32c(AsBytes(data.substr(0, 4096))));
  m.add_block_crc(Crc32c(AsBytes(data.substr(4096))));
  m.set_handle(7);
  return Make(Opcode::kOstWrite, m, data);
}

std::vector<Input> OssInputs() {
  v1::OstReadRequest read;
  SetObject(read.mutable_object());
  read.set_length(8192);
  v1::OstGetAttrRequest getattr;
  SetObject(getattr.add_objects());
  v1::OstTruncateRequest truncate;
  SetObject(truncate.mutable_object());
  truncate.set_size(100);
  truncate.set_create(true);
  v1::OstAllocateRequest allocate;
  SetObject(allocate.mutable_object());
  allocate.set_length(10000);
  v1::OstSeekRequest seek;
  SetObject(seek.mutable_object());
  v1::OstLockCancelRequest cancel;
  v1::OstLockDeclareRequest declare;
  for (v1::HeldLock* held : {cancel.add_locks(), declare.add_locks()}) {
    SetObject(held->mutable_object());
    held->set_lock(5);
    held->mutable_range()->set_end(1 << 20);
  }
  v1::OstResidencyRequest residency;
  SetObject(residency.add_objects());
  v1::ObjectSource* const source = residency.mutable_objects(0)->mutable_source();
  source->set_link(1);
  source->set_key("k");
  source->set_end(3 << 20);
  source->set_stripe_bytes(1 << 20);
  source->set_stripe_count(1);
  v1::OstReleaseRequest release;
  *release.mutable_object() = residency.objects(0);
  for (v1::TargetGrant* grant : {cancel.add_grants(), declare.add_grants()}) {
    grant->set_bytes(1 << 20);
  }
  return {Make(Opcode::kOstRead, read),         Write(),
          Make(Opcode::kOstResidency, residency), Make(Opcode::kOstRelease, release),
          Make(Opcode::kOstLockCancel, cancel), Make(Opcode::kOstLockDeclare, declare),
          Make(Opcode::kOstGetAttr, getattr),   Make(Opcode::kOstTruncate, truncate),
          Make(Opcode::kOstAllocate, allocate), Make(Opcode::kOstSync, v1::OstSyncRequest()),
          Make(Opcode::kOstSeek, seek),         Make(Opcode::kOstStatFs, v1::OstStatFsRequest())};
}

void Save(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace
}  // namespace sheen::fuzz

int main(int argc, char** argv) {
  using namespace sheen;        // NOLINT
  using namespace sheen::fuzz;  // NOLINT
  if (argc != 2) return 2;
  const std::filesystem::path top = argv[1];
  for (const Input& input : MdsInputs()) {
    Save(top / "mds" / std::string(rpc::NameOf(input.opcode)),
         Format({Create("f", kFile), MakeDirectory(), SetXattr(), input, input}));
  }
  for (const Input& input : OssInputs()) {
    Save(top / "oss" / std::string(rpc::NameOf(input.opcode)), Format({Write(), input, input}));
  }
  rpc::FrameHeader header;
  header.opcode = rpc::Opcode::kMdsLookup;
  header.body_bytes = 100;
  const rpc::HeaderBytes bytes = rpc::EncodeHeader(header);
  Save(top / "frame" / "request", std::string(AsText(bytes)));
  return 0;
}
