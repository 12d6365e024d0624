// Blocking sockets for tests: peers that need not keep the rules of the protocol.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

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

inline std::string RawReadAll(int fd) {
  std::string out;
  char chunk[4096];
  for (;;) {
    const ssize_t size = recv(fd, chunk, sizeof chunk, 0);
    if (size <= 0) return out;
    out.append(chunk, static_cast<size_t>(size));
  }
}

}  // namespace sheen::rpc
