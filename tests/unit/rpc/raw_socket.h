// Blocking sockets for tests: peers that need not keep the rules of the protocol.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/bytes.h"

namespace sheen::rpc {

inline int RawConnect(uint16_t port, in_addr_t host = htonl(INADDR_LOOPBACK)) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = host;
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  timeval limit{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

inline void RawSend(int fd, ByteSpan bytes) {
  EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), ssize_t(bytes.size()));
}

// All of `out`, or what came before the end. With a timeout set recv is not begun again by the
// kernel after a signal.
inline ssize_t RawReceive(int fd, MutableByteSpan out) {
  size_t got = 0;
  while (got < out.size()) {
    const ssize_t size = recv(fd, out.data() + got, out.size() - got, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    got += static_cast<size_t>(size);
  }
  return static_cast<ssize_t>(got);
}

inline std::string RawReadAll(int fd) {
  std::string out;
  char chunk[4096];
  for (;;) {
    const ssize_t size = recv(fd, chunk, sizeof chunk, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return out;
    out.append(chunk, static_cast<size_t>(size));
  }
}

}  // namespace sheen::rpc
