#include "agent/ask_object.h"

#include <sys/stat.h>

#include "agent/entry.h"
#include "base/log.h"

namespace sheen::agent {
namespace {

constexpr size_t kSymlinkBytesMax = 4095;

bool HoldsTarget(uint64_t size) { return size > 0 && size <= kSymlinkBytesMax; }

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
  if (!HoldsTarget(entry->size())) {
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

namespace {

void SetError(const Error& error, v1::ObjectAnswer* answer) {
  answer->clear_entry();
  answer->clear_gone();
  const bool late = error.code() == Errc::kCancelled;
  answer->set_error(late ? "S3 has not answered in time" : error.ToString());
}

async::Task<v1::ObjectAnswer> AskKey(Link* link, s3::CallOptions call, std::string key) {
  v1::ObjectAnswer answer;
  v1::ImportEntry* const entry = answer.mutable_entry();
  *entry = EntryOfKey(key);
  const Status asked = co_await AskAttributes(link, call, entry);
  if (asked) co_return answer;
  const bool no_target = S_ISLNK(entry->mode()) && !HoldsTarget(entry->size());
  if (asked.error().code() == Errc::kInvalid && no_target) {
    SHEEN_LOG(Warn,
              "'{}' is a symbolic link whose object of {} bytes cannot hold its target; it is "
              "shown as a file",
              key, entry->size());
    entry->set_mode(S_IFREG | (entry->mode() & 07777));
    co_return answer;
  }
  if (asked.error().code() != Errc::kNoEntry) {
    SetError(asked.error(), &answer);
    co_return answer;
  }
  answer.clear_entry();
  answer.set_gone(true);
  co_return answer;
}

// The first key that begins so; empty: there is none.
async::Task<Result<std::string>> FirstKey(Link* link, s3::CallOptions call, std::string prefix) {
  call.priority = s3::Priority::kQuestion;
  s3::ListRequest look{.prefix = std::move(prefix), .keys_max = 1, .call = call};
  SHEEN_CO_TRY_ASSIGN(const s3::ListPage page, co_await link->client.List(std::move(look)));
  co_return page.entries.empty() ? std::string() : page.entries[0].key;
}

}  // namespace

// The answer to a HEAD has no body: that there is no such bucket, or that an endpoint knows
// nothing at all, looks the same as that the object is gone. A listing tells. (A directory has no
// object in most buckets, and nothing is removed for that.)
async::Task<v1::ObjectAnswer> AskObject(Link* link, s3::CallOptions call, std::string key) {
  v1::ObjectAnswer answer = co_await AskKey(link, call, key);
  if (!answer.gone() || key.ends_with('/')) co_return answer;
  const Result<std::string> first = co_await FirstKey(link, call, key);
  if (!first) {
    SetError(first.error(), &answer);
  } else if (*first == key) {
    answer.clear_gone();
    answer.set_error("S3 lists it, and says that there is no such object");
  }
  co_return answer;
}

async::Task<v1::ObjectAnswer> FindObject(Link* link, s3::CallOptions call, std::string name) {
  v1::ObjectAnswer answer = co_await AskKey(link, call, name);
  if (!answer.gone()) co_return answer;
  const std::string directory = name + "/";
  const Result<std::string> first = co_await FirstKey(link, call, directory);
  if (!first) {
    SetError(first.error(), &answer);
    co_return answer;
  }
  if (*first == directory) co_return co_await AskKey(link, call, directory);
  if (!first->empty()) {
    answer.clear_gone();
    answer.set_directory_only(true);
  }
  co_return answer;
}

}  // namespace sheen::agent
