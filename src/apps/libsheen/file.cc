#include "apps/libsheen/file.h"

#include <fcntl.h>

#include <utility>

#include "client/stat.h"
#include "layout/layout.h"

namespace sheen {
namespace {

using lib::Connection;

// A call's place in the library: what it needs of the file, by value.
struct Job {
  Connection* connection = nullptr;
  Fid fid;
  uint64_t handle = 0;
  int flags = 0;

  client::Filesystem* fs() const { return connection->fs(); }
};

Job JobOf(const File::State& state) {
  return {state.connection, state.fid, state.handle, state.flags};
}

Status CheckOpen(const File::State& state) {
  if (!state.closed.load()) return {};
  return Fail(Errc::kBadHandle, "the file is closed");
}

async::Task<Result<size_t>> ReadAll(Job job, uint64_t offset, MutableByteSpan out) {
  if ((job.flags & O_ACCMODE) == O_WRONLY) {
    co_return Fail(Errc::kBadHandle, "not open for reading");
  }
  co_return co_await job.fs()->Read(job.fid, job.handle, offset, out);
}

// The client library takes what one request of a kernel may have.
async::Task<Result<size_t>> WriteAll(Job job, uint64_t offset, ByteSpan data) {
  if ((job.flags & O_ACCMODE) == O_RDONLY) {
    co_return Fail(Errc::kBadHandle, "not open for writing");
  }
  SHEEN_CO_TRY(co_await job.fs()->DropPrivileges(job.fid, !job.connection->superuser()));
  client::WriteOptions options;
  options.sync = (job.flags & (O_SYNC | O_DSYNC)) != 0;
  options.append = (job.flags & O_APPEND) != 0;
  constexpr size_t kPieceMax = 1 << 20;
  size_t done = 0;
  while (done < data.size()) {
    const ByteSpan piece = data.subspan(done, std::min(data.size() - done, kPieceMax));
    SHEEN_CO_TRY_ASSIGN(const size_t written, co_await job.fs()->Write(job.fid, job.handle,
                                                                       offset + done, piece,
                                                                       options));
    if (written == 0) co_return Fail(Errc::kIo, "nothing more could be written");
    done += written;
  }
  co_return done;
}

async::Task<void> ReadThenTell(Job job, uint64_t offset, MutableByteSpan out, File::Done done) {
  Result<size_t> result = co_await ReadAll(job, offset, out);
  done(std::move(result));
}

async::Task<void> WriteThenTell(Job job, uint64_t offset, ByteSpan data, File::Done done) {
  Result<size_t> result = co_await WriteAll(job, offset, data);
  done(std::move(result));
}

async::Task<Result<struct stat>> StatOpen(Job job) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr,
                      co_await job.fs()->GetAttr(job.connection->who(), job.fid));
  co_return client::StatOf(attr);
}

async::Task<Status> TruncateOpen(Job job, uint64_t size) {
  client::AttrChange change;
  change.set_size = true;
  change.size = size;
  const auto changed =
      co_await job.fs()->SetAttr(job.connection->who(), job.fid, change, job.handle);
  if (!changed) co_return std::unexpected(changed.error());
  co_return Status();
}

async::Task<Result<std::vector<StripeInfo>>> ReadLayout(Job job) {
  SHEEN_CO_TRY_ASSIGN(const client::LayoutAnswer answer,
                      co_await job.fs()->GetLayout(job.connection->who(), job.fid, false));
  std::vector<StripeInfo> out;
  if (answer.encoded.empty()) co_return out;
  SHEEN_CO_TRY_ASSIGN(const layout::Layout layout, layout::Decode(answer.encoded));
  for (const layout::Component& component : layout.components) {
    StripeInfo& info = out.emplace_back();
    info.start = component.start;
    info.end = component.end;
    info.stripe_bytes = component.stripe_bytes;
    info.stripe_count = component.stripe_count;
    info.osts = component.osts;
  }
  co_return out;
}

// What was held back is stored first, so that its error is known and told here, and only here.
async::Task<Status> CloseOpen(Job job) {
  Status stored;
  if ((job.flags & O_ACCMODE) != O_RDONLY) stored = co_await job.fs()->Flush(job.fid);
  const Status closed = co_await job.fs()->Close(job.fid, job.handle);
  if (!stored) co_return stored;
  co_return closed;
}

}  // namespace

File::File(std::unique_ptr<State> state) : state_(std::move(state)) {}

File::~File() { (void)Close(); }

Result<size_t> File::Read(uint64_t offset, std::span<std::byte> out) {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Result<size_t>>(
      state_->shard, [job = JobOf(*state_), offset, out] { return ReadAll(job, offset, out); });
}

Result<size_t> File::Write(uint64_t offset, std::span<const std::byte> data) {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Result<size_t>>(
      state_->shard, [job = JobOf(*state_), offset, data] { return WriteAll(job, offset, data); });
}

void File::ReadAsync(uint64_t offset, std::span<std::byte> out, Done done) {
  const Status open = CheckOpen(*state_);
  if (!open) return done(std::unexpected(open.error()));
  state_->connection->Start(state_->shard, [job = JobOf(*state_), offset, out,
                                            done = std::move(done)] {
    return ReadThenTell(job, offset, out, done);
  });
}

void File::WriteAsync(uint64_t offset, std::span<const std::byte> data, Done done) {
  const Status open = CheckOpen(*state_);
  if (!open) return done(std::unexpected(open.error()));
  state_->connection->Start(state_->shard, [job = JobOf(*state_), offset, data,
                                            done = std::move(done)] {
    return WriteThenTell(job, offset, data, done);
  });
}

Result<struct stat> File::Stat() {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Result<struct stat>>(
      state_->shard, [job = JobOf(*state_)] { return StatOpen(job); });
}

Status File::Truncate(uint64_t size) {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Status>(
      state_->shard, [job = JobOf(*state_), size] { return TruncateOpen(job, size); });
}

Status File::Sync() {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Status>(
      state_->shard, [job = JobOf(*state_)] { return job.fs()->Fsync(job.fid); });
}

Result<std::vector<StripeInfo>> File::Layout() {
  SHEEN_TRY(CheckOpen(*state_));
  return state_->connection->Await<Result<std::vector<StripeInfo>>>(
      state_->shard, [job = JobOf(*state_)] { return ReadLayout(job); });
}

Status File::Close() {
  if (state_->closed.exchange(true)) return {};
  return state_->connection->Await<Status>(state_->shard,
                                           [job = JobOf(*state_)] { return CloseOpen(job); });
}

}  // namespace sheen
