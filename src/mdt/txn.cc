#include "mdt/txn.h"

#include <map>
#include <utility>

namespace sheen::mdt {

Result<std::optional<std::string>> Txn::Get(Family family, std::string_view key) const {
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
      if (value != nullptr && !row(key, *value)) return {};
      continue;
    }
    if (!row(cursor->key(), cursor->value())) return {};
    cursor->Next();
  }
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
