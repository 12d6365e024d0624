// Bytes of one file against a model in memory, as fsx does it: read, write, truncate, map, punch,
// zero, allocate, copy, sync, open again, in random order at random places.
//
//   posix-bytes --mode buffered|direct|mmap|two --mount A --mount B --operations N
//
// `two` opens the file on both mounts and goes from one to the other with every operation. A
// difference ends the run with the number of the operation, and what was read where.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <deque>

#include "posix/tools.h"

namespace sheen::posix {
namespace {

constexpr uint64_t kFileBytesMax = 400'000;
constexpr uint64_t kOperationBytesMax = 70'000;
constexpr uint64_t kPageBytes = 4096;

class Exerciser final {
 public:
  Exerciser(const Options& options, Random* random) : random_(random) {
    direct_ = options.mode == "direct";
    map_often_ = options.mode == "mmap";
    for (const std::string& mount : options.mounts) {
      if (!paths_.empty() && options.mode != "two") break;
      paths_.push_back(mount + "/bytes-" + options.mode + "-" + std::to_string(getpid()));
    }
    const size_t room = kFileBytesMax + kOperationBytesMax;
    buffer_ = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, (room / kPageBytes + 1) << 12));
    fds_.assign(paths_.size(), -1);
    for (size_t side = 0; side < paths_.size(); ++side) Open(side);
  }
  ~Exerciser() {
    for (const int fd : fds_) close(fd);
    unlink(paths_[0].c_str());
    std::free(buffer_);
  }
  Exerciser(const Exerciser&) = delete;
  Exerciser& operator=(const Exerciser&) = delete;

  void Run(uint64_t operations) {
    for (number_ = 0; number_ < operations; ++number_) {
      side_ = number_ % fds_.size();
      offset_ = random_->Below(kFileBytesMax);
      length_ = 1 + random_->Below(random_->OneIn(4) ? kOperationBytesMax : 5000);
      length_ = std::min(length_, kFileBytesMax - offset_);
      One();
      CheckSize();
      if (random_->OneIn(200)) CheckAll();
    }
    CheckAll();
  }

 private:
  void One() {
    switch (random_->Below(map_often_ ? 20 : 14)) {
      case 0:
      case 1:
      case 2:
        return Write();
      case 3:
      case 4:
      case 5:
        return Read();
      case 6:
        return Truncate();
      case 7:
        return Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
      case 8:
        return Allocate(FALLOC_FL_ZERO_RANGE, "zero");
      case 9:
        return Allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "zero, size kept");
      case 10:
        return Allocate(random_->OneIn(2) ? 0 : FALLOC_FL_KEEP_SIZE, "allocate");
      case 11:
        return Copy();
      case 12:
        return Sync();
      case 13:
      case 14:
      case 15:
      case 16:
        return MapWrite();
      default:
        return MapRead();
    }
  }

  int fd() const { return fds_[side_]; }

  void Note(const char* what) {
    history_.push_back(std::to_string(number_) + " side " + std::to_string(side_) + " " + what +
                       " " + std::to_string(offset_) + "+" + std::to_string(length_) + ", size " +
                       std::to_string(model_.size()));
    if (history_.size() > 30) history_.pop_front();
  }

  [[noreturn]] void Die(const std::string& what) {
    for (const std::string& line : history_) std::fprintf(stderr, "  %s\n", line.c_str());
    std::fprintf(stderr, "posix-bytes: operation %llu on %s: %s\n",
                 static_cast<unsigned long long>(number_), paths_[side_].c_str(), what.c_str());
    std::exit(1);
  }

  void Must(bool good, const char* what) {
    if (!good) Die(std::string(what) + ": " + std::strerror(errno));
  }

  void Open(size_t side) {
    fds_[side] = open(paths_[side].c_str(), O_CREAT | O_RDWR | (direct_ ? O_DIRECT : 0), 0644);
    if (fds_[side] < 0) Die(std::string("open: ") + std::strerror(errno));
  }

  void Compare(const uint8_t* found, uint64_t offset, uint64_t length, const char* what) {
    for (uint64_t i = 0; i < length; ++i) {
      if (found[i] == model_[offset + i]) continue;
      Die(std::string(what) + " of " + std::to_string(offset) + "+" + std::to_string(length) +
          ": byte " + std::to_string(offset + i) + " is " + std::to_string(found[i]) +
          ", should be " + std::to_string(model_[offset + i]));
    }
  }

  void CheckSize() {
    struct stat status {};
    Must(fstat(fd(), &status) == 0, "fstat");
    if (static_cast<uint64_t>(status.st_size) == model_.size()) return;
    Die("size is " + std::to_string(status.st_size) + ", should be " +
        std::to_string(model_.size()));
  }

  void CheckAll() {
    for (side_ = 0; side_ < fds_.size(); ++side_) {
      const ssize_t got = pread(fd(), buffer_, kFileBytesMax + 1, 0);
      Must(got >= 0, "pread");
      if (static_cast<uint64_t>(got) != model_.size()) Die("read " + std::to_string(got));
      Compare(buffer_, 0, model_.size(), "reading all");
    }
    side_ = 0;
  }

  void Grow(uint64_t size) {
    if (model_.size() < size) model_.resize(size, 0);
  }

  void Fill() {
    for (uint64_t i = 0; i < length_; ++i)
      buffer_[i] = static_cast<uint8_t>(random_->Below(255) + 1);
  }

  // O_DIRECT takes anything here; half of it is aligned as others demand it.
  void Align() {
    if (!direct_ || random_->OneIn(2)) return;
    offset_ &= ~(kPageBytes - 1);
    length_ = std::min((length_ + kPageBytes - 1) & ~(kPageBytes - 1), kFileBytesMax - offset_);
  }

  void Write() {
    Align();
    Note("write");
    Fill();
    const ssize_t written = pwrite(fd(), buffer_, length_, static_cast<off_t>(offset_));
    Must(written == static_cast<ssize_t>(length_), "pwrite");
    Grow(offset_ + length_);
    std::copy_n(buffer_, length_, model_.begin() + static_cast<std::ptrdiff_t>(offset_));
  }

  void Read() {
    Align();
    Note("read");
    const ssize_t got = pread(fd(), buffer_, length_, static_cast<off_t>(offset_));
    Must(got >= 0, "pread");
    const uint64_t there = model_.size() > offset_ ? model_.size() - offset_ : 0;
    if (static_cast<uint64_t>(got) != std::min(length_, there)) {
      Die("read " + std::to_string(got) + " bytes of " + std::to_string(there));
    }
    Compare(buffer_, offset_, static_cast<uint64_t>(got), "reading");
  }

  void Truncate() {
    Note("truncate to the offset");
    Must(ftruncate(fd(), static_cast<off_t>(offset_)) == 0, "ftruncate");
    model_.resize(offset_, 0);
  }

  void Allocate(int mode, const char* what) {
    Note(what);
    Must(fallocate(fd(), mode, static_cast<off_t>(offset_), static_cast<off_t>(length_)) == 0,
         what);
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0) Grow(offset_ + length_);
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0) return;
    for (uint64_t i = offset_; i < std::min<uint64_t>(offset_ + length_, model_.size()); ++i) {
      model_[i] = 0;
    }
  }

  void Copy() {
    if (model_.empty()) return;
    uint64_t from = random_->Below(model_.size());
    length_ = std::min<uint64_t>(length_, model_.size() - from);
    if (from < offset_ + length_ && offset_ < from + length_) return;  // may not overlap
    Note("copy");
    CheckSize();  // the kernel stops at the size that it knows
    const std::vector<uint8_t> bytes(model_.begin() + static_cast<std::ptrdiff_t>(from),
                                     model_.begin() + static_cast<std::ptrdiff_t>(from + length_));
    auto source = static_cast<off64_t>(from);
    auto target = static_cast<off64_t>(offset_);
    for (size_t left = length_; left > 0;) {
      const ssize_t copied = copy_file_range(fd(), &source, fd(), &target, left, 0);
      Must(copied > 0, "copy_file_range");
      left -= static_cast<size_t>(copied);
    }
    Grow(offset_ + length_);
    std::copy(bytes.begin(), bytes.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset_));
  }

  void Sync() {
    Note("sync or open again");
    if (random_->OneIn(2)) {
      Must((random_->OneIn(2) ? fsync(fd()) : fdatasync(fd())) == 0, "fsync");
      return;
    }
    Must(close(fd()) == 0, "close");
    Open(side_);
  }

  // The part of the file that a mapping of the operation's pages covers.
  bool MapRange() {
    if (model_.empty()) return false;
    offset_ %= model_.size();
    length_ = std::min<uint64_t>(length_, model_.size() - offset_);
    return true;
  }

  uint8_t* Map(int protection) {
    CheckSize();  // what others have changed shows at a visible change
    const uint64_t begin = offset_ & ~(kPageBytes - 1);
    void* at = mmap(nullptr, offset_ + length_ - begin, protection, MAP_SHARED, fd(),
                    static_cast<off_t>(begin));
    Must(at != MAP_FAILED, "mmap");
    return static_cast<uint8_t*>(at);
  }

  void MapWrite() {
    if (!MapRange()) return;
    Note("store");
    Fill();
    const uint64_t skip = offset_ & (kPageBytes - 1);
    uint8_t* at = Map(PROT_READ | PROT_WRITE);
    std::copy_n(buffer_, length_, at + skip);
    // Elsewhere a store shows after msync(2).
    if (fds_.size() > 1 || direct_ || random_->OneIn(4)) {
      Must(msync(at, skip + length_, MS_SYNC) == 0, "msync");
    }
    munmap(at, skip + length_);
    std::copy_n(buffer_, length_, model_.begin() + static_cast<std::ptrdiff_t>(offset_));
  }

  void MapRead() {
    if (!MapRange()) return;
    Note("load");
    const uint64_t skip = offset_ & (kPageBytes - 1);
    uint8_t* at = Map(PROT_READ);
    Compare(at + skip, offset_, length_, "loading");
    munmap(at, skip + length_);
  }

  Random* const random_;
  bool direct_ = false;
  bool map_often_ = false;
  std::vector<std::string> paths_;
  std::vector<int> fds_;
  std::vector<uint8_t> model_;
  uint8_t* buffer_ = nullptr;
  std::deque<std::string> history_;
  uint64_t number_ = 0;
  size_t side_ = 0;
  uint64_t offset_ = 0;
  uint64_t length_ = 0;
};

}  // namespace
}  // namespace sheen::posix

int main(int argc, char** argv) {
  using namespace sheen::posix;
  const Options options = ParseOptions(argc, argv);
  Random random(Seed());
  Exerciser(options, &random).Run(options.operations);
  std::printf("posix-bytes, %s: %llu operations agree\n", options.mode.c_str(),
              static_cast<unsigned long long>(options.operations));
  return 0;
}
