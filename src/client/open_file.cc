#include "client/open_file.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>

namespace sheen::client {
namespace {

// relatime: an access time is worth a report when it is older than a change, or than a day.
constexpr int64_t kAtimeStepNs = 24LL * 3600 * 1'000'000'000;

// Other objects are in place of some: others may have written to any of them.
bool WasReplaced(const layout::Layout& before, const layout::Layout& now) {
  for (size_t i = 0; i < before.components.size(); ++i) {
    const uint64_t birth = before.components[i].birth;
    if (birth == 0) continue;
    if (i >= now.components.size() || now.components[i].birth != birth) return true;
  }
  return false;
}

}  // namespace

bool IsWriter(uint32_t open_flags) {
  return (open_flags & O_ACCMODE) != O_RDONLY || (open_flags & O_TRUNC) != 0;
}

void OpenFile::AddHandle(const OpenHandle& handle, const Attr& attr, LayoutPtr layout,
                         bool created) {
  const std::scoped_lock lock(mutex_);
  NoteAttrLocked(attr);
  if (layout) UpdateLayoutLocked(std::move(layout));
  if (IsWriter(handle.flags) && writer_count_++ == 0) {
    // A close under way: the MDS may take its report before or after this open, and another client
    // may have written in between. So the last close reports again, and asks the OSTs first.
    const bool settled = closing_count_ == 0;
    if (settled) wrote_ = false;
    // As they were just before this open.
    safe_at_open_ = settled && !attr.size_unsafe;
    missed_ = missed_ && !settled;
    ForgetObjectsLocked(created && settled);
  }
  handles_.push_back(handle);
  last_who_ = handle.origin();
}

CredentialId OpenFile::WhoOf(uint64_t handle) const {
  const std::scoped_lock lock(mutex_);
  for (const OpenHandle& known : handles_) {
    if (known.id == handle) return known.origin();
  }
  return last_who_;
}

bool OpenFile::IsDirect(uint64_t handle) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(handles_, handle, &OpenHandle::id);
  return found != handles_.end() && (found->flags & O_DIRECT) != 0;
}

CloseStart OpenFile::BeginClose(uint64_t handle) {
  const std::scoped_lock lock(mutex_);
  CloseStart start;
  const auto found = std::ranges::find(handles_, handle, &OpenHandle::id);
  start.telling = found != handles_.end() && found->telling;
  if (start.telling) return start;
  ++closing_count_;
  if (found == handles_.end()) return start;
  start.known_handle = true;
  start.origin = found->origin();
  start.local = found->local;
  const bool writer = IsWriter(found->flags);
  start.writer = writer;
  handles_.erase(found);
  const bool atime_is_old = atime_ns_ <= mtime_ns_ || atime_ns_ <= ctime_seen_ns_ ||
                            read_at_ns_ - atime_ns_ > kAtimeStepNs;
  if (read_at_ns_ > atime_ns_ && atime_is_old) {
    start.atime_ns = read_at_ns_;
    atime_ns_ = read_at_ns_;
  }
  if (writer && --writer_count_ == 0) start.report = wrote_ || held_.any();
  return start;
}

std::vector<OpenHandle> OpenFile::BeginTelling(uint64_t only) {
  const std::scoped_lock lock(mutex_);
  std::vector<OpenHandle> begun;
  for (OpenHandle& handle : handles_) {
    if (!handle.local || handle.telling || (only != 0 && handle.id != only)) continue;
    handle.telling = true;
    begun.push_back(handle);
  }
  return begun;
}

void OpenFile::EndTelling(uint64_t handle, bool known) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(handles_, handle, &OpenHandle::id);
  if (found == handles_.end()) return;
  found->telling = false;
  if (known) found->local = false;
  told_.WakeAll();
}

bool OpenFile::HasLocal() const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(handles_, &OpenHandle::local);
}

bool OpenFile::IsLocal(uint64_t handle) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(handles_, handle, &OpenHandle::id);
  return found != handles_.end() && found->local;
}

bool OpenFile::TellingLocked() const {
  return std::ranges::any_of(handles_, &OpenHandle::telling);
}

bool OpenFile::telling() const {
  const std::scoped_lock lock(mutex_);
  return TellingLocked();
}

bool OpenFile::AddTold(std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  if (!TellingLocked()) return false;
  told_.Add(caller);
  return true;
}

bool OpenFile::TryBeginReport() {
  const std::scoped_lock lock(mutex_);
  if (reporting_) return false;
  reporting_ = true;
  return true;
}

CloseReport OpenFile::Report() const {
  const std::scoped_lock lock(mutex_);
  CloseReport report{layout_, states_, {}, {}, size_epoch_};
  if (missed_ && layout_) report.states = ShapeOf(*layout_);
  for (uint32_t i = 0; i < written_.size(); ++i) {
    for (uint32_t stripe = 0; stripe < written_[i].size(); ++stripe) {
      if (written_[i][stripe].first_transno == 0) continue;
      report.places.push_back({i, stripe});
      report.created_at.push_back(written_[i][stripe].first_transno);
    }
  }
  return report;
}

void OpenFile::EndReport() {
  const std::scoped_lock lock(mutex_);
  reporting_ = false;
  reporters_.WakeAll();
}

bool OpenFile::AddReporter(std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  if (!reporting_) return false;
  reporters_.Add(caller);
  return true;
}

void OpenFile::EndClose() {
  const std::scoped_lock lock(mutex_);
  if (--closing_count_ == 0) waiters_.WakeAll();
}

bool OpenFile::quiet() const {
  const std::scoped_lock lock(mutex_);
  return writer_count_ == 0 && closing_count_ == 0 && !reporting_;
}

std::optional<Attr> OpenFile::SoleWriterAttr(const Attr& at_open) const {
  const std::scoped_lock lock(mutex_);
  if (writer_count_ == 0 || closing_count_ > 0 || reporting_ || missed_) return std::nullopt;
  if (safe_at_open_ && !wrote_) return at_open;
  if (!layout_ || !AllKnown(states_)) return std::nullopt;
  return MergeGlimpse(at_open, *layout_, states_);
}

bool OpenFile::idle() const {
  const std::scoped_lock lock(mutex_);
  return handles_.empty() && closing_count_ == 0;
}

std::vector<OpenHandle> OpenFile::handles() const {
  const std::scoped_lock lock(mutex_);
  return handles_;
}

bool OpenFile::closing() const {
  const std::scoped_lock lock(mutex_);
  return closing_count_ > 0;
}

bool OpenFile::AddWaiter(std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  if (closing_count_ == 0) return false;
  waiters_.Add(caller);
  return true;
}

void OpenFile::MissedChanges() {
  const std::scoped_lock lock(mutex_);
  missed_ = true;
}

IoView OpenFile::View() const {
  const std::scoped_lock lock(mutex_);
  return {layout_, uid_, gid_, project_id_, ctime_seen_ns_};
}

IoView OpenFile::ViewForWrite() {
  const std::scoped_lock lock(mutex_);
  wrote_ = true;
  return {layout_, uid_, gid_, project_id_, ctime_seen_ns_};
}

LayoutPtr OpenFile::layout() const {
  const std::scoped_lock lock(mutex_);
  return layout_;
}

void OpenFile::UpdateLayout(LayoutPtr layout) {
  const std::scoped_lock lock(mutex_);
  UpdateLayoutLocked(std::move(layout));
}

void OpenFile::UpdateLayoutLocked(LayoutPtr layout) {
  if (!layout || (layout_ && layout_->generation >= layout->generation)) return;
  ObjectStates states = ShapeOf(*layout);
  WrittenMap written(states.size());
  const bool replaced = layout_ && WasReplaced(*layout_, *layout);
  for (size_t i = 0; i < states.size(); ++i) {
    written[i].resize(states[i].size());
    const bool had = layout_ && i < layout_->components.size();
    const uint64_t old_birth = had ? layout_->components[i].birth : 0;
    if (had && old_birth == layout->components[i].birth && i < states_.size()) {
      states[i] = states_[i];
      written[i] = written_[i];
      states[i].resize(layout->components[i].osts.size());
      written[i].resize(states[i].size());
    } else if (had && old_birth == 0 && !replaced) {
      // Instantiated since: nobody but this mount has written there, or the MDS knows of others.
      for (ObjectState& object : states[i]) object.known = true;
    }
  }
  layout_ = std::move(layout);
  states_ = std::move(states);
  written_ = std::move(written);
}

void OpenFile::ForgetObjectsLocked(bool absent) {
  if (!layout_) return;
  states_ = ShapeOf(*layout_);
  for (auto& component : states_) {
    for (ObjectState& object : component) object.known = absent;
  }
  written_.resize(states_.size());
  for (size_t i = 0; i < states_.size(); ++i) written_[i].resize(states_[i].size());
}

void OpenFile::NoteAttr(const Attr& attr) {
  const std::scoped_lock lock(mutex_);
  NoteAttrLocked(attr);
}

void OpenFile::NoteAttrLocked(const Attr& attr) {
  uid_ = attr.uid;
  gid_ = attr.gid;
  project_id_ = attr.project_id;
  size_seen_ = attr.size;
  size_epoch_ = std::max(size_epoch_, attr.size_epoch);
  atime_ns_ = attr.atime_ns;
  mtime_ns_ = attr.mtime_ns;
  ctime_seen_ns_ = std::max(ctime_seen_ns_, attr.ctime_ns);
}

void OpenFile::NoteTransno(uint64_t mds_transno) {
  const std::scoped_lock lock(mutex_);
  mds_transno_ = std::max(mds_transno_, mds_transno);
}

void OpenFile::NoteRead(uint64_t handle, int64_t now_ns) {
  const std::scoped_lock lock(mutex_);
  for (const OpenHandle& one : handles_) {
    if (one.id == handle && (one.flags & O_NOATIME) != 0) return;
  }
  read_at_ns_ = std::max(read_at_ns_, now_ns);
}

void OpenFile::NoteChange(const LayoutPtr& layout, ObjectPlace place, const ObjectState& state,
                          uint64_t transno) {
  const std::scoped_lock lock(mutex_);
  ctime_seen_ns_ = std::max(ctime_seen_ns_, state.ctime_ns);
  const bool here =
      layout_ && place.component < states_.size() &&
      place.stripe < states_[place.component].size() &&
      layout_->components[place.component].birth == layout->components[place.component].birth;
  if (!here) return;
  MergeObject(state, &states_[place.component][place.stripe]);
  if (transno == 0) return;
  Written& written = written_[place.component][place.stripe];
  if (written.first_transno == 0) written.first_transno = transno;
  written.first_transno = std::min(written.first_transno, transno);
  written.last_transno = std::max(written.last_transno, transno);
  written.dirty = true;
}

uint64_t OpenFile::size_seen() const {
  const std::scoped_lock lock(mutex_);
  return size_seen_;
}

int64_t OpenFile::ctime_seen_ns() const {
  const std::scoped_lock lock(mutex_);
  return ctime_seen_ns_;
}

uint64_t OpenFile::mds_transno() const {
  const std::scoped_lock lock(mutex_);
  return mds_transno_;
}

std::vector<DirtyObject> OpenFile::Dirty() const {
  const std::scoped_lock lock(mutex_);
  std::vector<DirtyObject> dirty;
  for (uint32_t i = 0; i < written_.size(); ++i) {
    for (uint32_t stripe = 0; stripe < written_[i].size(); ++stripe) {
      const Written& written = written_[i][stripe];
      if (written.dirty) dirty.push_back({{i, stripe}, written.last_transno});
    }
  }
  return dirty;
}

void OpenFile::NoteCommitted(const std::vector<DirtyObject>& objects) {
  const std::scoped_lock lock(mutex_);
  for (const DirtyObject& object : objects) {
    const ObjectPlace place = object.place;
    if (place.component >= written_.size()) continue;
    if (place.stripe >= written_[place.component].size()) continue;
    Written& written = written_[place.component][place.stripe];
    if (written.last_transno <= object.transno) written.dirty = false;
  }
}

bool OpenFile::KnownWithoutCapability(int64_t now_ns) const {
  const std::scoped_lock lock(mutex_);
  return now_ns < no_capability_until_ns_;
}

void OpenFile::SetWithoutCapability(int64_t until_ns) {
  const std::scoped_lock lock(mutex_);
  no_capability_until_ns_ = until_ns;
}

bool OpenFile::KnownWithoutSetIds(int64_t now_ns) const {
  const std::scoped_lock lock(mutex_);
  return now_ns < no_set_ids_until_ns_;
}

void OpenFile::SetWithoutSetIds(int64_t until_ns) {
  const std::scoped_lock lock(mutex_);
  no_set_ids_until_ns_ = until_ns;
}

std::shared_ptr<OpenFile> OpenTable::Find(const Fid& fid) const {
  const Bucket& bucket = buckets_[IndexOf(fid)];
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.files.find(fid);
  return found == bucket.files.end() ? nullptr : found->second;
}

std::shared_ptr<OpenFile> OpenTable::AddHandle(const OpenHandle& handle, const Attr& attr,
                                               LayoutPtr layout, bool created) {
  Bucket& bucket = buckets_[IndexOf(attr.fid)];
  const std::scoped_lock lock(bucket.mutex);
  std::shared_ptr<OpenFile>& file = bucket.files[attr.fid];
  if (!file) file = std::make_shared<OpenFile>(attr.fid);
  file->AddHandle(handle, attr, std::move(layout), created);
  return file;
}

void OpenTable::EndClose(OpenFile* file) {
  Bucket& bucket = buckets_[IndexOf(file->fid())];
  const Fid fid = file->fid();
  const std::scoped_lock lock(bucket.mutex);
  file->EndClose();
  if (file->idle()) bucket.files.erase(fid);
}

std::vector<std::shared_ptr<OpenFile>> OpenTable::All() const {
  std::vector<std::shared_ptr<OpenFile>> files;
  for (const Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (const auto& [fid, file] : bucket.files) files.push_back(file);
  }
  return files;
}

SoleAppend::SoleAppend(OpenFile* file) : file_(file) {
  const std::scoped_lock lock(file_->mutex_);
  ++file_->sole_appends_;
}

SoleAppend::~SoleAppend() {
  std::vector<std::function<void()>> waiters;
  {
    const std::scoped_lock lock(file_->mutex_);
    if (--file_->sole_appends_ == 0) waiters.swap(file_->sole_waiters_);
  }
  for (const std::function<void()>& done : waiters) done();
}

void OpenFile::WhenNoSoleAppend(std::function<void()> done) {
  {
    const std::scoped_lock lock(mutex_);
    if (sole_appends_ > 0) {
      sole_waiters_.push_back(std::move(done));
      return;
    }
  }
  done();
}

}  // namespace sheen::client
