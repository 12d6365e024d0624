#include "s3/lister.h"

#include <algorithm>

#include "s3/key_split.h"

namespace sheen::s3 {
namespace {

// Probes half-way before the best cut known is taken.
constexpr int kHalvingsMax = 8;
// Pages of a range that could not be cut until it is tried again.
constexpr uint64_t kPagesAfterFailure = 4;

// How far two bounds of a range agree: the less, the more may lie between.
size_t SharedBytes(const std::string& low, const std::optional<std::string>& high) {
  if (!high) return 0;
  return static_cast<size_t>(std::ranges::mismatch(low, *high).in1 - low.begin());
}

}  // namespace

async::Task<Result<ListSummary>> Lister::Run(ListSink* sink) {
  sink_ = sink;
  ranges_.push_back(Range{.after = options_.start_after});
  unstarted_.push_back(&ranges_.back());
  std::vector<async::Task<Status>> workers;
  for (uint32_t i = 0; i < std::max(options_.concurrency, 1U); ++i) workers.push_back(Work());
  (void)co_await async::WhenAll(std::move(workers));
  if (error_) co_return std::unexpected(*error_);
  co_return summary_;
}

async::Task<Status> Lister::Work() {
  while (!error_) {
    if (!unstarted_.empty()) {
      Range* const range = unstarted_.front();
      unstarted_.pop_front();
      listed_.push_back(range);
      co_await ListRange(range);
      range->done = true;
      std::erase(listed_, range);
      // Whoever cuts it still looks at it.
      if (!range->being_cut) std::erase_if(ranges_, [range](Range& r) { return &r == range; });
      Changed();
    } else if (listed_.empty() && cutting_ == 0) {
      break;
    } else if (Range* const victim = Victim()) {
      co_await Cut(victim);
      Changed();
    } else {
      co_await changed_.Wait();
    }
  }
  Changed();
  co_return Status();
}

void Lister::Failed(Error error) {
  if (!error_) error_ = std::move(error);
}

async::Task<void> Lister::ListRange(Range* range) {
  while (!error_) {
    ListRequest request{.prefix = options_.prefix,
                        .start_after = range->after,
                        .keys_max = options_.page_keys,
                        .call = options_.call};
    ++summary_.pages;
    Result<ListPage> page = co_await client_->List(std::move(request));
    if (!page) {
      Failed(page.error());
      co_return;
    }
    const bool more = UsePage(range, &*page);
    if (more) Changed();
    if (!page->entries.empty()) {
      const Status taken = co_await sink_->Take(std::move(page->entries));
      if (!taken) Failed(taken.error());
    }
    if (!more) co_return;
  }
}

// Cuts the page off at the range's end as it is now. False: the range is through.
bool Lister::UsePage(Range* range, ListPage* page) {
  bool more = page->truncated;
  while (!page->entries.empty() && range->end && page->entries.back().key > *range->end) {
    page->entries.pop_back();
    more = false;
  }
  for (const ListEntry& entry : page->entries) {
    summary_.digest.Add(entry.key);
    summary_.bytes += entry.size;
  }
  if (!page->entries.empty()) range->after = page->entries.back().key;
  ++range->pages;
  return more && !(range->end && range->after >= *range->end);
}

// The range that seems to have most before it.
Lister::Range* Lister::Victim() {
  Range* best = nullptr;
  size_t best_shared = 0;
  for (Range* const range : listed_) {
    if (range->being_cut || range->pages < range->cut_from_page) continue;
    const size_t shared = SharedBytes(range->after, range->end);
    if (best != nullptr && shared >= best_shared) continue;
    best = range;
    best_shared = shared;
  }
  return best;
}

async::Task<void> Lister::Cut(Range* range) {
  range->being_cut = true;
  ++cutting_;
  const std::optional<std::string> cut = co_await FindCut(range);
  --cutting_;
  range->being_cut = false;
  if (range->done) {
    std::erase_if(ranges_, [range](Range& r) { return &r == range; });
  } else if (cut && *cut > range->after) {
    SplitAt(range, *cut);
  } else {
    range->cut_from_page = range->pages + kPagesAfterFailure;
  }
}

void Lister::SplitAt(Range* range, const std::string& cut) {
  ranges_.push_back(Range{.after = cut, .end = range->end});
  unstarted_.push_back(&ranges_.back());
  range->end = cut;
  ++summary_.cuts;
}

async::Task<std::optional<std::string>> Lister::FindCut(Range* range) {
  std::optional<std::string> best = co_await FindBeginning(range);
  for (int i = 0; best && i < kHalvingsMax && !range->done && !error_; ++i) {
    const std::optional<std::string> halfway = CutBetween(*best, range->end.value_or(""));
    // A cut that another character follows is as good as one between characters.
    if (!halfway || halfway->size() > best->size()) break;
    const Probed probed = co_await Probe(range, *halfway);
    if (probed == Probed::kKeysBehind) co_return halfway;
    if (probed != Probed::kNothingBehind) break;
  }
  co_return best;
}

// The shortest beginning of the last key listed that others do not share: behind it.
async::Task<std::optional<std::string>> Lister::FindBeginning(Range* range) {
  const auto key = CodePoints(range->after);
  const auto end = CodePoints(range->end.value_or(""));
  if (!key || !end || key->empty()) co_return std::nullopt;
  size_t first = 0;  // shorter beginnings are shared by all that is left
  while (first < end->size() && first < key->size() && (*key)[first] == (*end)[first]) ++first;
  size_t last = key->size();  // exclusive; `best` is of this index, once there is one
  std::optional<std::string> best;
  size_t index = first;  // most often right
  while (first < last && !range->done && !error_) {
    std::string cut = CutBehind(*key, index);
    if (range->end && cut >= *range->end) {
      first = index + 1;
    } else {
      const Probed probed = co_await Probe(range, cut);
      if (probed == Probed::kKeysBehind) {
        best = std::move(cut);
        last = index;
      } else if (probed == Probed::kNothingBehind) {
        first = index + 1;
      } else {
        break;
      }
    }
    index = first + (last - first) / 2;
  }
  co_return best;
}

async::Task<Lister::Probed> Lister::Probe(Range* range, std::string cut) {
  ListRequest request{
      .prefix = options_.prefix, .start_after = cut, .keys_max = 1, .call = options_.call};
  ++summary_.probes;
  Result<ListPage> page = co_await client_->List(std::move(request));
  if (!page) {
    Failed(page.error());
    co_return Probed::kFailed;
  }
  if (range->done) co_return Probed::kPassed;
  const bool behind = !page->entries.empty() &&
                      (!range->end || page->entries.front().key <= *range->end);
  if (!behind) {
    if (!range->end || cut < *range->end) range->end = cut;
    co_return Probed::kNothingBehind;
  }
  co_return cut > range->after ? Probed::kKeysBehind : Probed::kPassed;
}

}  // namespace sheen::s3
