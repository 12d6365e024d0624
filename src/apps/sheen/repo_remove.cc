#include "apps/sheen/repo_remove.h"

#include <fmt/format.h>

#include "apps/common/words.h"

namespace sheen::apps {
namespace {

constexpr int kLooks = 600;

// What comes by itself would make names again that were just taken away. `every`: the seconds that
// were ordered.
Status EndComparisons(const std::string& path, const RemoveCalls& calls, uint32_t* every) {
  for (int look = 0; look < kLooks; ++look) {
    SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, calls.list());
    SHEEN_TRY_ASSIGN(v1::Repository link, FindRepository(all, path));
    const v1::ImportState* const state = StateOf(all, link);
    if (link.import_every_s() != 0) {
      *every = link.import_every_s();
      link.set_import_every_s(0);
      SHEEN_TRY(calls.update(link));
      continue;
    }
    if (state == nullptr || !state->running()) return {};
    SHEEN_TRY(calls.pause());
  }
  return Fail(Errc::kBusy, fmt::format("{} is still being compared with S3; try again", path));
}

// As it was. A link that is gone needs nothing.
Status OrderAgain(const std::string& path, const RemoveCalls& calls, uint32_t every) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, calls.list());
  Result<v1::Repository> link = FindRepository(all, path);
  if (!link) return {};
  link->set_import_every_s(every);
  return calls.update(*link);
}

Result<RemovedLink> DropAll(const RemoveCalls& calls) {
  RemovedLink out;
  // Only what S3 has just as it is here: it is asked, not believed.
  if (calls.drop_names) {
    SHEEN_TRY_ASSIGN(out.dropped, calls.drop_names());
  }
  SHEEN_TRY_ASSIGN(out.counts, calls.remove());
  return out;
}

}  // namespace

Result<RemovedLink> RemoveLink(const std::string& path, const RemoveCalls& calls) {
  uint32_t every = 0;
  const Status ended = EndComparisons(path, calls, &every);
  Result<RemovedLink> removed =
      ended ? DropAll(calls) : Result<RemovedLink>(std::unexpected(ended.error()));
  if (removed || every == 0) return removed;
  const Status again = OrderAgain(path, calls, every);
  if (again) return removed;
  return Fail(removed.error().code(),
              fmt::format("{}; and it is compared with S3 no more, order that again: sheen repo "
                          "update {} --every {}s ({})",
                          removed.error().message(), path, every, again.error().message()));
}

Result<v1::Repository> FindRepository(const v1::ListRepositoriesReply& all,
                                      const std::string& path) {
  std::string known;
  for (const v1::Repository& repository : all.repositories()) {
    if (repository.path() == NormalPath(path)) return repository;
    known += (known.empty() ? "" : ", ") + repository.path();
  }
  return Fail(Errc::kNoEntry, fmt::format("{} is no data repository; there {}", path,
                                          known.empty() ? "are none" : "are: " + known));
}

const v1::ImportState* StateOf(const v1::ListRepositoriesReply& all,
                               const v1::Repository& repository) {
  for (const v1::ImportState& state : all.imports()) {
    if (state.repository() == repository.id()) return &state;
  }
  return nullptr;
}

}  // namespace sheen::apps
