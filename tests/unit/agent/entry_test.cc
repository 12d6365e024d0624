#include "agent/entry.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace sheen::agent {
namespace {

Result<v1::ImportEntry> Of(const std::string& key) {
  s3::ListEntry listed;
  listed.key = key;
  listed.size = 7;
  listed.etag = "\"e\"";
  listed.last_modified = std::chrono::seconds(100);
  return EntryOf("data/", listed);
}

TEST(EntryTest, AKeyIsAPathBelowThePrefix) {
  const auto entry = Of("data/a/b c");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->path(), "a/b c");
  EXPECT_EQ(entry->key(), "data/a/b c");
  EXPECT_EQ(entry->mode(), S_IFREG | 0755U);
  EXPECT_EQ(entry->mtime_ns(), 100'000'000'000);
}

TEST(EntryTest, ASlashAtTheEndIsADirectoryWhateverItsAttributesSay) {
  auto entry = Of("data/dir/");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->path(), "dir");
  s3::ObjectInfo info;
  info.metadata = {{"file-permissions", "0100664"}};
  AddAttributes(info, &*entry);
  EXPECT_EQ(entry->mode(), S_IFDIR | 0664U);
}

TEST(EntryTest, ThePrefixItselfHasNoPath) {
  const auto entry = Of("data/");
  ASSERT_TRUE(entry) << entry.error().ToString();
  EXPECT_EQ(entry->path(), "");
}

TEST(EntryTest, WhatCannotBeAPathIsRefusedWithTheReason) {
  for (const auto& [key, reason] :
       {std::pair<std::string, std::string>{"data/a//b", "empty component"},
        {"data//a", "empty component"},
        {"data/a/../b", "'..'"},
        {"data/./b", "'.'"},
        {"data/" + std::string(256, 'x'), "255"},
        {std::string("data/a\0b", 8), "NUL"}}) {
    const auto entry = Of(key);
    ASSERT_FALSE(entry) << key;
    EXPECT_NE(entry.error().message().find(reason), std::string::npos) << entry.error().message();
  }
}

TEST(EntryTest, AttributesAreTakenAndSetUserIdIsNot) {
  auto entry = Of("data/f");
  ASSERT_TRUE(entry);
  s3::ObjectInfo info;
  info.size = 9;
  info.etag = "\"new\"";
  info.metadata = {{"file-permissions", "0104711"},
                   {"file-owner", "12"},
                   {"file-group", "13"},
                   {"file-mtime", "5000000000ns"}};
  AddAttributes(info, &*entry);
  EXPECT_EQ(entry->mode(), S_IFREG | 0711U);
  EXPECT_EQ(entry->uid(), 12U);
  EXPECT_EQ(entry->gid(), 13U);
  EXPECT_EQ(entry->mtime_ns(), 5'000'000'000);
  EXPECT_EQ(entry->size(), 9U);
  EXPECT_EQ(entry->etag(), "\"new\"");
}

}  // namespace
}  // namespace sheen::agent
