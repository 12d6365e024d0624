#include "client/kept_requests.h"

#include <algorithm>
#include <utility>

#include "sheen/v1/mds.pb.h"

namespace sheen::client {
namespace {

uint64_t BytesOf(const KeptRequest& request) {
  return sizeof(KeptRequest) + request.body.size() + request.reply.size();
}

template <class Request, class Reply>
bool Read(const KeptRequest& kept, Request* request, Reply* reply) {
  return request->ParseFromString(kept.body) && reply->ParseFromString(kept.reply);
}

template <class Request, class Reply>
std::string WithNewName(const KeptRequest& kept) {
  Request request;
  Reply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  request.set_decided_time_ns(reply.attr().ctime_ns());
  request.set_decided_cookie(reply.cookie());
  return request.SerializeAsString();
}

template <class Request, class Reply>
std::string WithTime(const KeptRequest& kept) {
  Request request;
  Reply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  request.set_decided_time_ns(reply.time_ns());
  return request.SerializeAsString();
}

std::string OfCreate(const KeptRequest& kept) {
  v1::CreateRequest request;
  v1::CreateReply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  // Of a file that was there already nothing was decided.
  if (!reply.created()) return kept.body;
  request.set_decided_layout(reply.attr().layout());
  request.set_decided_time_ns(reply.attr().ctime_ns());
  request.set_decided_cookie(reply.cookie());
  return request.SerializeAsString();
}

std::string OfRename(const KeptRequest& kept) {
  v1::RenameRequest request;
  v1::RenameReply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  request.set_decided_time_ns(reply.time_ns());
  request.set_decided_cookie(reply.cookie());
  request.set_decided_cookie_exchange(reply.cookie_exchange());
  return request.SerializeAsString();
}

std::string OfSetAttr(const KeptRequest& kept) {
  v1::SetAttrRequest request;
  v1::SetAttrReply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  request.set_decided_ctime_ns(reply.attr().ctime_ns());
  return request.SerializeAsString();
}

template <class Request, class Reply>
std::string WithLayout(const KeptRequest& kept) {
  Request request;
  Reply reply;
  if (!Read(kept, &request, &reply)) return kept.body;
  request.set_decided_layout(reply.layout());
  return request.SerializeAsString();
}

}  // namespace

void KeptRequests::Keep(KeptRequest request, uint64_t last_committed) {
  const std::scoped_lock lock(mutex_);
  if (last_committed > committed_) CommittedLocked(last_committed);
  bytes_.fetch_add(BytesOf(request), std::memory_order_relaxed);
  const uint64_t transno = request.transno;
  if (request.order == 0) request.order = transno;
  requests_.emplace_hint(requests_.end(), transno, std::move(request));
}

void KeptRequests::Committed(uint64_t transno) {
  const std::scoped_lock lock(mutex_);
  CommittedLocked(transno);
}

void KeptRequests::CommittedLocked(uint64_t transno) {
  committed_ = transno;
  auto at = requests_.lower_bound(transno >> kBootShift << kBootShift);
  while (at != requests_.end() && at->first <= transno) {
    bytes_.fetch_sub(BytesOf(at->second), std::memory_order_relaxed);
    at = requests_.erase(at);
  }
}

std::vector<KeptRequests::Key> KeptRequests::ToReplay(uint64_t boot) const {
  std::vector<Key> keys;
  const std::scoped_lock lock(mutex_);
  keys.reserve(requests_.size());
  for (const auto& [transno, request] : requests_) {
    if (transno >> kBootShift != boot) keys.push_back({request.order, transno, request.xid});
  }
  std::ranges::sort(keys, {}, [](const Key& key) { return std::pair(key.order, key.xid); });
  return keys;
}

KeptRequests::Requests::const_iterator KeptRequests::FindLocked(const Key& key) const {
  auto [at, end] = requests_.equal_range(key.transno);
  while (at != end && at->second.xid != key.xid) ++at;
  return at == end ? requests_.end() : at;
}

std::optional<KeptRequest> KeptRequests::Find(const Key& key) const {
  const std::scoped_lock lock(mutex_);
  const auto at = FindLocked(key);
  if (at == requests_.end()) return std::nullopt;
  return at->second;
}

void KeptRequests::Repeated(const Key& key, uint64_t transno) {
  const std::scoped_lock lock(mutex_);
  const auto at = FindLocked(key);
  if (at == requests_.end()) return;
  KeptRequest request = at->second;
  requests_.erase(at);
  request.transno = transno;
  requests_.emplace(transno, std::move(request));
}

void KeptRequests::Drop(const Key& key) {
  const std::scoped_lock lock(mutex_);
  const auto at = FindLocked(key);
  if (at == requests_.end()) return;
  bytes_.fetch_sub(BytesOf(at->second), std::memory_order_relaxed);
  requests_.erase(at);
}

void KeptRequests::Clear() {
  const std::scoped_lock lock(mutex_);
  requests_.clear();
  bytes_.store(0, std::memory_order_relaxed);
}

size_t KeptRequests::size() const {
  const std::scoped_lock lock(mutex_);
  return requests_.size();
}

std::string ReplayBody(const KeptRequest& kept) {
  using rpc::Opcode;
  switch (kept.opcode) {
    case Opcode::kMdsCreate:
      return OfCreate(kept);
    case Opcode::kMdsMakeNode:
      return WithNewName<v1::MakeNodeRequest, v1::MakeNodeReply>(kept);
    case Opcode::kMdsLink:
      return WithNewName<v1::LinkRequest, v1::LinkReply>(kept);
    case Opcode::kMdsUnlink:
      return WithTime<v1::UnlinkRequest, v1::UnlinkReply>(kept);
    case Opcode::kMdsRemoveDir:
      return WithTime<v1::RemoveDirRequest, v1::RemoveDirReply>(kept);
    case Opcode::kMdsRename:
      return OfRename(kept);
    case Opcode::kMdsSetAttr:
      return OfSetAttr(kept);
    case Opcode::kMdsSetXattr:
      return WithTime<v1::SetXattrRequest, v1::SetXattrReply>(kept);
    case Opcode::kMdsRemoveXattr:
      return WithTime<v1::RemoveXattrRequest, v1::RemoveXattrReply>(kept);
    case Opcode::kMdsInstantiate:
      return WithLayout<v1::InstantiateRequest, v1::InstantiateReply>(kept);
    case Opcode::kMdsSetLayout:
      return WithLayout<v1::SetLayoutRequest, v1::SetLayoutReply>(kept);
    default:
      return kept.body;
  }
}

}  // namespace sheen::client
