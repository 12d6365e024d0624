#include "apps/common/tar_gz.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace sheen::apps {
namespace {

// ustar: all numbers are octal text, all blocks of 512 bytes, two empty ones at the end.
constexpr size_t kBlock = 512;
constexpr size_t kNameMax = 100;
constexpr size_t kPrefixMax = 155;

struct Header {
  char name[kNameMax];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link_name[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[kPrefixMax];
  char unused[12];
};
static_assert(sizeof(Header) == kBlock);

template <size_t kSize>
void Put(char (&field)[kSize], const std::string& text) {
  std::memcpy(field, text.data(), std::min(text.size(), kSize));
}

// prefix '/' name, divided at a slash so that both fit; a name that is too long loses its front.
void PutPath(std::string path, Header* header) {
  if (path.size() > kNameMax) {
    size_t slash = path.find('/', path.size() - kNameMax - 1);
    if (slash == std::string::npos || slash > kPrefixMax) {
      path = path.substr(path.size() - kNameMax);
      slash = std::string::npos;
    }
    if (slash != std::string::npos) {
      Put(header->prefix, path.substr(0, slash));
      path = path.substr(slash + 1);
    }
  }
  Put(header->name, path);
}

}  // namespace

class TarGz::Deflater final {
 public:
  Deflater() {
    // 16: with gzip's header and trailer.
    SHEEN_ASSERT(::deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8,
                                Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~Deflater() { ::deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  void Write(const char* data, size_t bytes, int flush = Z_NO_FLUSH) {
    // zlib counts in 32 bits, and never writes through next_in.
    constexpr size_t kPiece = 1 << 30;
    for (size_t done = 0;;) {
      const size_t piece = std::min(bytes - done, kPiece);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data + done));
      stream_.avail_in = static_cast<uInt>(piece);
      done += piece;
      Drain(done == bytes ? flush : Z_NO_FLUSH);
      if (done == bytes) return;
    }
  }
  void WriteZeros(size_t bytes) { Write(std::string(bytes, '\0').data(), bytes); }

  std::string out;

 private:
  void Drain(int flush) {
    char buffer[64 << 10];
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(buffer);
      stream_.avail_out = sizeof buffer;
      SHEEN_ASSERT(::deflate(&stream_, flush) != Z_STREAM_ERROR);
      out.append(buffer, sizeof buffer - stream_.avail_out);
    } while (stream_.avail_out == 0);
  }

  z_stream stream_{};
};

TarGz::TarGz(std::string directory, int64_t now_s)
    : directory_(std::move(directory)), now_s_(now_s), deflater_(std::make_unique<Deflater>()) {}

TarGz::~TarGz() = default;

void TarGz::AddHeader(const std::string& path, uint64_t bytes) {
  Header header{};
  PutPath(directory_ + "/" + path, &header);
  Put(header.mode, "0000600");
  Put(header.uid, "0000000");
  Put(header.gid, "0000000");
  Put(header.size, fmt::format("{:011o}", bytes));
  Put(header.mtime, fmt::format("{:011o}", std::max<int64_t>(now_s_, 0)));
  header.type = '0';
  Put(header.magic, "ustar");
  Put(header.version, "00");
  // Of the header with blanks in its own place.
  Put(header.checksum, "        ");
  const auto* first = reinterpret_cast<const unsigned char*>(&header);
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof header; ++i) sum += first[i];
  Put(header.checksum, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  deflater_->Write(reinterpret_cast<const char*>(&header), sizeof header);
}

void TarGz::Add(const std::string& path, const std::string& text) {
  AddHeader(path, text.size());
  deflater_->Write(text.data(), text.size());
  deflater_->WriteZeros((kBlock - text.size() % kBlock) % kBlock);
}

std::string TarGz::Finish() {
  deflater_->WriteZeros(2 * kBlock);
  deflater_->Write("", 0, Z_FINISH);
  return std::move(deflater_->out);
}

}  // namespace sheen::apps
