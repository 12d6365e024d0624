#include "agent/ask_object.h"

#include <sys/stat.h>

#include "agent/entry.h"
#include "base/log.h"

namespace sheen::agent {
namespace {

constexpr size_t kSymlinkBytesMax = 4095;

}  // namespace

async::Task<Status> AskAttributes(Link* link, s3::CallOptions call, v1::ImportEntry* entry) {
  call.priority = s3::Priority::kQuestion;
  const auto info = co_await link->client.Head({.key = entry->key(), .call = call});
  if (!info) co_return std::unexpected(info.error());
  AddAttributes(*info, entry);
  if (!info->readable) {
    SHEEN_LOG(Warn, "'{}' is archived ({}); it can be read once it is restored there", entry->key(),
              info->storage_class);
  }
  if (!S_ISLNK(entry->mode())) co_return Status();
  if (entry->size() == 0 || entry->size() > kSymlinkBytesMax) {
    co_return Fail(Errc::kInvalid, "a symbolic link whose object cannot hold its target");
  }
  std::string target(entry->size(), '\0');
  const MutableByteSpan into(reinterpret_cast<std::byte*>(target.data()), target.size());
  call.priority = s3::Priority::kAhead;
  s3::GetRangeRequest request{.key = entry->key(), .offset = 0, .size = target.size(),
                              .etag = entry->etag(), .call = call};
  SHEEN_CO_TRY(co_await link->client.GetRange(std::move(request), into));
  entry->set_target(target);
  co_return Status();
}

async::Task<v1::ObjectAnswer> AskObject(Link* link, s3::CallOptions call, std::string key) {
  v1::ObjectAnswer answer;
  v1::ImportEntry* const entry = answer.mutable_entry();
  *entry = EntryOfKey(key);
  const Status asked = co_await AskAttributes(link, call, entry);
  if (asked) co_return answer;
  answer.clear_entry();
  answer.set_gone(asked.error().code() == Errc::kNoEntry);
  if (!answer.gone()) answer.set_error(asked.error().ToString());
  co_return answer;
}

}  // namespace sheen::agent
