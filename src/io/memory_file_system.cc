// Paths, directories, handles, and what a power cut does. The bytes of files: memory_content.cc.
#include <fcntl.h>

#include <algorithm>

#include "io/memory_state.h"

namespace sheen::io {
namespace {

std::vector<std::string> Split(const std::string& path) {
  std::vector<std::string> names;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") names.push_back(name);
    begin = end + 1;
  }
  return names;
}

std::unexpected<Error> FailCall(Errc code, const char* call, const std::string& path) {
  return Fail(code, std::string(call) + " " + path);
}

bool IsInside(const MemoryNode& tree, const MemoryNode* wanted) {
  if (&tree == wanted) return true;
  return std::any_of(tree.entries.begin(), tree.entries.end(),
                     [wanted](const auto& entry) { return IsInside(*entry.second, wanted); });
}

}  // namespace

MemoryFileSystem::State::State(MemoryFileSystemOptions file_system_options)
    : options(file_system_options), root(NewNode(true)) {
  root->links = 1;
}

MemoryNode::Ref MemoryFileSystem::State::NewNode(bool is_directory) {
  auto node = std::make_shared<MemoryNode>();
  node->is_directory = is_directory;
  return node;
}

Result<MemoryNode::Ref> MemoryFileSystem::State::Find(const std::string& path) {
  if (off) return Fail(Errc::kIo, "the machine has no power");
  MemoryNode::Ref at = root;
  for (const std::string& name : Split(path)) {
    if (!at->is_directory) return Fail(Errc::kNotDirectory);
    const auto found = at->entries.find(name);
    if (found == at->entries.end()) return Fail(Errc::kNoEntry);
    at = found->second;
  }
  return at;
}

Result<MemoryFileSystem::State::Place> MemoryFileSystem::State::FindPlace(const std::string& path) {
  const std::vector<std::string> names = Split(path);
  if (names.empty()) return Fail(Errc::kBusy);  // the root has no name
  const size_t slash = path.find_last_not_of('/') + 1 - names.back().size();
  SHEEN_TRY_ASSIGN(MemoryNode::Ref directory, Find(path.substr(0, slash)));
  if (!directory->is_directory) return Fail(Errc::kNotDirectory);
  return Place{std::move(directory), names.back()};
}

Result<MemoryFileSystem::State::Handle*> MemoryFileSystem::State::HandleOf(FileId file) {
  const auto found = handles.find(static_cast<int32_t>(file));
  if (found == handles.end()) return Fail(Errc::kBadHandle);
  return &found->second;
}

Result<FileId> MemoryFileSystem::State::Open(const std::string& path, int flags, int64_t now_ns) {
  const auto place = FindPlace(path);
  auto node = Find(path);
  if (!node && node.error().code() == Errc::kNoEntry && place && (flags & O_CREAT) != 0) {
    node = NewNode(false);
    (*node)->links = 1;
    (*node)->mtime_ns = now_ns;
    place->directory->entries[place->name] = *node;
  } else if (node && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return FailCall(Errc::kExists, "open", path);
  }
  if (!node) return FailCall(node.error().code(), "open", path);
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  if ((*node)->is_directory && writable) return FailCall(Errc::kIsDirectory, "open", path);
  if (!(*node)->is_directory && (flags & O_DIRECTORY) != 0) {
    return FailCall(Errc::kNotDirectory, "open", path);
  }
  if ((flags & O_TRUNC) != 0 && writable) SetSize(node->get(), 0);
  ++(*node)->opens;
  const int32_t id = next_handle++;
  handles[id] = {*node, path, (flags & O_ACCMODE) != O_WRONLY, writable};
  return FileId{id};
}

Status MemoryFileSystem::State::Close(FileId file) {
  const auto found = handles.find(static_cast<int32_t>(file));
  if (found == handles.end()) {
    return FailCall(Errc::kBadHandle, "close", "file " + std::to_string(int32_t(file)));
  }
  const MemoryNode::Ref node = found->second.node;
  handles.erase(found);
  --node->opens;
  MaybeFree(node.get());
  return {};
}

Status MemoryFileSystem::State::Unlink(const std::string& path) {
  const auto node = Find(path);
  if (!node) return FailCall(node.error().code(), "unlink", path);
  if ((*node)->is_directory) return FailCall(Errc::kIsDirectory, "unlink", path);
  const auto place = FindPlace(path);
  place->directory->entries.erase(place->name);
  --(*node)->links;
  MaybeFree(node->get());
  return {};
}

Status MemoryFileSystem::State::MakeDirectory(const std::string& path) {
  if (Find(path)) return FailCall(Errc::kExists, "mkdir", path);
  const auto place = FindPlace(path);
  if (!place) return FailCall(place.error().code(), "mkdir", path);
  const MemoryNode::Ref node = NewNode(true);
  node->links = 1;
  place->directory->entries[place->name] = node;
  return {};
}

Status MemoryFileSystem::State::Rename(const std::string& from, const std::string& to) {
  const std::string both = from + " to " + to;
  const auto source = FindPlace(from);
  const auto moved = Find(from);
  if (!source || !moved) {
    return FailCall((!source ? source.error() : moved.error()).code(), "rename", both);
  }
  const auto target = FindPlace(to);
  if (!target) return FailCall(target.error().code(), "rename", both);
  if (IsInside(**moved, target->directory.get())) return FailCall(Errc::kInvalid, "rename", both);
  MemoryNode::Ref replaced;
  const auto found = target->directory->entries.find(target->name);
  if (found != target->directory->entries.end()) replaced = found->second;
  if (replaced == *moved) return {};
  if (replaced) {
    if (IsInside(*replaced, source->directory.get())) {
      return FailCall(Errc::kNotEmpty, "rename", both);
    }
    if (replaced->is_directory && !(*moved)->is_directory) {
      return FailCall(Errc::kIsDirectory, "rename", both);
    }
    if (!replaced->is_directory && (*moved)->is_directory) {
      return FailCall(Errc::kNotDirectory, "rename", both);
    }
    if (!replaced->entries.empty()) return FailCall(Errc::kNotEmpty, "rename", both);
    --replaced->links;
  }
  source->directory->entries.erase(source->name);
  target->directory->entries[target->name] = *moved;
  if (replaced) MaybeFree(replaced.get());
  if (source->directory != target->directory) {
    source->directory->tied.push_back(target->directory);
    target->directory->tied.push_back(source->directory);
  }
  return {};
}

Result<std::vector<std::string>> MemoryFileSystem::State::List(const std::string& path) {
  const auto node = Find(path);
  if (!node) return FailCall(node.error().code(), "list", path);
  if (!(*node)->is_directory) return FailCall(Errc::kNotDirectory, "list", path);
  std::vector<std::string> names;
  for (const auto& [name, child] : (*node)->entries) names.push_back(name);
  return names;
}

Status MemoryFileSystem::State::SyncDirectory(const std::string& path) {
  const auto node = Find(path);
  if (!node) return FailCall(node.error().code(), "fsync", path);
  if (!(*node)->is_directory) return FailCall(Errc::kNotDirectory, "fsync", path);
  if (fail_syncs != Errc::kOk) return FailCall(fail_syncs, "fsync", path);
  SyncEntries(node->get());
  return {};
}

void MemoryFileSystem::State::SyncEntries(MemoryNode* directory) {
  directory->durable_entries = directory->entries;
  const std::vector<std::weak_ptr<MemoryNode>> tied = std::exchange(directory->tied, {});
  for (const std::weak_ptr<MemoryNode>& other : tied) {
    // The other's tie back ends here: ours is gone already.
    if (const auto node = other.lock()) SyncEntries(node.get());
  }
}

Result<FileStat> MemoryFileSystem::State::StatPath(const std::string& path) {
  const auto node = Find(path);
  if (!node) return FailCall(node.error().code(), "stat", path);
  return FileStat{.size = (*node)->now.size,
                  .allocated_bytes = (*node)->now.blocks.size() * kMemoryBlockBytes,
                  .mtime_ns = (*node)->mtime_ns,
                  .is_directory = (*node)->is_directory};
}

Result<DiskSpace> MemoryFileSystem::State::Space(const std::string& path) {
  const auto node = Find(path);
  if (!node) return FailCall(node.error().code(), "statvfs", path);
  const uint64_t used = used_blocks * kMemoryBlockBytes;
  constexpr uint64_t kFiles = 1 << 20;
  return DiskSpace{.bytes_total = options.capacity_bytes,
                   .bytes_free = options.capacity_bytes - std::min(used, options.capacity_bytes),
                   .files_total = kFiles,
                   .files_free = kFiles,
                   .device = options.device};
}

void MemoryFileSystem::State::MaybeFree(MemoryNode* node) {
  if (node->links > 0 || node->opens > 0) return;
  used_blocks -= node->now.blocks.size();
  node->now = {};
  node->dirty_blocks.clear();
}

void MemoryFileSystem::State::PowerCut(Random* keep) {
  if (keep != nullptr) KeepSome(keep);
  handles.clear();
  used_blocks = 0;
  RevertTree(root);
}

void MemoryFileSystem::State::KeepSome(Random* keep) {
  // All that either half can reach, each once.
  std::vector<MemoryNode::Ref> todo = {root};
  std::set<MemoryNode*> seen = {root.get()};
  for (size_t i = 0; i < todo.size(); ++i) {
    const MemoryNode::Ref node = todo[i];
    for (const MemoryNode::Entries* entries : {&node->entries, &node->durable_entries}) {
      for (const auto& [name, child] : *entries) {
        if (seen.insert(child.get()).second) todo.push_back(child);
      }
    }
    if (!node->is_directory) {
      KeepSomeOfFile(node.get(), keep);
    } else if (keep->OneIn(2)) {
      SyncEntries(node.get());
    }
  }
}

void MemoryFileSystem::State::RevertTree(const MemoryNode::Ref& node) {
  node->entries = node->durable_entries;
  node->tied.clear();
  node->now = node->durable;
  node->dirty_blocks.clear();
  node->dirty_size = false;
  node->links = 1;
  node->opens = 0;
  used_blocks += node->now.blocks.size();
  for (const auto& [name, child] : node->entries) RevertTree(child);
}

MemoryFileSystem::MemoryFileSystem(MemoryFileSystemOptions options)
    : state_(std::make_unique<State>(options)) {}

MemoryFileSystem::~MemoryFileSystem() = default;

void MemoryFileSystem::MakeDurableDirectory(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  std::string made;
  for (const std::string& name : Split(path)) {
    const std::string parent = made;
    made += "/" + name;
    (void)state_->MakeDirectory(made);
    (void)state_->SyncDirectory(parent);
  }
}

void MemoryFileSystem::PowerCut() {
  std::lock_guard lock(state_->mutex);
  state_->PowerCut(nullptr);
}

void MemoryFileSystem::PowerCutKeepingSome(Random* random) {
  std::lock_guard lock(state_->mutex);
  state_->PowerCut(random);
}

void MemoryFileSystem::PowerOff(Random* random) {
  std::lock_guard lock(state_->mutex);
  state_->PowerCut(random);
  state_->off = true;
}

void MemoryFileSystem::PowerOn() {
  std::lock_guard lock(state_->mutex);
  state_->off = false;
}

void MemoryFileSystem::FailWrites(Errc code) {
  std::lock_guard lock(state_->mutex);
  state_->fail_writes = code;
}

void MemoryFileSystem::FailSyncs(Errc code) {
  std::lock_guard lock(state_->mutex);
  state_->fail_syncs = code;
}

void MemoryFileSystem::FailReads(Errc code) {
  std::lock_guard lock(state_->mutex);
  state_->fail_reads = code;
}

uint64_t MemoryFileSystem::used_bytes() const {
  std::lock_guard lock(state_->mutex);
  return state_->used_blocks * kMemoryBlockBytes;
}

bool MemoryFileSystem::FlipBit(const std::string& path, uint64_t offset) {
  std::lock_guard lock(state_->mutex);
  const auto node = state_->Find(path);
  if (!node || offset >= (*node)->now.size) return false;
  const uint64_t index = offset / kMemoryBlockBytes;
  bool flipped = false;
  MemoryBlock* last = nullptr;
  for (MemoryContent* half : {&(*node)->now, &(*node)->durable}) {
    const auto found = half->blocks.find(index);
    if (found == half->blocks.end() || found->second.get() == last) continue;
    last = found->second.get();
    (*last)[offset % kMemoryBlockBytes] ^= std::byte{1};
    flipped = true;
  }
  return flipped;
}

}  // namespace sheen::io
