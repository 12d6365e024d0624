#include "mdt/txn.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

namespace sheen::mdt {
namespace {

bool OfNameSpace(kv::Family family) {
  return family == kInodes || family == kDirents || family == kLinks || family == kXattrs;
}

uint64_t RowHash(kv::Family family, std::string_view key) {
  return std::hash<std::string_view>()(key) * 31 + family;
}

uint64_t ChildrenHash(const Fid& directory) { return RowHash(kFamilyCount, InodeKey(directory)); }

}  // namespace

Result<std::optional<std::string>> Txn::Get(Family family, std::string_view key) const {
  if (OfNameSpace(family)) reads_.push_back(RowHash(family, key));
  // An operation writes a handful of rows, so the newest write is found by walking back.
  const auto& operations = batch_.operations();
  for (auto it = operations.rbegin(); it != operations.rend(); ++it) {
    if (it->family != family || it->key != key) continue;
    if (it->kind == kv::Batch::Operation::Kind::kPut) return std::optional(it->value);
    return std::optional<std::string>();
  }
  return store_->Get(family, key, blocking_);
}

void Txn::Touch(const Fid& fid, uint32_t bits, bool gone) {
  for (Touched& touched : touched_) {
    if (touched.fid != fid) continue;
    touched.bits |= bits;
    touched.gone |= gone;
    return;
  }
  touched_.push_back({fid, bits, gone});
}

Status Txn::Scan(
    Family family, std::string_view prefix, std::string_view from,
    const std::function<bool(std::string_view key, std::string_view value)>& row) const {
  const std::string_view start = from < prefix ? prefix : from;
  // Own writes in the range, newest wins; null: deleted.
  std::map<std::string_view, const std::string*> own;
  for (const auto& operation : batch_.operations()) {
    const std::string_view key = operation.key;
    if (operation.family != family || !key.starts_with(prefix) || key < start) continue;
    const bool put = operation.kind == kv::Batch::Operation::Kind::kPut;
    own[key] = put ? &operation.value : nullptr;
  }
  auto mine = own.begin();
  const auto cursor = store_->NewCursor(family, blocking_);
  cursor->Seek(start);
  for (;;) {
    const bool stored = cursor->Valid() && cursor->key().starts_with(prefix);
    if (!stored && !cursor->Valid()) SHEEN_TRY(cursor->status());
    if (!stored && mine == own.end()) return {};
    if (mine != own.end() && (!stored || mine->first <= cursor->key())) {
      if (stored && mine->first == cursor->key()) cursor->Next();
      const auto [key, value] = *mine++;
      if (OfNameSpace(family)) reads_.push_back(RowHash(family, key));
      if (value != nullptr && !row(key, *value)) return {};
      continue;
    }
    if (OfNameSpace(family)) reads_.push_back(RowHash(family, cursor->key()));
    if (!row(cursor->key(), cursor->value())) return {};
    cursor->Next();
  }
}

void Txn::NoteParent(const Fid& directory) { parents_.push_back(directory); }

void Txn::NoteReadChildren(const Fid& directory) const {
  reads_.push_back(ChildrenHash(directory));
}

std::vector<uint64_t> Txn::ChangedRows() const {
  std::vector<std::string> parent_keys;
  std::vector<uint64_t> rows;
  for (const Fid& parent : parents_) {
    rows.push_back(ChildrenHash(parent));
    parent_keys.push_back(InodeKey(parent));
  }
  for (const auto& operation : batch_.operations()) {
    if (!OfNameSpace(operation.family)) continue;
    const bool of_parent = operation.family == kInodes &&
                           std::ranges::find(parent_keys, operation.key) != parent_keys.end();
    if (!of_parent) rows.push_back(RowHash(operation.family, operation.key));
  }
  return rows;
}

uint64_t Txn::transno() {
  if (transno_ == 0) transno_ = transnos_->Begin();
  return transno_;
}

void Txn::Abort() {
  if (transno_ != 0) transnos_->Finish(std::exchange(transno_, 0));
  batch_.Clear();
}

}  // namespace sheen::mdt
