// The OSS's service behind the frame: any body and bulk of any opcode is answered, never a crash.
// Every input gets a fresh target.

#include <cstdlib>

#include "async/sim_poller.h"
#include "fuzz/requests.h"
#include "io/memory_file_io.h"
#include "kv/memory_store.h"
#include "oss/service.h"
#include "ost/format.h"

namespace sheen {
namespace {

struct World {
  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  async::BlockingPool pool{0};
  io::MemoryFileSystem files{{.capacity_bytes = 64 << 20}};
  io::MemoryFileIo io{&files, &shard};
  kv::MemoryDisk disk{ost::IndexFamilies().size()};
  std::unique_ptr<kv::Store> index = kv::OpenMemoryStore(&disk);
  std::unique_ptr<ost::Target> target;
};

async::Task<void> Run(World* world, std::vector<fuzz::Input> inputs, bool* done) {
  ost::FormatOptions format{.directory = "/ost", .fsname = "fuzz"};
  auto formatted = co_await ost::Format(&world->io, world->index.get(), format);
  if (!formatted) std::abort();
  ost::OpenOptions open;
  open.directory = "/ost";
  open.fsname = "fuzz";
  open.index = world->index.get();
  open.pool = &world->pool;
  open.lock_directory = false;
  open.machine_boot_id = "fuzz";
  auto opened = co_await ost::Target::Open(&world->io, std::move(open));
  if (!opened) std::abort();
  world->target = std::move(*opened);
  oss::OssService service;
  service.AddTarget(0, world->target.get());
  service.RegisterShard(&world->shard, &world->io);
  bool handled = false;
  co_await fuzz::HandleAll(&service, std::move(inputs), fuzz::MakeSession(), &handled);
  const Status closed = co_await world->target->Close(&world->io);
  static_cast<void>(closed);
  *done = true;
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
  auto world = std::make_unique<World>();
  world->files.MakeDurableDirectory("/ost");
  bool done = false;
  const ByteSpan input(reinterpret_cast<const std::byte*>(data), size);
  world->shard.Post([&] { world->shard.Spawn(Run(world.get(), fuzz::Parse(input), &done)); });
  if (!async::RunUntil(
          &world->shard, [&] { return done; }, std::chrono::hours(1)))
    std::abort();
  return 0;
}
