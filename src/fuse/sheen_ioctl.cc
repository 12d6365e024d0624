// The serving side of include/sheen/ioctl.h: what `lfs` asks.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "base/crc32c.h"
#include "client/pools.h"
#include "fuse/sheen_front.h"
#include "sheen/ioctl.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::fuse {
namespace {

using Message = std::unique_ptr<IoctlMessage>;

void ReplyMessage(fuse_req_t req, const IoctlMessage& message) {
  fuse_reply_ioctl(req, 0, &message, kIoctlHeaderBytes + message.data_bytes);
}

void PutFid(const Fid& fid, IoctlMessage* message) {
  message->fid_seq = fid.seq;
  message->fid_oid = fid.oid;
  message->fid_ver = fid.ver;
}

// The chunk of `bytes` that begins at message->index.
void PutChunk(std::string_view bytes, IoctlMessage* message) {
  const size_t begin = std::min<size_t>(message->index, bytes.size());
  const size_t count = std::min<size_t>(bytes.size() - begin, kIoctlDataBytes);
  std::memcpy(message->data, bytes.data() + begin, count);
  message->count = static_cast<uint32_t>(count);
  message->data_bytes = static_cast<uint32_t>(count);
  message->total = static_cast<uint32_t>(bytes.size());
  message->stamp = Crc32c(AsBytes(bytes));
}

async::Task<void> GetLayout(fuse_req_t req, Fid fid, Message message) {
  const bool effective = (message->flags & kIoctlEffective) != 0;
  Result<client::LayoutAnswer> answer = co_await FsOf(req)->GetLayout(WhoAsks(req), fid, effective);
  if (!answer) {
    ReplyError(req, answer.error());
    co_return;
  }
  message->flags = answer->inherited ? kIoctlInherited : 0;
  PutFid(fid, message.get());
  PutChunk(answer->encoded, message.get());
  ReplyMessage(req, *message);
}

async::Task<void> SetLayout(fuse_req_t req, Fid fid, Message message) {
  const bool remove = (message->flags & kIoctlRemove) != 0;
  client::LayoutChange change;
  if ((message->flags & kIoctlAddComponents) != 0) change.edit = client::LayoutEdit::kAdd;
  if ((message->flags & kIoctlDeleteComponents) != 0) change.edit = client::LayoutEdit::kDelete;
  if ((message->flags & kIoctlSetComponentFlags) != 0) {
    change.edit = client::LayoutEdit::kFlags;
    change.set_flags = message->count;
    change.clear_flags = message->total;
  }
  change.component_id = message->index;
  const bool empty = remove || change.edit == client::LayoutEdit::kDelete ||
                     change.edit == client::LayoutEdit::kFlags;
  if (empty != (message->data_bytes == 0)) {
    fuse_reply_err(req, EINVAL);
    co_return;
  }
  std::string layout(message->data, message->data_bytes);
  const Status set =
      co_await FsOf(req)->SetLayout(WhoAsks(req), fid, std::move(layout), change);
  if (!set && !(remove && set.error().code() == Errc::kNoData)) {
    ReplyError(req, set.error());
    co_return;
  }
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

async::Task<void> CreateWithLayout(fuse_req_t req, Fid parent, Message message) {
  const std::string name(message->data, message->name_bytes);
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") {
    fuse_reply_err(req, EINVAL);
    co_return;
  }
  const std::string layout(message->data + message->name_bytes,
                           message->data_bytes - message->name_bytes);
  const Result<Fid> made = co_await FsOf(req)->CreateWithLayout(WhoAsks(req), parent, name,
                                                                message->mode & 07777, layout);
  if (!made) {
    ReplyError(req, made.error());
    co_return;
  }
  PutFid(*made, message.get());
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

void TargetToWire(const client::TargetSpace& target, v1::TargetSpace* wire) {
  wire->set_name(target.name);
  wire->set_server(target.server);
  wire->set_is_mdt(target.is_mdt);
  wire->set_up(target.up);
  wire->set_limited(target.limited);
  wire->set_index(target.index);
  wire->set_bytes_total(target.bytes_total);
  wire->set_bytes_free(target.bytes_free);
  wire->set_bytes_available(target.bytes_available);
  wire->set_files_total(target.files_total);
  wire->set_files_free(target.files_free);
  wire->set_device(target.device);
  wire->set_state(target.state);
}

async::Task<void> StatTargets(fuse_req_t req, Message message) {
  const Result<std::vector<client::TargetSpace>> targets = co_await FsOf(req)->Targets();
  if (!targets) {
    ReplyError(req, targets.error());
    co_return;
  }
  v1::StatFsReply chunk;
  for (size_t i = message->index; i < targets->size(); ++i) {
    TargetToWire((*targets)[i], chunk.add_targets());
    if (chunk.ByteSizeLong() > kIoctlDataBytes) {
      chunk.mutable_targets()->RemoveLast();
      break;
    }
  }
  message->count = static_cast<uint32_t>(chunk.targets_size());
  message->total = static_cast<uint32_t>(targets->size());
  message->data_bytes = static_cast<uint32_t>(chunk.ByteSizeLong());
  chunk.SerializeToArray(message->data, static_cast<int>(message->data_bytes));
  ReplyMessage(req, *message);
}

async::Task<void> ListPools(fuse_req_t req, Message message) {
  const Result<v1::OstPoolList> pools = co_await client::ListPools(FsOf(req));
  if (!pools) {
    ReplyError(req, pools.error());
    co_return;
  }
  PutChunk(pools->SerializeAsString(), message.get());
  ReplyMessage(req, *message);
}

async::Task<void> FidToPath(fuse_req_t req, Message message) {
  const Fid fid{message->fid_seq, message->fid_oid, message->fid_ver};
  if (!fid.Valid()) {
    fuse_reply_err(req, EINVAL);
    co_return;
  }
  constexpr uint32_t kLinksMax = 65536;
  const auto paths = co_await FsOf(req)->FidToPath(WhoAsks(req), fid, kLinksMax);
  if (!paths) {
    ReplyError(req, paths.error());
    co_return;
  }
  std::string data;
  uint32_t count = 0;
  for (size_t i = message->index; i < paths->size(); ++i) {
    if (data.size() + (*paths)[i].size() + 1 > kIoctlDataBytes) break;
    data.append((*paths)[i]).push_back('\0');
    ++count;
  }
  if (count == 0 && message->index < paths->size()) {
    fuse_reply_err(req, ENAMETOOLONG);
    co_return;
  }
  std::memcpy(message->data, data.data(), data.size());
  message->count = count;
  message->total = static_cast<uint32_t>(paths->size());
  message->data_bytes = static_cast<uint32_t>(data.size());
  ReplyMessage(req, *message);
}

// The message's data as a Request; nullopt: answered with an error.
template <class Request>
std::optional<Request> ChangelogRequestOf(fuse_req_t req, const IoctlMessage& message) {
  Request request;
  if (message.index != 0) {
    fuse_reply_err(req, ENODEV);
  } else if (!request.ParseFromArray(message.data, static_cast<int>(message.data_bytes))) {
    fuse_reply_err(req, EINVAL);
  } else {
    return request;
  }
  return std::nullopt;
}

async::Task<void> ReadChangelog(fuse_req_t req, Message message) {
  auto request = ChangelogRequestOf<v1::ReadChangelogRequest>(req, *message);
  if (!request) co_return;
  // The reply's other fields are short.
  constexpr uint32_t kBytesMax = kIoctlDataBytes - 64;
  const bool smaller = request->bytes_max() > 0 && request->bytes_max() < kBytesMax;
  if (!smaller) request->set_bytes_max(kBytesMax);
  const auto reply = co_await FsOf(req)->ReadChangelog(WhoAsks(req), std::move(*request));
  if (!reply || reply->ByteSizeLong() > kIoctlDataBytes) {
    ReplyError(req, reply ? Error(Errc::kProtocol, "the MDS's answer is too long") : reply.error());
    co_return;
  }
  message->count = static_cast<uint32_t>(reply->records_size());
  message->data_bytes = static_cast<uint32_t>(reply->ByteSizeLong());
  reply->SerializeToArray(message->data, static_cast<int>(message->data_bytes));
  ReplyMessage(req, *message);
}

async::Task<void> ClearChangelog(fuse_req_t req, Message message) {
  auto request = ChangelogRequestOf<v1::ClearChangelogRequest>(req, *message);
  if (!request) co_return;
  const Status cleared = co_await FsOf(req)->ClearChangelog(WhoAsks(req), std::move(*request));
  if (!cleared) {
    ReplyError(req, cleared.error());
    co_return;
  }
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

async::Task<void> DataVersion(fuse_req_t req, Fid fid, Message message) {
  client::DataLook look = client::DataLook::kFlushed;
  if ((message->flags & kIoctlAsIs) != 0) look = client::DataLook::kAsIs;
  if ((message->flags & kIoctlAlone) != 0) look = client::DataLook::kAlone;
  const Result<uint64_t> version = co_await FsOf(req)->DataVersion(fid, look);
  if (!version) {
    ReplyError(req, version.error());
    co_return;
  }
  message->stamp = *version;
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

async::Task<void> SwapLayouts(fuse_req_t req, Fid fid, uint64_t handle, Message message) {
  const Fid other{message->fid_seq, message->fid_oid, message->fid_ver};
  const Status swapped = other.Valid()
                             ? co_await FsOf(req)->SwapLayouts(WhoAsks(req), fid, handle, other)
                             : Status(Fail(Errc::kInvalid, "no FID"));
  if (!swapped) {
    ReplyError(req, swapped.error());
    co_return;
  }
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

async::Task<Status> CopyStep(client::Filesystem* fs, Fid fid, uint64_t handle,
                             IoctlMessage* message) {
  IoctlCopy copy;
  if (message->data_bytes != sizeof copy) co_return Fail(Errc::kInvalid, "not an IoctlCopy");
  std::memcpy(&copy, message->data, sizeof copy);
  SHEEN_CO_TRY_ASSIGN(const client::CopyStep step,
                      co_await fs->CopySome(fid, handle, copy.offset, copy.length));
  copy.next = step.next;
  copy.size = step.size;
  copy.copied = step.copied;
  std::memcpy(message->data, &copy, sizeof copy);
  co_return Status();
}

async::Task<Status> MigrateStep(fuse_req_t req, Fid fid, uint64_t handle, IoctlMessage* message) {
  client::Filesystem* const fs = FsOf(req);
  const uint32_t bytes = std::exchange(message->data_bytes, 0);
  switch (message->index) {
    case kMigrateBegin: {
      std::string layout(message->data, bytes);
      co_return co_await fs->BeginCopy(WhoAsks(req), fid, handle, std::move(layout));
    }
    case kMigrateCopy: {
      message->data_bytes = bytes;
      co_return co_await CopyStep(fs, fid, handle, message);
    }
    case kMigrateHold: {
      SHEEN_CO_TRY_ASSIGN(const bool complete, co_await fs->HoldLayout(fid, handle));
      message->count = complete ? 1 : 0;
      co_return Status();
    }
    case kMigrateFinish:
      co_return co_await fs->FinishCopy(fid, handle);
    case kMigrateEnd:
      fs->EndCopy(fid, handle);
      co_return Status();
    default:
      co_return Fail(Errc::kInvalid, "no step of a migrate");
  }
}

async::Task<void> Migrate(fuse_req_t req, Fid fid, uint64_t handle, Message message) {
  const Status done = co_await MigrateStep(req, fid, handle, message.get());
  if (!done) {
    ReplyError(req, done.error());
    co_return;
  }
  ReplyMessage(req, *message);
}

void GetFid(fuse_req_t req, Fid fid, Message message) {
  PutFid(fid, message.get());
  message->data_bytes = 0;
  ReplyMessage(req, *message);
}

void GetClient(fuse_req_t req, Message message) {
  const std::string uuid = FsOf(req)->identity().uuid().ToString();
  PutChunk(uuid, message.get());
  message->stamp = 0;
  ReplyMessage(req, *message);
}

// On a mount that may only read, what changes files, names or where they lie is EROFS.
enum class Effect : uint8_t { kReads, kChanges };

struct Command {
  unsigned long number;
  Effect effect;
  void (*serve)(fuse_req_t req, Fid fid, uint64_t handle, Message message);
};

constexpr Command kCommands[] = {
    {kIoctlGetFid, Effect::kReads,
     [](fuse_req_t req, Fid fid, uint64_t, Message in) { GetFid(req, fid, std::move(in)); }},
    {kIoctlGetClient, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { GetClient(req, std::move(in)); }},
    {kIoctlGetLayout, Effect::kReads,
     [](fuse_req_t req, Fid fid, uint64_t, Message in) {
       Spawn(GetLayout(req, fid, std::move(in)));
     }},
    {kIoctlSetLayout, Effect::kChanges,
     [](fuse_req_t req, Fid fid, uint64_t, Message in) {
       Spawn(SetLayout(req, fid, std::move(in)));
     }},
    {kIoctlCreateWithLayout, Effect::kChanges,
     [](fuse_req_t req, Fid fid, uint64_t, Message in) {
       Spawn(CreateWithLayout(req, fid, std::move(in)));
     }},
    {kIoctlStatFsTargets, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { Spawn(StatTargets(req, std::move(in))); }},
    {kIoctlListPools, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { Spawn(ListPools(req, std::move(in))); }},
    {kIoctlFidToPath, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { Spawn(FidToPath(req, std::move(in))); }},
    {kIoctlReadChangelog, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { Spawn(ReadChangelog(req, std::move(in))); }},
    // How far a user has read is no file's business: a reader of the changelog needs no more.
    {kIoctlClearChangelog, Effect::kReads,
     [](fuse_req_t req, Fid, uint64_t, Message in) { Spawn(ClearChangelog(req, std::move(in))); }},
    {kIoctlHsmState, Effect::kReads, ServeHsmState},
    {kIoctlHsmSet, Effect::kChanges, ServeHsmSet},
    {kIoctlHsmAction, Effect::kChanges, ServeHsmAction},
    {kIoctlHsmJob, Effect::kReads, ServeHsmJob},
    {kIoctlDataVersion, Effect::kReads,
     [](fuse_req_t req, Fid fid, uint64_t, Message in) {
       Spawn(DataVersion(req, fid, std::move(in)));
     }},
    {kIoctlMigrate, Effect::kChanges,
     [](fuse_req_t req, Fid fid, uint64_t handle, Message in) {
       Spawn(Migrate(req, fid, handle, std::move(in)));
     }},
    {kIoctlSwapLayouts, Effect::kChanges,
     [](fuse_req_t req, Fid fid, uint64_t handle, Message in) {
       Spawn(SwapLayouts(req, fid, handle, std::move(in)));
     }},
};

void Ioctl(fuse_req_t req, fuse_ino_t node, unsigned number, const fuse_file_info& file,
           const void* in, size_t in_bytes) {
  const auto* const command = std::ranges::find(kCommands, number, &Command::number);
  if (command == std::end(kCommands)) {
    fuse_reply_err(req, ENOTTY);
    return;
  }
  if (const int wrong = in == nullptr ? EINVAL : CheckIoctl(in, in_bytes)) {
    fuse_reply_err(req, wrong);
    return;
  }
  if (FsOf(req)->options().read_only && command->effect == Effect::kChanges) {
    fuse_reply_err(req, EROFS);
    return;
  }
  auto message = std::make_unique<IoctlMessage>();
  std::memcpy(message.get(), in, sizeof(IoctlMessage));
  command->serve(req, FidOfNode(FsOf(req), node), file.fh, std::move(message));
}

}  // namespace

void AddIoctlOps(fuse_lowlevel_ops* ops) {
  ops->ioctl = [](fuse_req_t req, fuse_ino_t node, unsigned command, void*, fuse_file_info* file,
                  unsigned flags, const void* in, size_t in_bytes, size_t) {
    if ((flags & FUSE_IOCTL_COMPAT) != 0) {
      fuse_reply_err(req, ENOSYS);
      return;
    }
    Ioctl(req, node, command, *file, in, in_bytes);
  };
}

}  // namespace sheen::fuse
