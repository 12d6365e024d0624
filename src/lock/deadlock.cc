#include "lock/deadlock.h"

#include <set>

namespace sheen::lock {

void DeadlockGraph::AddWait(const FileLocks* file, const FileLockRequest* request) {
  waits_[request->owner].push_back({file, request});
}

void DeadlockGraph::RemoveWait(const FileLockRequest* request) {
  const auto found = waits_.find(request->owner);
  if (found == waits_.end()) return;
  std::erase_if(found->second, [request](const Wait& wait) { return wait.request == request; });
  if (found->second.empty()) waits_.erase(found);
}

// Every owner is looked at once, so the cost is that of the locks held that are in the way of those
// who can be reached.
bool DeadlockGraph::LeadsBack(const FileLocks& file, const FileLockRequest& request) const {
  std::set<FileLockOwner> seen;
  std::vector<Wait> to_follow = {{&file, &request}};
  while (!to_follow.empty()) {
    const Wait wait = to_follow.back();
    to_follow.pop_back();
    const bool closed = wait.file->VisitBlockers(*wait.request, [&](const FileLockOwner& holder) {
      if (holder == request.owner) return true;
      const auto waits = waits_.find(holder);
      if (waits != waits_.end() && seen.insert(holder).second)
        to_follow.insert(to_follow.end(), waits->second.begin(), waits->second.end());
      return false;
    });
    if (closed) return true;
  }
  return false;
}

}  // namespace sheen::lock
