// Listings: opendir, readdir, readdirplus, releasedir, fsyncdir.
//
// A position is the MDS's cookie of the last entry seen, 1 after "." and 2 after "..". A batch from
// the MDS (about a thousand entries) is larger than a request of the kernel: what is left of it is
// kept with the handle for the next request that goes on from there; a rewind drops it.

#include <dirent.h>
#include <fcntl.h>

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "client/kernel_cache.h"
#include "fuse/session.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

constexpr uint64_t kAfterDot = 1;
constexpr uint64_t kAfterDotDot = 2;

struct Listing {
  uint64_t from = 0;  // the batch follows this cookie
  bool plus = false;
  client::DirBatch batch;
};

// What is left of batches, by handle. Thread-safe: requests of one handle may come to any shard.
class Listings final {
 public:
  // Taken out while a request works on it: a second one at the same time fetches its own.
  std::unique_ptr<Listing> Take(uint64_t handle) {
    const std::scoped_lock lock(mutex_);
    auto node = kept_.extract(handle);
    return node.empty() ? nullptr : std::move(node.mapped());
  }
  void Keep(uint64_t handle, std::unique_ptr<Listing> listing) {
    const std::scoped_lock lock(mutex_);
    kept_[handle] = std::move(listing);
  }
  void Drop(uint64_t handle) { Take(handle); }

 private:
  std::mutex mutex_;  // guards kept_
  std::unordered_map<uint64_t, std::unique_ptr<Listing>> kept_;
};

Listings& KeptListings() {
  static Listings listings;
  return listings;
}

// One request's answer being filled.
class Page final {
 public:
  Page(fuse_req_t req, const Fid& directory, size_t size, bool plus)
      : req_(req), fs_(FsOf(req)), directory_(directory), out_(ReplyBuffer(req)), plus_(plus) {
    out_ = out_.first(std::min(size, out_.size()));
  }

  // False when it does not fit any more.
  bool Add(const char* name, const fuse_entry_param& entry, uint64_t cookie) {
    char* at = reinterpret_cast<char*>(out_.data()) + used_;
    const size_t left = out_.size() - used_;
    const auto offset = static_cast<off_t>(cookie);
    const size_t need = plus_ ? fuse_add_direntry_plus(req_, at, left, name, &entry, offset)
                              : fuse_add_direntry(req_, at, left, name, &entry.attr, offset);
    if (need > left) return false;
    used_ += need;
    return true;
  }

  bool AddEntry(const client::DirEntry& entry, bool fresh) {
    fuse_entry_param param{};
    param.attr.st_ino = entry.fid.ToInode();
    param.attr.st_mode = static_cast<mode_t>(DTTOIF(entry.type));
    const std::optional<client::Attr> attr = AttrOf(entry, fresh);
    if (!attr) return Add(entry.name.c_str(), param, entry.cookie);
    // The kernel counts a lookup: only of what fits.
    const size_t need =
        fuse_add_direntry_plus(req_, nullptr, 0, entry.name.c_str(), nullptr, 0);
    if (need > out_.size() - used_) return false;
    param = EntryOf(fs_, directory_, entry.name, *attr);
    counted_.push_back(entry.fid);
    return Add(entry.name.c_str(), param, entry.cookie);
  }

  bool AddDots(const Fid& self, const Fid& parent, uint64_t position) {
    fuse_entry_param param{};
    param.attr.st_mode = S_IFDIR;
    param.attr.st_ino = self.ToInode();
    if (position < kAfterDot && !Add(".", param, kAfterDot)) return false;
    param.attr.st_ino = parent.Valid() ? parent.ToInode() : self.ToInode();
    return position >= kAfterDotDot || Add("..", param, kAfterDotDot);
  }

  // Attributes of a kept batch, or of a file that somebody writes, may be old: then only what a
  // lock covers is known.
  std::optional<client::Attr> AttrOf(const client::DirEntry& entry, bool fresh) {
    if (!plus_ || !entry.has_attr) return std::nullopt;
    if (fresh && !entry.attr.size_unsafe && !fs_->IsOpen(entry.fid)) return entry.attr;
    return fs_->KnownAttr(entry.fid);
  }

  void Reply() {
    if (fuse_reply_buf(req_, reinterpret_cast<const char*>(out_.data()), used_) == 0) return;
    for (const Fid& fid : counted_) fs_->kernel()->Forget(fid, 1);
  }
  bool empty() const { return used_ == 0; }

 private:
  fuse_req_t req_;
  client::Filesystem* fs_;
  const Fid directory_;
  std::span<std::byte> out_;
  size_t used_ = 0;
  std::vector<Fid> counted_;  // lookups that the answer brings
  const bool plus_;
};

// Index of the first entry after `position`, if the listing goes on from there.
std::optional<size_t> PlaceIn(const Listing& listing, uint64_t position) {
  if (listing.from == position) return 0;
  for (size_t i = 0; i < listing.batch.entries.size(); ++i) {
    if (listing.batch.entries[i].cookie == position) return i + 1;
  }
  return std::nullopt;
}

struct ListRequest {
  Fid fid;
  uint64_t handle = 0;
  uint64_t position = 0;
  size_t size = 0;
  bool plus = false;
};

async::Task<void> List(fuse_req_t req, ListRequest request) {
  client::Filesystem* fs = FsOf(req);
  Page page(req, request.fid, request.size, request.plus);
  std::unique_ptr<Listing> listing = KeptListings().Take(request.handle);
  uint64_t position = request.position <= kAfterDotDot ? 0 : request.position;
  bool fresh = false;
  if (request.position == 0 || (listing && listing->plus != request.plus)) listing.reset();
  for (bool full = false; !full;) {
    std::optional<size_t> place;
    if (listing) place = PlaceIn(*listing, position);
    const bool used_up = place && *place == listing->batch.entries.size();
    if (!place || (used_up && !listing->batch.end)) {
      Result<client::DirBatch> batch =
          co_await fs->ReadDir(WhoAsks(req), request.fid, position, request.plus);
      if (!batch) {
        if (page.empty()) {
          ReplyError(req, batch.error());
        } else {
          page.Reply();
        }
        co_return;
      }
      listing = std::make_unique<Listing>(Listing{position, request.plus, std::move(*batch)});
      fresh = true;
      place = 0;
    }
    if (request.position < kAfterDotDot && page.empty() &&
        !page.AddDots(request.fid, listing->batch.parent, request.position)) {
      break;
    }
    const std::vector<client::DirEntry>& entries = listing->batch.entries;
    fs->kernel()->NoteListing(request.fid, !request.plus && *place < entries.size());
    for (size_t i = *place; i < entries.size() && !full; ++i) {
      full = !page.AddEntry(entries[i], fresh);
      if (!full) position = entries[i].cookie;
    }
    if (listing->batch.end) break;
    // A second batch in one answer only when the first gave nothing.
    if (!full && !page.empty()) break;
  }
  if (listing) KeptListings().Keep(request.handle, std::move(listing));
  page.Reply();
}

async::Task<void> CloseDir(client::Filesystem* fs, Fid fid, uint64_t handle) {
  const Status closed = co_await fs->Close(fid, handle);
  if (!closed) {
    SHEEN_LOG(Warn, "close of {}: {}", fid.ToString(), closed.error().ToString());
  }
}

// The MDS is told, so that a directory that is removed lives until its last close on any node.
async::Task<void> OpenDir(fuse_req_t req, Fid fid, fuse_file_info file) {
  client::Filesystem* fs = FsOf(req);
  const Result<client::Opened> opened =
      co_await fs->Open(WhoAsks(req), fid, O_RDONLY | O_DIRECTORY);
  if (!opened) {
    ReplyError(req, opened.error());
    co_return;
  }
  file.fh = opened->handle;
  const client::KernelListing kept = fs->OpenListing(opened->attr);
  file.cache_readdir = kept != client::KernelListing::kNone ? 1 : 0;
  file.keep_cache = kept == client::KernelListing::kKeep ? 1 : 0;
  if (fuse_reply_open(req, &file) != 0) co_await CloseDir(fs, fid, opened->handle);
}

async::Task<void> FsyncDir(fuse_req_t req, Fid fid) {
  const Status status = co_await FsOf(req)->FsyncDir(fid);
  ReplyStatus(req, status);
}

void StartList(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, uint64_t handle,
               bool plus) {
  Spawn(List(req, {FidOfNode(FsOf(req), node), handle, static_cast<uint64_t>(offset), size, plus}));
}

}  // namespace

void AddDirectoryOps(fuse_lowlevel_ops* ops) {
  ops->opendir = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file) {
    Spawn(OpenDir(req, FidOfNode(FsOf(req), node), *file));
  };
  ops->readdir = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                    fuse_file_info* file) { StartList(req, node, size, offset, file->fh, false); };
  ops->readdirplus = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                        fuse_file_info* file) {
    StartList(req, node, size, offset, file->fh, true);
  };
  ops->releasedir = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file) {
    client::Filesystem* fs = FsOf(req);
    KeptListings().Drop(file->fh);
    Spawn(CloseDir(fs, FidOfNode(fs, node), file->fh));
    fuse_reply_err(req, 0);
  };
  ops->fsyncdir = [](fuse_req_t req, fuse_ino_t node, int, fuse_file_info*) {
    Spawn(FsyncDir(req, FidOfNode(FsOf(req), node)));
  };
}

}  // namespace sheen::fuse
