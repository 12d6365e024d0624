// The serving side of the ioctls for files from S3: `lfs hsm_*`, `sheen prefetch`, `sheen release`.

#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "client/hsm.h"
#include "fuse/sheen_front.h"
#include "sheen/ioctl.h"

namespace sheen::fuse {
namespace {

using Message = std::unique_ptr<IoctlMessage>;

constexpr uint32_t kActionRelease = 12;

void ReplyMessage(fuse_req_t req, const IoctlMessage& message) {
  fuse_reply_ioctl(req, 0, &message, kIoctlHeaderBytes + message.data_bytes);
}

void PutBytes(std::string_view bytes, IoctlMessage* message) {
  const size_t begin = std::min<size_t>(message->index, bytes.size());
  const size_t count = std::min<size_t>(bytes.size() - begin, kIoctlDataBytes);
  std::memcpy(message->data, bytes.data() + begin, count);
  message->count = message->data_bytes = static_cast<uint32_t>(count);
  message->total = static_cast<uint32_t>(bytes.size());
  message->stamp = Crc32c(AsBytes(bytes));
}

async::Task<void> State(fuse_req_t req, Fid fid, Message message) {
  const auto state = co_await client::GetHsmState(FsOf(req), WhoAsks(req), fid);
  if (!state) {
    ReplyError(req, state.error());
    co_return;
  }
  PutBytes(state->SerializeAsString(), message.get());
  ReplyMessage(req, *message);
}

async::Task<void> Set(fuse_req_t req, Fid fid, Message message) {
  if (message->data_bytes != sizeof(IoctlHsmFlags)) {
    fuse_reply_err(req, EINVAL);
    co_return;
  }
  IoctlHsmFlags flags;
  std::memcpy(&flags, message->data, sizeof flags);
  const Status set = co_await client::SetHsmFlags(
      FsOf(req), WhoAsks(req), fid, client::HsmFlags{flags.set, flags.clear, flags.archive_id});
  message->data_bytes = 0;
  if (set) ReplyMessage(req, *message);
  if (!set) ReplyError(req, set.error());
}

// As many at a time as a reader of a file has requests under way.
constexpr size_t kReleasesInFlight = 16;

async::Task<std::vector<Result<uint64_t>>> ReleaseAll(fuse_req_t req, std::vector<Fid> fids) {
  const client::CredentialId who = WhoAsks(req);
  std::vector<Result<uint64_t>> out;
  for (size_t begin = 0; begin < fids.size(); begin += kReleasesInFlight) {
    const size_t end = std::min(fids.size(), begin + kReleasesInFlight);
    std::vector<async::Task<Result<uint64_t>>> tasks;
    for (size_t i = begin; i < end; ++i)
      tasks.push_back(client::HsmRelease(FsOf(req), who, fids[i]));
    const std::vector<Result<uint64_t>> some = co_await async::WhenAll(std::move(tasks));
    out.insert(out.end(), some.begin(), some.end());
  }
  co_return out;
}

Result<std::vector<Fid>> FidsIn(const IoctlMessage& message) {
  if (message.data_bytes == 0 || message.data_bytes % sizeof(IoctlFid) != 0) {
    return Fail(Errc::kInvalid);
  }
  std::vector<Fid> fids;
  for (uint32_t at = 0; at < message.data_bytes; at += sizeof(IoctlFid)) {
    IoctlFid fid;
    std::memcpy(&fid, message.data + at, sizeof fid);
    fids.push_back({fid.seq, fid.oid, fid.ver});
  }
  return fids;
}

async::Task<void> Action(fuse_req_t req, Message message) {
  const Result<std::vector<Fid>> fids = FidsIn(*message);
  if (!fids) {
    ReplyError(req, fids.error());
    co_return;
  }
  std::vector<int32_t> errors;
  uint64_t amount = 0;
  if (message->mode == kActionRelease) {
    const std::vector<Result<uint64_t>> released = co_await ReleaseAll(req, *fids);
    for (const Result<uint64_t>& one : released) {
      errors.push_back(one ? 0 : ErrnoOf(one.error().code()));
      amount += one.value_or(0);
    }
  } else {
    v1::HsmRequest request;
    request.set_action(message->mode);
    request.set_job(message->stamp);
    for (const Fid& fid : *fids) {
      v1::Fid* const wire = request.add_fids();
      wire->set_seq(fid.seq);
      wire->set_oid(fid.oid);
      wire->set_ver(fid.ver);
    }
    const auto reply = co_await client::RequestHsm(FsOf(req), WhoAsks(req), std::move(request));
    if (!reply) {
      ReplyError(req, reply.error());
      co_return;
    }
    for (const uint32_t code : reply->errc()) {
      errors.push_back(code == 0 ? 0 : ErrnoOf(static_cast<Errc>(code)));
    }
    amount = reply->queued();
  }
  std::memcpy(message->data, errors.data(), errors.size() * sizeof(int32_t));
  message->data_bytes = static_cast<uint32_t>(errors.size() * sizeof(int32_t));
  message->count = message->total = static_cast<uint32_t>(errors.size());
  message->stamp = amount;
  ReplyMessage(req, *message);
}

async::Task<void> Job(fuse_req_t req, Message message) {
  const auto job = co_await client::GetHsmJob(FsOf(req), WhoAsks(req), message->stamp);
  if (!job) {
    ReplyError(req, job.error());
    co_return;
  }
  message->index = 0;
  std::string bytes = job->SerializeAsString();
  if (bytes.size() > kIoctlDataBytes) {
    v1::HsmJobReply counts = *job;
    counts.clear_failures();
    bytes = counts.SerializeAsString();
  }
  PutBytes(bytes, message.get());
  ReplyMessage(req, *message);
}

}  // namespace

void ServeHsmState(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message) {
  Spawn(State(req, fid, std::move(message)));
}

void ServeHsmSet(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message) {
  Spawn(Set(req, fid, std::move(message)));
}

void ServeHsmAction(fuse_req_t req, Fid, uint64_t, std::unique_ptr<IoctlMessage> message) {
  Spawn(Action(req, std::move(message)));
}

void ServeHsmJob(fuse_req_t req, Fid, uint64_t, std::unique_ptr<IoctlMessage> message) {
  Spawn(Job(req, std::move(message)));
}

}  // namespace sheen::fuse
