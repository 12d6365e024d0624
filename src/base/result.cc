#include "sheen/result.h"

#include <cerrno>
#include <cstring>

namespace sheen {
namespace {

struct ErrcRow {
  Errc code;
  std::string_view name;
  int errno_value;
  ErrClass error_class;
};

constexpr ErrcRow kErrcRows[] = {
    {Errc::kOk, "OK", 0, ErrClass::kFail},
    {Errc::kPerm, "EPERM", EPERM, ErrClass::kFail},
    {Errc::kNoEntry, "ENOENT", ENOENT, ErrClass::kFail},
    {Errc::kInterrupted, "EINTR", EINTR, ErrClass::kFail},
    {Errc::kIo, "EIO", EIO, ErrClass::kFail},
    {Errc::kNoDevice, "ENXIO", ENXIO, ErrClass::kFail},
    {Errc::kBadHandle, "EBADF", EBADF, ErrClass::kFail},
    {Errc::kAgain, "EAGAIN", EAGAIN, ErrClass::kFail},
    {Errc::kNoMemory, "ENOMEM", ENOMEM, ErrClass::kFail},
    {Errc::kAccess, "EACCES", EACCES, ErrClass::kFail},
    {Errc::kBusy, "EBUSY", EBUSY, ErrClass::kFail},
    {Errc::kExists, "EEXIST", EEXIST, ErrClass::kFail},
    {Errc::kCrossDevice, "EXDEV", EXDEV, ErrClass::kFail},
    {Errc::kNoSuchDevice, "ENODEV", ENODEV, ErrClass::kFail},
    {Errc::kNotDirectory, "ENOTDIR", ENOTDIR, ErrClass::kFail},
    {Errc::kIsDirectory, "EISDIR", EISDIR, ErrClass::kFail},
    {Errc::kInvalid, "EINVAL", EINVAL, ErrClass::kFail},
    {Errc::kTextBusy, "ETXTBSY", ETXTBSY, ErrClass::kFail},
    {Errc::kNotTty, "ENOTTY", ENOTTY, ErrClass::kFail},
    {Errc::kFileTooBig, "EFBIG", EFBIG, ErrClass::kFail},
    {Errc::kNoSpace, "ENOSPC", ENOSPC, ErrClass::kFail},
    {Errc::kReadOnly, "EROFS", EROFS, ErrClass::kFail},
    {Errc::kTooManyLinks, "EMLINK", EMLINK, ErrClass::kFail},
    {Errc::kRange, "ERANGE", ERANGE, ErrClass::kFail},
    {Errc::kDeadlock, "EDEADLK", EDEADLK, ErrClass::kFail},
    {Errc::kNameTooLong, "ENAMETOOLONG", ENAMETOOLONG, ErrClass::kFail},
    {Errc::kNoLocks, "ENOLCK", ENOLCK, ErrClass::kFail},
    {Errc::kNoSys, "ENOSYS", ENOSYS, ErrClass::kFail},
    {Errc::kNotEmpty, "ENOTEMPTY", ENOTEMPTY, ErrClass::kFail},
    {Errc::kLoop, "ELOOP", ELOOP, ErrClass::kFail},
    {Errc::kNoData, "ENODATA", ENODATA, ErrClass::kFail},
    {Errc::kProtocol, "EPROTO", EPROTO, ErrClass::kFail},
    {Errc::kOverflow, "EOVERFLOW", EOVERFLOW, ErrClass::kFail},
    {Errc::kNotSupported, "EOPNOTSUPP", EOPNOTSUPP, ErrClass::kFail},
    {Errc::kTimedOut, "ETIMEDOUT", ETIMEDOUT, ErrClass::kRetry},
    {Errc::kConnectionRefused, "ECONNREFUSED", ECONNREFUSED, ErrClass::kRetry},
    {Errc::kAlready, "EALREADY", EALREADY, ErrClass::kFail},
    {Errc::kStale, "ESTALE", ESTALE, ErrClass::kFail},
    {Errc::kQuota, "EDQUOT", EDQUOT, ErrClass::kFail},
    {Errc::kCancelled, "ECANCELED", ECANCELED, ErrClass::kFail},
    {Errc::kCorrupt, "corrupt", EIO, ErrClass::kFail},
    {Errc::kStaleEpoch, "stale epoch", ESTALE, ErrClass::kRetry},
    {Errc::kNotThisServer, "not this server", EIO, ErrClass::kRedirect},
    {Errc::kUnavailable, "unavailable", EIO, ErrClass::kRetry},
    {Errc::kDisconnected, "disconnected", ENOTCONN, ErrClass::kRetry},
    {Errc::kWouldBlock, "would block", EAGAIN, ErrClass::kRetry},
    {Errc::kLayoutChanged, "layout changed", EIO, ErrClass::kRetry},
    {Errc::kBadVersion, "unknown version or feature", EPROTO, ErrClass::kFail},
    {Errc::kEvicted, "evicted", ENOTCONN, ErrClass::kRetry},
    {Errc::kWrongFilesystem, "wrong filesystem", EIO, ErrClass::kFail},
    {Errc::kFenced, "fenced", EIO, ErrClass::kFail},
    {Errc::kLockLost, "lock_lost", EIO, ErrClass::kFail},
    {Errc::kAbsent, "absent", EIO, ErrClass::kFail},
};

const ErrcRow& RowOf(Errc code) {
  for (const ErrcRow& row : kErrcRows) {
    if (row.code == code) return row;
  }
  static constexpr ErrcRow kUnknown = {Errc::kIo, "unknown error", EIO, ErrClass::kFail};
  return kUnknown;
}

}  // namespace

ErrClass ClassOf(Errc code) { return RowOf(code).error_class; }
std::string_view NameOf(Errc code) { return RowOf(code).name; }
int ErrnoOf(Errc code) { return RowOf(code).errno_value; }

Errc ErrcOfErrno(int error_number) {
  for (const ErrcRow& row : kErrcRows) {
    if (static_cast<int>(row.code) == error_number) return row.code;
  }
  return Errc::kIo;
}

std::string Error::ToString() const {
  if (message_.empty()) return std::string(NameOf(code_));
  return message_ + ": " + std::string(NameOf(code_));
}

std::unexpected<Error> FailErrno(int error_number, std::string_view what) {
  std::string message(what);
  const Errc code = ErrcOfErrno(error_number);
  if (static_cast<int>(code) != error_number) {
    message += " (errno " + std::to_string(error_number) + ")";
  }
  return Fail(code, std::move(message));
}

Error Annotate(Error error, std::string_view context) {
  return Error(error.code(), std::string(context) + error.message());
}

}  // namespace sheen
