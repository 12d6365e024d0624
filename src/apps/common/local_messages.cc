#include "apps/common/local_messages.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <string>

#include "base/bytes.h"

namespace sheen::apps {
namespace {

// All parameters of a daemon with many targets are a few hundred KiB.
constexpr uint32_t kMessageBytesMax = 16 << 20;

bool ReceiveAll(int fd, char* out, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::recv(fd, out, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

void BoundTimes(int fd, int seconds) {
  const timeval limit{.tv_sec = seconds, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool SendMessage(int fd, const google::protobuf::MessageLite& message) {
  std::byte length[4];
  StoreLittle(length, static_cast<uint32_t>(message.ByteSizeLong()));
  std::string bytes(reinterpret_cast<const char*>(length), sizeof length);
  return message.AppendToString(&bytes) && SendAll(fd, bytes);
}

bool ReceiveMessage(int fd, google::protobuf::MessageLite* message) {
  char length[4];
  if (!ReceiveAll(fd, length, sizeof length)) return false;
  const auto bytes = LoadLittle<uint32_t>(reinterpret_cast<const std::byte*>(length));
  if (bytes > kMessageBytesMax) return false;
  std::string body(bytes, '\0');
  return ReceiveAll(fd, body.data(), body.size()) && message->ParseFromString(body);
}

}  // namespace sheen::apps
