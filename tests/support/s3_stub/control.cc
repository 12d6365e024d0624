// The stub's control: methods for tests in the same process, and the same as JSON over HTTP.

#include <nlohmann/json.hpp>

#include "support/s3_stub/stub.h"

namespace sheen::s3_stub {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& object, const char* name, const std::string& otherwise = "") {
  return object.value(name, otherwise);
}
uint64_t Number(const Json& object, const char* name, uint64_t otherwise = 0) {
  return object.value(name, otherwise);
}

Fault FaultOf(const Json& object) {
  return {.kind = Text(object, "kind"),
          .method = Text(object, "method"),
          .key = Text(object, "key"),
          .operation = Text(object, "operation"),
          .skip = Number(object, "skip"),
          .times = Number(object, "times", 1),
          .value = Number(object, "value"),
          .code = Text(object, "code")};
}

Limits LimitsOf(const Json& object) {
  return {.first_byte = std::chrono::milliseconds(Number(object, "first_byte_ms")),
          .rates = {.stream_bytes_per_second = object.value("stream_bytes_per_second", 0.0),
                    .total_bytes_per_second = object.value("total_bytes_per_second", 0.0)},
          .requests_per_second = object.value("requests_per_second", 0.0)};
}

Object ObjectOf(const Json& object) {
  Object out{.size = Number(object, "size"),
             .modified = object.value("modified", int64_t(1700000000)),
             .storage_class = Text(object, "storage_class")};
  if (object.contains("metadata")) {
    for (const auto& [name, value] : object["metadata"].items()) {
      out.metadata.emplace_back(name, value.get<std::string>());
    }
  }
  return out;
}

}  // namespace

Bucket& Stub::AddBucket(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto& bucket = buckets_[name];
  if (bucket == nullptr) bucket = std::make_unique<Bucket>();
  return *bucket;
}

void Stub::AddFault(Fault fault) {
  std::lock_guard lock(mutex_);
  faults_.push_back(std::move(fault));
}

void Stub::ClearFaults() {
  std::lock_guard lock(mutex_);
  faults_.clear();
}

void Stub::SetLimits(Limits limits) {
  server_.SetRates(limits.rates);
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

void Stub::SetIdentity(const std::string& access_key, Identity identity) {
  std::lock_guard lock(mutex_);
  verifier_.identities[access_key] = std::move(identity);
}

void Stub::SetClockOffset(int64_t seconds) {
  std::lock_guard lock(mutex_);
  verifier_.clock_offset_seconds = seconds;
}

void Stub::SetRegion(const std::string& region) {
  std::lock_guard lock(mutex_);
  verifier_.region = region;
}

bool Stub::Touch(const std::string& bucket, const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = buckets_.find(bucket);
  return found != buckets_.end() && found->second->Touch(key);
}

Counters Stub::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

void Stub::ResetCounters() {
  std::lock_guard lock(mutex_);
  counters_ = Counters{};
}

std::string Stub::StatsJson() const {
  const Counters now = counters();
  Json keys = Json::object();
  for (const auto& [key, one] : now.keys) {
    keys[key] = {{"gets", one.gets},   {"heads", one.heads},   {"puts", one.puts},
                 {"bytes", one.bytes}, {"ranges", one.ranges}};
  }
  const Json out = {{"requests", now.requests},     {"operations", now.operations},
                    {"errors", now.errors},         {"faults", now.faults},
                    {"connections", connections()}, {"keys", keys}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Response Stub::Control(const Request& request) {
  const std::string what = request.path.substr(std::string("/_stub/").size());
  Response out{.headers = {{"Content-Type", "application/json"}}};
  if (request.method == "GET" && what == "stats") {
    out.body = StatsJson();
  } else if (request.method == "DELETE" && what == "faults") {
    ClearFaults();
  } else if (request.method != "POST" || !Post(what, request.body, &out.body)) {
    out.status = 400;
  }
  out.body += "\n";
  return out;
}

bool Stub::Post(const std::string& what, const std::string& body, std::string* answer) {
  const Json given = Json::parse(body.empty() ? "{}" : body, nullptr, false);
  if (given.is_discarded()) {
    *answer = "not JSON";
    return false;
  }
  const std::vector<Json> all =
      given.is_array() ? given.get<std::vector<Json>>() : std::vector<Json>{given};
  try {
    for (const Json& one : all) {
      if (what == "faults") {
        AddFault(FaultOf(one));
      } else if (what == "limits") {
        SetLimits(LimitsOf(one));
      } else if (what == "objects") {
        Bucket& bucket = AddBucket(Text(one, "bucket"));
        std::lock_guard lock(mutex_);
        bucket.Put(Text(one, "key"), ObjectOf(one));
      } else if (what == "patterns") {
        Bucket& bucket = AddBucket(Text(one, "bucket"));
        std::lock_guard lock(mutex_);
        bucket.Add({.prefix = Text(one, "prefix"),
                    .count = Number(one, "count"),
                    .size = Number(one, "size"),
                    .per_directory = Number(one, "per_directory")});
      } else if (what == "touch") {
        if (!Touch(Text(one, "bucket"), Text(one, "key"))) return false;
      } else if (what == "identities") {
        SetIdentity(Text(one, "access_key"), {.secret = Text(one, "secret_key"),
                                              .token = Text(one, "token"),
                                              .expired = one.value("expired", false)});
      } else if (what == "clock") {
        SetClockOffset(one.value("offset_seconds", int64_t(0)));
      } else if (what == "reset") {
        ResetCounters();
      } else {
        return false;
      }
    }
  } catch (const Json::exception& error) {
    *answer = error.what();
    return false;
  }
  return true;
}

}  // namespace sheen::s3_stub
