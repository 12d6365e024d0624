// s3_stub: the strict S3 of tests as a program. Prints its URL when it serves; runs until SIGTERM
// or SIGINT, or until standard input ends with --while-stdin.
//
//   s3_stub [--port N] [--access-key K] [--secret-key S] [--region R] [--domain D] [--while-stdin]
//           [--control PATH=JSON]...     as if posted to /_stub/PATH; see README.md

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <unistd.h>

#include "support/s3_stub/stub.h"

namespace sheen::s3_stub {
namespace {

int Run(int argc, char** argv) {
  StubOptions options;
  uint16_t port = 0;
  bool while_stdin = false;
  std::vector<std::pair<std::string, std::string>> control;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--while-stdin") {
      while_stdin = true;
      continue;
    }
    if (i + 1 == argc) {
      std::fprintf(stderr, "s3_stub: %s needs a value\n", name.c_str());
      return 2;
    }
    const std::string value = argv[++i];
    if (name == "--port") {
      port = static_cast<uint16_t>(std::stoi(value));
    } else if (name == "--access-key") {
      options.access_key = value;
    } else if (name == "--secret-key") {
      options.secret_key = value;
    } else if (name == "--region") {
      options.region = value;
    } else if (name == "--domain") {
      options.domain = value;
    } else if (name == "--control" && value.find('=') != std::string::npos) {
      control.emplace_back(value.substr(0, value.find('=')), value.substr(value.find('=') + 1));
    } else {
      std::fprintf(stderr, "s3_stub: unknown option %s\n", name.c_str());
      return 2;
    }
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  Stub stub(options);
  for (const auto& [what, json] : control) {
    if (!stub.Order(what, json)) {
      std::fprintf(stderr, "s3_stub: --control %s: not understood\n", what.c_str());
      return 2;
    }
  }
  if (!stub.Start("127.0.0.1", port)) {
    std::perror("s3_stub");
    return 1;
  }
  std::printf("%s\n", stub.url().c_str());
  std::fflush(stdout);
  char byte;
  if (while_stdin) {
    while (read(0, &byte, 1) > 0) {
    }
  } else {
    int signal = 0;
    sigwait(&signals, &signal);
  }
  return 0;
}

}  // namespace
}  // namespace sheen::s3_stub

int main(int argc, char** argv) { return sheen::s3_stub::Run(argc, argv); }
