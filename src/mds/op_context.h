// OpContext: what one run of an operation sees and what it asks for besides its batch.
//
// An operation is a plain function over a Txn that may run several times: it must not change
// anything but the context. What it wants done when its batch is in the log (a handle added, the
// outbox looked at, the answer held until durable) it notes here.
//
// Not thread-safe; belongs to one operation.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mds/core.h"
#include "mdt/inode_table.h"
#include "mdt/latch_table.h"
#include "rpc/server.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::mds {

// The latches of one operation: those it holds, and those it is known to need when it runs again.
class LatchSet final {
 public:
  LatchSet(mdt::LatchTable* table, mdt::LatchTable::Owner owner) : table_(table), owner_(owner) {}
  ~LatchSet() { ReleaseAll(); }
  LatchSet(const LatchSet&) = delete;
  LatchSet& operator=(const LatchSet&) = delete;

  // False: busy; busy() says which, and the operation must end with kWouldBlock.
  bool Lock(const Fid& fid);
  // Those of earlier runs, in FID order.
  bool LockKnown();
  void ReleaseAll();
  const std::optional<Fid>& busy() const { return busy_; }
  // The table handed the latch over to this operation.
  void Took(const Fid& fid);
  mdt::LatchTable* table() const { return table_; }
  mdt::LatchTable::Owner owner() const { return owner_; }

 private:
  mdt::LatchTable* const table_;
  const mdt::LatchTable::Owner owner_;
  std::vector<Fid> held_;
  std::vector<Fid> known_;
  std::optional<Fid> busy_;
};

// Pending inodes that a client's request has met, or a name that may be in S3: the operation ends,
// S3 is asked, and it runs again (questions.h).
struct Unasked {
  struct Name {
    Fid fid;            // empty: there is no such name here
    uint32_t link = 0;
    std::string key;
    // What was listed of a pending one.
    std::string etag;
    int64_t modified_ns = 0;
    // Of a name that is not here (unlisted.h).
    Fid parent;
    std::string name;
  };
  std::vector<Name> names;
  bool may_leave_out = false;  // a listing: what S3 does not say soon is shown without attributes
  bool failed = false;         // so it is now
};

struct OpContext {
  Core* core = nullptr;
  mdt::Txn* txn = nullptr;
  LatchSet* latches = nullptr;
  const rpc::Credential* credential = nullptr;
  ClientSession* session = nullptr;  // null: the server's own operation
  const rpc::Session* connection = nullptr;  // of `session`
  PeerPtr peer;                      // to be granted locks; null: grant none
  bool replay = false;               // decided_* fields of the request count
  bool declares_again = false;       // what the client had before the server's restart
  int64_t now_ns = 0;

  // Asked for.
  struct HandleChange {
    enum class Kind : uint8_t { kNone, kAdd, kRemove } kind = Kind::kNone;
    Fid fid;
    OpenHandle open;
  } handle_change;
  bool durable = false;         // answer only when the batch survives power loss
  bool reads_lasting = false;   // nothing of it is lost with the power: no need to wait for replays
  uint64_t wait_committed = 0;  // answer only when this transno does
  bool outbox = false;          // the batch has outbox rows
  bool is_holder = false;       // of all held layouts that it changes
  Fid layout_for_io;            // answered only while nobody else holds it. REQUIRES: the latch
  // Once written.
  std::optional<std::pair<Fid, HoldOwner>> hold;
  std::vector<std::pair<Fid, HoldOwner>> end_holds;
  bool root_template_changed = false;
  // To be granted with the answer if nothing is in the way, once the batch is written.
  struct Lock {
    Fid fid;
    uint32_t bits = 0;
  };
  // Restores for the queue, and those to be taken out of it, once the batch is written.
  std::vector<HsmQueued> hsm_added;
  std::vector<Fid> hsm_cancelled;
  std::vector<Lock> grants_after;
  std::vector<Lock> granted;
  std::vector<mdt::ChangelogRecord> log;  // mds/changelog.h

  Unasked unasked;
  std::vector<std::pair<uint32_t, int64_t>> pending_added;  // by link: pending names, more or less

  mdt::Mdt& mdt() const { return *core->mdt; }
  uint64_t session_id() const { return session == nullptr ? 0 : session->id(); }

  // At once, for what is read after this call. False: not granted, read all the same.
  bool GrantNow(const Fid& fid, uint32_t bits);
  // Leaves it out of the answer.
  void Untell(const Fid& fid, uint32_t bits);
  // The size is unsafe, and nobody but this session has been writing since it became so.
  bool IsSoleWriter(const mdt::Inode& inode) const;
  // Inode() under a lock of `bits`; without kUpdate while somebody else may be changing its size.
  Result<mdt::Inode> GrantedInode(const Fid& fid, uint32_t bits);
  // With the answer, for what the batch writes. REQUIRES: the latch of `fid`.
  void GrantAfter(const Fid& fid, uint32_t bits) { grants_after.push_back({fid, bits}); }

  // Errors: kWouldBlock (busy: the operation is parked and runs again).
  Status Latch(const Fid& fid);
  // For a client's request a pending inode ends the operation with kWouldBlock: noted in `unasked`.
  Status CheckAsked(const Fid& fid, const mdt::Inode& inode);
  // Errors: kStale when there is no such inode (a parent or a file that the client thought it
  // knew); CheckAsked's.
  Result<mdt::Inode> Inode(const Fid& fid);
  // As Inode. Errors: kNotDirectory too.
  Result<mdt::Inode> Directory(const Fid& fid);
  Result<mdt::Found> Find(const Fid& parent, std::string_view name);
  // Before anything that makes the store larger. What was answered once is done again in a replay,
  // full or not. Errors: kNoSpace (the MDT's disk is full).
  Status CheckRoom() const { return replay ? Status() : core->space->CheckRoom(); }
  // The operation's one time: now, but later than the ctime of every inode that it changes; in a
  // replay the time decided then.
  int64_t TimeFor(int64_t decided_ns, std::initializer_list<const mdt::Inode*> inodes) const;
};

// ---- small rules shared by operations ----

Fid FidOf(const v1::Fid& fid);
void SetFid(const Fid& fid, v1::Fid* out);
// Errors: kInvalid.
Result<Fid> ValidFid(const v1::Fid& fid);
// A name for a new entry or to remove: not empty, no '/' and NUL, not "." and "..", at most 255
// bytes. Errors: kInvalid, kNameTooLong.
Status CheckName(std::string_view name);
// A FID that a client made for something new: in a sequence granted to clients. Errors: kInvalid.
Status CheckNewFid(const OpContext& context, const Fid& fid);
void Touch(mdt::Inode* inode, int64_t time_ns);  // mtime and ctime
void FillAttr(const Fid& fid, const mdt::Inode& inode, bool with_layout, v1::Attr* out);
// As FillAttr, for one who asks; says when the size could become safe again.
void AnswerAttr(const OpContext& context, const Fid& fid, const mdt::Inode& inode, v1::Attr* out);
// Times that a client reports from OSTs: none is taken from far in the future.
int64_t SaneTime(const OpContext& context, int64_t time_ns);
// Blocks of 512 bytes likewise: no file has more than the largest.
uint64_t SaneBlocks(uint64_t blocks);

// A new inode with its owner, group (the directory's with set-group-ID), mode and times.
struct NewInode {
  uint32_t mode = 0;
  int64_t time_ns = 0;
};
mdt::Inode MakeInode(const OpContext& context, const mdt::Inode& parent, const NewInode& options);

// One name less for `inode`, which is written back: with the last one it becomes an orphan while
// it is open, else it is destroyed, its objects by way of the outbox. REQUIRES: its latch.
Status DropName(OpContext* context, const Fid& fid, mdt::Inode* inode, int64_t time_ns);
// Destroys an inode without names and handles. REQUIRES: its latch.
Status DestroyInode(OpContext* context, const Fid& fid, const mdt::Inode& inode);

// Adds the name and its link row to `parent`, which the caller writes back. Gives the cookie.
struct NewName {
  Fid parent;
  std::string_view name;
  Fid fid;
  uint8_t type = 0;
  uint64_t decided_cookie = 0;
};
Result<uint64_t> AddName(OpContext* context, mdt::Inode* parent, const mdt::Found& place,
                         const NewName& name);

}  // namespace sheen::mds
