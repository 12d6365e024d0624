// One libfuse session that gets its requests and sends its replies through us, and the two facts of
// its private request structure that we need: whose it is, and the kernel's number of it.
//
// There is one libfuse session for each shard: libfuse keeps its requests in a list under a mutex,
// and calls back for an interrupt on the thread that reads it; apart, shards share neither.
#pragma once

#include <sys/uio.h>

#include <memory>

#include "base/bytes.h"
#include "fuse/libfuse.h"
#include "fuse/mount.h"
#include "sheen/result.h"

namespace sheen::fuse {

struct LibfuseDeleter {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};
using LibfuseSession = std::unique_ptr<fuse_session, LibfuseDeleter>;

// Takes the replies of the libfuse sessions of one descriptor, on one thread.
class ReplyTarget {
 public:
  // As writev(2); iov[0] is the fuse_out_header, whose unique is not 0.
  virtual ssize_t OnReply(iovec* iov, int count) = 0;

 protected:
  ~ReplyTarget() = default;
};

// While it exists, replies on this thread of the session with `descriptor` go to `target`; all
// others are written to the descriptor.
class ReplyRoute final {
 public:
  ReplyRoute(int descriptor, ReplyTarget* target);
  ~ReplyRoute();
  ReplyRoute(const ReplyRoute&) = delete;
  ReplyRoute& operator=(const ReplyRoute&) = delete;

 private:
  const int descriptor_;
};

// The session owns `descriptor`. Errors: kNoMemory.
Result<LibfuseSession> NewLibfuseSession(const fuse_lowlevel_ops& ops, void* userdata,
                                         UniqueFd descriptor);

// Finds out, once in the process, where libfuse keeps what SessionOf() and UniqueOf() read, by a
// request with known values. Errors: kBadVersion: this libfuse keeps them nowhere we look.
Status LearnRequestLayout();
// REQUIRES: LearnRequestLayout() succeeded.
fuse_session* SessionOf(fuse_req_t request);
uint64_t UniqueOf(fuse_req_t request);

// What the daemon answers to INIT beyond libfuse.
struct InitWishes {
  bool over_io_uring = false;
  bool handle_killpriv_v2 = false;
  uint32_t max_write = 0;
  uint32_t max_readahead = 0;
};
struct InitOutcome {
  bool offers_io_uring = false;
  uint32_t kernel_minor = 0;
  uint32_t max_write = 0;
};
// Gives the kernel's INIT `message` to `session`, which calls its init operation, improves the
// answer and writes it to `descriptor`, where INIT was read. Errors: kProtocol, kIo.
Result<InitOutcome> AnswerInit(fuse_session* session, int descriptor, MutableByteSpan message,
                               const InitWishes& wishes);
// Gives it to a further session and drops the answer.
Status ReplayInit(fuse_session* session, int descriptor, MutableByteSpan message);

}  // namespace sheen::fuse
