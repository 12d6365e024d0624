#include "mds/changelog.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/bytes.h"
#include "base/open_flags.h"
#include "mds/op_context.h"
#include "mds/permission.h"
#include "mdt/repository_records.h"
#include "mdt/schema.h"
#include "rpc/address.h"

namespace sheen::mds {
namespace {

using mdt::LogType;

constexpr int64_t kSecond = std::chrono::nanoseconds(std::chrono::seconds(1)).count();

// A cursor cannot look for the end; whether there is a row from some key on it can tell.
Result<uint64_t> LastRow(mdt::Mdt* mdt, uint64_t at_least) {
  uint64_t low = at_least;  // there may be rows after it
  uint64_t high = UINT64_MAX;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    const auto cursor = mdt->store()->NewCursor(mdt::kChangelog, kv::Blocking::kMayBlock);
    cursor->Seek(mdt::ChangelogKey(middle + 1));
    SHEEN_TRY(cursor->status());
    if (cursor->Valid()) {
      low = LoadBig64(cursor->key().data());
    } else {
      high = middle;
    }
  }
  return low;
}

uint64_t IdleSeconds(const mdt::ChangelogUser& user, int64_t now_ns) {
  return static_cast<uint64_t>(std::max<int64_t>(now_ns - user.used_ns, 0) / kSecond);
}

// As Lustre names clients: by address and network.
std::string NidOf(const OpContext& context) {
  const std::string address = context.connection == nullptr ? "" : context.connection->address();
  if (address.empty() || rpc::IsLoopback(address)) return "0@lo";
  return address + "@tcp";
}

}  // namespace

Status Changelog::Load(mdt::Mdt* mdt) {
  mdt_ = mdt;
  SHEEN_TRY_ASSIGN(const mdt::ChangelogState state, ReadState());
  SHEEN_TRY_ASSIGN(const uint64_t last, LastRow(mdt, state.given));
  numbers_.emplace(mdt::TransnoTracker::After{last});
  return Reload();
}

Result<mdt::ChangelogState> Changelog::ReadState() const {
  SHEEN_TRY_ASSIGN(const auto bytes, mdt_->store()->Get(mdt::kConfig, mdt::kChangelogStateKey,
                                                        kv::Blocking::kMayBlock));
  if (!bytes) return mdt::ChangelogState();
  return mdt::DecodeChangelogState(*bytes);
}

Status Changelog::Reload() {
  const std::scoped_lock lock(reload_mutex_);
  SHEEN_TRY_ASSIGN(const mdt::ChangelogState state, ReadState());
  mdt::LogMask wanted = 0;
  for (const mdt::ChangelogUser& user : state.users) {
    wanted |= user.mask == 0 ? mdt::DefaultLogMask() : user.mask;
  }
  if (!state.users.empty()) wanted |= mask_.load();
  wanted_.store(wanted);
  return {};
}

std::string Changelog::MaskText() const { return mdt::FormatLogMask(mask_.load(), ' '); }

Status Changelog::SetMask(const std::string& text) {
  SHEEN_TRY_ASSIGN(const mdt::LogMask mask, mdt::ParseLogMask(text, mask_.load()));
  mask_.store(mask);
  return Reload();
}

std::string Changelog::UsersText(int64_t now_ns) const {
  const Result<mdt::ChangelogState> state = ReadState();
  if (!state) return state.error().ToString();
  std::string out = fmt::format("current_index: {}\n{:<30}index (idle) mask\n", LowWater(), "ID");
  for (const mdt::ChangelogUser& user : state->users) {
    out += fmt::format("{:<30}{:>5} ({})", user.ToString(), user.index, IdleSeconds(user, now_ns));
    if (user.mask != 0) {
      std::string names = mdt::FormatLogMask(user.mask, ',');
      names.pop_back();
      out += " mask=" + names;
    }
    out += '\n';
  }
  return out;
}

std::optional<Changelog::Overdue> Changelog::FindOverdue(int64_t now_ns, bool disk_full) const {
  const Result<mdt::ChangelogState> state = ReadState();
  if (!state || !limits_.collect.load()) return std::nullopt;
  const uint64_t last = LowWater();
  const mdt::ChangelogUser* slowest = nullptr;
  for (const mdt::ChangelogUser& user : state->users) {
    const uint64_t behind = last - std::min(last, user.index);
    const uint64_t idle = IdleSeconds(user, now_ns);
    if (behind > 0 && idle > limits_.idle_seconds_max.load()) {
      return Overdue{user.ToString(), fmt::format("it has cleared nothing for {} s", idle)};
    }
    if (behind > limits_.idle_indexes_max.load()) {
      return Overdue{user.ToString(), fmt::format("it is {} records behind", behind)};
    }
    if (slowest == nullptr || user.index < slowest->index) slowest = &user;
  }
  if (!disk_full || slowest == nullptr || last < slowest->index + kBehindOnFullDisk) {
    return std::nullopt;
  }
  return Overdue{slowest->ToString(),
                 fmt::format("the disk is full, and it is {} records behind",
                             last - slowest->index)};
}

LogNumbers::~LogNumbers() {
  for (const uint64_t index : taken_) log_->Finish(index);
}

void LogNumbers::Put(const std::vector<mdt::ChangelogRecord>& records, mdt::Txn* txn) {
  for (const mdt::ChangelogRecord& record : records) {
    taken_.push_back(log_->Begin());
    txn->Put(mdt::kChangelog, mdt::ChangelogKey(taken_.back()), mdt::Encode(record));
  }
}

bool IsLogged(const OpContext& context, LogType type) {
  return (context.core->changelog.wanted() & mdt::LogBit(type)) != 0;
}

void LogChange(OpContext* context, const LogEntry& entry) {
  if (!IsLogged(*context, entry.type)) return;
  mdt::ChangelogRecord& record = context->log.emplace_back();
  record.type = entry.type;
  record.flags = entry.flags;
  record.time_ns = context->now_ns;
  record.fid = entry.fid;
  record.parent = entry.parent;
  record.name = entry.name;
  record.source = entry.source;
  record.source_parent = entry.source_parent;
  record.source_name = entry.source_name;
  record.open_mode = entry.open_mode;
  record.xattr = entry.xattr;
  record.uid = context->credential->uid;
  record.gid = context->credential->gid;
  record.nid = NidOf(*context);
  record.job_id = context->credential->job_id;
}

void LogMade(OpContext* context, const Fid& parent, std::string_view name, const Fid& fid,
             const mdt::Inode& inode) {
  LogType type = LogType::kMakeNode;
  if (inode.IsRegular()) type = LogType::kCreate;
  if (inode.IsDirectory()) type = LogType::kMakeDir;
  if (inode.IsSymlink()) type = LogType::kSymlink;
  LogChange(context, {.type = type, .fid = fid, .parent = parent, .name = name});
}

uint16_t LostNameFlags(const mdt::Inode& inode) {
  if (inode.nlink > 0) return 0;
  uint16_t flags = mdt::kLogLastLink;
  if (inode.extra.empty()) return flags;
  const Result<mdt::FileSource> source = mdt::DecodeFileSource(inode.extra);
  if (source && (source->flags & mdt::kHsmExists) != 0) flags |= mdt::kLogInArchive;
  return flags;
}

uint16_t LogOpenFlags(uint32_t open_flags) {
  const uint32_t access = AccessOfOpenFlags(open_flags);
  uint32_t flags = open_flags & (O_CREAT | O_EXCL | O_TRUNC | O_APPEND);
  if ((access & kAccessRead) != 0) flags |= 1;
  if ((access & kAccessWrite) != 0) flags |= 2;
  if ((open_flags & kOpenForExecution) != 0) flags |= 4;
  return static_cast<uint16_t>(flags);
}

}  // namespace sheen::mds
