#include "oss/page_readers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sheen::oss {

void PageReaders::EraseIfEmpty(Bucket* bucket, const ObjectKey& key) {
  const auto found = bucket->objects.find(key);
  if (found == bucket->objects.end()) return;
  if (found->second.readers.empty() && found->second.calls.empty()) bucket->objects.erase(found);
}

bool PageReaders::Add(const ObjectKey& key, lock::LockName reader) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto object = bucket.objects.find(key);
  if (object != bucket.objects.end()) {
    for (lock::LockName& known : object->second.readers) {
      if (known.owner != reader.owner) continue;
      // One that was under way for long.
      if (known.id < reader.id) known = reader;
      return true;
    }
  }
  if (count_.load(std::memory_order_relaxed) >= kCountMax) return false;
  bucket.objects[key].readers.push_back(reader);
  count_.fetch_add(1);
  return true;
}

void PageReaders::Remove(const ObjectKey& key, lock::LockName reader) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto object = bucket.objects.find(key);
  if (object == bucket.objects.end()) return;
  count_.fetch_sub(std::erase(object->second.readers, reader), std::memory_order_relaxed);
  EraseIfEmpty(&bucket, key);
}

void PageReaders::Forget(const ObjectKey& key) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto object = bucket.objects.find(key);
  if (object == bucket.objects.end()) return;
  count_.fetch_sub(object->second.readers.size(), std::memory_order_relaxed);
  object->second.readers.clear();
  EraseIfEmpty(&bucket, key);
}

void PageReaders::DropSession(uint64_t session) {
  std::vector<std::function<void()>> waiting;
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (auto it = bucket.objects.begin(); it != bucket.objects.end();) {
      Object& object = it->second;
      const size_t gone = std::erase_if(
          object.readers, [session](const lock::LockName& name) { return name.owner == session; });
      count_.fetch_sub(gone, std::memory_order_relaxed);
      for (const CallPtr& call : object.calls) {
        if (call->reader.owner == session) LetGo(call.get(), &waiting);
      }
      const bool empty = object.readers.empty() && object.calls.empty();
      it = empty ? bucket.objects.erase(it) : std::next(it);
    }
  }
  for (const auto& wake : waiting) wake();
}

void PageReaders::LetGo(Call* call, std::vector<std::function<void()>>* waiting) {
  call->done.store(true);
  std::ranges::move(call->waiting, std::back_inserter(*waiting));
  call->waiting.clear();
}

PageReaders::Recalled PageReaders::Recall(const ObjectKey& key, uint64_t by) {
  Recalled recalled;
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.objects.find(key);
  if (found == bucket.objects.end()) return recalled;
  Object& object = found->second;
  // They count on as those who are being asked.
  const auto others = std::ranges::partition(
      object.readers, [by](const lock::LockName& name) { return name.owner == by; });
  for (const lock::LockName& name : others) {
    recalled.begun.push_back(std::make_shared<Call>(name));
    object.calls.push_back(recalled.begun.back());
  }
  object.readers.erase(others.begin(), others.end());
  for (const CallPtr& call : object.calls) {
    if (call->reader.owner != by) recalled.all.push_back(call);
  }
  return recalled;
}

bool PageReaders::HasOthers(const ObjectKey& key, uint64_t by) {
  if (count_.load() == 0) return false;
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.objects.find(key);
  if (found == bucket.objects.end()) return false;
  const Object& object = found->second;
  return std::ranges::any_of(object.readers,
                             [by](const lock::LockName& name) { return name.owner != by; }) ||
         std::ranges::any_of(object.calls,
                             [by](const CallPtr& call) { return call->reader.owner != by; });
}

bool PageReaders::AddWaiter(const ObjectKey& key, Call* call, std::function<void()> wake) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  if (call->done.load() || stopped_.load()) return false;
  call->waiting.push_back(std::move(wake));
  return true;
}

void PageReaders::End(const ObjectKey& key, const CallPtr& call) {
  std::vector<std::function<void()>> waiting;
  {
    Bucket& bucket = BucketOf(key);
    const std::scoped_lock lock(bucket.mutex);
    LetGo(call.get(), &waiting);
    const auto found = bucket.objects.find(key);
    if (found != bucket.objects.end()) std::erase(found->second.calls, call);
    EraseIfEmpty(&bucket, key);
  }
  count_.fetch_sub(1, std::memory_order_relaxed);
  for (const auto& wake : waiting) wake();
}

void PageReaders::Stop() {
  stopped_.store(true);
  std::vector<std::function<void()>> waiting;
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (auto& [key, object] : bucket.objects) {
      for (const CallPtr& call : object.calls) LetGo(call.get(), &waiting);
    }
  }
  for (const auto& wake : waiting) wake();
}

}  // namespace sheen::oss
