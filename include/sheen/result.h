// Errors as values: Errc (stable on the wire), Error (code and context), Result<T> and Status.
//
//   Result<uint64_t> ReadSize(...);
//   SHEEN_TRY_ASSIGN(const uint64_t size, ReadSize(...));   // in a function
//   SHEEN_CO_TRY(co_await ring.Sync(file));                 // in a coroutine
//
// Immutable values; thread-safe as far as std::string is.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace sheen {

// Stable on the wire and on disk: never renumber. Values below 1000 are Linux's errno numbers on
// x86-64 (errno(3)); those from 1000 on are our own.
enum class Errc : uint16_t {
  kOk = 0,
  kPerm = 1,
  kNoEntry = 2,
  kInterrupted = 4,
  kIo = 5,
  kNoDevice = 6,
  kBadHandle = 9,
  kAgain = 11,
  kNoMemory = 12,
  kAccess = 13,
  kBusy = 16,
  kExists = 17,
  kCrossDevice = 18,
  kNoSuchDevice = 19,
  kNotDirectory = 20,
  kIsDirectory = 21,
  kInvalid = 22,
  kTextBusy = 26,
  kNotTty = 25,
  kFileTooBig = 27,
  kNoSpace = 28,
  kReadOnly = 30,
  kTooManyLinks = 31,
  kRange = 34,
  kDeadlock = 35,
  kNameTooLong = 36,
  kNoLocks = 37,
  kNoSys = 38,
  kNotEmpty = 39,
  kLoop = 40,
  kNoData = 61,
  kProtocol = 71,
  kOverflow = 75,
  kNotSupported = 95,
  kTimedOut = 110,
  kConnectionRefused = 111,
  kAlready = 114,
  kStale = 116,
  kQuota = 122,
  kCancelled = 125,
  // Ours.
  kCorrupt = 1000,        // bytes that fail their checksum or their validity rule
  kStaleEpoch = 1001,     // session or target epoch is not the current one
  kNotThisServer = 1002,  // the target does not live here; look at the cluster map
  kUnavailable = 1003,    // cannot be served now; try again
  kDisconnected = 1004,   // the connection ended before an answer came
  kWouldBlock = 1005,     // run again where blocking is allowed; never leaves a daemon
  kLayoutChanged = 1006,  // request carries an old layout generation
  kBadVersion = 1007,     // format or protocol version or feature bit not known here
  kEvicted = 1008,        // the session was ended by the server
  kWrongFilesystem = 1009,
  kFenced = 1010,
  kLockLost = 1011,  // data held back under a lock that was taken away
  kAbsent = 1012,    // the bytes are in S3 and not here yet; never leaves an OSS
};

enum class ErrClass : uint8_t { kFail, kRetry, kRedirect };

ErrClass ClassOf(Errc code);
// "ENOENT", "corrupt": for logs and messages.
std::string_view NameOf(Errc code);
// The errno an application sees; EIO for codes of ours that no errno fits.
int ErrnoOf(Errc code);
// Errc of a positive errno value; kIo for one that has no Errc of its own.
Errc ErrcOfErrno(int error_number);

class [[nodiscard]] Error final {
 public:
  Error() = default;
  explicit Error(Errc code, std::string message = {})
      : code_(code), message_(std::move(message)) {}

  Errc code() const { return code_; }
  const std::string& message() const { return message_; }
  ErrClass error_class() const { return ClassOf(code_); }
  // "no such OST: ENOENT"; the name alone without a message.
  std::string ToString() const;

 private:
  Errc code_ = Errc::kOk;
  std::string message_;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

using Status = Result<void>;

inline std::unexpected<Error> Fail(Errc code, std::string message = {}) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}
// Of the current errno value; `what` names the call and its object: "open /x/y".
std::unexpected<Error> FailErrno(int error_number, std::string_view what);
// Puts context in front: "mdt0: " + message. Called once, where the context is known.
Error Annotate(Error error, std::string_view context);

}  // namespace sheen

#define SHEEN_CONCAT_INNER(a, b) a##b
#define SHEEN_CONCAT(a, b) SHEEN_CONCAT_INNER(a, b)

#define SHEEN_TRY(expression)                                                       \
  do {                                                                              \
    auto sheen_try_result = (expression);                                           \
    if (!sheen_try_result) return std::unexpected(std::move(sheen_try_result).error()); \
  } while (false)

#define SHEEN_TRY_ASSIGN(declaration, expression)                                        \
  auto SHEEN_CONCAT(sheen_result_, __LINE__) = (expression);                             \
  if (!SHEEN_CONCAT(sheen_result_, __LINE__))                                            \
    return std::unexpected(std::move(SHEEN_CONCAT(sheen_result_, __LINE__)).error());    \
  declaration = std::move(*SHEEN_CONCAT(sheen_result_, __LINE__))

#define SHEEN_CO_TRY(expression)                                                       \
  do {                                                                                 \
    auto sheen_try_result = (expression);                                              \
    if (!sheen_try_result) co_return std::unexpected(std::move(sheen_try_result).error()); \
  } while (false)

#define SHEEN_CO_TRY_ASSIGN(declaration, expression)                                        \
  auto SHEEN_CONCAT(sheen_result_, __LINE__) = (expression);                                \
  if (!SHEEN_CONCAT(sheen_result_, __LINE__))                                               \
    co_return std::unexpected(std::move(SHEEN_CONCAT(sheen_result_, __LINE__)).error());    \
  declaration = std::move(*SHEEN_CONCAT(sheen_result_, __LINE__))
