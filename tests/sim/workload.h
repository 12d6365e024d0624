// Random operations on names and files, each checked against a model: what a client sees is what
// has been done, whatever fails meanwhile. Several of them may run at a time, each below its own
// directory; one runs a step after the other.
//
// Shard-confined.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/filesystem.h"

namespace sheen::test {

class Workload final {
 public:
  // Each step is one of these clients'.
  Workload(std::vector<client::Filesystem*> clients, uint64_t seed);
  // Below this empty directory instead of the root.
  void SetBase(const Fid& base) { base_ = base; }
  async::Task<void> Run(int steps);
  // Everything that should be there, as each of these sees it; none: of those that made it.
  async::Task<void> CheckAll(std::vector<client::Filesystem*> by = {});

 private:
  struct Node {
    bool directory = false;
    std::string data;
  };
  // Names are "/a/b"; the root is "".
  using Model = std::map<std::string, Node>;

  async::Task<void> Step();
  std::string AnyPath();
  std::string AnyDirectory();
  std::string NewPath() { return AnyDirectory() + "/n" + std::to_string(random_.Below(30)); }
  bool HasChildren(const std::string& path);
  std::string RandomData(uint64_t bytes);
  async::Task<Result<Fid>> Resolve(std::string path);
  async::Task<Fid> MustResolve(std::string path);
  std::string Where() const { return "step " + std::to_string(step_) + " "; }
  async::Task<void> CreateOne();
  async::Task<void> WriteOpen(std::string path, Fid fid, uint64_t handle, uint64_t offset,
                              std::string data);
  async::Task<void> MakeDirectory();
  async::Task<void> WriteSome();
  async::Task<void> TruncateOne();
  async::Task<void> RemoveOne();
  async::Task<void> RenameOne();
  void MoveInModel(const std::string& from, const std::string& to);
  async::Task<void> CheckListing(std::string path);
  async::Task<void> CheckContent(std::string path);

  const std::vector<client::Filesystem*> clients_;
  std::optional<Fid> base_;
  Random random_;
  Model model_;
  client::Filesystem* fs_ = nullptr;
  int step_ = 0;
};

}  // namespace sheen::test
