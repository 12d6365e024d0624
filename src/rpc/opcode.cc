#include "rpc/frame.h"

// What is known of each opcode, in one table.

namespace sheen::rpc {
namespace {

struct OpcodeInfo {
  Opcode opcode;
  std::string_view name;
  bool mutating;
};

// Mutating: changes what other requests see, so it must be executed once. Session housekeeping
// (hello, credentials), syncs and pings may be repeated at will. Open and close count: they make
// and drop handles and mark sizes unsafe.
constexpr OpcodeInfo kOpcodes[] = {
    {Opcode::kHello, "hello", false},
    {Opcode::kAuth, "auth", false},
    {Opcode::kPing, "ping", false},
    {Opcode::kGoodbye, "goodbye", false},
    {Opcode::kSetCredential, "set_credential", false},
    {Opcode::kMdsLookup, "mds_lookup", false},
    {Opcode::kMdsGetAttr, "mds_getattr", false},
    {Opcode::kMdsSetAttr, "mds_setattr", true},
    {Opcode::kMdsCreate, "mds_create", true},
    {Opcode::kMdsMakeNode, "mds_make_node", true},
    {Opcode::kMdsLink, "mds_link", true},
    {Opcode::kMdsUnlink, "mds_unlink", true},
    {Opcode::kMdsRemoveDir, "mds_remove_dir", true},
    {Opcode::kMdsRename, "mds_rename", true},
    {Opcode::kMdsOpen, "mds_open", true},
    {Opcode::kMdsClose, "mds_close", true},
    {Opcode::kMdsReadDir, "mds_readdir", false},
    {Opcode::kMdsReadLink, "mds_readlink", false},
    {Opcode::kMdsGetXattr, "mds_getxattr", false},
    {Opcode::kMdsSetXattr, "mds_setxattr", true},
    {Opcode::kMdsListXattr, "mds_listxattr", false},
    {Opcode::kMdsRemoveXattr, "mds_removexattr", true},
    {Opcode::kMdsGetLayout, "mds_get_layout", false},
    {Opcode::kMdsInstantiate, "mds_instantiate", true},
    {Opcode::kMdsSetLayout, "mds_set_layout", true},
    {Opcode::kMdsStatFs, "mds_statfs", false},
    {Opcode::kMdsFidToPath, "mds_fid_to_path", false},
    {Opcode::kMdsAllocateSequence, "mds_allocate_sequence", true},
    {Opcode::kMdsSync, "mds_sync", false},
    {Opcode::kMdsClusterMap, "mds_cluster_map", false},
    {Opcode::kMdsReportSize, "mds_report_size", true},
    {Opcode::kMdsLockCancel, "mds_lock_cancel", false},
    // They say what is to be, not what to do, and are kept in no slot: see docs/formats/wire.md.
    {Opcode::kMdsFileLockGet, "mds_file_lock_get", false},
    {Opcode::kMdsFileLockSet, "mds_file_lock_set", false},
    {Opcode::kMdsFileLockCancel, "mds_file_lock_cancel", false},
    {Opcode::kMdsFileLockReclaim, "mds_file_lock_reclaim", false},
    {Opcode::kMdsReadChangelog, "mds_read_changelog", false},
    {Opcode::kMdsClearChangelog, "mds_clear_changelog", true},
    {Opcode::kMdsHsmState, "mds_hsm_state", false},
    {Opcode::kMdsHsmSet, "mds_hsm_set", true},
    {Opcode::kMdsHsmRelease, "mds_hsm_release", false},
    {Opcode::kMdsHsmRequest, "mds_hsm_request", true},
    {Opcode::kMdsHsmJob, "mds_hsm_job", false},
    {Opcode::kMdsLayoutHold, "mds_layout_hold", true},
    {Opcode::kMdsSwapLayouts, "mds_swap_layouts", true},
    {Opcode::kOstRead, "ost_read", false},
    {Opcode::kOstWrite, "ost_write", true},
    {Opcode::kOstGetAttr, "ost_getattr", false},
    {Opcode::kOstTruncate, "ost_truncate", true},
    {Opcode::kOstAllocate, "ost_allocate", true},
    {Opcode::kOstSync, "ost_sync", false},
    {Opcode::kOstSeek, "ost_seek", false},
    {Opcode::kOstStatFs, "ost_statfs", false},
    // As file locks: what is to be, not what to do.
    {Opcode::kOstLockCancel, "ost_lock_cancel", false},
    {Opcode::kOstLockDeclare, "ost_lock_declare", false},
    {Opcode::kOstResidency, "ost_residency", false},
    // Twice is as once: what is brought again meanwhile is only dropped again.
    {Opcode::kOstRelease, "ost_release", false},
    {Opcode::kMapChanged, "map_changed", false},
    {Opcode::kLockCallback, "lock_callback", false},
    {Opcode::kFileLockEvent, "file_lock_event", false},
    {Opcode::kExtentCallback, "extent_callback", false},
    {Opcode::kAgentFetch, "agent_fetch", false},
    {Opcode::kAgentHasten, "agent_hasten", false},
};

const OpcodeInfo* Find(Opcode opcode) {
  for (const OpcodeInfo& info : kOpcodes) {
    if (info.opcode == opcode) return &info;
  }
  return nullptr;
}

}  // namespace

std::string_view NameOf(Opcode opcode) {
  const OpcodeInfo* info = Find(opcode);
  return info == nullptr ? "unknown" : info->name;
}

bool IsKnown(Opcode opcode) { return Find(opcode) != nullptr; }

bool IsMutating(Opcode opcode) {
  const OpcodeInfo* info = Find(opcode);
  return info != nullptr && info->mutating;
}

}  // namespace sheen::rpc
