#include "s3/http_engine.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/log.h"

namespace sheen::s3 {
namespace {

constexpr Nanos kIdleCheckEvery = std::chrono::milliseconds(100);
constexpr Nanos kLongestWait = std::chrono::seconds(5);
constexpr size_t kFreeHandlesMax = 256;
// Connections kept open for later, over all links.
constexpr long kIdleConnectionsMax = 512;

// So long after a demand another is expected.
constexpr Nanos kDemandsGoOn = std::chrono::milliseconds(250);
// Of the places, for prefetches beside demands.
constexpr uint32_t kPrefetchPart = 8;

size_t IndexOf(const Transfer& transfer) { return static_cast<size_t>(transfer.priority); }

void InitialiseCurlOnce() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  SHEEN_ASSERT(done == CURLE_OK);
}

}  // namespace

HttpEngine::Link::Link(LinkOptions given)
    : options(std::move(given)),
      requests(options.requests_per_second, std::max(1.0, options.requests_per_second / 10)),
      bytes(options.bytes_per_second, std::max(65536.0, options.bytes_per_second / 20)) {
  options.concurrency = std::max(options.concurrency, 1U);
  options.kept_for_demand = std::min(options.kept_for_demand, options.concurrency - 1);
  for (const std::string& entry : options.resolve) {
    resolve = curl_slist_append(resolve, entry.c_str());
  }
}

HttpEngine::Link::~Link() {
  if (resolve != nullptr) curl_slist_free_all(resolve);
}

bool HttpEngine::Link::WaitsAny() const {
  return std::ranges::any_of(waiting, [](const auto& queue) { return !queue.empty(); });
}

bool HttpEngine::Link::DemandsGoOn(Nanos now) const {
  return active_of[0] > 0 || (demand_at != Nanos(0) && now - demand_at < kDemandsGoOn);
}

uint32_t HttpEngine::Link::PrefetchesBeside() const {
  return std::max(1U, options.concurrency / kPrefetchPart);
}

uint32_t HttpEngine::Link::ReceivingPrefetches() const {
  return active_of[2] - static_cast<uint32_t>(throttled[2].size());
}

std::optional<size_t> HttpEngine::Link::NextThrottled(Nanos now) const {
  for (size_t queue = 0; queue < kPriorities; ++queue) {
    if (throttled[queue].empty()) continue;
    const bool gives_way =
        queue == 2 && DemandsGoOn(now) && ReceivingPrefetches() >= PrefetchesBeside();
    if (!gives_way) return queue;
  }
  return std::nullopt;
}

std::optional<size_t> HttpEngine::Link::NextClass(Nanos now) const {
  const std::optional<size_t> next = NextWithBody(now);
  // Where requests a second are scarce a prefetch would take them all.
  if (next && *next < 2) return next;
  if (!waiting[3].empty() && active_of[3] < options.questions) return 3;
  return next;
}

std::optional<size_t> HttpEngine::Link::NextWithBody(Nanos now) const {
  if (active - active_of[3] >= options.concurrency) return std::nullopt;
  if (!waiting[0].empty()) return 0;
  const uint32_t others = options.concurrency - options.kept_for_demand;
  if (active_of[1] + active_of[2] >= others) return std::nullopt;
  if (!waiting[1].empty()) return 1;
  const bool gives_way = active_of[2] >= PrefetchesBeside() && DemandsGoOn(now);
  if (waiting[2].empty() || gives_way) return std::nullopt;
  return 2;
}

HttpEngine::HttpEngine() {
  InitialiseCurlOnce();
  multi_ = curl_multi_init();
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  SHEEN_ASSERT(multi_ != nullptr && epoll_fd_ >= 0 && wake_fd_ >= 0);
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake_fd_}};
  SHEEN_ASSERT(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &HttpEngine::OnSocket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &HttpEngine::OnTimer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kIdleConnectionsMax);
  thread_ = std::thread([this] { Loop(); });
}

HttpEngine::~HttpEngine() {
  Command([this] { stopping_ = true; });
  thread_.join();
  SHEEN_ASSERT(active_.empty());
  for (CURL* handle : free_handles_) curl_easy_cleanup(handle);
  links_.clear();
  curl_multi_cleanup(multi_);
  close(wake_fd_);
  close(epoll_fd_);
}

uint32_t HttpEngine::AddLink(LinkOptions options) {
  auto shared = std::make_shared<SharedCounters>();
  uint32_t index;
  {
    std::lock_guard lock(mutex_);
    index = static_cast<uint32_t>(counters_.size());
    counters_.push_back(shared);
    // Queued in the order of the indices, hence under the same lock.
    commands_.push_back([this, options = std::move(options), shared] {
      links_.push_back(std::make_unique<Link>(options));
      links_.back()->counters = shared;
    });
  }
  Command([] {});
  return index;
}

void HttpEngine::SetLimits(uint32_t link, LinkOptions options) {
  Command([this, link, options = std::move(options)] {
    Link fresh(options);
    Link& old = *links_[link];
    std::swap(old.options, fresh.options);
    old.requests = fresh.requests;
    old.bytes = fresh.bytes;
    while (old.options.questions == 0 && !old.waiting[3].empty()) {
      old.waiting[3].front()->priority = Priority::kAhead;
      old.waiting[1].push_back(std::move(old.waiting[3].front()));
      old.waiting[3].pop_front();
    }
    // Transfers under way refer to the list that they were started with.
    if (fresh.options.resolve != old.options.resolve && old.active == 0) {
      std::swap(old.resolve, fresh.resolve);
    }
  });
}

LinkCounters HttpEngine::Counters(uint32_t link) const {
  std::shared_ptr<SharedCounters> shared;
  {
    std::lock_guard lock(mutex_);
    shared = counters_.at(link);
  }
  return {.requests = shared->requests,
          .body_bytes = shared->body_bytes,
          .connections = shared->connections,
          .active = shared->active,
          .waiting = shared->waiting};
}

void HttpEngine::Submit(std::shared_ptr<Transfer> transfer) {
  transfer->engine = this;
  Command([this, transfer = std::move(transfer)] {
    Link& link = *links_[transfer->call.link];
    const bool question = transfer->priority == Priority::kQuestion;
    if (question && link.options.questions == 0) transfer->priority = Priority::kAhead;
    link.waiting[IndexOf(*transfer)].push_back(transfer);
    ++link.counters->waiting;
  });
}

void HttpEngine::Hasten(std::shared_ptr<Transfer> transfer) {
  Command([this, transfer = std::move(transfer)] { DoHasten(transfer); });
}

void HttpEngine::Cancel(std::shared_ptr<Transfer> transfer) {
  Command([this, transfer = std::move(transfer)] { DoCancel(transfer); });
}

void HttpEngine::Resume(std::shared_ptr<Transfer> transfer) {
  Command([this, transfer = std::move(transfer)] {
    if (!active_.contains(transfer.get()) || !transfer->paused_for_sink) return;
    {
      std::lock_guard lock(transfer->mutex);
      transfer->paused_for_sink = false;
    }
    if (!transfer->paused_for_rate) curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
  });
}

void HttpEngine::Command(std::function<void()> command) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    wake = commands_.empty() || std::this_thread::get_id() != thread_.get_id();
    commands_.push_back(std::move(command));
  }
  const uint64_t one = 1;
  if (wake) (void)!write(wake_fd_, &one, sizeof one);
}

int HttpEngine::OnSocket(CURL*, curl_socket_t socket, int what, void* opaque, void* known) {
  auto* self = static_cast<HttpEngine*>(opaque);
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(self->epoll_fd_, EPOLL_CTL_DEL, socket, nullptr);
    return 0;
  }
  epoll_event event{.events = 0, .data = {.fd = socket}};
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  const int operation = known != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(self->epoll_fd_, operation, socket, &event) != 0) {
    epoll_ctl(self->epoll_fd_, known != nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event);
  }
  curl_multi_assign(self->multi_, socket, self);
  return 0;
}

int HttpEngine::OnTimer(CURLM*, long timeout_ms, void* opaque) {
  auto* self = static_cast<HttpEngine*>(opaque);
  self->curl_deadline_ =
      timeout_ms < 0 ? Nanos(-1)
                     : SystemClock().Monotonic() + std::chrono::milliseconds(timeout_ms);
  return 0;
}

void HttpEngine::Loop() {
  for (;;) {
    RunCommands();
    if (stopping_) return;
    const Nanos now = SystemClock().Monotonic();
    for (const auto& link : links_) {
      ReleaseThrottled(link.get(), now);
      Admit(link.get(), now);
    }
    if (now >= idle_check_at_) CheckIdle(now);
    WaitAndHandle(now);
    ReapFinished();
  }
}

bool HttpEngine::RunCommands() {
  std::vector<std::function<void()>> commands;
  {
    std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
  return !commands.empty();
}

Nanos HttpEngine::NextWork(Nanos now) {
  Nanos wait = active_.empty() ? kLongestWait : kIdleCheckEvery;
  if (curl_deadline_ >= Nanos(0)) wait = std::min(wait, curl_deadline_ - now);
  for (const auto& link : links_) {
    if (link->NextThrottled(now)) wait = std::min(wait, link->bytes.Wait(now));
    const Nanos quiet_at = link->demand_at + kDemandsGoOn;
    const bool gives_way = !link->waiting[2].empty() || !link->throttled[2].empty();
    if (gives_way && quiet_at > now) wait = std::min(wait, quiet_at - now);
    if (!link->WaitsAny()) continue;
    const Nanos turn = link->NextClass(now) ? link->requests.Wait(now) : Nanos(0);
    if (turn > Nanos(0)) wait = std::min(wait, turn);
  }
  return std::max(wait, Nanos(0));
}

void HttpEngine::WaitAndHandle(Nanos now) {
  std::array<epoll_event, 64> events;
  const auto wait_ms = std::chrono::ceil<std::chrono::milliseconds>(NextWork(now)).count();
  const int count = epoll_wait(epoll_fd_, events.data(), events.size(), static_cast<int>(wait_ms));
  int running = 0;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd == wake_fd_) {
      uint64_t drained;
      (void)!read(wake_fd_, &drained, sizeof drained);
      continue;
    }
    int what = 0;
    if (events[i].events & EPOLLIN) what |= CURL_CSELECT_IN;
    if (events[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (events[i].events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(multi_, events[i].data.fd, what, &running);
  }
  if (curl_deadline_ >= Nanos(0) && SystemClock().Monotonic() >= curl_deadline_) {
    curl_deadline_ = Nanos(-1);
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

void HttpEngine::ReapFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;  // the message is gone with the handle
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    const std::shared_ptr<Transfer> owned = active_.at(transfer);
    long opened = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &opened);
    links_[transfer->call.link]->counters->connections += static_cast<uint64_t>(opened);
    End(owned);
    owned->Finish(code);
  }
}

void HttpEngine::Admit(Link* link, Nanos now) {
  while (link->requests.Ready(now)) {
    const std::optional<size_t> queue = link->NextClass(now);
    if (!queue) return;
    std::shared_ptr<Transfer> next = std::move(link->waiting[*queue].front());
    link->waiting[*queue].pop_front();
    --link->counters->waiting;
    Start(link, std::move(next), now);
  }
}

void HttpEngine::Start(Link* link, std::shared_ptr<Transfer> transfer, Nanos now) {
  CURL* handle = nullptr;
  if (free_handles_.empty()) {
    handle = curl_easy_init();
  } else {
    handle = free_handles_.back();
    free_handles_.pop_back();
  }
  link->requests.Take(1);
  ++link->active;
  ++link->active_of[IndexOf(*transfer)];
  if (IndexOf(*transfer) == 0) link->demand_at = now;
  ++link->counters->requests;
  link->counters->active = link->active;
  transfer->progress_at = now;
  active_.emplace(transfer.get(), transfer);
  if (!transfer->SetUp(handle, link->options, link->resolve)) {
    End(transfer);
    transfer->Finish(Errc::kInvalid, "not a URL");
    return;
  }
  curl_multi_add_handle(multi_, handle);
}

// Off the engine's books. Its owner is told by Finish(), which must follow.
void HttpEngine::End(const std::shared_ptr<Transfer>& transfer) {
  Link& link = *links_[transfer->call.link];
  curl_multi_remove_handle(multi_, transfer->easy);
  curl_easy_reset(transfer->easy);
  if (free_handles_.size() < kFreeHandlesMax) {
    free_handles_.push_back(transfer->easy);
  } else {
    curl_easy_cleanup(transfer->easy);
  }
  transfer->easy = nullptr;
  --link.active;
  --link.active_of[IndexOf(*transfer)];
  if (IndexOf(*transfer) == 0) link.demand_at = SystemClock().Monotonic();
  if (transfer->paused_for_rate) std::erase(link.throttled[IndexOf(*transfer)], transfer);
  link.counters->active = link.active;
  active_.erase(transfer.get());
}

void HttpEngine::DoCancel(const std::shared_ptr<Transfer>& transfer) {
  if (active_.contains(transfer.get())) {
    End(transfer);
    transfer->Finish(Errc::kCancelled, "cancelled");
    return;
  }
  Link& link = *links_[transfer->call.link];
  if (std::erase(link.waiting[IndexOf(*transfer)], transfer) > 0) {
    --link.counters->waiting;
    transfer->Finish(Errc::kCancelled, "cancelled");
  }
}

void HttpEngine::DoHasten(const std::shared_ptr<Transfer>& transfer) {
  const size_t before = IndexOf(*transfer);
  transfer->priority = Priority::kDemand;
  if (before == 0) return;
  Link& link = *links_[transfer->call.link];
  if (std::erase(link.waiting[before], transfer) > 0) {
    link.waiting[0].push_back(transfer);
  } else if (active_.contains(transfer.get())) {
    --link.active_of[before];
    ++link.active_of[0];
    link.demand_at = SystemClock().Monotonic();
    if (std::erase(link.throttled[before], transfer) > 0) link.throttled[0].push_back(transfer);
  }
}

bool HttpEngine::MayReceive(Transfer* transfer) {
  Link& link = *links_[transfer->call.link];
  const Nanos now = SystemClock().Monotonic();
  const bool gives_way = transfer->priority == Priority::kPrefetch &&
                         link.ReceivingPrefetches() > link.PrefetchesBeside() &&
                         link.DemandsGoOn(now);
  if (!gives_way && link.bytes.Ready(now)) return true;
  if (!transfer->paused_for_rate) {
    transfer->paused_for_rate = true;
    link.throttled[IndexOf(*transfer)].push_back(transfer->shared_from_this());
  }
  return false;
}

void HttpEngine::Received(Transfer* transfer, size_t bytes) {
  Link& link = *links_[transfer->call.link];
  link.bytes.Take(static_cast<double>(bytes));
  link.counters->body_bytes += bytes;
}

// One piece of each is let through at a time: it puts the bucket into debt again.
void HttpEngine::ReleaseThrottled(Link* link, Nanos now) {
  while (link->bytes.Ready(now)) {
    const std::optional<size_t> first = link->NextThrottled(now);
    if (!first) return;
    auto& queue = link->throttled[*first];
    const std::shared_ptr<Transfer> next = std::move(queue.front());
    queue.pop_front();
    next->paused_for_rate = false;
    if (!next->paused_for_sink) curl_easy_pause(next->easy, CURLPAUSE_CONT);
  }
}

void HttpEngine::CheckIdle(Nanos now) {
  idle_check_at_ = now + kIdleCheckEvery;
  std::vector<std::shared_ptr<Transfer>> stalled;
  for (const auto& [raw, transfer] : active_) {
    const uint64_t progress = raw->Progress();
    if (progress != raw->progress_seen || raw->paused_for_sink || raw->paused_for_rate) {
      raw->progress_seen = progress;
      raw->progress_at = now;
    } else if (now - raw->progress_at >= raw->call.request.idle_limit) {
      stalled.push_back(transfer);
    }
  }
  for (const auto& transfer : stalled) {
    End(transfer);
    transfer->Finish(Errc::kTimedOut, "nothing came for too long");
  }
}

}  // namespace sheen::s3
