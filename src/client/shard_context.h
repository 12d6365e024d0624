// ShardContext: one shard's connections to the servers, and the rules for trying again.
//
//   unavailable, session renewed     wait a little, send again
//   not this server                  fetch the cluster map, send again
//   connection lost                  rpc::Client reconnects and resends by itself
//   anything else                    the caller's
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/shard.h"
#include "async/sync.h"
#include "client/cluster.h"
#include "client/file_lock_orders.h"
#include "client/kept_writes.h"
#include "client/lock_cache.h"
#include "client/types.h"
#include "client/unwanted_handles.h"
#include "rpc/client.h"

namespace sheen::client {

class OpenFile;
class State;
class TargetStats;

class ShardContext final {
 public:
  ShardContext(State* state, async::Shard* shard, rpc::Transport* transport, uint32_t ordinal);
  ~ShardContext();

  async::Shard* shard() const { return shard_; }
  uint32_t ordinal() const { return ordinal_; }

  // Errors: the server's; kTimedOut after Options::deadline; kCancelled after Stop.
  async::Task<Result<rpc::Answer>> Mds(rpc::Call call);
  async::Task<Result<rpc::Answer>> Ost(uint32_t ost, rpc::Call call);

  // A FID that nobody has used. Errors: those of Mds.
  async::Task<Result<Fid>> NewFid();
  // Errors: the last attempt's.
  async::Task<Status> ConnectMds(Nanos deadline);
  async::Task<Status> RefreshMap(Nanos deadline);
  // In the background, one at a time.
  void StartRefresh();
  // Gives locks back in the background, each on the shard it came by, when there are too many.
  void TrimLocks(bool however_few = false);

  // local_opens.cc. A handle that the MDS does not know: it is told if that stays open.
  void WatchLocalOpen(const Fid& fid, uint64_t handle);
  bool HasLocalOpens() const;
  // Before a change of ours takes the locks that files are open under.
  // False: the MDS could not be asked in the time that a request may take.
  async::Task<bool> TellOpensOf(std::vector<Fid> fids);
  // What the MDS has answered until now is durable, and not kept any more. Errors: those of Mds.
  async::Task<Status> CommitMds(Nanos deadline);

  State* state() const { return state_; }
  // Ends when the kernel has forgotten what the bits cover, after a change that it has not seen.
  async::Task<void> KernelForgets(Fid fid, uint32_t bits);
  FileLockOrders* file_locks() { return &file_lock_orders_; }
  UnwantedHandles* unwanted_handles() { return unwanted_handles_.get(); }

  // Of this shard's connection to that server; nullopt: nobody has asked for one here.
  std::optional<rpc::LinkLook> LookAt(const std::string& server) const;
  // Highest transno known to be committed by that target; 0: nothing known.
  uint64_t OstCommitted(uint32_t ost) const;
  uint64_t MdsCommitted() const;

  // Ends the connections; says goodbye to the servers of `farewells`. Then every call gives
  // kCancelled.
  async::Task<void> Stop(std::set<std::string> farewells, Nanos timeout);
  // Servers that this shard has a connection object for.
  std::set<std::string> ServerNames() const;
  // The cluster map has changed: take the servers' new addresses.
  void TakeAddresses();

 private:
  struct OstSlot {
    rpc::Client* client = nullptr;
    uint64_t committed = 0;
  };

  rpc::Client* MdsClient();
  rpc::Client* ClientOf(const std::string& server);
  OstSlot* SlotOf(uint32_t ost);
  std::vector<rpc::Address> AddressesOf(const std::string& server) const;
  async::Task<Status> EnsureCredential(CredentialId who, Nanos deadline);
  async::Task<Status> SendCredential(CredentialId who, Nanos deadline);
  // What a request to an OSS says for whom it is: `who`, once the server has been told what that
  // means; 0 if it does not want to know.
  async::Task<CredentialId> OriginAt(rpc::Client* client, CredentialId who, Nanos deadline);
  // Waits as the error demands. False: give the error to the caller.
  async::Task<bool> PrepareRetry(Error error, uint32_t attempt, Nanos deadline);
  async::Task<void> RefreshInBackground();
  void StartGivingBack();
  async::Task<void> GiveLocksBack();
  void OnServerRequest(rpc::Opcode opcode, const std::string& body,
                       rpc::Client::AnswerFunction answer);
  // Forgets what is called back, has the kernel forget it, then answers.
  void OnLockCallback(const std::string& body, rpc::Client::AnswerFunction answer);
  // Until the MDS knows all that is open, or only that handle, or the time has come; false then.
  async::Task<bool> TellOpens(std::shared_ptr<OpenFile> file, Nanos until, uint64_t only = 0);
  // The same with one try; what is left is for whoever watches it.
  async::Task<bool> TellOpensOnce(std::shared_ptr<OpenFile> file, Nanos until, uint64_t only);
  async::Task<void> TellOpensThen(std::shared_ptr<OpenFile> file, std::function<void()> done);
  async::Task<void> TellAllOpens();
  async::Task<void> WatchLocalOpens();
  async::Task<void> WriteHeldThen(std::shared_ptr<OpenFile> file, std::function<void()> done);
  // held_ops.cc: writes what is held under the lock, then answers.
  void OnExtentCallback(const std::string& body, rpc::Client::AnswerFunction answer);
  async::Task<void> GiveBack(std::shared_ptr<OpenFile> file, uint64_t lock,
                             rpc::Client::AnswerFunction answer);
  // kept_ops.cc: right when an answer has come, so that no replay can miss it.
  void KeepRequest(const rpc::Call& call, const rpc::Answer& answer);
  void KeepWrite(const std::string& server, uint32_t ost, const rpc::Call& call,
                 const rpc::Answer& answer);
  // Returns when less is kept than may be.
  async::Task<void> AwaitKeptRoom(uint32_t ost);
  // While anything is kept: what has been for long is committed.
  async::Task<void> WatchKept();
  // Errors: those of Ost.
  async::Task<Status> CommitOst(uint32_t ost);
  async::Task<void> CommitOld(uint32_t ost);
  async::Task<void> RecoverOst(std::string server, bool restarted);
  // It has restarted: with Options::recovery off nobody knows what it has lost.
  void NoteUnkept(const std::string& server);
  // `done` runs on this shard when the kernel has forgotten what the locks cover.
  void RecallFromKernel(const std::vector<HeldLock>& locks, bool by_others,
                        std::function<void()> done);
  Nanos DeadlineOf(const rpc::Call& call) const;
  // There was no place for one more request to that target.
  async::Task<void> AwaitPlace(TargetStats* target);

  // recovery.cc: after a new session or a server's restart.
  async::Task<void> RecoverMds(bool server_restarted);
  async::Task<void> AwaitOtherRecovery(uint64_t stamp);
  // False: the connection ended first.
  async::Task<bool> Redeclare(uint64_t stamp);
  async::Task<void> ConfirmCredentials(Nanos deadline);
  // replay.cc: returns when no shard can get an answer of an earlier boot of the server any more.
  async::Task<void> AwaitEndOfBoot(std::string server, uint64_t boot);
  // False: the connection ended first; all is kept, for the next.
  async::Task<bool> ReplayMds();
  async::Task<bool> ReplayRequests();
  // The same for an OSS, by one shard; the others wait.
  async::Task<bool> ReplayOst(std::string server);
  async::Task<bool> ReplayWrites(std::string server, uint64_t boot);
  // Gives how many; errors: the connection ended first.
  async::Task<Result<size_t>> ReplayTarget(std::string server, uint32_t ost, uint64_t boot);
  std::set<uint32_t> OstsOf(const std::string& server) const;
  bool EndEarlierBoot(const std::string& server, uint64_t boot);
  // After the MDS has evicted this client: the OSSs refuse its sessions, so on every shard new ones
  // are begun.
  async::Task<void> RejoinOsts();
  void RenewOstSessions();
  // file_lock_ops.cc. False: the connection ended first.
  async::Task<bool> DeclareFileLocks();
  // Errors: those of Mds; kDisconnected: the connection ended, or what the MDS has lost is first.
  async::Task<Status> Reopen(Fid fid, uint64_t handle, uint32_t flags, CredentialId who,
                             Nanos until = Nanos::max());

  State* const state_;
  async::Shard* const shard_;
  rpc::Transport* const transport_;
  const uint32_t ordinal_;
  std::map<std::string, std::unique_ptr<rpc::Client>> clients_;  // by server name
  rpc::Client* mds_ = nullptr;
  std::vector<OstSlot> osts_;  // by index
  uint64_t osts_version_ = 0;  // of the cluster map that osts_ was made from
  struct Told {
    uint64_t session = 0;
    CredentialId id = 0;
  };
  std::map<std::pair<std::string, CredentialId>, Told> told_;  // by server; see OriginAt
  async::Semaphore sequence_lock_{1};
  uint64_t sequence_ = 0;
  uint32_t next_oid_ = 0;      // 0: no sequence
  std::set<uint32_t> committing_;  // targets that CommitOld asks
  bool refreshing_ = false;
  bool giving_back_ = false;
  struct LocalOpen {
    Fid fid;
    uint64_t handle = 0;
    Nanos since{0};
  };
  std::deque<LocalOpen> local_opens_;  // oldest first; closed ones too
  FileLockOrders file_lock_orders_;
  // Calls that outlive this context look whether it is still there.
  const std::shared_ptr<UnwantedHandles> unwanted_handles_ =
      std::make_shared<UnwantedHandles>(this);
};

}  // namespace sheen::client
