#include "agent/links.h"

namespace sheen::agent {
namespace {

// Where none is ordered. A server that takes 30 ms for an answer and 5,500 requests a second has
// 165 HEADs under way.
constexpr uint32_t kConcurrency = 64;
constexpr uint32_t kQuestions = 192;
// Of these an import leaves some for names that somebody looks at now.
constexpr uint32_t kQuestionsOfPeople = 32;
// Where it is: HEADs have no places of their own, and read-ahead is to find some.
constexpr uint64_t kHeadsAmongOthers = 48;

s3::CredentialOptions CredentialsOf(const v1::Repository& repository) {
  s3::CredentialOptions options;
  options.file = repository.credentials_file();
  options.profile = repository.profile();
  options.region = repository.region();
  return options;
}

s3::ClientOptions ClientOf(const v1::Repository& repository, Nanos s3_timeout) {
  s3::ClientOptions options;
  options.bucket = repository.bucket();
  options.endpoint = repository.endpoint();
  options.region = repository.region();
  if (repository.path_style()) options.addressing = s3::Addressing::kPath;
  options.retry.progress_bound = s3_timeout;
  options.link.concurrency = repository.concurrency() > 0 ? repository.concurrency() : kConcurrency;
  options.link.kept_for_demand = std::max(1U, options.link.concurrency / 4);
  if (options.link.concurrency == 1) options.link.kept_for_demand = 0;
  if (repository.concurrency() == 0) options.link.questions = kQuestions;
  options.link.requests_per_second = repository.requests_per_second();
  options.link.bytes_per_second = repository.bytes_per_second();
  return options;
}

}  // namespace

Link::Link(s3::HttpClient* http, async::BlockingPool* pool, const v1::Repository& wanted,
           Nanos s3_timeout)
    : repository(wanted),
      heads_max(wanted.concurrency() == 0 ? kQuestions - kQuestionsOfPeople : kHeadsAmongOthers),
      credentials(http, pool, CredentialsOf(wanted)),
      client(http, &credentials, ClientOf(wanted, s3_timeout)) {}

LinkPointer Links::Make(const v1::Repository& repository) {
  return std::make_shared<Link>(http_, pool_, repository, s3_timeout_);
}

void Links::Set(const v1::ListRepositoriesReply& all) {
  const std::scoped_lock lock(mutex_);
  std::map<uint32_t, LinkPointer> next;
  for (const v1::Repository& repository : all.repositories()) {
    LinkPointer& link = next[repository.id()];
    const auto known = links_.find(repository.id());
    const bool same = known != links_.end() && known->second->repository.SerializeAsString() ==
                                                   repository.SerializeAsString();
    link = same ? known->second : Make(repository);
  }
  for (const auto& [id, link] : links_) {
    const auto stays = next.find(id);
    if (stays == next.end() || stays->second != link) retired_.push_back(link);
  }
  links_ = std::move(next);
}

LinkPointer Links::Find(uint32_t id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second;
}

std::vector<LinkPointer> Links::All() const {
  const std::scoped_lock lock(mutex_);
  std::vector<LinkPointer> all;
  for (const auto& [id, link] : links_) all.push_back(link);
  return all;
}

size_t Links::size() const {
  const std::scoped_lock lock(mutex_);
  return links_.size();
}

}  // namespace sheen::agent
