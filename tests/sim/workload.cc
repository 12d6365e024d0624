#include "sim/workload.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>
#include <utility>

namespace sheen::test {
namespace {

constexpr uint64_t kFileBytesMax = 6 << 20;

std::string ParentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

using client::Filesystem;

Workload::Workload(std::vector<Filesystem*> clients, uint64_t seed)
    : clients_(std::move(clients)), random_(seed) {
  model_[""].directory = true;
}

async::Task<void> Workload::Run(int steps) {
  for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
    step_ = i;
    fs_ = clients_[random_.Below(clients_.size())];
    co_await Step();
  }
}

async::Task<void> Workload::CheckAll(std::vector<Filesystem*> by) {
  if (by.empty()) by = clients_;
  for (Filesystem* fs : by) {
    fs_ = fs;
    const Model copy = model_;
    for (const auto& [path, node] : copy) {
      if (node.directory) co_await CheckListing(path);
      if (!node.directory) co_await CheckContent(path);
    }
  }
}

async::Task<void> Workload::Step() {
  switch (random_.Below(11)) {
    case 0:
    case 1:
      co_await CreateOne();
      break;
    case 2:
      co_await MakeDirectory();
      break;
    case 3:
    case 4:
      co_await WriteSome();
      break;
    case 5:
      co_await TruncateOne();
      break;
    case 6:
      co_await RemoveOne();
      break;
    case 7:
      co_await RenameOne();
      break;
    case 8:
      co_await CheckListing(AnyDirectory());
      break;
    default:
      co_await CheckContent(AnyPath());
  }
}

std::string Workload::AnyPath() {
  auto it = model_.begin();
  std::advance(it, random_.Below(model_.size()));
  return it->first;
}

std::string Workload::AnyDirectory() {
  const std::string path = AnyPath();
  return model_[path].directory ? path : ParentOf(path);
}

bool Workload::HasChildren(const std::string& path) {
  const auto it = model_.upper_bound(path + "/");
  return it != model_.end() && it->first.starts_with(path + "/");
}

std::string Workload::RandomData(uint64_t bytes) {
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(random_.Next());
  return out;
}

async::Task<Result<Fid>> Workload::Resolve(std::string path) {
  Fid fid = base_.value_or(fs_->root());
  size_t at = 1;
  while (at < path.size()) {
    const size_t end = std::min(path.find('/', at), path.size());
    auto attr = co_await fs_->Lookup(0, fid, path.substr(at, end - at));
    if (!attr) co_return std::unexpected(attr.error());
    fid = attr->fid;
    at = end + 1;
  }
  co_return fid;
}

async::Task<Fid> Workload::MustResolve(std::string path) {
  Result<Fid> fid = co_await Resolve(path);
  EXPECT_TRUE(fid) << Where() << path << ": " << (fid ? "" : fid.error().ToString());
  co_return fid ? *fid : Fid{};
}

async::Task<void> Workload::CreateOne() {
  const std::string path = NewPath();
  const Fid parent = co_await MustResolve(ParentOf(path));
  auto opened = co_await fs_->Create(0, parent, NameOf(path), {.mode = 0644, .flags = O_RDWR});
  const auto it = model_.find(path);
  if (it != model_.end() && it->second.directory) {
    EXPECT_FALSE(opened) << Where() << path;
    if (!opened) EXPECT_EQ(opened.error().code(), Errc::kIsDirectory) << Where() << path;
    co_return;
  }
  EXPECT_TRUE(opened) << Where() << path << ": " << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  EXPECT_EQ(opened->created, it == model_.end()) << Where() << path;
  const std::string data = RandomData(random_.Below(random_.OneIn(4) ? 3 << 20 : 20000));
  co_await WriteOpen(path, opened->attr.fid, opened->handle, 0, data);
  const Status closed = co_await fs_->Close(opened->attr.fid, opened->handle);
  EXPECT_TRUE(closed);
}

async::Task<void> Workload::WriteOpen(std::string path, Fid fid, uint64_t handle,
                                      uint64_t offset, std::string data) {
  Node& node = model_[path];
  const auto written = co_await fs_->Write(fid, handle, offset, AsBytes(data), {});
  EXPECT_TRUE(written) << Where() << path << ": " << (written ? "" : written.error().ToString());
  if (!written) co_return;
  EXPECT_EQ(*written, data.size());
  if (data.empty()) co_return;
  if (node.data.size() < offset + data.size()) node.data.resize(offset + data.size());
  node.data.replace(offset, data.size(), data);
}

async::Task<void> Workload::MakeDirectory() {
  const std::string path = NewPath();
  const Fid parent = co_await MustResolve(ParentOf(path));
  auto made = co_await fs_->MakeNode(0, parent, NameOf(path), {.mode = S_IFDIR | 0755});
  EXPECT_EQ(made.has_value(), !model_.contains(path)) << Where() << path;
  if (made) model_[path].directory = true;
  if (!made) EXPECT_EQ(made.error().code(), Errc::kExists) << Where() << path;
}

async::Task<void> Workload::WriteSome() {
  const std::string path = AnyPath();
  if (model_[path].directory) co_return;
  const Fid fid = co_await MustResolve(path);
  auto opened = co_await fs_->Open(0, fid, O_WRONLY);
  EXPECT_TRUE(opened) << Where() << path << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  const uint64_t offset = random_.Below(kFileBytesMax / 2);
  co_await WriteOpen(path, fid, opened->handle, offset, RandomData(random_.Below(1 << 20)));
  if (random_.OneIn(3)) {
    // The other client sees the size while the file is open for writing.
    Filesystem* other = clients_[random_.Below(clients_.size())];
    const auto attr = co_await other->GetAttr(0, fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->size, model_[path].data.size()) << Where() << path;
  }
  const Status closed = co_await fs_->Close(fid, opened->handle);
  EXPECT_TRUE(closed);
}

async::Task<void> Workload::TruncateOne() {
  const std::string path = AnyPath();
  if (model_[path].directory) co_return;
  const Fid fid = co_await MustResolve(path);
  const uint64_t size = random_.OneIn(3) ? 0 : random_.Below(kFileBytesMax);
  client::AttrChange change;
  change.set_size = true;
  change.size = size;
  const auto attr = co_await fs_->SetAttr(0, fid, change, 0);
  EXPECT_TRUE(attr) << Where() << path << (attr ? "" : attr.error().ToString());
  if (attr) EXPECT_EQ(attr->size, size) << Where() << path;
  model_[path].data.resize(size);
}

async::Task<void> Workload::RemoveOne() {
  const std::string path = AnyPath();
  if (path.empty()) co_return;
  const Fid parent = co_await MustResolve(ParentOf(path));
  const bool directory = model_[path].directory;
  Status removed;
  if (directory) {
    removed = co_await fs_->RemoveDir(0, parent, NameOf(path));
  } else {
    removed = co_await fs_->Unlink(0, parent, NameOf(path));
  }
  EXPECT_EQ(removed.has_value(), !directory || !HasChildren(path)) << Where() << path;
  if (removed) model_.erase(path);
}

async::Task<void> Workload::RenameOne() {
  const std::string from = AnyPath();
  const std::string to = NewPath();
  if (from.empty() || from == to) co_return;
  const Fid old_parent = co_await MustResolve(ParentOf(from));
  const Fid new_parent = co_await MustResolve(ParentOf(to));
  const Status renamed =
      co_await fs_->Rename(0, old_parent, NameOf(from), new_parent, NameOf(to), 0);
  const bool into_itself = to.starts_with(from + "/");
  const auto target = model_.find(to);
  bool allowed = !into_itself;
  if (target != model_.end() && allowed) {
    allowed = target->second.directory == model_[from].directory &&
              !(target->second.directory && HasChildren(to)) && !from.starts_with(to + "/");
  }
  EXPECT_EQ(renamed.has_value(), allowed)
      << Where() << from << " -> " << to << (renamed ? "" : renamed.error().ToString());
  if (!renamed || !allowed) co_return;
  MoveInModel(from, to);
}

void Workload::MoveInModel(const std::string& from, const std::string& to) {
  model_.erase(to);
  Model moved;
  for (const auto& [path, node] : model_) {
    if (path == from || path.starts_with(from + "/")) moved[to + path.substr(from.size())] = node;
  }
  std::erase_if(model_, [&from](const auto& entry) {
    return entry.first == from || entry.first.starts_with(from + "/");
  });
  model_.merge(moved);
}

async::Task<void> Workload::CheckListing(std::string path) {
  const Fid fid = co_await MustResolve(path);
  std::set<std::string> expected;
  for (const auto& [name, node] : model_) {
    if (!name.empty() && ParentOf(name) == path) expected.insert(NameOf(name));
  }
  std::set<std::string> found;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto batch = co_await fs_->ReadDir(0, fid, cookie, random_.OneIn(2));
    EXPECT_TRUE(batch) << Where() << path << (batch ? "" : batch.error().ToString());
    if (!batch) co_return;
    for (const auto& entry : batch->entries) {
      EXPECT_TRUE(found.insert(entry.name).second) << Where() << entry.name << " twice";
      cookie = entry.cookie;
    }
    end = batch->end;
  }
  EXPECT_EQ(found, expected) << Where() << "in " << path;
}

async::Task<void> Workload::CheckContent(std::string path) {
  const Node node = model_[path];
  if (node.directory) co_return;
  const Fid fid = co_await MustResolve(path);
  const auto attr = co_await fs_->GetAttr(0, fid);
  EXPECT_TRUE(attr) << Where() << path;
  if (attr) EXPECT_EQ(attr->size, node.data.size()) << Where() << path;
  auto opened = co_await fs_->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened) << Where() << path;
  if (!opened) co_return;
  std::string bytes(kFileBytesMax + 4096, 'x');
  const MutableByteSpan out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs_->Read(fid, opened->handle, 0, out);
  EXPECT_TRUE(read) << Where() << path << (read ? "" : read.error().ToString());
  if (read) {
    bytes.resize(*read);
    EXPECT_TRUE(bytes == node.data)
        << Where() << path << ": " << *read << " bytes of " << node.data.size() << " expected";
  }
  const Status closed = co_await fs_->Close(fid, opened->handle);
  EXPECT_TRUE(closed);
}

}  // namespace sheen::test
