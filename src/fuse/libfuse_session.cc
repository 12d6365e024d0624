#include "fuse/libfuse_session.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/log.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

// Background requests are not held back by the kernel: write-back is one of them and must get
// through while read-aheads wait for a server. Flow control is the daemon's.
constexpr uint16_t kMaxBackground = 65535;
constexpr uint16_t kCongestionThreshold = 65535 / 4 * 3;

constexpr size_t kPageBytes = 4096;

struct Route {
  int descriptor;
  ReplyTarget* target;
};
// Of this thread: one for each session it serves, so nearly always one.
thread_local std::vector<Route> t_routes;

ssize_t OnWritev(int descriptor, iovec* iov, int count, void*) {
  const auto* header = static_cast<const fuse_out_header*>(iov[0].iov_base);
  if (header->unique != 0) {
    for (const Route& route : t_routes) {
      if (route.descriptor == descriptor) return route.target->OnReply(iov, count);
    }
  }
  return writev(descriptor, iov, count);
}

// libfuse demands it and calls it only from loops that we do not use.
ssize_t OnRead(int, void*, size_t, void*) {
  errno = ENOSYS;
  return -1;
}

size_t TotalBytes(const iovec* iov, int count) {
  size_t total = 0;
  for (int i = 0; i < count; ++i) total += iov[i].iov_len;
  return total;
}

// Where libfuse's struct fuse_req has its session and the kernel's number; it is not public.
struct RequestLayout {
  size_t session_offset = 0;
  size_t unique_offset = 0;
  bool found_session = false;
  bool found_unique = false;
};
RequestLayout g_layout;

constexpr uint64_t kProbeUnique = 0x5EE2'F05E'0DD5'1DE6;
// Of a struct of 160 bytes; both are in the first 16 from libfuse 3.0 on.
constexpr size_t kProbeBytes = 64;

struct Probe {
  fuse_session* session = nullptr;
  RequestLayout layout;
};

void OnProbe(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  auto* probe = static_cast<Probe*>(fuse_req_userdata(request));
  const auto* bytes = reinterpret_cast<const std::byte*>(request);
  for (size_t offset = 0; offset < kProbeBytes; offset += sizeof(uint64_t)) {
    const auto value = LoadLittle<uint64_t>(bytes + offset);
    if (value == kProbeUnique && !probe->layout.found_unique) {
      probe->layout.found_unique = true;
      probe->layout.unique_offset = offset;
    }
    if (value == reinterpret_cast<uintptr_t>(probe->session) && !probe->layout.found_session) {
      probe->layout.found_session = true;
      probe->layout.session_offset = offset;
    }
  }
  fuse_reply_err(request, ENOSYS);
}

class DroppingTarget final : public ReplyTarget {
 public:
  ssize_t OnReply(iovec* iov, int count) override {
    error_ = static_cast<const fuse_out_header*>(iov[0].iov_base)->error;
    return static_cast<ssize_t>(TotalBytes(iov, count));
  }
  int error() const { return error_; }

 private:
  int error_ = 0;
};

void Process(fuse_session* session, void* message, size_t bytes) {
  fuse_buf buffer{};
  buffer.mem = message;
  buffer.size = bytes;
  fuse_session_process_buf(session, &buffer);
}

Result<RequestLayout> ProbeLayout() {
  fuse_lowlevel_ops ops{};
  ops.getattr = &OnProbe;
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.get() < 0) return FailErrno(errno, "open /dev/null");
  const int descriptor = null.get();
  Probe probe;
  SHEEN_TRY_ASSIGN(const LibfuseSession session, NewLibfuseSession(ops, &probe, std::move(null)));
  probe.session = session.get();
  struct {
    fuse_in_header header;
    fuse_init_in init;
  } init{.header = {.len = sizeof init, .opcode = FUSE_INIT, .unique = 2}, .init = {}};
  init.init.major = FUSE_KERNEL_VERSION;
  init.init.minor = FUSE_KERNEL_MINOR_VERSION;
  init.init.flags = FUSE_MAX_PAGES;
  SHEEN_TRY(
      ReplayInit(session.get(), descriptor, {reinterpret_cast<std::byte*>(&init), sizeof init}));
  struct {
    fuse_in_header header;
    fuse_getattr_in getattr;
  } message{.header = {.len = sizeof message,
                       .opcode = FUSE_GETATTR,
                       .unique = kProbeUnique,
                       .nodeid = FUSE_ROOT_ID},
            .getattr = {}};
  DroppingTarget target;
  const ReplyRoute route(descriptor, &target);
  Process(session.get(), &message, sizeof message);
  return probe.layout;
}

// Improves the answer to INIT as it passes.
class InitTarget final : public ReplyTarget {
 public:
  InitTarget(int descriptor, const fuse_init_in& request, const InitWishes& wishes)
      : descriptor_(descriptor), request_(request), wishes_(wishes) {}

  ssize_t OnReply(iovec* iov, int count) override {
    auto* header = static_cast<fuse_out_header*>(iov[0].iov_base);
    error_ = header->error;
    if (header->error == 0 && count == 2 && iov[1].iov_len >= sizeof(fuse_init_out)) {
      Improve(static_cast<fuse_init_out*>(iov[1].iov_base));
    }
    const ssize_t written = writev(descriptor_, iov, count);
    if (written < 0) write_error_ = errno;
    return written;
  }
  int error() const { return error_; }
  int write_error() const { return write_error_; }
  const InitOutcome& outcome() const { return outcome_; }

 private:
  void Improve(fuse_init_out* out) {
    uint64_t offered = request_.flags;
    if ((request_.flags & FUSE_INIT_EXT) != 0) offered |= uint64_t{request_.flags2} << 32;
    uint64_t flags = out->flags | uint64_t{out->flags2} << 32;
    outcome_.offers_io_uring = (offered & kernel::kInitOverIoUring) != 0;
    if (wishes_.over_io_uring) flags |= offered & kernel::kInitOverIoUring;
    if (wishes_.handle_killpriv_v2) flags |= offered & FUSE_HANDLE_KILLPRIV_V2;
    flags |= offered & kernel::kInitDirectIoAllowMmap;
    flags |= offered & FUSE_INIT_EXT;
    out->flags = static_cast<uint32_t>(flags);
    if ((flags & FUSE_INIT_EXT) != 0) out->flags2 = static_cast<uint32_t>(flags >> 32);
    out->max_write = std::min(out->max_write, wishes_.max_write);
    out->max_pages = static_cast<uint16_t>((out->max_write + kPageBytes - 1) / kPageBytes);
    out->max_readahead = wishes_.max_readahead;
    out->max_background = kMaxBackground;
    out->congestion_threshold = kCongestionThreshold;
    outcome_.kernel_minor = request_.minor;
    outcome_.max_write = out->max_write;
  }

  const int descriptor_;
  const fuse_init_in& request_;
  const InitWishes wishes_;
  InitOutcome outcome_;
  int error_ = 0;
  int write_error_ = 0;
};

Status CheckInit(ByteSpan message) {
  if (message.size() < sizeof(fuse_in_header) + sizeof(fuse_init_in)) {
    return Fail(Errc::kProtocol,
                fmt::format("INIT of {} bytes is shorter than protocol 7.36 has it: Linux 5.17 or "
                            "later is needed",
                            message.size()));
  }
  const auto opcode = LoadLittle<uint32_t>(message.data() + offsetof(fuse_in_header, opcode));
  if (opcode != FUSE_INIT) {
    return Fail(Errc::kProtocol, fmt::format("first FUSE request is {}, not INIT", opcode));
  }
  return {};
}

}  // namespace

ReplyRoute::ReplyRoute(int descriptor, ReplyTarget* target) : descriptor_(descriptor) {
  // One that was destroyed on another thread than it was made on has left its entry here.
  std::erase_if(t_routes,
                [descriptor](const Route& route) { return route.descriptor == descriptor; });
  t_routes.push_back({descriptor, target});
}

ReplyRoute::~ReplyRoute() {
  std::erase_if(t_routes, [this](const Route& route) { return route.descriptor == descriptor_; });
}

Result<LibfuseSession> NewLibfuseSession(const fuse_lowlevel_ops& ops, void* userdata,
                                         UniqueFd descriptor) {
  std::string program = "sheen";
  std::array<char*, 2> argv = {program.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv.data());
  LibfuseSession session(fuse_session_new(&args, &ops, sizeof ops, userdata));
  fuse_opt_free_args(&args);
  if (session == nullptr) return Fail(Errc::kNoMemory, "fuse_session_new");
  fuse_custom_io io{};
  io.writev = &OnWritev;
  io.read = &OnRead;
  const int failed = fuse_session_custom_io(session.get(), &io, descriptor.get());
  if (failed != 0) return FailErrno(-failed, "fuse_session_custom_io");
  (void)descriptor.Release();
  return session;
}

Status LearnRequestLayout() {
  static std::mutex mutex;  // guards g_layout while it is being found
  std::lock_guard lock(mutex);
  if (g_layout.found_session && g_layout.found_unique) return {};
  SHEEN_TRY_ASSIGN(const RequestLayout layout, ProbeLayout());
  if (!layout.found_session || !layout.found_unique) {
    return Fail(Errc::kBadVersion,
                fmt::format("libfuse {} keeps a request in a way that is not known here; libfuse "
                            "3.14 is needed",
                            fuse_pkgversion()));
  }
  g_layout = layout;
  return {};
}

fuse_session* SessionOf(fuse_req_t request) {
  return LoadLittle<fuse_session*>(reinterpret_cast<const std::byte*>(request) +
                                   g_layout.session_offset);
}

uint64_t UniqueOf(fuse_req_t request) {
  return LoadLittle<uint64_t>(reinterpret_cast<const std::byte*>(request) + g_layout.unique_offset);
}

Result<InitOutcome> AnswerInit(fuse_session* session, int descriptor, MutableByteSpan message,
                               const InitWishes& wishes) {
  SHEEN_TRY(CheckInit(message));
  fuse_init_in request{};
  std::memcpy(&request, message.data() + sizeof(fuse_in_header), sizeof request);
  InitTarget target(descriptor, request, wishes);
  const ReplyRoute route(fuse_session_fd(session), &target);
  Process(session, message.data(), message.size());
  if (target.write_error() != 0) return FailErrno(target.write_error(), "answer FUSE INIT");
  if (target.error() != 0) return FailErrno(-target.error(), "FUSE INIT refused by libfuse");
  if (target.outcome().max_write == 0) {
    return Fail(Errc::kProtocol, "libfuse answered INIT in a form of before protocol 7.23");
  }
  return target.outcome();
}

Status ReplayInit(fuse_session* session, int descriptor, MutableByteSpan message) {
  SHEEN_TRY(CheckInit(message));
  DroppingTarget target;
  const ReplyRoute route(descriptor, &target);
  Process(session, message.data(), message.size());
  if (target.error() != 0) return FailErrno(-target.error(), "FUSE INIT refused by libfuse");
  return {};
}

}  // namespace sheen::fuse
