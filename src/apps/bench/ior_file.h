// The calls that a task of `sheen-bench ior` makes, by the API of -a: system calls, or libsheen.
//
// Single-threaded: a task is a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "apps/bench/ior_options.h"
#include "sheen/client.h"
#include "sheen/result.h"

namespace sheen::bench {

struct OpenMode {
  bool write = false;   // and create
  bool direct = false;  // O_DIRECT
};

class BenchFile {
 public:
  virtual ~BenchFile() = default;
  virtual Status Open(const std::string& path, OpenMode mode) = 0;
  // Fewer bytes than asked for are no error.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) = 0;
  virtual Result<size_t> WriteAt(uint64_t offset, std::span<const std::byte> data) = 0;
  virtual Status Sync() = 0;
  virtual Status Close() = 0;
};

// What a process has of the API. POSIX: nothing.
class BenchApi final {
 public:
  // In the process that uses it: after fork. Never fails here: what is opened does.
  explicit BenchApi(const IorOptions& options);
  std::unique_ptr<BenchFile> MakeFile() const;
  Status Remove(const std::string& path) const;

 private:
  const Api api_;
  Result<std::unique_ptr<Mount>> mount_;  // of kSheen
};

}  // namespace sheen::bench
