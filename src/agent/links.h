// Links: the data repositories, each with its client to S3. What the MDS says is taken over with
// every heartbeat; one that is not known yet is waited for.
//
// Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "async/blocking_pool.h"
#include "s3/client.h"
#include "sheen/v1/control.pb.h"

namespace sheen::agent {

struct Link {
  Link(s3::HttpClient* http, async::BlockingPool* pool, const v1::Repository& wanted,
       Nanos s3_timeout);

  const v1::Repository repository;
  const uint64_t heads_max;  // of an import at a time
  s3::CredentialProvider credentials;
  s3::Client client;
};
using LinkPointer = std::shared_ptr<Link>;

class Links final {
 public:
  Links(s3::HttpClient* http, async::BlockingPool* pool, Nanos s3_timeout)
      : http_(http), pool_(pool), s3_timeout_(s3_timeout) {}

  void Set(const v1::ListRepositoriesReply& all);
  // nullptr: not known (yet).
  LinkPointer Find(uint32_t id) const;
  // Not kept: for a check.
  LinkPointer Make(const v1::Repository& repository);
  size_t size() const;
  std::vector<LinkPointer> All() const;  // by id

 private:
  s3::HttpClient* const http_;
  async::BlockingPool* const pool_;
  const Nanos s3_timeout_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint32_t, LinkPointer> links_;
  // Clients must outlive their calls, which no one counts: those of removed links are kept.
  std::vector<LinkPointer> retired_;
};

}  // namespace sheen::agent
