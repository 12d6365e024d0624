#include "sim/shared_work.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "layout/layout.h"

namespace sheen::test {
namespace {

using client::FileLockSpec;
using client::Filesystem;

constexpr size_t kNames = 4;
constexpr size_t kSlots = 12;
// Neither pages nor stripes; the last ones are on another object.
constexpr uint64_t kSlotBytes = 40'000;
constexpr uint64_t kFirstSlotAt = (1 << 20) - 5 * kSlotBytes - 1000;
constexpr int64_t kAbsent = 0;

std::string NameOf(size_t name) { return "name" + std::to_string(name); }

// What an application must never see.
template <class Outcome>
bool Good(const Outcome& outcome, const Worker& worker, const char* what) {
  if (worker.lost) return false;
  EXPECT_TRUE(outcome) << "client " << worker.number << ": " << what << ": "
                       << (outcome ? "" : outcome.error().ToString());
  return outcome.has_value();
}

std::string OnOsts(std::vector<uint32_t> osts, uint32_t stripe_count) {
  layout::Layout layout = layout::PlainTemplate(stripe_count, 1 << 20);
  layout.components[0].wanted_osts = std::move(osts);
  return layout::Encode(layout);
}

}  // namespace

async::Task<void> SharedWork::Prepare(Filesystem* fs, std::vector<std::string> directories,
                                      std::vector<Fid>* out) {
  Worker worker{.fs = fs};
  directories.insert(directories.end(), {"names", "own"});
  for (const std::string& name : directories) {
    const auto made = co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
    if (!Good(made, worker, "mkdir")) co_return;
    out->push_back(made->fid);
    const uint32_t ost = name == "own" ? troubled_ : static_cast<uint32_t>(out->size() % 2);
    const Status set = co_await fs->SetLayout(0, made->fid, OnOsts({ost}, 1));
    Good(set, worker, "setstripe");
  }
  own_dir_ = out->back();
  names_dir_ = (*out)[out->size() - 2];
  const std::pair<const char*, Fid*> files[] = {
      {"slots", &slots_}, {"log", &log_}, {"counter", &counter_}};
  for (const auto& [name, fid] : files) {
    client::CreateOptions options{.mode = 0644, .flags = O_RDWR};
    options.layout_template = fid == &slots_ ? OnOsts({0, 1}, 2) : OnOsts({1}, 1);
    const auto opened = co_await fs->Create(0, fs->root(), name, std::move(options));
    if (!Good(opened, worker, "create")) co_return;
    *fid = opened->attr.fid;
    const Status closed = co_await fs->Close(*fid, opened->handle);
    Good(closed, worker, "close");
  }
  names_.assign(kNames, History(kAbsent));
  slot_values_.assign(kSlots, History(kAbsent));
}

async::Task<void> SharedWork::Run(Worker* worker, int steps) {
  for (int i = 0; i < steps && !worker->lost && !::testing::Test::HasFailure(); ++i) {
    co_await shard_->Sleep(std::chrono::microseconds(random_.Below(60'000)));
    if (worker->lost) co_return;
    co_await Step(worker);
    ++done_;
  }
}

async::Task<void> SharedWork::Step(Worker* worker) {
  switch (random_.Below(12)) {
    case 0: return MakeName(worker);
    case 1: return RemoveName(worker);
    case 2:
    case 3: return LookAtName(worker);
    case 4:
    case 5: return PutSlot(worker);
    case 6:
    case 7: return GetSlot(worker);
    case 8:
    case 9: return Append(worker);
    case 10: return Count(worker);
    default: return WriteOwn(worker);
  }
}

void SharedWork::Lose(Worker* worker) {
  worker->lost = true;
  if (in_turn_ == worker->number) in_turn_ = 0;
}

// ---- names ----

async::Task<void> SharedWork::EndName(Worker* worker, size_t name, size_t write) {
  if (worker->mortal) {
    const Status synced = co_await worker->fs->FsyncDir(names_dir_);
    if (!Good(synced, *worker, "fsync")) co_return;
  }
  names_[name].End(write, shard_->Now());
}

async::Task<void> SharedWork::MakeName(Worker* worker) {
  const size_t name = random_.Below(kNames);
  const int64_t value = ++last_;
  const size_t write = names_[name].Begin(value, shard_->Now());
  const auto made =
      co_await worker->fs->Symlink(0, names_dir_, NameOf(name), std::to_string(value));
  if (worker->lost) co_return;
  if (made) co_return co_await EndName(worker, name, write);
  EXPECT_EQ(made.error().code(), Errc::kExists) << made.error().ToString();
  names_[name].Undo(write);
}

async::Task<void> SharedWork::RemoveName(Worker* worker) {
  const size_t name = random_.Below(kNames);
  const size_t write = names_[name].Begin(kAbsent, shard_->Now());
  const Status removed = co_await worker->fs->Unlink(0, names_dir_, NameOf(name));
  if (worker->lost) co_return;
  if (removed) co_return co_await EndName(worker, name, write);
  EXPECT_EQ(removed.error().code(), Errc::kNoEntry) << removed.error().ToString();
  names_[name].Undo(write);
}

async::Task<void> SharedWork::LookAtName(Worker* worker) {
  const size_t name = random_.Below(kNames);
  const Nanos begin = shard_->Now();
  const auto found = co_await worker->fs->Lookup(0, names_dir_, NameOf(name));
  if (worker->lost) co_return;
  if (!found) {
    EXPECT_EQ(found.error().code(), Errc::kNoEntry) << found.error().ToString();
    EXPECT_TRUE(names_[name].Explains(kAbsent, begin)) << NameOf(name) << " is there";
    co_return;
  }
  const auto target = co_await worker->fs->ReadLink(0, found->fid);
  if (worker->lost) co_return;
  if (!target) {
    EXPECT_EQ(target.error().code(), Errc::kStale) << target.error().ToString();
    co_return;
  }
  EXPECT_TRUE(names_[name].Explains(std::stoll(*target), begin))
      << NameOf(name) << " is not " << *target << " any more";
}

// ---- slots ----

async::Task<void> SharedWork::PutSlot(Worker* worker) {
  Filesystem* const fs = worker->fs;
  const uint64_t slot = random_.Below(kSlots);
  const auto opened = co_await fs->Open(0, slots_, O_WRONLY);
  if (!Good(opened, *worker, "open")) co_return;
  const int64_t value = ++last_;
  std::string bytes(kSlotBytes, '\0');
  for (size_t at = 0; at < kSlotBytes; at += sizeof value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  client::WriteOptions options;
  options.direct = random_.OneIn(4);
  const size_t write = slot_values_[slot].Begin(value, shard_->Now());
  const auto wrote = co_await fs->Write(slots_, opened->handle, kFirstSlotAt + slot * kSlotBytes,
                                        AsBytes(bytes), options);
  if (!Good(wrote, *worker, "write")) co_return;
  EXPECT_EQ(*wrote, kSlotBytes);
  if (!worker->mortal) slot_values_[slot].End(write, shard_->Now());
  if (worker->mortal || random_.OneIn(3)) {
    const Status synced = co_await fs->Fsync(slots_);
    if (!Good(synced, *worker, "fsync")) co_return;
  }
  if (worker->mortal) slot_values_[slot].End(write, shard_->Now());
  const Status closed = co_await fs->Close(slots_, opened->handle);
  Good(closed, *worker, "close");
}

async::Task<void> SharedWork::GetSlot(Worker* worker) {
  const uint64_t slot = random_.Below(kSlots);
  const auto opened = co_await worker->fs->Open(0, slots_, O_RDONLY);
  if (!Good(opened, *worker, "open")) co_return;
  const Nanos begin = shard_->Now();
  std::string bytes(kSlotBytes, '\0');
  const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await worker->fs->Read(slots_, opened->handle,
                                              kFirstSlotAt + slot * kSlotBytes, out);
  if (!Good(read, *worker, "read")) co_return;
  CheckSlot(slot, bytes, begin);  // beyond the end: as never written
  const Status closed = co_await worker->fs->Close(slots_, opened->handle);
  Good(closed, *worker, "close");
}

void SharedWork::CheckSlot(uint64_t slot, const std::string& bytes, Nanos begin) const {
  std::set<int64_t> values;
  for (size_t at = 0; at < kSlotBytes; at += sizeof(int64_t)) {
    int64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    values.insert(value);
  }
  for (const int64_t value : values) {
    EXPECT_TRUE(slot_values_[slot].Explains(value, begin))
        << "slot " << slot << ": " << value << " is old";
  }
}

// ---- log ----

async::Task<void> SharedWork::Append(Worker* worker) {
  Filesystem* const fs = worker->fs;
  const auto opened = co_await fs->Open(0, log_, O_WRONLY | O_APPEND);
  if (!Good(opened, *worker, "open")) co_return;
  const std::string name =
      std::to_string(worker->number) + ":" + std::to_string(records_.size()) + ":";
  const std::string record = "<" + name + std::string(random_.Below(9000), 'x') + ">";
  records_[name] = false;
  client::WriteOptions options;
  options.append = true;
  const auto wrote = co_await fs->Write(log_, opened->handle, 0, AsBytes(record), options);
  if (!Good(wrote, *worker, "append")) co_return;
  EXPECT_EQ(*wrote, record.size());
  if (worker->mortal || random_.OneIn(2)) {
    const Status synced = co_await fs->Fsync(log_);
    if (!Good(synced, *worker, "fsync")) co_return;
  }
  records_[name] = true;
  const Status closed = co_await fs->Close(log_, opened->handle);
  Good(closed, *worker, "close");
}

void SharedWork::CheckLog(const std::string& text) {
  std::map<std::string, int> seen;
  int torn = 0;
  int unanswered = 0;
  for (size_t at = 0, end = 0; at < text.size(); at = end) {
    end = std::min(text.find('<', at + 1), text.size());
    const size_t closed = text.find('>', at);
    if (text[at] == '<' && closed < end) end = closed + 1;
    std::string record = text.substr(at, end - at);
    // What a lost client had taken the place for and not written.
    record.resize(record.find_last_not_of('\0') + 1);
    if (record.empty()) continue;
    const size_t body = record.find(':', record.find(':') + 1) + 1;
    if (record.find_first_not_of('x', body) == record.size() - 1 && record.ends_with('>') &&
        record[0] == '<') {
      ++seen[record.substr(1, body - 1)];
    } else {
      ++torn;
    }
  }
  for (const auto& [name, answered] : records_) unanswered += answered ? 0 : 1;
  EXPECT_LE(torn, unanswered) << "records are torn";
  for (const auto& [name, answered] : records_) {
    EXPECT_LE(seen[name], 1) << "record " << name << " is there twice";
    if (answered) EXPECT_EQ(seen[name], 1) << "record " << name << " was lost";
  }
}

// ---- counter ----

async::Task<void> SharedWork::Count(Worker* worker) {
  const auto opened = co_await worker->fs->Open(0, counter_, O_RDWR);
  if (!Good(opened, *worker, "open")) co_return;
  FileLockSpec spec{.kind = lock::FileLockKind::kPosix,
                    .type = lock::FileLockType::kWrite,
                    .extent = lock::Extent::Whole(),
                    .owner = static_cast<uint64_t>(worker->number)};
  const Status locked =
      co_await worker->fs->SetLock(counter_, opened->handle, spec, {.wait = true});
  if (worker->lost && locked) {  // its end would let go of it
    spec.type = lock::FileLockType::kUnlock;
    static_cast<void>(
        co_await worker->fs->SetLock(counter_, opened->handle, spec, {}));
  }
  if (!Good(locked, *worker, "lock")) co_return;
  EXPECT_EQ(in_turn_, 0) << "client " << worker->number << " has the lock of another";
  in_turn_ = worker->number;
  co_await CountLocked(worker, opened->handle);
  if (!worker->lost) in_turn_ = 0;
  spec.type = lock::FileLockType::kUnlock;
  const Status unlocked = co_await worker->fs->SetLock(counter_, opened->handle, spec, {});
  if (!Good(unlocked, *worker, "unlock")) co_return;
  const Status closed = co_await worker->fs->Close(counter_, opened->handle);
  Good(closed, *worker, "close");
}

async::Task<void> SharedWork::CountLocked(Worker* worker, uint64_t handle) {
  uint64_t value = 0;
  const MutableByteSpan bytes(reinterpret_cast<std::byte*>(&value), sizeof value);
  const auto read = co_await worker->fs->Read(counter_, handle, 0, bytes);
  if (!Good(read, *worker, "read")) co_return;
  EXPECT_TRUE(counter_values_.contains(value))
      << "client " << worker->number << ": the counter is " << value << ", not "
      << *counter_values_.begin();
  counter_values_ = {value};
  co_await shard_->Sleep(std::chrono::microseconds(random_.Below(20'000)));
  if (worker->lost) co_return;
  ++value;
  counter_values_.insert(value);
  const auto wrote = co_await worker->fs->Write(counter_, handle, 0, bytes, {});
  if (!Good(wrote, *worker, "write")) co_return;
  const Status synced = co_await worker->fs->Fsync(counter_);
  if (!Good(synced, *worker, "fsync")) co_return;
  counter_values_ = {value};
}

// ---- own files, on a disk in trouble ----

async::Task<void> SharedWork::WriteOwn(Worker* worker) {
  Filesystem* const fs = worker->fs;
  const std::string name =
      "own" + std::to_string(worker->number) + "." + std::to_string(random_.Below(3));
  auto [own, first] = own_.try_emplace(name, Allowed{""});
  Allowed* const allowed = &own->second;
  const auto opened = co_await fs->Create(0, own_dir_, name, {.mode = 0644, .flags = O_RDWR});
  if (worker->lost) co_return;
  if (!opened) {  // what the file has is asked of its OST
    EXPECT_EQ(opened.error().code(), Errc::kIo) << opened.error().ToString();
    ++refused_;
    co_return;
  }
  // As long each time: what is there is the old, the new, or a mixture of blocks.
  const std::string bytes(kSlotBytes, static_cast<char>('A' + ++last_ % 50));
  allowed->insert(bytes);
  const auto wrote = co_await fs->Write(opened->attr.fid, opened->handle, 0, AsBytes(bytes), {});
  const Status synced = co_await fs->Fsync(opened->attr.fid);
  if (worker->lost) co_return;
  const bool kept = wrote && *wrote == bytes.size() && synced;
  if (kept) *allowed = {bytes};
  if (!kept) ++refused_;
  const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
  static_cast<void>(closed);  // of what was refused
}

async::Task<void> SharedWork::CheckOwn(Filesystem* fs, std::string name, Allowed allowed) {
  const auto found = co_await fs->Lookup(0, own_dir_, name);
  if (!found) {
    EXPECT_EQ(found.error().code(), Errc::kNoEntry) << found.error().ToString();
    EXPECT_TRUE(allowed.contains("")) << name << " was synced and is gone";
    co_return;
  }
  Result<std::string> bytes = co_await ReadFile(fs, found->fid);
  // What was refused after the close is told to one open.
  if (!bytes && bytes.error().code() == Errc::kIo) bytes = co_await ReadFile(fs, found->fid);
  EXPECT_TRUE(bytes) << name << ": " << (bytes ? "" : bytes.error().ToString());
  if (!bytes) co_return;
  std::set<char> fills;
  for (const std::string& one : allowed) fills.insert(one.empty() ? '\0' : one[0]);
  for (const char fill : std::set<char>(bytes->begin(), bytes->end())) {
    EXPECT_TRUE(fills.contains(fill)) << name << " holds '" << fill << "', which is old";
  }
  if (!allowed.contains("")) EXPECT_EQ(bytes->size(), kSlotBytes) << name;
}

// ---- all ----

async::Task<Result<std::string>> SharedWork::ReadFile(Filesystem* fs, Fid fid) {
  SHEEN_CO_TRY_ASSIGN(const auto attr, co_await fs->GetAttr(0, fid));
  SHEEN_CO_TRY_ASSIGN(const auto opened, co_await fs->Open(0, fid, O_RDONLY));
  std::string bytes(attr.size, '?');
  const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(fid, opened.handle, 0, out);
  SHEEN_CO_TRY(co_await fs->Close(fid, opened.handle));
  if (!read) co_return std::unexpected(read.error());
  bytes.resize(*read);
  co_return bytes;
}

async::Task<void> SharedWork::CheckAll(Filesystem* fs) {
  Worker reader{.fs = fs, .number = 100};
  for (size_t i = 0; i < 4 * kNames; ++i) co_await LookAtName(&reader);
  for (size_t i = 0; i < 3 * kSlots; ++i) co_await GetSlot(&reader);
  const Result<std::string> text = co_await ReadFile(fs, log_);
  EXPECT_TRUE(text) << (text ? "" : text.error().ToString());
  if (text) CheckLog(*text);
  // What the client that was given up has lost is told to it once.
  static_cast<void>(co_await fs->Fsync(counter_));
  co_await Count(&reader);
  for (const auto& [name, allowed] : own_) co_await CheckOwn(fs, name, allowed);
}

}  // namespace sheen::test
