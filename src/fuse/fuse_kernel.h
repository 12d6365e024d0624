// Structures and numbers of the kernel's FUSE protocol (version 7.42 and later) that Debian 12's
// linux/fuse.h (7.38) lacks. Little-endian, natural alignment.
//
// FUSE over io_uring: a ring entry is two buffers that the daemon registers: one RingHeader and a
// payload of at least max_write bytes. The kernel fills both and completes the command with 0; the
// daemon answers by putting the reply in the same buffers and sending COMMIT_AND_FETCH, which also
// fetches the next request.
//
//   request:  in_out = fuse_in_header, op_in = the operation's argument struct, payload = the rest
//   reply:    in_out = fuse_out_header, payload = all that follows it
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

namespace sheen::fuse::kernel {

// Flags of INIT, counted over the 64 bits of flags and flags2.
inline constexpr uint64_t kInitDirectIoAllowMmap = 1ULL << 36;
inline constexpr uint64_t kInitOverIoUring = 1ULL << 41;

// Highest opcode that libfuse 3.14 parses (COPY_FILE_RANGE); what is above is answered ENOSYS:
// 50 SYNCFS, 52 STATX, 53 COPY_FILE_RANGE_64; but TMPFILE.
inline constexpr uint32_t kOpcodeMax = 47;
// A CREATE in all but the name, which is "/" and so nobody's; since Linux 6.2. Operations see that.
inline constexpr uint32_t kOpcodeTmpfile = 51;
inline constexpr char kTmpfileName[] = "/";

enum class RingCommand : uint32_t { kRegister = 1, kCommitAndFetch = 2 };

inline constexpr size_t kRingInOutBytes = 128;
inline constexpr size_t kRingOpInBytes = 128;

struct RingEntryInOut {
  uint64_t flags;
  uint64_t commit_id;  // names the request in COMMIT_AND_FETCH
  uint32_t payload_bytes;
  uint32_t padding;
  uint64_t reserved;
};
static_assert(sizeof(RingEntryInOut) == 32);

struct RingHeader {
  std::byte in_out[kRingInOutBytes];
  std::byte op_in[kRingOpInBytes];
  RingEntryInOut entry;
};
static_assert(sizeof(RingHeader) == 288);

// In the command area of a 128-byte SQE.
struct RingCommandArea {
  uint64_t flags;
  uint64_t commit_id;
  uint16_t queue_id;
  uint8_t padding[6];
};
static_assert(sizeof(RingCommandArea) == 24);

static_assert(sizeof(fuse_in_header) == 40);
static_assert(sizeof(fuse_out_header) == 16);
static_assert(sizeof(fuse_init_out) == 64);

}  // namespace sheen::fuse::kernel
