#include "fsbench/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace fsbench {
namespace {

[[noreturn]] void DieOfData(const std::string& path, int64_t offset) {
  fmt::print(stderr, "fsbench: {}: wrong data at offset {}\n", path, offset);
  std::_Exit(1);
}

void DropPages(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("open " + path);
  fsync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

// Of several mounts at once: MooseFS tells all but the first of them that the file is there
// already, though nobody asked for a new one.
int OpenForWriting(const std::string& path, int flags) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd < 0 && errno == EEXIST) fd = open(path.c_str(), O_WRONLY | O_CLOEXEC | flags);
  if (fd < 0) Die("create " + path);
  return fd;
}

// One call is what is measured; the rest of a short one is an error, since none of the filesystems
// has a reason for it.
void PutBy(Pattern* pattern, int fd, uint64_t writer, uint64_t offset, size_t bytes,
           const std::string& path) {
  const std::byte* data = pattern->Bytes(writer, offset, bytes);
  const ssize_t done = pwrite(fd, data, bytes, static_cast<off_t>(offset));
  if (done >= 0 && static_cast<size_t>(done) != bytes) errno = EIO;
  if (static_cast<size_t>(done) != bytes) Die("write " + path);
}

void GetBy(Pattern* pattern, int fd, uint64_t writer, uint64_t offset, size_t bytes, Depth depth,
           const std::string& path) {
  const ssize_t done = pread(fd, pattern->read_buffer(), bytes, static_cast<off_t>(offset));
  if (done < 0) Die("read " + path);
  if (static_cast<size_t>(done) != bytes) DieOfData(path, static_cast<int64_t>(offset) + done);
  const int64_t wrong = pattern->FirstWrong(writer, offset, bytes, depth);
  if (wrong >= 0) DieOfData(path, wrong);
}

}  // namespace

void Die(const std::string& what) {
  const int failed = errno;
  fmt::print(stderr, "fsbench: {}: {}\n", what, std::strerror(failed));
  std::_Exit(1);
}

double Now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

Worker::Worker(const Options& options, uint32_t index)
    : options_(options),
      index_(index),
      top_(options.directories[index % options.directories.size()]) {
  const std::string own = options.shared_directory ? "shared" : fmt::format("p{}", index);
  directory_ = top_ + "/fsbench." + own;
}

void Worker::Prepare(const std::string& phase) {
  if (phase.starts_with("create") && mkdir(directory_.c_str(), 0755) != 0 && errno != EEXIST) {
    Die("mkdir " + directory_);
  }
  if (phase == "seq_read") DropPages(BigPath(index_));
  if (phase == "rand_read") OpenBig(O_RDONLY | O_DIRECT);
  if (phase == "rand_write") OpenBig(O_WRONLY | O_DIRECT);
  if (phase == "write_fsync") OpenBig(O_WRONLY);
  if (big_ >= 0) more_patterns_.resize(options_.depth - 1);
}

double Worker::Run(const std::string& phase) {
  const double mib = options_.mib;
  const double record_mib =
      static_cast<double>(RecordCount() * options_.record_bytes) / static_cast<double>(kMib);
  if (phase == "create" || phase == "create_fsync") {
    const bool sync = phase == "create_fsync";
    return EachFile([this, sync](const std::string& path) { Create(path, sync); });
  }
  if (phase == "stat") return EachFile([this](const std::string& path) { Stat(path); });
  if (phase == "open_read_close") {
    return EachFile([this](const std::string& path) { OpenReadClose(path); });
  }
  if (phase == "unlink") {
    return EachFile([](const std::string& path) {
      if (unlink(path.c_str()) != 0) Die("unlink " + path);
    });
  }
  if (phase == "seq_write") return WriteBig(kMib), mib;
  if (phase == "small_write") return WriteBig(kBlockBytes), mib;
  if (phase == "seq_read") return ReadBig(Depth::kStamps), mib;
  if (phase == "rand_read") return Random(false, false);
  if (phase == "rand_write") return Random(true, false);
  if (phase == "write_fsync") return Random(true, true);
  if (phase == "record_write") return WriteRecords(), record_mib;
  if (phase == "record_read") return ReadRecords(Depth::kStamps), record_mib;
  std::abort();  // ParseOptions knows the phases
}

void Worker::Finish(const std::string& phase) {
  if (phase == "seq_read") ReadBig(Depth::kEveryByte);
  if (phase == "record_read") ReadRecords(Depth::kEveryByte);
  if (big_ >= 0) close(big_);
  big_ = -1;
}

void Worker::CleanUp() {
  if (options_.keep) return;
  unlink(BigPath(index_).c_str());
  rmdir(directory_.c_str());
}

std::string Worker::BigPath(uint32_t index) const {
  return fmt::format("{}/fsbench.big{}", top_, options_.shared_file ? 0 : index);
}

Worker::Extent Worker::ExtentOf(uint32_t part) const {
  const uint64_t bytes = options_.mib * kMib;
  if (options_.shared_file) return {.writer = 0, .offset = part * bytes, .bytes = bytes};
  return {.writer = part + 1, .offset = 0, .bytes = bytes};
}

uint64_t Worker::RecordCount() const { return options_.mib * kMib / options_.record_bytes; }

uint64_t Worker::RecordOffset(uint32_t part, uint64_t record) const {
  const uint64_t place = options_.shared_file ? record * options_.procs + part : record;
  return place * options_.record_bytes;
}

double Worker::EachFile(const std::function<void(const std::string&)>& action) {
  for (uint32_t i = 0; i < options_.files; ++i) {
    action(fmt::format("{}/{}.{}", directory_, index_, i));
  }
  return options_.files;
}

void Worker::Create(const std::string& path, bool sync) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) Die("create " + path);
  if (options_.file_bytes > 0) Put(fd, index_ + 1, 0, options_.file_bytes, path);
  if (sync && fsync(fd) != 0) Die("fsync " + path);
  if (close(fd) != 0) Die("close " + path);
}

void Worker::Stat(const std::string& path) const {
  struct stat attr {};
  if (stat(path.c_str(), &attr) != 0) Die("stat " + path);
  if (static_cast<size_t>(attr.st_size) != options_.file_bytes) DieOfData(path, attr.st_size);
}

void Worker::OpenReadClose(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("open " + path);
  if (options_.file_bytes > 0) {
    Get(fd, index_ + 1, 0, options_.file_bytes, Depth::kEveryByte, path);
  } else if (const ssize_t got = read(fd, pattern_.read_buffer(), kBlockBytes); got != 0) {
    if (got > 0) DieOfData(path, 0);
    Die("read " + path);
  }
  close(fd);
}

void Worker::WriteBig(size_t bytes_a_call) {
  const std::string path = BigPath(index_);
  const int fd = OpenForWriting(path, options_.shared_file ? 0 : O_TRUNC);
  const Extent extent = ExtentOf(index_);
  for (uint64_t done = 0; done < extent.bytes; done += bytes_a_call) {
    Put(fd, extent.writer, extent.offset + done, bytes_a_call, path);
  }
  if (options_.fsync && fsync(fd) != 0) Die("fsync " + path);
  if (close(fd) != 0) Die("close " + path);
}

void Worker::ReadBig(Depth depth) {
  const std::string path = BigPath(index_);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("open " + path);
  const Extent extent = ExtentOf(index_);
  for (uint64_t done = 0; done < extent.bytes; done += kMib) {
    Get(fd, extent.writer, extent.offset + done, kMib, depth, path);
  }
  close(fd);
}

void Worker::OpenBig(int flags) {
  const std::string path = BigPath(index_);
  struct stat attr {};
  const Extent extent = ExtentOf(index_);
  if (stat(path.c_str(), &attr) != 0 ||
      static_cast<uint64_t>(attr.st_size) < extent.offset + extent.bytes) {
    WriteBig(kMib);
  }
  big_ = open(path.c_str(), flags | O_CLOEXEC);
  if (big_ < 0) Die("open " + path);
}

double Worker::Random(bool write, bool sync) {
  const double end = Now() + options_.seconds;
  std::vector<uint64_t> counts(options_.depth);
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i < options_.depth; ++i) {
    threads.emplace_back(
        [this, i, write, sync, end, &counts] { counts[i] = RandomThread(i, write, sync, end); });
  }
  counts[0] = RandomThread(0, write, sync, end);
  for (std::thread& thread : threads) thread.join();
  double total = 0;
  for (const uint64_t count : counts) total += static_cast<double>(count);
  return total;
}

// Each write puts the bytes that are there already, so that every reader finds right ones.
uint64_t Worker::RandomThread(uint32_t thread, bool write, bool sync, double end) {
  Pattern* pattern = thread == 0 ? &pattern_ : &more_patterns_[thread - 1];
  std::mt19937_64 random(index_ * 1024 + thread + 1);
  const std::string path = BigPath(index_);
  const Extent extent = ExtentOf(index_);
  uint64_t count = 0;
  while (Now() < end) {
    const uint64_t offset = extent.offset + random() % (extent.bytes / kBlockBytes) * kBlockBytes;
    if (write) PutBy(pattern, big_, extent.writer, offset, kBlockBytes, path);
    if (!write) GetBy(pattern, big_, extent.writer, offset, kBlockBytes, Depth::kEveryByte, path);
    if (sync && fsync(big_) != 0) Die("fsync " + path);
    ++count;
  }
  return count;
}

void Worker::WriteRecords() {
  const std::string path = BigPath(index_);
  const int fd = OpenForWriting(path, 0);
  for (uint64_t i = 0; i < RecordCount(); ++i) {
    Put(fd, ExtentOf(index_).writer, RecordOffset(index_, i), options_.record_bytes, path);
  }
  if (options_.fsync && fsync(fd) != 0) Die("fsync " + path);
  if (close(fd) != 0) Die("close " + path);
}

void Worker::ReadRecords(Depth depth) {
  const uint32_t part = Neighbour();
  const std::string path = BigPath(part);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("open " + path);
  for (uint64_t i = 0; i < RecordCount(); ++i) {
    Get(fd, ExtentOf(part).writer, RecordOffset(part, i), options_.record_bytes, depth, path);
  }
  close(fd);
}

void Worker::Put(int fd, uint64_t writer, uint64_t offset, size_t bytes, const std::string& path) {
  PutBy(&pattern_, fd, writer, offset, bytes, path);
}

void Worker::Get(int fd, uint64_t writer, uint64_t offset, size_t bytes, Depth depth,
                 const std::string& path) {
  GetBy(&pattern_, fd, writer, offset, bytes, depth, path);
}

}  // namespace fsbench
