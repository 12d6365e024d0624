// TarGz: a .tar.gz (POSIX.1-1988 ustar, RFC 1952) made in memory, of texts.
//
//   TarGz archive("sheen-support-mds1", now);
//   archive.Add("log/mds.log", text);          // sheen-support-mds1/log/mds.log
//   const std::string bytes = archive.Finish();
//
// Belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace sheen::apps {

class TarGz final {
 public:
  // All files are below `directory`, and have the time `now_s` (seconds since 1970).
  TarGz(std::string directory, int64_t now_s);
  ~TarGz();
  TarGz(const TarGz&) = delete;
  TarGz& operator=(const TarGz&) = delete;

  // `path` is shortened from its front where it and the directory do not fit ustar's 255 bytes.
  void Add(const std::string& path, const std::string& text);
  // The archive. REQUIRES: once, and nothing is added after it.
  std::string Finish();

 private:
  class Deflater;

  void AddHeader(const std::string& path, uint64_t bytes);

  const std::string directory_;
  const int64_t now_s_;
  const std::unique_ptr<Deflater> deflater_;
};

}  // namespace sheen::apps
