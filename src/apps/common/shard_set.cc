#include "apps/common/shard_set.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include "apps/common/daemon.h"
#include "base/clock.h"
#include "base/log.h"

namespace sheen::apps {
namespace {

// Gives the core, or -1.
int PinToCore(uint32_t index) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(0, sizeof usable, &usable) != 0) return -1;
  uint32_t seen = 0;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &usable) || seen++ != index) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0 ? core : -1;
  }
  return -1;
}

async::Task<Status> StopTransport(rpc::TcpTransport* transport) {
  co_await transport->Stop();
  co_return Status{};
}

}  // namespace

Result<std::unique_ptr<ShardSet>> ShardSet::Start(ShardSetOptions options) {
  SHEEN_ASSERT(options.count > 0);
  options.pin = options.pin && options.count == UsableCores();
  std::unique_ptr<ShardSet> set(new ShardSet(options.pool_threads));
  for (uint32_t index = 0; index < options.count; ++index) {
    auto member = std::make_unique<Member>();
    member->index = index;
    auto started = std::make_shared<std::promise<Status>>();
    std::future<Status> result = started->get_future();
    std::thread thread(ThreadMain, set.get(), member.get(), options, started);
    const Status status = result.get();
    if (!status) {
      thread.join();
      return std::unexpected(status.error());
    }
    set->members_.push_back(std::move(member));
    set->threads_.push_back(std::move(thread));
  }
  return set;
}

ShardSet::~ShardSet() { Stop(); }

void ShardSet::ThreadMain(ShardSet* set, Member* member, ShardSetOptions options,
                          std::shared_ptr<std::promise<Status>> started) {
  pthread_setname_np(pthread_self(), fmt::format("shard{}", member->index).c_str());
  if (options.pin) options.tcp.incoming_core = PinToCore(member->index);
  auto poller = io::UringPoller::Create({.entries = 1024, .sqe128 = options.sqe128});
  if (!poller) {
    started->set_value(std::unexpected(poller.error()));
    return;
  }
  member->poller = std::move(*poller);
  member->shard =
      std::make_unique<async::Shard>(member->poller.get(), &SystemClock(), member->index);
  member->files = std::make_unique<io::UringFileIo>(member->poller.get(), &set->pool_);
  member->transport = std::make_unique<rpc::TcpTransport>(member->shard.get(), member->poller.get(),
                                                          &set->pool_, options.tcp);
  async::Shard* shard = member->shard.get();
  started->set_value({});
  shard->Run();
}

Status ShardSet::RunOn(uint32_t index, const std::function<Status(Member*)>& work) {
  Member* target = At(index);
  auto done = std::make_shared<std::promise<Status>>();
  std::future<Status> result = done->get_future();
  target->shard->Post([&work, done, target] { done->set_value(work(target)); });
  return result.get();
}

Status ShardSet::RunOnEach(const std::function<Status(Member*)>& work) {
  for (uint32_t index = 0; index < size(); ++index) SHEEN_TRY(RunOn(index, work));
  return {};
}

void ShardSet::Stop() {
  for (size_t index = 0; index < threads_.size(); ++index) {
    Member* member = members_[index].get();
    (void)Await<Status>(member->index, [member] { return StopTransport(member->transport.get()); });
  }
  for (const std::unique_ptr<Member>& member : members_) member->shard->Stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace sheen::apps
