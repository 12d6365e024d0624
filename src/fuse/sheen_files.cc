// Open files: create, open, read, write, flush, release, fsync, fallocate, lseek.
//
// fh is the client's handle id. A file opened with O_DIRECT or O_APPEND bypasses the kernel's
// cache: an append's place is decided when the servers are asked, not by the kernel's idea of the
// size.

#include <fcntl.h>

#include "client/kernel_cache.h"
#include "fuse/fuse_kernel.h"
#include "fuse/session.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

void FillOpen(fuse_req_t req, const client::Opened& opened, fuse_file_info* file) {
  file->fh = opened.handle;
  file->keep_cache = FsOf(req)->KeepPages(opened.attr) ? 1 : 0;
  file->direct_io = (file->flags & (O_DIRECT | O_APPEND)) != 0 ? 1 : 0;
  if ((file->flags & O_DIRECT) != 0) AddOpenFlags(req, kOpenParallelDirectWrites);
}

async::Task<void> CloseQuietly(client::Filesystem* fs, Fid fid, uint64_t handle) {
  const Status closed = co_await fs->Close(fid, handle);
  if (!closed) {
    SHEEN_LOG(Warn, "close of {}: {}", fid.ToString(), closed.error().ToString());
  }
}

async::Task<void> Create(fuse_req_t req, Fid parent, std::string name, uint32_t mode,
                         fuse_file_info file) {
  client::Filesystem* fs = FsOf(req);
  if (name == kernel::kTmpfileName) name.clear();
  client::CreateOptions options;
  options.mode = mode;
  options.umask = fuse_req_ctx(req)->umask;
  options.flags = static_cast<uint32_t>(file.flags);
  const Result<client::Opened> opened =
      co_await fs->Create(WhoAsks(req), parent, name, std::move(options));
  if (!opened) {
    ReplyError(req, opened.error());
    co_return;
  }
  FillOpen(req, *opened, &file);
  fuse_entry_param entry = EntryOf(fs, parent, name, opened->attr);
  // Of an inode that the kernel knows it takes these for newer than what it was told meanwhile.
  if (!opened->created) entry.attr_timeout = 0;
  // The caller was killed: nobody will release the handle, nor forget the inode.
  if (fuse_reply_create(req, &entry, &file) != 0) {
    fs->kernel()->Forget(opened->attr.fid, 1);
    co_await CloseQuietly(fs, opened->attr.fid, opened->handle);
  }
}

async::Task<void> Open(fuse_req_t req, Fid fid, fuse_file_info file) {
  client::Filesystem* fs = FsOf(req);
  const Result<client::Opened> opened =
      co_await fs->Open(WhoAsks(req), fid, static_cast<uint32_t>(file.flags));
  if (!opened) {
    ReplyError(req, opened.error());
    co_return;
  }
  FillOpen(req, *opened, &file);
  if (fuse_reply_open(req, &file) != 0) co_await CloseQuietly(fs, fid, opened->handle);
}

async::Task<void> Read(fuse_req_t req, Fid fid, uint64_t handle, uint64_t offset, size_t size) {
  const std::span<std::byte> out = ReplyBuffer(req);
  const Result<size_t> read =
      co_await FsOf(req)->Read(fid, handle, offset, out.first(std::min(size, out.size())));
  if (!read) {
    ReplyError(req, read.error());
  } else {
    fuse_reply_buf(req, reinterpret_cast<const char*>(out.data()), *read);
  }
}

async::Task<void> Write(fuse_req_t req, Fid fid, ByteSpan data, uint64_t offset,
                        fuse_file_info file) {
  client::WriteOptions options;
  options.uncached = (file.flags & (O_DIRECT | O_APPEND)) != 0 && file.writepage == 0;
  options.drop_set_ids = KillSuidgid(req);
  options.sync = (file.flags & (O_SYNC | O_DSYNC)) != 0;
  // Write-back of mapped pages has a place already.
  options.append = (file.flags & O_APPEND) != 0 && file.writepage == 0;
  options.direct = file.writepage != 0;
  const Result<size_t> written = co_await FsOf(req)->Write(fid, file.fh, offset, data, options);
  // The kernel does not expect the times to move by its own write-back.
  if (file.writepage != 0) FsOf(req)->ChangedHere(fid);
  if (!written) {
    ReplyError(req, written.error());
  } else {
    fuse_reply_write(req, *written);
  }
}

async::Task<void> Fsync(fuse_req_t req, Fid fid) {
  const Status status = co_await FsOf(req)->Fsync(fid);
  ReplyStatus(req, status);
}

async::Task<void> Fallocate(fuse_req_t req, Fid fid, uint64_t handle, uint32_t mode,
                            uint64_t offset, uint64_t length) {
  const Status status = co_await FsOf(req)->Fallocate(fid, handle, mode, offset, length);
  ReplyStatus(req, status);
}

async::Task<void> Seek(fuse_req_t req, Fid fid, uint64_t offset, client::SeekKind kind) {
  const Result<uint64_t> found = co_await FsOf(req)->Seek(fid, offset, kind);
  if (!found) {
    ReplyError(req, found.error());
  } else {
    fuse_reply_lseek(req, static_cast<off_t>(*found));
  }
}

void AnswerFlush(fuse_req_t req, fuse_ino_t node, const fuse_file_info& file) {
  const bool wrote = (file.flags & O_ACCMODE) != O_RDONLY;
  ReplyStatus(req, wrote ? FsOf(req)->WriteError(FidOfNode(FsOf(req), node)) : Status());
}

async::Task<void> EndFlush(fuse_req_t req, fuse_ino_t node, fuse_file_info file,
                           async::Task<void> locks) {
  co_await std::move(locks);
  AnswerFlush(req, node, file);
}

void AddOpenOps(fuse_lowlevel_ops* ops) {
  ops->create = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                   fuse_file_info* file) {
    Spawn(Create(req, FidOfNode(FsOf(req), parent), name, mode, *file));
  };
  ops->open = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file) {
    Spawn(Open(req, FidOfNode(FsOf(req), node), *file));
  };
  // Waits for no server, but a second for the end of fcntl locks: an exiting process could not be
  // killed. What is held is written by the release; errors known by now are told.
  ops->flush = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file) {
    auto locks = FlushLocks(req, node, *file);
    if (locks) {
      Spawn(EndFlush(req, node, *file, std::move(*locks)));
    } else {
      AnswerFlush(req, node, *file);
    }
  };
  ops->release = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file) {
    client::Filesystem* fs = FsOf(req);
    ReleaseLocks(req, node, *file);
    fs->EndCopy(FidOfNode(fs, node), file->fh);
    // The close is under way, and later operations on the file wait for it, when this returns.
    Spawn(CloseQuietly(fs, FidOfNode(fs, node), file->fh));
    fuse_reply_err(req, 0);
  };
}

}  // namespace

void AddFileOps(fuse_lowlevel_ops* ops) {
  AddOpenOps(ops);
  ops->read = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file) {
    Spawn(Read(req, FidOfNode(FsOf(req), node), file->fh, static_cast<uint64_t>(offset), size));
  };
  ops->write = [](fuse_req_t req, fuse_ino_t node, const char* data, size_t size, off_t offset,
                  fuse_file_info* file) {
    const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
    Spawn(Write(req, FidOfNode(FsOf(req), node), bytes, static_cast<uint64_t>(offset), *file));
  };
  ops->fsync = [](fuse_req_t req, fuse_ino_t node, int, fuse_file_info*) {
    Spawn(Fsync(req, FidOfNode(FsOf(req), node)));
  };
  ops->fallocate = [](fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
                      fuse_file_info* file) {
    Spawn(Fallocate(req, FidOfNode(FsOf(req), node), file->fh, static_cast<uint32_t>(mode),
                    static_cast<uint64_t>(offset), static_cast<uint64_t>(length)));
  };
  ops->lseek = [](fuse_req_t req, fuse_ino_t node, off_t offset, int whence, fuse_file_info*) {
    const auto kind = whence == SEEK_HOLE ? client::SeekKind::kHole : client::SeekKind::kData;
    Spawn(Seek(req, FidOfNode(FsOf(req), node), static_cast<uint64_t>(offset), kind));
  };
}

}  // namespace sheen::fuse
