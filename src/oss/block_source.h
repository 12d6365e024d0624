// BlockSource: where the OSS gets the bytes that are still in S3: an agent (agent_pool.h), or what
// a test says.
//
// Thread-safe: called on any registered shard, and resumes there.
#pragma once

#include <cstdint>
#include <string>

#include "async/task.h"
#include "io/buffer.h"
#include "sheen/result.h"

namespace sheen::oss {

// Who waits for an order.
enum class Urgency : uint8_t {
  kDemand,   // somebody
  kAhead,    // a reader, soon
  kRestore,  // nobody
};

// A range of an object in S3.
struct FetchOrder {
  uint64_t id = 0;    // for Hasten; of one shard's orders under way

  uint32_t link = 0;  // the data repository
  std::string key;
  std::string etag;
  uint64_t offset = 0;
  uint32_t length = 0;
  Urgency urgency = Urgency::kDemand;
};

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // All of the range. Errors: those of s3::Client::GetRange; kUnavailable (no agent for too long).
  virtual async::Task<Result<io::Buffer>> Fetch(FetchOrder order) = 0;
  // The order, if this shard has it under way, is a demand from now on.
  virtual void Hasten(uint64_t id) = 0;
};

}  // namespace sheen::oss
