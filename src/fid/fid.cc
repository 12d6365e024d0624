#include "fid/fid.h"

#include <fmt/core.h>

#include <charconv>

#include "base/log.h"

namespace sheen {

namespace {

// Takes "0x1f" or "31" off the front of `text`. False when there is no number or it is too large.
template <class T>
bool TakeNumber(std::string_view* text, T* out) {
  int base = 10;
  if (text->starts_with("0x") || text->starts_with("0X")) {
    base = 16;
    text->remove_prefix(2);
  }
  const char* const end = text->data() + text->size();
  const auto [next, error] = std::from_chars(text->data(), end, *out, base);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(next - text->data()));
  return true;
}

bool TakeColon(std::string_view* text) {
  if (!text->starts_with(':')) return false;
  text->remove_prefix(1);
  return true;
}

}  // namespace

std::string Fid::ToString() const { return fmt::format("[{:#x}:{:#x}:{:#x}]", seq, oid, ver); }

bool Fid::Parse(std::string_view text, Fid* out) {
  if (text.starts_with('[') != text.ends_with(']')) return false;
  if (text.starts_with('[')) text = text.substr(1, text.size() - 2);
  Fid fid;
  if (!TakeNumber(&text, &fid.seq) || !TakeColon(&text)) return false;
  if (!TakeNumber(&text, &fid.oid) || !TakeColon(&text)) return false;
  if (!TakeNumber(&text, &fid.ver) || !text.empty()) return false;
  *out = fid;
  return true;
}

void Fid::AppendKey(std::string* out) const {
  AppendBig64(out, seq);
  AppendBig32(out, oid);
}

Fid Fid::FromKey(std::string_view key) {
  SHEEN_ASSERT(key.size() >= kKeyBytes);
  return Fid{LoadBig64(key.data()), LoadBig32(key.data() + 8), 0};
}

}  // namespace sheen
