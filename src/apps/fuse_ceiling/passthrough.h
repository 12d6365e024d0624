// Low-level operations that serve a local directory, each by plain system calls at once, on the
// shard that got the request: what the front end costs and nothing else.
//
// An inode is an O_PATH descriptor, counted by the kernel's lookups; its address is the node id.
// Thread-safe: operations run on all shards.
#pragma once

#include <sys/stat.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "fuse/libfuse.h"
#include "sheen/result.h"

namespace sheen::ceiling {

struct Inode {
  int fd = -1;
  ino_t number = 0;
  dev_t device = 0;
  uint64_t lookups = 0;  // guarded by the mutex of its part of the table
};

struct PassthroughOptions {
  double timeout_seconds = 0;  // of names and attributes in the kernel
  bool direct_io = false;
  bool keep_cache = false;
};

class Passthrough final {
 public:
  // Errors: kNoEntry and others of open(2) for `directory`.
  static Result<std::unique_ptr<Passthrough>> Open(const std::string& directory,
                                                   PassthroughOptions options);
  ~Passthrough();

  static const fuse_lowlevel_ops& Ops();
  static Passthrough* Of(fuse_req_t request) {
    return static_cast<Passthrough*>(fuse_req_userdata(request));
  }

  // The inode behind a node id.
  Inode* At(fuse_ino_t id) { return id == FUSE_ROOT_ID ? &root_ : reinterpret_cast<Inode*>(id); }
  int FdOf(fuse_ino_t id) { return At(id)->fd; }
  // 0 with *entry filled in and the inode counted once more, else an errno value.
  int LookUp(fuse_ino_t parent, const char* name, fuse_entry_param* entry);
  void Forget(fuse_ino_t id, uint64_t lookups);
  const PassthroughOptions& options() const { return options_; }

 private:
  struct Key {
    ino_t number;
    dev_t device;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return key.number * 0x9E3779B97F4A7C15ull ^ key.device;
    }
  };
  struct Part {
    std::mutex mutex;  // guards inodes and the lookups of each
    std::unordered_map<Key, std::unique_ptr<Inode>, KeyHash> inodes;
  };
  static constexpr size_t kParts = 64;

  Passthrough() = default;
  Part& PartOf(ino_t number) { return parts_[number % kParts]; }

  PassthroughOptions options_;
  Inode root_;
  std::array<Part, kParts> parts_;
};

// Each fills in its part of the table of operations.
void AddNameOps(fuse_lowlevel_ops* ops);       // lookup, create, unlink, rename ...
void AddFileOps(fuse_lowlevel_ops* ops);       // open, read, write, fsync ...
void AddDirectoryOps(fuse_lowlevel_ops* ops);  // opendir, readdir ...

}  // namespace sheen::ceiling
