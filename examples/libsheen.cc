// Writes a striped file with many requests at a time, and reads it again.
//
//   c++ -std=c++23 libsheen.cc $(pkg-config --cflags --libs sheen) -o many
//   ./many mds1:/sheen 7988 /data/striped
#include <fcntl.h>
#include <sheen/client.h>

#include <cstdio>
#include <cstdlib>
#include <latch>
#include <vector>

namespace {

constexpr size_t kBlock = 1 << 20;
constexpr size_t kBlocks = 16;

int Failed(const sheen::Error& error) {
  std::fprintf(stderr, "%s\n", error.ToString().c_str());
  return 1;
}

int Run(sheen::Mount* mount, const char* path) {
  auto file = mount->Create(path, O_RDWR, 0644, {.stripe_count = 2, .stripe_bytes = kBlock});
  if (!file) return Failed(file.error());
  std::vector<std::byte> data(kBlock * kBlocks);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i / kBlock + i);

  std::latch written(kBlocks);
  std::vector<sheen::Result<size_t>> results(kBlocks, sheen::Result<size_t>(0));
  for (size_t i = 0; i < kBlocks; ++i) {
    (*file)->WriteAsync(i * kBlock, std::span(data).subspan(i * kBlock, kBlock),
                        [&results, &written, i](sheen::Result<size_t> done) {
                          results[i] = std::move(done);
                          written.count_down();
                        });
  }
  written.wait();
  for (const auto& result : results) {
    if (!result) return Failed(result.error());
  }
  if (const auto synced = (*file)->Sync(); !synced) return Failed(synced.error());

  std::vector<std::byte> back(data.size());
  const auto read = (*file)->Read(0, back);
  if (!read) return Failed(read.error());
  if (*read != data.size() || back != data) {
    std::fprintf(stderr, "what was read is not what was written\n");
    return 1;
  }
  const auto layout = (*file)->Layout();
  if (!layout) return Failed(layout.error());
  for (const sheen::StripeInfo& part : *layout) {
    std::printf("%u stripes of %llu bytes\n", part.stripe_count,
                static_cast<unsigned long long>(part.stripe_bytes));
  }
  const auto closed = (*file)->Close();
  return closed ? 0 : Failed(closed.error());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s HOST:/FSNAME PORT PATH\n", argv[0]);
    return 2;
  }
  const auto mount = sheen::Mount::Connect(
      argv[1], {.port = static_cast<uint16_t>(std::atoi(argv[2])), .threads = 2});
  return mount ? Run(mount->get(), argv[3]) : Failed(mount.error());
}
