// The MDS's service behind the frame: any body of any opcode is answered, never a crash. Every
// input gets a fresh store.

#include <cstdlib>

#include "async/sim_poller.h"
#include "fuzz/requests.h"
#include "kv/memory_store.h"
#include "mds/service.h"
#include "mdt/mdt.h"
#include "mdt/schema.h"
#include "sheen/v1/control.pb.h"
#include "sheen/v1/mds.pb.h"

namespace sheen {
namespace {

class NoObjects final : public rpc::ObjectControl {
 public:
  async::Task<Status> DestroyObjects(std::string, v1::DestroyObjectsRequest) override {
    co_return Status{};
  }
  async::Task<Status> SetObjectOwner(std::string, v1::SetObjectOwnerRequest) override {
    co_return Status{};
  }
  async::Task<Status> FenceSession(std::string, v1::FenceSessionRequest) override {
    co_return Status{};
  }
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(std::string,
                                                            v1::RestoreObjectRequest) override {
    v1::RestoreObjectReply reply;
    reply.set_complete(true);
    co_return reply;
  }
};

void RegisterOss(mds::MdsService* service) {
  v1::RegisterServerRequest request;
  request.set_fsname("fuzz");
  request.mutable_server()->add_hosts("127.0.0.1");
  request.mutable_server()->set_data_port(7990);
  request.mutable_server()->set_control_port(7991);
  for (uint32_t i = 0; i < 2; ++i) {
    v1::TargetEntry* target = request.add_targets();
    target->set_name("fuzz-OST000" + std::to_string(i));
    target->set_index(i);
    target->set_uuid(std::string(16, static_cast<char>('a' + i)));
    target->set_generation(1);
  }
  auto registered = service->RegisterServer(request);
  if (!registered) std::abort();
  v1::HeartbeatRequest beat;
  beat.set_fsname("fuzz");
  beat.set_server_name(registered->server_name());
  for (uint32_t i = 0; i < 2; ++i) {
    v1::TargetSpace* space = beat.add_targets();
    space->set_index(i);
    space->set_name("fuzz-OST000" + std::to_string(i));
    space->set_bytes_total(1 << 30);
    space->set_bytes_free(1 << 30);
    space->set_bytes_available(1 << 30);
    space->set_up(true);
  }
  if (!service->Heartbeat(beat)) std::abort();
}

// A session that the MDS does not know would be refused everything, and FIDs of a sequence that it
// has not granted every creation.
async::Task<void> ConnectAndHandle(mds::MdsService* service, std::vector<fuzz::Input> inputs,
                                   std::shared_ptr<rpc::Session> session, bool* done) {
  const Status saved =
      co_await service->Save(session->id(), session->client_uuid(), session->secret());
  if (!saved) std::abort();
  // So that what operations note for the changelog is noted.
  const auto user = co_await service->ChangeChangelogUser(v1::ChangelogUserRequest());
  if (!user) std::abort();
  const fuzz::Input grant{rpc::Opcode::kMdsAllocateSequence,
                          1,
                          0,
                          v1::AllocateSequenceRequest().SerializeAsString(),
                          {}};
  inputs.insert(inputs.begin(), grant);
  co_await fuzz::HandleAll(service, std::move(inputs), std::move(session), done);
}

}  // namespace
}  // namespace sheen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheen;  // NOLINT: the fuzzer's entry point is outside every namespace
  static const bool quiet = [] {
    SetLogLevel(LogLevel::Error);
    return true;
  }();
  static_cast<void>(quiet);
  ManualClock clock;
  async::SimPoller poller(&clock);
  async::Shard shard(&poller, &clock);
  async::BlockingPool pool(0);
  kv::MemoryDisk disk(mdt::FamilyNames().size());
  const std::unique_ptr<kv::Store> store = kv::OpenMemoryStore(&disk);
  NoObjects objects;
  if (!mdt::Format(store.get(), {.fsname = "fuzz", .uuid = Uuid{}})) std::abort();
  mds::MdsService service({.store = store.get(),
                           .pool = &pool,
                           .objects = &objects,
                           .clock = &clock,
                           .fsname = "fuzz"});
  if (!service.Open()) std::abort();
  RegisterOss(&service);
  bool done = false;
  const ByteSpan input(reinterpret_cast<const std::byte*>(data), size);
  shard.Post([&] {
    shard.Spawn(ConnectAndHandle(&service, fuzz::Parse(input), fuzz::MakeSession(), &done));
  });
  if (!async::RunUntil(
          &shard, [&] { return done; }, std::chrono::hours(1)))
    std::abort();
  return 0;
}
