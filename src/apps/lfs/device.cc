#include "apps/lfs/device.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace sheen::lfs {

namespace {

// How often a long answer may change while it is read.
constexpr int kAttemptsMax = 20;

class OpenFile final {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

std::unique_ptr<IoctlMessage> NewMessage() {
  auto message = std::make_unique<IoctlMessage>();
  PrepareIoctl(message.get());
  return message;
}

Status BadAnswer() {
  return Fail(Errc::kProtocol, "the client daemon's answer makes no sense: versions differ");
}

// The fields of a chunk that the loops below rely on.
Status CheckChunk(const IoctlMessage& message, uint32_t index) {
  if (message.data_bytes > kIoctlDataBytes || message.total < index ||
      message.count > message.total - index || (message.count == 0 && message.total > index))
    return BadAnswer();
  return {};
}

Status PutRequest(const google::protobuf::MessageLite& request, IoctlMessage* message) {
  if (request.ByteSizeLong() > kIoctlDataBytes) return Fail(Errc::kInvalid, "too long");
  message->data_bytes = static_cast<uint32_t>(request.ByteSizeLong());
  request.SerializeToArray(message->data, static_cast<int>(message->data_bytes));
  return {};
}

Fid FidOf(const IoctlMessage& message) {
  return {message.fid_seq, message.fid_oid, message.fid_ver};
}

}  // namespace

Result<Device> Device::Open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FailErrno(errno, path);
  const auto file = std::make_shared<OpenFile>(fd);
  return Device([file](unsigned long command, IoctlMessage* message) -> Status {
    if (::ioctl(file->fd(), command, message) < 0) return FailErrno(errno, "ioctl");
    return {};
  });
}

Status Device::Call(unsigned long command, IoctlMessage* message) const {
  SHEEN_TRY(caller_(command, message));
  // Another filesystem could know the number by chance.
  if (message->magic != kIoctlMagic || message->header_bytes != kIoctlHeaderBytes)
    return Fail(Errc::kNotTty, "not a Sheen filesystem");
  return {};
}

Result<Fid> Device::GetFid() const {
  const auto message = NewMessage();
  SHEEN_TRY(Call(kIoctlGetFid, message.get()));
  return FidOf(*message);
}

Result<ShownLayout> Device::GetLayout(bool effective) const {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    std::string bytes;
    ShownLayout shown;
    uint64_t stamp = 0;
    bool changed = false;
    for (;;) {
      const auto message = NewMessage();
      message->flags = effective ? kIoctlEffective : 0;
      message->index = static_cast<uint32_t>(bytes.size());
      SHEEN_TRY(Call(kIoctlGetLayout, message.get()));
      changed = !bytes.empty() && message->stamp != stamp;
      if (changed) break;
      SHEEN_TRY(CheckChunk(*message, static_cast<uint32_t>(bytes.size())));
      if (message->count != message->data_bytes) return std::unexpected(BadAnswer().error());
      stamp = message->stamp;
      shown.fid = FidOf(*message);
      shown.inherited = (message->flags & kIoctlInherited) != 0;
      bytes.append(message->data, message->data_bytes);
      if (bytes.size() == message->total) break;
    }
    if (changed) continue;
    if (bytes.empty()) return shown;
    SHEEN_TRY_ASSIGN(shown.layout, layout::Decode(bytes));
    return shown;
  }
  return Fail(Errc::kAgain, "the layout changes all the time");
}

Status Device::SetLayout(const layout::Layout& layout_template) const {
  return SendLayout(layout_template, 0);
}

Status Device::AddComponents(const layout::Layout& layout_template) const {
  return SendLayout(layout_template, kIoctlAddComponents);
}

Status Device::DeleteComponents(uint32_t id) const {
  const auto message = NewMessage();
  message->flags = kIoctlDeleteComponents;
  message->index = id;
  return Call(kIoctlSetLayout, message.get());
}

Status Device::SetComponentFlags(uint32_t id, uint32_t set, uint32_t clear) const {
  const auto message = NewMessage();
  message->flags = kIoctlSetComponentFlags;
  message->index = id;
  message->count = set;
  message->total = clear;
  return Call(kIoctlSetLayout, message.get());
}

Status Device::SendLayout(const layout::Layout& layout_template, uint32_t flags) const {
  const std::string bytes = layout::Encode(layout_template);
  if (bytes.size() > kIoctlDataBytes) return Fail(Errc::kRange, "the layout is too long");
  const auto message = NewMessage();
  message->flags = flags;
  message->data_bytes = static_cast<uint32_t>(bytes.size());
  std::memcpy(message->data, bytes.data(), bytes.size());
  return Call(kIoctlSetLayout, message.get());
}

Status Device::RemoveLayout() const {
  const auto message = NewMessage();
  message->flags = kIoctlRemove;
  return Call(kIoctlSetLayout, message.get());
}

Result<Fid> Device::CreateWithLayout(const std::string& name, uint32_t mode,
                                     const layout::Layout& layout_template) const {
  const std::string bytes = name + layout::Encode(layout_template);
  if (bytes.size() > kIoctlDataBytes) return Fail(Errc::kRange, "the layout is too long");
  const auto message = NewMessage();
  message->mode = mode;
  message->name_bytes = static_cast<uint32_t>(name.size());
  message->data_bytes = static_cast<uint32_t>(bytes.size());
  std::memcpy(message->data, bytes.data(), bytes.size());
  SHEEN_TRY(Call(kIoctlCreateWithLayout, message.get()));
  return FidOf(*message);
}

Result<std::vector<v1::TargetSpace>> Device::Targets() const {
  std::vector<v1::TargetSpace> targets;
  for (;;) {
    const auto message = NewMessage();
    const auto index = static_cast<uint32_t>(targets.size());
    message->index = index;
    SHEEN_TRY(Call(kIoctlStatFsTargets, message.get()));
    SHEEN_TRY(CheckChunk(*message, index));
    v1::StatFsReply reply;
    if (!reply.ParseFromArray(message->data, static_cast<int>(message->data_bytes)) ||
        static_cast<uint32_t>(reply.targets_size()) != message->count)
      return std::unexpected(BadAnswer().error());
    for (v1::TargetSpace& target : *reply.mutable_targets()) targets.push_back(std::move(target));
    if (targets.size() == message->total) return targets;
  }
}

Result<std::vector<std::string>> Device::FidToPath(const Fid& fid) const {
  std::vector<std::string> paths;
  for (;;) {
    const auto message = NewMessage();
    const auto index = static_cast<uint32_t>(paths.size());
    message->index = index;
    message->fid_seq = fid.seq;
    message->fid_oid = fid.oid;
    message->fid_ver = fid.ver;
    SHEEN_TRY(Call(kIoctlFidToPath, message.get()));
    SHEEN_TRY(CheckChunk(*message, index));
    std::string_view rest(message->data, message->data_bytes);
    for (uint32_t i = 0; i < message->count; ++i) {
      const size_t end = rest.find('\0');
      if (end == std::string_view::npos) return std::unexpected(BadAnswer().error());
      paths.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    if (paths.size() >= message->total) return paths;
  }
}

Result<v1::ReadChangelogReply> Device::ReadChangelog(
    uint32_t mdt, const v1::ReadChangelogRequest& request) const {
  const auto message = NewMessage();
  message->index = mdt;
  SHEEN_TRY(PutRequest(request, message.get()));
  SHEEN_TRY(Call(kIoctlReadChangelog, message.get()));
  v1::ReadChangelogReply reply;
  if (message->data_bytes > kIoctlDataBytes ||
      !reply.ParseFromArray(message->data, static_cast<int>(message->data_bytes)))
    return std::unexpected(BadAnswer().error());
  return reply;
}

Status Device::ClearChangelog(uint32_t mdt, const v1::ClearChangelogRequest& request) const {
  const auto message = NewMessage();
  message->index = mdt;
  SHEEN_TRY(PutRequest(request, message.get()));
  return Call(kIoctlClearChangelog, message.get());
}

Result<std::string> Device::ReadAll(unsigned long command) const {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    std::string bytes;
    uint64_t stamp = 0;
    for (;;) {
      const auto message = NewMessage();
      const auto index = static_cast<uint32_t>(bytes.size());
      message->index = index;
      SHEEN_TRY(Call(command, message.get()));
      if (index > 0 && message->stamp != stamp) break;
      SHEEN_TRY(CheckChunk(*message, index));
      if (message->count != message->data_bytes) return std::unexpected(BadAnswer().error());
      stamp = message->stamp;
      bytes.append(message->data, message->data_bytes);
      if (bytes.size() == message->total) return bytes;
    }
  }
  return Fail(Errc::kAgain, "the answer changes all the time");
}

Result<v1::OstPoolList> Device::Pools() const {
  SHEEN_TRY_ASSIGN(const std::string bytes, ReadAll(kIoctlListPools));
  v1::OstPoolList pools;
  if (!pools.ParseFromString(bytes)) return std::unexpected(BadAnswer().error());
  return pools;
}

Result<v1::HsmFileState> Device::GetHsmState() const {
  SHEEN_TRY_ASSIGN(const std::string bytes, ReadAll(kIoctlHsmState));
  v1::HsmFileState state;
  if (!state.ParseFromString(bytes)) return std::unexpected(BadAnswer().error());
  return state;
}

Status Device::SetHsmFlags(const IoctlHsmFlags& flags) const {
  const auto message = NewMessage();
  message->data_bytes = sizeof flags;
  std::memcpy(message->data, &flags, sizeof flags);
  return Call(kIoctlHsmSet, message.get());
}

Result<Device::HsmDone> Device::HsmAction(uint32_t action, const std::vector<Fid>& fids,
                                          uint64_t job) const {
  const auto message = NewMessage();
  message->mode = action;
  message->stamp = job;
  for (const Fid& fid : fids) {
    const IoctlFid wire{fid.seq, fid.oid, fid.ver};
    std::memcpy(message->data + message->data_bytes, &wire, sizeof wire);
    message->data_bytes += sizeof wire;
  }
  SHEEN_TRY(Call(kIoctlHsmAction, message.get()));
  if (message->count != fids.size() || message->data_bytes != fids.size() * sizeof(int32_t)) {
    return std::unexpected(BadAnswer().error());
  }
  HsmDone out;
  out.amount = message->stamp;
  for (uint32_t i = 0; i < message->count; ++i) {
    int32_t error = 0;
    std::memcpy(&error, message->data + i * sizeof error, sizeof error);
    out.errors.push_back(error);
  }
  return out;
}

Result<v1::HsmJobReply> Device::HsmJob(uint64_t job) const {
  const auto message = NewMessage();
  message->stamp = job;
  SHEEN_TRY(Call(kIoctlHsmJob, message.get()));
  v1::HsmJobReply reply;
  if (message->data_bytes > kIoctlDataBytes ||
      !reply.ParseFromArray(message->data, static_cast<int>(message->data_bytes))) {
    return std::unexpected(BadAnswer().error());
  }
  return reply;
}

Result<std::string> Device::ClientUuid() const {
  IoctlMessage message;
  PrepareIoctl(&message);
  SHEEN_TRY(Call(kIoctlGetClient, &message));
  return std::string(message.data, std::min(message.data_bytes, kIoctlDataBytes));
}

Result<uint64_t> Device::DataVersion(uint32_t flags) const {
  const auto message = NewMessage();
  message->flags = flags;
  SHEEN_TRY(Call(kIoctlDataVersion, message.get()));
  return message->stamp;
}

Status Device::SwapLayouts(const Fid& other) const {
  const auto message = NewMessage();
  message->fid_seq = other.seq;
  message->fid_oid = other.oid;
  message->fid_ver = other.ver;
  return Call(kIoctlSwapLayouts, message.get());
}

Status Device::MigrateBegin(const layout::Layout& layout_template) const {
  std::string bytes;
  if (!layout_template.empty()) bytes = layout::Encode(layout_template);
  if (bytes.size() > kIoctlDataBytes) return Fail(Errc::kRange, "the layout is too long");
  const auto message = NewMessage();
  message->index = kMigrateBegin;
  message->data_bytes = static_cast<uint32_t>(bytes.size());
  std::memcpy(message->data, bytes.data(), bytes.size());
  return Call(kIoctlMigrate, message.get());
}

Result<IoctlCopy> Device::MigrateCopy(uint64_t offset, uint64_t length) const {
  const auto message = NewMessage();
  message->index = kMigrateCopy;
  IoctlCopy copy{.offset = offset, .length = length};
  message->data_bytes = sizeof copy;
  std::memcpy(message->data, &copy, sizeof copy);
  SHEEN_TRY(Call(kIoctlMigrate, message.get()));
  if (message->data_bytes != sizeof copy) return std::unexpected(BadAnswer().error());
  std::memcpy(&copy, message->data, sizeof copy);
  return copy;
}

Result<bool> Device::MigrateHold() const {
  const auto message = NewMessage();
  message->index = kMigrateHold;
  SHEEN_TRY(Call(kIoctlMigrate, message.get()));
  return message->count == 1;
}

Status Device::MigrateFinish() const {
  const auto message = NewMessage();
  message->index = kMigrateFinish;
  return Call(kIoctlMigrate, message.get());
}

}  // namespace sheen::lfs
