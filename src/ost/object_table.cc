#include "ost/object_table.h"

#include <algorithm>
#include <iterator>

namespace sheen::ost {
namespace {

constexpr uint32_t kStripes = 32;
// Small tables (tests) have one stripe, so that the bound is exact.
constexpr uint32_t kStripedFrom = 1024;
// Held objects at the end of the list that Trim looks past, so that it stays cheap.
constexpr int kTrimLooks = 8;

uint32_t StripeCount(uint32_t objects_max) { return objects_max < kStripedFrom ? 1 : kStripes; }

}  // namespace

ObjectTable::ObjectTable(uint32_t objects_max)
    : stripe_objects_max_(std::max(1U, objects_max / StripeCount(objects_max))),
      stripes_(StripeCount(objects_max)) {}

ObjectTable::Stripe* ObjectTable::StripeOf(const layout::ObjectId& id) {
  return &stripes_[(ObjectIdHash()(id) * 0x9E3779B97F4A7C15ULL >> 32) % stripes_.size()];
}

std::shared_ptr<Object> ObjectTable::Acquire(const layout::ObjectId& id,
                                             std::vector<io::FileId>* to_close) {
  Stripe* stripe = StripeOf(id);
  std::lock_guard lock(stripe->mutex);
  const auto found = stripe->by_id.find(id);
  if (found != stripe->by_id.end()) {
    stripe->by_use.splice(stripe->by_use.begin(), stripe->by_use, found->second);
    return *found->second;
  }
  stripe->by_use.push_front(std::make_shared<Object>(id));
  stripe->by_id.emplace(id, stripe->by_use.begin());
  std::shared_ptr<Object> object = stripe->by_use.front();
  Trim(stripe, to_close);
  return object;
}

void ObjectTable::Trim(Stripe* stripe, std::vector<io::FileId>* to_close) {
  int looks = kTrimLooks;
  auto at = stripe->by_use.end();
  while (stripe->by_use.size() > stripe_objects_max_ && at != stripe->by_use.begin() && looks > 0) {
    --at;
    // Only this table can give out a new reference, and its mutex is held: 1 stays 1.
    if (at->use_count() > 1) {
      --looks;
      continue;
    }
    {
      std::lock_guard object_lock((*at)->mutex);
      if ((*at)->file != io::FileId::kNone) to_close->push_back((*at)->file);
    }
    stripe->by_id.erase((*at)->id);
    at = stripe->by_use.erase(at);
  }
}

void ObjectTable::Remove(const Object* object) {
  Stripe* stripe = StripeOf(object->id);
  std::lock_guard lock(stripe->mutex);
  const auto found = stripe->by_id.find(object->id);
  if (found == stripe->by_id.end() || found->second->get() != object) return;
  stripe->by_use.erase(found->second);
  stripe->by_id.erase(found);
}

std::vector<std::shared_ptr<Object>> ObjectTable::TakeAll() {
  std::vector<std::shared_ptr<Object>> out;
  for (Stripe& stripe : stripes_) {
    std::lock_guard lock(stripe.mutex);
    std::ranges::move(stripe.by_use, std::back_inserter(out));
    stripe.by_use.clear();
    stripe.by_id.clear();
  }
  return out;
}

size_t ObjectTable::size() const {
  size_t total = 0;
  for (const Stripe& stripe : stripes_) {
    std::lock_guard lock(stripe.mutex);
    total += stripe.by_use.size();
  }
  return total;
}

}  // namespace sheen::ost
