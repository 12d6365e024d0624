// One process of fsbench: what it does in each phase.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fsbench/options.h"
#include "fsbench/pattern.h"

namespace fsbench {

// Ends the process with status 1 and errno's text.
[[noreturn]] void Die(const std::string& what);

double Now();

// Shard-confined: one process, one thread (the random phases start threads of their own).
class Worker final {
 public:
  Worker(const Options& options, uint32_t index);

  // Outside the measured time: opens, makes what the phase needs.
  void Prepare(const std::string& phase);
  // The measured part. Returns operations, or MiB for the phases that are counted in MiB/s.
  double Run(const std::string& phase);
  // Outside the measured time: closes; compares every byte of what a sequential phase read.
  void Finish(const std::string& phase);
  void CleanUp();

 private:
  std::string BigPath(uint32_t index) const;
  // The part of the big file that is process `part`'s.
  struct Extent {
    uint64_t writer, offset, bytes;
  };
  Extent ExtentOf(uint32_t part) const;
  uint64_t RecordCount() const;
  uint64_t RecordOffset(uint32_t part, uint64_t record) const;
  uint32_t Neighbour() const { return (index_ + 1) % options_.procs; }

  double EachFile(const std::function<void(const std::string&)>& action);
  void Create(const std::string& path, bool sync);
  void Stat(const std::string& path) const;
  void OpenReadClose(const std::string& path);
  void WriteBig(size_t bytes_a_call);
  void ReadBig(Depth depth);
  void OpenBig(int flags);
  double Random(bool write, bool sync);
  uint64_t RandomThread(uint32_t thread, bool write, bool sync, double end);
  void WriteRecords();
  void ReadRecords(Depth depth);

  void Put(int fd, uint64_t writer, uint64_t offset, size_t bytes, const std::string& path);
  void Get(int fd, uint64_t writer, uint64_t offset, size_t bytes, Depth depth,
           const std::string& path);

  const Options& options_;
  const uint32_t index_;
  const std::string top_;
  std::string directory_;
  Pattern pattern_;
  std::vector<Pattern> more_patterns_;  // of the further threads of the random phases
  int big_ = -1;
};

}  // namespace fsbench
