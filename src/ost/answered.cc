#include "ost/answered.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::ost {
namespace {

constexpr std::string_view kPrefix = "answered/";
constexpr uint8_t kVersion = 1;
constexpr size_t kKeyBytes = kPrefix.size() + 8 + 4;
constexpr size_t kRowBytes = 2 + 6 * 8 + 4;

std::string KeyOf(const Answered::Slot& slot) {
  std::string key(kPrefix);
  AppendBig64(&key, slot.first);
  AppendBig32(&key, slot.second);
  return key;
}

std::string RowOf(const AnsweredRequest& request) {
  Encoder row;
  row.U8(kVersion);
  row.U8(request.attr.exists ? 1 : 0);
  row.U64(request.xid);
  row.U64(request.transno);
  row.U64(request.attr.size);
  row.U64(request.attr.allocated_bytes);
  row.U64(static_cast<uint64_t>(request.attr.mtime_ns));
  row.U64(static_cast<uint64_t>(request.attr.ctime_ns));
  row.U32(Crc32c(AsBytes(row.data())));
  return row.Take();
}

}  // namespace

void Answered::Note(const RequestName& request, uint64_t transno, const ObjectAttr& attr) {
  if (request.slot == 0) return;
  const std::scoped_lock lock(mutex_);
  noted_[{request.session, request.slot}] = {request.xid, transno, attr};
}

Answered::Slots Answered::Take() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(noted_, {});
}

void Answered::PutBack(Slots slots) {
  const std::scoped_lock lock(mutex_);
  noted_.merge(slots);  // a later request of the slot stays
}

Status Answered::Load(std::string_view key, std::string_view value) {
  if (!IsKey(key) || value.size() != kRowBytes) {
    return Fail(Errc::kCorrupt,
                fmt::format("answered request: a row of {} + {} bytes", key.size(), value.size()));
  }
  const std::string_view covered = value.substr(0, value.size() - 4);
  if (LoadLittle<uint32_t>(value.data() + covered.size()) != Crc32c(AsBytes(covered))) {
    return Fail(Errc::kCorrupt, "answered request: a row fails its checksum");
  }
  Decoder in(covered);
  if (in.U8() != kVersion) {
    return Fail(Errc::kBadVersion, "answered request: a row of an unknown version");
  }
  AnsweredRequest request;
  request.attr.exists = in.U8() != 0;
  request.xid = in.U64();
  request.transno = in.U64();
  request.attr.size = in.U64();
  request.attr.allocated_bytes = in.U64();
  request.attr.mtime_ns = static_cast<int64_t>(in.U64());
  request.attr.ctime_ns = static_cast<int64_t>(in.U64());
  const std::scoped_lock lock(mutex_);
  loaded_[{LoadBig64(key.data() + kPrefix.size()),
           LoadBig32(key.data() + kPrefix.size() + 8)}] = request;
  return {};
}

std::optional<AnsweredRequest> Answered::Find(uint64_t session, uint32_t slot) const {
  const std::scoped_lock lock(mutex_);
  const auto found = loaded_.find({session, slot});
  if (found == loaded_.end()) return std::nullopt;
  return found->second;
}

void Answered::Forget(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  const auto of_session = [session](const auto& entry) { return entry.first.first == session; };
  std::erase_if(loaded_, of_session);
  std::erase_if(noted_, of_session);
}

std::set<uint64_t> Answered::Sessions() const {
  std::set<uint64_t> sessions;
  const std::scoped_lock lock(mutex_);
  for (const auto& [slot, request] : loaded_) sessions.insert(slot.first);
  return sessions;
}

void Answered::AppendRows(const Slots& slots, kv::Batch* batch) {
  for (const auto& [slot, request] : slots) {
    batch->Put(kMetaFamily, KeyOf(slot), RowOf(request));
  }
}

bool Answered::IsKey(std::string_view key) {
  return key.size() == kKeyBytes && key.starts_with(kPrefix);
}

void Answered::DeleteRows(uint64_t session, kv::Batch* batch) {
  std::string end = KeyOf({session, UINT32_MAX});
  end.push_back('\0');
  batch->DeleteRange(kMetaFamily, KeyOf({session, 0}), std::move(end));
}

}  // namespace sheen::ost
