// libsheen: a Sheen filesystem in the process itself, without FUSE. The same client library as the
// one below the mount: coherent with all mounts, cached under the same locks.
//
//   auto mount = sheen::Mount::Connect("mds1:/sheen");
//   if (!mount) return Report(mount.error());
//   auto file = (*mount)->Open("/data/x", O_CREAT | O_RDWR, 0644);
//   SHEEN_TRY((*file)->Write(0, bytes));
//   (*file)->WriteAsync(1 << 20, more, [](sheen::Result<size_t> done) { ... });
//   SHEEN_TRY((*file)->Close());
//
// Thread-safe: any thread may call, and a call waits for its answer. Functions of ...Async return
// at once; `done` is called once, on a thread of the library, which must not call the library's
// waiting functions; buffers stay valid until then. A File keeps its Mount's connections, so it is
// closed before the Mount goes. After fork(2) only the parent may go on with a Mount.
//
// Paths begin at the root of what was connected to; symbolic links are followed within it. Requests
// are made as the process' effective user and its groups; the servers check permissions.
// Link: pkg-config --static --libs sheen. libsheen(3) has an example.
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen {

struct ConnectOptions {
  uint16_t port = 7988;        // data port of the MDS
  uint32_t threads = 1;        // that talk to the servers
  uint32_t timeout_s = 0;      // longest wait of a request for a server; 0: for ever
  // Longest wait at the end for a server that has not stored what was written; 0: for ever.
  uint32_t end_patience_s = 60;
  uint32_t umask = 022;        // taken off the modes of what is made
  bool checksums = true;
  bool write_behind = true;    // writes are answered when they are held here, for a second at most
  std::string name;            // in the servers' lists of clients; empty: host and process
  std::string job_id;          // for the servers' statistics by job; empty: $SLURM_JOB_ID
};

// How a file is striped. One part of it, [start, end) in bytes.
struct StripeInfo {
  uint64_t start = 0;
  uint64_t end = 0;            // UINT64_MAX: the file's end
  uint64_t stripe_bytes = 0;
  uint32_t stripe_count = 0;
  std::vector<uint32_t> osts;  // where its stripes are; empty: nothing was written there yet
};
struct Striping {
  uint32_t stripe_count = 1;   // UINT32_MAX: over all OSTs
  uint64_t stripe_bytes = 1 << 20;  // a multiple of 64 KiB
};

struct DirectoryEntry {
  std::string name;
  uint8_t type = DT_UNKNOWN;   // DT_* of readdir(3)
  uint64_t inode = 0;
};

class File final {
 public:
  using Done = std::function<void(Result<size_t>)>;

  ~File();  // closes it
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Bytes read: fewer than asked for only at the end of the file.
  Result<size_t> Read(uint64_t offset, std::span<std::byte> out);
  // All of it, or the error; with O_APPEND at the end of the file, whatever `offset` is.
  // "buffered", as write(2); with O_SYNC "survives power loss".
  Result<size_t> Write(uint64_t offset, std::span<const std::byte> data);
  void ReadAsync(uint64_t offset, std::span<std::byte> out, Done done);
  void WriteAsync(uint64_t offset, std::span<const std::byte> data, Done done);

  Result<struct stat> Stat();
  Status Truncate(uint64_t size);
  // What was written survives power loss when it returns. Errors: also of writes before it that
  // were answered and could not be stored.
  Status Sync();
  Result<std::vector<StripeInfo>> Layout();
  // Errors: as Sync. The file is closed in any case; further calls give kBadHandle.
  Status Close();

  class State;
  explicit File(std::unique_ptr<State> state);

 private:
  std::unique_ptr<State> state_;
};

class Mount final {
 public:
  // `source` as mount(8) takes it: "HOST[:HOST...]:/FSNAME[/SUBDIR]". Errors: kInvalid,
  // kConnectionRefused, kTimedOut, kWrongFilesystem, kNoEntry; the message says what to look at.
  static Result<std::unique_ptr<Mount>> Connect(const std::string& source,
                                                const ConnectOptions& options = {});
  // Disconnect, if that was not called; its error is written to stderr. REQUIRES: its files are
  // closed.
  ~Mount();
  // Waits until what was written is stored, for ConnectOptions::end_patience_s at most. Nothing
  // else may be called after it. REQUIRES: its files are closed. Errors: kIo (not all of it is
  // known to be on a server's disk; stderr says what).
  Status Disconnect();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  // `flags` as open(2): access mode, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_NOFOLLOW.
  // `mode`: of a new file, before the umask. Errors: those of open(2).
  Result<std::unique_ptr<File>> Open(const std::string& path, int flags, uint32_t mode = 0666);
  // A new file, striped so. Errors: also kExists, kInvalid (the striping).
  Result<std::unique_ptr<File>> Create(const std::string& path, int flags, uint32_t mode,
                                       const Striping& striping);

  Result<struct stat> Stat(const std::string& path);
  Result<struct stat> LinkStat(const std::string& path);  // of a symbolic link itself
  Result<std::vector<DirectoryEntry>> ReadDirectory(const std::string& path);  // no "." and ".."
  Status MakeDirectory(const std::string& path, uint32_t mode = 0777);
  Status RemoveDirectory(const std::string& path);
  Status Unlink(const std::string& path);
  Status Rename(const std::string& from, const std::string& to);
  Status Link(const std::string& existing, const std::string& path);
  Status Symlink(const std::string& target, const std::string& path);
  Result<std::string> ReadLink(const std::string& path);
  Status ChangeMode(const std::string& path, uint32_t mode);
  Status Truncate(const std::string& path, uint64_t size);
  // What new files in the directory get.
  Status SetStriping(const std::string& directory, const Striping& striping);

  class State;
  explicit Mount(std::unique_ptr<State> state);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sheen
