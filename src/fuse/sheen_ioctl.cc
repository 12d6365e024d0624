// The serving side of include/sheen/ioctl.h: what `lfs` asks.

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "base/crc32c.h"
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
  if (remove != (message->data_bytes == 0)) {
    fuse_reply_err(req, EINVAL);
    co_return;
  }
  const Status set = co_await FsOf(req)->SetLayout(WhoAsks(req), fid,
                                                   std::string(message->data, message->data_bytes));
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

void Ioctl(fuse_req_t req, fuse_ino_t node, unsigned command, const void* in, size_t in_bytes) {
  if (_IOC_TYPE(command) != kIoctlType) {
    fuse_reply_err(req, ENOTTY);
    return;
  }
  if (const int wrong = in == nullptr ? EINVAL : CheckIoctl(in, in_bytes)) {
    fuse_reply_err(req, wrong);
    return;
  }
  auto message = std::make_unique<IoctlMessage>();
  std::memcpy(message.get(), in, sizeof(IoctlMessage));
  const Fid fid = FidOfNode(FsOf(req), node);
  switch (command) {
    case kIoctlGetFid:
      PutFid(fid, message.get());
      message->data_bytes = 0;
      return ReplyMessage(req, *message);
    case kIoctlGetClient: {
      const std::string uuid = FsOf(req)->identity().uuid().ToString();
      PutChunk(uuid, message.get());
      message->stamp = 0;
      return ReplyMessage(req, *message);
    }
    case kIoctlGetLayout:
      return Spawn(GetLayout(req, fid, std::move(message)));
    case kIoctlSetLayout:
      return Spawn(SetLayout(req, fid, std::move(message)));
    case kIoctlCreateWithLayout:
      return Spawn(CreateWithLayout(req, fid, std::move(message)));
    case kIoctlStatFsTargets:
      return Spawn(StatTargets(req, std::move(message)));
    case kIoctlFidToPath:
      return Spawn(FidToPath(req, std::move(message)));
    case kIoctlReadChangelog:
      return Spawn(ReadChangelog(req, std::move(message)));
    case kIoctlClearChangelog:
      return Spawn(ClearChangelog(req, std::move(message)));
    default:
      fuse_reply_err(req, ENOTTY);
  }
}

}  // namespace

void AddIoctlOps(fuse_lowlevel_ops* ops) {
  ops->ioctl = [](fuse_req_t req, fuse_ino_t node, unsigned command, void*, fuse_file_info*,
                  unsigned flags, const void* in, size_t in_bytes, size_t) {
    if ((flags & FUSE_IOCTL_COMPAT) != 0) {
      fuse_reply_err(req, ENOSYS);
      return;
    }
    Ioctl(req, node, command, in, in_bytes);
  };
}

}  // namespace sheen::fuse
