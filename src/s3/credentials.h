// Credentials that are always fresh: asked for once, kept, renewed before they end.
//
//   15 min before the end   one caller renews, all others go on with the old ones
//   10 min before the end   all wait for the new ones
//   refused by the server   Refused(): the next Get() asks again
//
// However many ask, one walk of the chain is under way (single flight).
//
// Thread-safe: any shard may call; callers resume on their own. Lock order: its mutex is held
// while nothing else is locked. It must outlive the calls.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "s3/credential_chain.h"
#include "sheen/result.h"

namespace sheen::s3 {

class CredentialProvider final {
 public:
  // `http` and `pool` must outlive it.
  CredentialProvider(HttpClient* http, async::BlockingPool* pool, CredentialOptions options);

  // Errors: kPerm and others, which sources were tried and why each gave none.
  async::Task<Result<Credentials>> Get();
  // The server does not take `used` any more. Newer ones that are known already stay, and keys of
  // no session that were looked up in the last 5 s: a file gives the same, for every refusal again.
  void Refused(const Credentials& used, Nanos wall);
  // The region that AWS's tools would use; empty when nothing says.
  async::Task<std::string> Region();

  uint64_t walks() const;  // of the chain; for tests

 private:
  struct Waiter {
    async::Shard* shard;
    async::OneShot<Result<Credentials>>* done;
  };
  enum class Age : uint8_t { kNone, kFresh, kAdvisory, kMandatory };
  Age AgeLocked(Nanos wall) const;
  async::Task<Result<Credentials>> Renew();
  // What a caller is to do: use `current`, wait for `done`, or renew for everybody.
  enum class Part : uint8_t { kHave, kWait, kRenew };
  Part Join(async::Shard* shard, async::OneShot<Result<Credentials>>* done,
            std::optional<Credentials>* current);

  HttpClient* const http_;
  async::BlockingPool* const pool_;
  const CredentialOptions options_;
  const HttpLink direct_;
  const HttpLink sts_;

  mutable std::mutex mutex_;  // guards everything below
  std::optional<Credentials> current_;
  Nanos found_at_{0};  // wall; when current_ was looked up
  bool renewing_ = false;
  Nanos no_renewal_before_{0};  // wall; after an advisory renewal that failed
  std::vector<Waiter> waiters_;
  uint64_t walks_ = 0;
};

}  // namespace sheen::s3
