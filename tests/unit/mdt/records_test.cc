#include "mdt/records.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "mdt/repository_records.h"
#include "mdt/schema.h"

namespace sheen::mdt {
namespace {

// tests/golden/mdt/NAME.hex: pairs of hex digits; '#' starts a comment. docs/formats/mdt.md shows
// the same bytes.
std::string Golden(const std::string& name) {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("/unit/")) + "/golden/mdt/" + name + ".hex");
  EXPECT_TRUE(file.good()) << name;
  std::string bytes;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      for (size_t i = 0; i + 1 < word.size(); i += 2) {
        bytes.push_back(static_cast<char>(std::stoi(word.substr(i, 2), nullptr, 16)));
      }
    }
  }
  return bytes;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  char two[3];
  for (const char byte : bytes) {
    std::snprintf(two, sizeof two, "%02x", static_cast<uint8_t>(byte));
    out += two;
  }
  return out;
}

void ExpectGolden(const std::string& name, const std::string& key, const std::string& value) {
  EXPECT_EQ(Hex(key), Hex(Golden(name + ".key"))) << name;
  EXPECT_EQ(Hex(value), Hex(Golden(name))) << name;
}

constexpr Fid kFile{0x200000400, 0x1f, 0};
constexpr Fid kDirectory{0x200000007, 1, 0};
constexpr uint64_t kCookie = 0x123456789abcdef0;
constexpr uint64_t kTransno = 3ULL << 40 | 9;

Inode ExampleInode() {
  Inode inode;
  inode.flags = kSizeUnsafe;
  inode.mode = 0100644;
  inode.uid = 1000;
  inode.gid = 100;
  inode.project_id = 7;
  inode.nlink = 1;
  inode.size = 4097;
  inode.blocks = 16;
  inode.atime_ns = 1'700'000'000'000'000'001;
  inode.mtime_ns = 1'700'000'000'000'000'002;
  inode.ctime_ns = 1'700'000'000'000'000'003;
  inode.btime_ns = 1'700'000'000'000'000'000;
  inode.size_epoch = 2;
  inode.unsafe_session = 0x1122334455667788;
  inode.xattr_count = 1;
  inode.xattr_name_bytes = 7;
  inode.layout = "LAYOUT";
  return inode;
}

OutboxRow ExampleOutbox() {
  return {.kind = OutboxRow::Kind::kDestroy, .objects = {{kFile, kTransno, 2}}};
}

Superblock ExampleSuperblock() {
  Superblock superblock;
  superblock.fsname = "sheen";
  for (uint8_t i = 0; i < 16; ++i) superblock.uuid.bytes[i] = i;
  for (uint8_t i = 0; i < 16; ++i) superblock.hash_key[i] = static_cast<uint8_t>(0xf0 + i);
  superblock.boot = 3;
  superblock.next_sequence = 0x200000402;
  return superblock;
}

ClientRow ExampleClient() {
  ClientRow row;
  for (uint8_t i = 0; i < 16; ++i) row.client.bytes[i] = i;
  for (uint8_t i = 0; i < 16; ++i) row.secret[i] = static_cast<uint8_t>(0x20 + i);
  return row;
}

TEST(RecordsTest, BytesAreThoseOfTheFormatDocument) {
  ExpectGolden("inode", InodeKey(kFile), Encode(ExampleInode()));
  const Dirent entry{.type = 8, .fid = kFile, .name = "data"};
  ExpectGolden("dirent", DirentKey(kDirectory, kCookie), Encode(entry));
  ExpectGolden("tombstone", DirentKey(kDirectory, kCookie + 1), Encode(Dirent{.tombstone = true}));
  ExpectGolden("link", LinkKey(kFile, kDirectory, kCookie), EncodeLink("data"));
  ExpectGolden("xattr", XattrKey(kFile, "user.a"), EncodeXattr("value"));
  ExpectGolden("outbox", OutboxKey(1, kTransno, 0), Encode(ExampleOutbox()));
  ExpectGolden("orphan", InodeKey(kFile), EncodeOrphan(1'700'000'000'000'000'004));
  ExpectGolden("client", SessionKey(5), Encode(ExampleClient()));
  ClientRow evicted = ExampleClient();
  evicted.evicted = true;
  ExpectGolden("client_evicted", SessionKey(5), Encode(evicted));
  ExpectGolden("slot", SlotKey(5, 2), Encode(SlotRow{77, kTransno, "REPLY"}));
  ExpectGolden("superblock", std::string(kSuperblockKey), Encode(ExampleSuperblock()));
  ExpectGolden("committed", std::string(kCommittedKey), EncodeCommitted(kTransno));
}

TEST(RecordsTest, APendingNamesBytesAreThoseOfTheFormatDocument) {
  const FileSource source{.flags = kSourcePending | kHsmExists | kHsmArchived | kHsmReleased,
                          .link = 3, .key = "a/b", .etag = "\"e\"", .size = 1000,
                          .modified_ns = 5};
  ExpectGolden("pending_source", InodeKey(kFile), Encode(source));
  ExpectGolden("pending", PendingKey(3, kFile), EncodePending());
  EXPECT_TRUE(IsPendingSource(Encode(source)));
  EXPECT_EQ(DecodePendingKey(PendingKey(3, kFile))->link, 3u);
  EXPECT_EQ(DecodePendingKey(PendingKey(3, kFile))->fid, kFile);
  EXPECT_FALSE(DecodePendingKey(PendingKey(3, kFile) + "x"));
  EXPECT_FALSE(DecodePendingKey("pending/"));
}

TEST(RecordsTest, AnUnlistedRepositorysBytesAreThoseOfTheFormatDocument) {
  ExpectGolden("unlisted", UnlistedKey(3), EncodeUnlisted());
  EXPECT_EQ(*DecodeUnlistedKey(UnlistedKey(3)), 3u);
  EXPECT_FALSE(DecodeUnlistedKey(UnlistedKey(3) + "x"));
  EXPECT_FALSE(DecodeUnlistedKey("unlisted/"));
  ExpectGolden("taken_away", TakenAwayKey(3, "a/b"), EncodeUnlisted());
  EXPECT_EQ(TakenAwayKey(3, "a/b/"), TakenAwayKey(3, "a/b"));
}

TEST(RecordsTest, AnOlderSourceIsNotPending) {
  EXPECT_FALSE(IsPendingSource(Encode(FileSource{.flags = 0x7f, .link = 3, .key = "k"})));
  EXPECT_FALSE(IsPendingSource(""));
  EXPECT_FALSE(IsPendingSource("of a later version"));
}

TEST(RecordsTest, EveryRecordComesBackAsItWas) {
  EXPECT_EQ(DecodeInode(Encode(ExampleInode())).value(), ExampleInode());
  Inode directory;
  directory.mode = 040755;
  directory.parent = kDirectory;
  directory.extra = "of a later version";
  EXPECT_EQ(DecodeInode(Encode(directory)).value(), directory);
  const Dirent entry{.type = 4, .fid = kFile, .name = std::string(255, 'n')};
  EXPECT_EQ(DecodeDirent(Encode(entry)).value(), entry);
  EXPECT_EQ(DecodeOutbox(Encode(ExampleOutbox())).value().objects, ExampleOutbox().objects);
  EXPECT_EQ(DecodeSuperblock(Encode(ExampleSuperblock())).value().hash_key,
            ExampleSuperblock().hash_key);
  EXPECT_EQ(DecodeClient(Encode(ExampleClient())).value().secret, ExampleClient().secret);
  for (const bool evicted : {false, true}) {
    ClientRow row = ExampleClient();
    row.evicted = evicted;
    EXPECT_EQ(DecodeClient(Encode(row)).value().evicted, evicted);
  }
  EXPECT_EQ(DecodeXattr(EncodeXattr(std::string(65536, 'x'))).value().size(), 65536u);
}

// Cut anywhere, lengthened, or with any one byte changed: an answer or an error, never a crash; and
// a cut or lengthened record is always an error.
template <class Decode>
void ExpectRobust(const std::string& bytes, Decode decode) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode(bytes.substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(decode(bytes + '\0').has_value());
  std::string newer = bytes;
  newer[0] = 9;
  const auto refused = decode(newer);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kBadVersion);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x80);
    (void)decode(damaged);
  }
}

TEST(RecordsTest, DamagedAndNewerRecordsAreRefused) {
  ExpectRobust(Encode(ExampleInode()), DecodeInode);
  ExpectRobust(Encode(Dirent{.type = 8, .fid = kFile, .name = "data"}), DecodeDirent);
  ExpectRobust(Encode(Dirent{.tombstone = true}), DecodeDirent);
  ExpectRobust(EncodeLink("data"), DecodeLink);
  ExpectRobust(EncodeXattr("value"), DecodeXattr);
  ExpectRobust(Encode(ExampleOutbox()), DecodeOutbox);
  ExpectRobust(EncodeOrphan(5), DecodeOrphan);
  ExpectRobust(Encode(ExampleClient()), DecodeClient);
  ExpectRobust(Encode(SlotRow{77, kTransno, "REPLY"}), DecodeSlot);
  ExpectRobust(Encode(ExampleSuperblock()), DecodeSuperblock);
  ExpectRobust(EncodeCommitted(kTransno), DecodeCommitted);
}

TEST(RecordsTest, KeysOfOneDirectorySortByCookieAndApartFromOthers) {
  EXPECT_LT(DirentKey(kDirectory, 255), DirentKey(kDirectory, 256));
  EXPECT_LT(DirentKey(kDirectory, kCookieMax), DirentKey(kFile, 0));
  EXPECT_LT(OutboxKey(1, kTransno, 9), OutboxKey(1, kTransno + 1, 0));
  EXPECT_EQ(AfterPrefix("ab"), "ac");
  EXPECT_EQ(AfterPrefix(std::string("a\xff", 2)), "b");
  EXPECT_EQ(AfterPrefix("\xff"), "");
}

}  // namespace
}  // namespace sheen::mdt
