#include "mds/import_compare.h"

#include <sys/stat.h>

#include "mdt/repository_records.h"

namespace sheen::mds {
namespace {

ImportStanding Refused(std::string_view why) { return {.refusal = why}; }

// What a HEAD has said of a name that was looked up before its listing came has whole seconds.
bool SameTime(int64_t known_ns, int64_t said_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  const bool rounded = known_ns % kSecond == 0 && known_ns == said_ns - said_ns % kSecond;
  return rounded || known_ns == said_ns;
}

// A directory that people have made, or another import, keeps what it has.
Result<ImportStanding> CompareDirectory(const mdt::Inode& inode, uint32_t repository,
                                        const v1::ImportEntry& entry, bool listed) {
  if (!inode.IsDirectory()) return Refused("a file of this name is in the way of a directory");
  if (inode.extra.empty()) return ImportStanding{};
  SHEEN_TRY_ASSIGN(const mdt::FileSource known, mdt::DecodeFileSource(inode.extra));
  if (known.link != repository || known.key != entry.key()) return ImportStanding{};
  const bool same =
      known.etag == entry.etag() && SameTime(known.modified_ns, entry.modified_ns());
  const bool pending = (known.flags & mdt::kSourcePending) != 0;
  if (same && (listed || !pending)) return ImportStanding{.pending = pending};
  return ImportStanding{.what = known.etag.empty() ? v1::IMPORT_CREATED : v1::IMPORT_UPDATED,
                        .pending = pending};
}

}  // namespace

Result<ImportStanding> CompareImported(const mdt::Inode& inode, uint32_t repository,
                                       const v1::ImportEntry& entry, bool listed) {
  if (S_ISDIR(entry.mode())) return CompareDirectory(inode, repository, entry, listed);
  if (inode.IsDirectory()) return Refused("a directory of this name is in the way of the file");
  if (inode.extra.empty()) {
    return Refused("a file of this name is here that was not imported; kept");
  }
  SHEEN_TRY_ASSIGN(const mdt::FileSource known, mdt::DecodeFileSource(inode.extra));
  // Renamed or linked here: it may be the last copy.
  if (known.key != entry.key()) return Refused("it was another object's and renamed here; kept");
  if (known.link != repository) return Refused("it belongs to another data repository");
  const bool same = known.etag == entry.etag() && known.size == entry.size();
  if ((known.flags & mdt::kHsmDirty) != 0) {
    return same ? ImportStanding{} : Refused("changed here and in S3; the file here is kept");
  }
  const bool pending = (known.flags & mdt::kSourcePending) != 0;
  const bool unchanged = same && SameTime(known.modified_ns, entry.modified_ns());
  if (unchanged && (listed || !pending)) return ImportStanding{.pending = pending};
  return ImportStanding{.what = v1::IMPORT_UPDATED, .same_content = same, .pending = pending};
}

}  // namespace sheen::mds
