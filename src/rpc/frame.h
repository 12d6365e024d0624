// The data plane's frame: fixed header, body (a Protocol Buffers message), bulk (raw bytes).
// docs/formats/wire.md has the worked example; tests/golden pins the bytes.
//
//   offset size  field
//        0    4  magic          "SHN1"
//        4    2  version        kProtocolVersion
//        6    2  flags          FrameFlag
//        8    2  opcode         Opcode
//       10    2  status         Errc of a reply; 0 in a request
//       12    4  target         MDT or OST index the request is for
//       16    8  xid            names the request within its session; the reply repeats it
//       24    4  body_bytes     <= kBodyBytesMax
//       28    4  bulk_bytes     <= kBulkBytesMax
//       32    4  slot           reply slot of a mutating request (0: none)
//       36    4  credential     id set once per session by kSetCredential; 0: the host's superuser
//       40    8  transno        reply: what the request got (0: changed nothing);
//                               request: the session's oldest unfinished xid
//       48    8  last_committed reply: every transno up to it survives power loss
//       56    8  deadline_ms    request: milliseconds the sender will wait (0: for ever)
//       64    4  bulk_crc       CRC32C of the bulk when kBulkCrc is set
//       68    4  body_crc       CRC32C of the body when kBodyCrc is set
//       72    4  reserved       0
//       76    4  header_crc     CRC32C of bytes 0..75, always
//
// All little-endian. A frame that breaks a rule closes its connection, never the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "sheen/result.h"

namespace sheen::rpc {

inline constexpr uint32_t kMagic = 0x314E4853;  // "SHN1"
inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr uint16_t kProtocolVersionOldest = 1;
inline constexpr size_t kHeaderBytes = 80;
inline constexpr uint32_t kBodyBytesMax = 4 << 20;
inline constexpr uint32_t kBulkBytesMax = 4 << 20;
// Before a session is established.
inline constexpr uint32_t kHelloBodyBytesMax = 4096;

enum FrameFlag : uint16_t {
  kReply = 1 << 0,         // else a request
  kFromServer = 1 << 1,    // who speaks: set on everything a server sends
  kBodyCrc = 1 << 2,
  kBulkCrc = 1 << 3,
  kResend = 1 << 4,        // sent before on another connection; may have been executed
  kReplay = 1 << 5,        // was answered; the server may have lost it
};
inline constexpr uint16_t kKnownFlags = 0x3F;

// Stable: never renumber. MDS opcodes 100.., OSS 200.., server to client 300...
enum class Opcode : uint16_t {
  kHello = 1,
  kAuth = 2,       // rounds of authentication; none are defined yet
  kPing = 3,
  kGoodbye = 4,    // unmount: ends the session
  kSetCredential = 5,

  kMdsLookup = 100,
  kMdsGetAttr = 101,
  kMdsSetAttr = 102,
  kMdsCreate = 103,     // regular file and open, in one
  kMdsMakeNode = 104,   // directory, symlink, fifo, socket, device, regular file without open
  kMdsLink = 105,
  kMdsUnlink = 106,
  kMdsRemoveDir = 107,
  kMdsRename = 108,
  kMdsOpen = 109,
  kMdsClose = 110,
  kMdsReadDir = 111,
  kMdsReadLink = 112,
  kMdsGetXattr = 113,
  kMdsSetXattr = 114,
  kMdsListXattr = 115,
  kMdsRemoveXattr = 116,
  kMdsGetLayout = 117,
  kMdsInstantiate = 118,  // layout components for a write or truncate
  kMdsSetLayout = 119,    // setstripe
  kMdsStatFs = 120,       // all targets
  kMdsFidToPath = 121,
  kMdsAllocateSequence = 122,
  kMdsSync = 123,
  kMdsClusterMap = 124,
  kMdsReportSize = 125,   // after a glimpse with no writers left
  kMdsLockCancel = 126,   // locks that the client gives back unasked
  kMdsFileLockGet = 127,  // flock and fcntl locks: who is in the way
  kMdsFileLockSet = 128,  // take, change, let go; may be left waiting, then kFileLockEvent follows
  kMdsFileLockCancel = 129,   // of a request that waits
  kMdsFileLockReclaim = 130,  // all that the client holds, again
  kMdsReadChangelog = 150,
  kMdsClearChangelog = 151,
  kMdsHsmState = 131,    // of a file from S3: flags, source, what is being done with it
  kMdsHsmSet = 132,      // sets and clears flags
  kMdsHsmRelease = 133,  // may its data be dropped from the OSTs? Nothing is changed
  kMdsHsmRequest = 134,  // restores that are to be done, or not to be done
  kMdsHsmJob = 135,      // how far a request's restores are
  kMdsLayoutHold = 136,   // an open file's layout is to be replaced: nobody else gets its lock
  kMdsSwapLayouts = 137,  // two files exchange their layouts

  kOstRead = 200,
  kOstWrite = 201,
  kOstGetAttr = 202,      // glimpse: size, blocks, times of objects
  kOstTruncate = 203,
  kOstAllocate = 204,     // fallocate: default, keep size, punch, zero
  kOstSync = 205,
  kOstSeek = 206,
  kOstStatFs = 207,
  kOstLockCancel = 208,   // write locks that the client gives back unasked
  kOstLockDeclare = 209,  // those that it holds, after a reconnect
  kOstResidency = 210,    // which bytes of objects are here, and which are in S3
  kOstRelease = 211,      // drops what S3 has

  kMapChanged = 300,      // server to client: the cluster map has a new version
  kLockCallback = 301,    // server to client: give locks back; the answer says that they are
  kFileLockEvent = 302,   // server to client: what became of kMdsFileLockSet requests that waited
  kExtentCallback = 303,  // OSS to client: write what is held back, give the lock back

  kAgentFetch = 400,      // OSS to agent: a range of an object in S3
  kAgentHasten = 401,     // OSS to agent: what was to be had some day is waited for now
};

// Bits of Hello.features: what a side knows beyond the protocol's first version.
enum Feature : uint64_t {
  kInodeLocks = 1 << 0,  // answers of the MDS carry locks; kLockCallback takes them back
  kFileLocks = 1 << 1,   // flock and fcntl locks are kept by the MDS (kMdsFileLock*)
  kExtentLocks = 1 << 2,  // the OSS gives write locks and space (OstWriteRequest.keep_lock)
  kKeptWrites = 1 << 4,  // changes of objects are kept until committed, and repeated to the OSS
  kOrigins = 1 << 7,     // the OSS counts by users and jobs: requests to it name credentials
  kLayoutLocks = 1 << 5,  // the locks of kInodeLocks cover layouts too (lock::kLayout)
};

struct FrameHeader {
  uint16_t version = kProtocolVersion;
  uint16_t flags = 0;
  Opcode opcode = Opcode::kPing;
  Errc status = Errc::kOk;
  uint32_t target = 0;
  uint64_t xid = 0;
  uint32_t body_bytes = 0;
  uint32_t bulk_bytes = 0;
  uint32_t slot = 0;
  uint32_t credential = 0;
  uint64_t transno = 0;
  uint64_t last_committed = 0;
  uint64_t deadline_ms = 0;
  uint32_t bulk_crc = 0;
  uint32_t body_crc = 0;

  bool is_reply() const { return (flags & kReply) != 0; }
};

using HeaderBytes = std::array<std::byte, kHeaderBytes>;

HeaderBytes EncodeHeader(const FrameHeader& header);
// Magic, header CRC, version, flags, lengths. Errors: kProtocol, kBadVersion, kCorrupt; the message
// names the field and what it held.
Result<FrameHeader> DecodeHeader(ByteSpan bytes);

std::string_view NameOf(Opcode opcode);
bool IsKnown(Opcode opcode);
// Does the request change anything (so that it needs a slot and exactly-once)?
bool IsMutating(Opcode opcode);

}  // namespace sheen::rpc
