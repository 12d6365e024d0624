#include "s3/credentials.h"

#include "base/log.h"

namespace sheen::s3 {
namespace {

constexpr Nanos kAdvisory = std::chrono::minutes(15);
constexpr Nanos kMandatory = std::chrono::minutes(10);
constexpr Nanos kAfterFailure = std::chrono::seconds(60);
constexpr Nanos kStillNew = std::chrono::seconds(5);

LinkOptions DirectLink() {
  return {.concurrency = 4, .use_proxy = false, .connect_limit = std::chrono::seconds(1)};
}
LinkOptions StsLink() { return {.concurrency = 4, .connect_limit = std::chrono::seconds(5)}; }

}  // namespace

CredentialProvider::CredentialProvider(HttpClient* http, async::BlockingPool* pool,
                                       CredentialOptions options)
    : http_(http),
      pool_(pool),
      options_(std::move(options)),
      direct_(http->AddLink(DirectLink())),
      sts_(http->AddLink(StsLink())) {}

CredentialProvider::Age CredentialProvider::AgeLocked(Nanos wall) const {
  if (!current_) return Age::kNone;
  if (current_->expires == Nanos(0) || wall < current_->expires - kAdvisory) return Age::kFresh;
  return wall < current_->expires - kMandatory ? Age::kAdvisory : Age::kMandatory;
}

async::Task<Result<Credentials>> CredentialProvider::Get() {
  async::OneShot<Result<Credentials>> done;
  std::optional<Credentials> current;
  switch (Join(async::Shard::Current(), &done, &current)) {
    case Part::kHave: co_return *std::move(current);
    case Part::kWait: co_return co_await done;
    case Part::kRenew: break;
  }
  co_return co_await Renew();
}

CredentialProvider::Part CredentialProvider::Join(async::Shard* shard,
                                                  async::OneShot<Result<Credentials>>* done,
                                                  std::optional<Credentials>* current) {
  std::lock_guard lock(mutex_);
  const Nanos wall = shard->WallNow();
  const Age age = AgeLocked(wall);
  const bool old_will_do = age == Age::kAdvisory && (renewing_ || wall < no_renewal_before_);
  const bool held_back = age == Age::kMandatory && wall < current_->expires &&
                         wall < no_renewal_before_;
  if (age == Age::kFresh || old_will_do || held_back) {
    *current = current_;
    return Part::kHave;
  }
  if (renewing_) {
    waiters_.push_back({shard, done});
    return Part::kWait;
  }
  renewing_ = true;
  return Part::kRenew;
}

async::Task<Result<Credentials>> CredentialProvider::Renew() {
  async::Shard* const shard = async::Shard::Current();
  CredentialChain chain(http_, direct_, sts_, pool_, &options_);
  Result<Credentials> outcome = co_await chain.Resolve();
  std::vector<Waiter> waiters;
  {
    std::lock_guard lock(mutex_);
    ++walks_;
    const Nanos wall = shard->WallNow();
    if (outcome) {
      current_ = *outcome;
      found_at_ = wall;
    } else if (current_ && wall < current_->expires) {
      SHEEN_LOG(Warn, "s3: credentials not renewed, the old ones still hold: {}",
                outcome.error().message());
      no_renewal_before_ = wall + kAfterFailure;
      outcome = *current_;
    }
    renewing_ = false;
    waiters.swap(waiters_);
  }
  for (const Waiter& waiter : waiters) {
    waiter.shard->Post([done = waiter.done, outcome] { done->Set(outcome); });
  }
  co_return outcome;
}

void CredentialProvider::Refused(const Credentials& used, Nanos wall) {
  std::lock_guard lock(mutex_);
  if (!current_ || (!current_->temporary() && wall - found_at_ < kStillNew)) return;
  if (current_->access_key_id == used.access_key_id &&
      current_->secret_access_key == used.secret_access_key &&
      current_->session_token == used.session_token) {
    current_.reset();
  }
}

async::Task<std::string> CredentialProvider::Region() {
  CredentialChain chain(http_, direct_, sts_, pool_, &options_);
  co_return co_await chain.Region(true);
}

uint64_t CredentialProvider::walks() const {
  std::lock_guard lock(mutex_);
  return walks_;
}

}  // namespace sheen::s3
