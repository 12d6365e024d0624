#include "mdt/schema.h"

namespace sheen::mdt {
namespace {

std::string FidKey(const Fid& fid, size_t more) {
  std::string key;
  key.reserve(Fid::kKeyBytes + more);
  fid.AppendKey(&key);
  return key;
}

}  // namespace

std::vector<std::string> FamilyNames() {
  return {"inodes", "dirents", "links",   "xattrs", "changelog",
          "outbox", "orphans", "clients", "slots",  "config"};
}

std::string InodeKey(const Fid& fid) { return FidKey(fid, 0); }

std::string DirentKey(const Fid& parent, uint64_t cookie) {
  std::string key = FidKey(parent, 8);
  AppendBig64(&key, cookie);
  return key;
}

std::string LinkKey(const Fid& fid, const Fid& parent, uint64_t cookie) {
  std::string key = FidKey(fid, Fid::kKeyBytes + 8);
  parent.AppendKey(&key);
  AppendBig64(&key, cookie);
  return key;
}

std::string XattrKey(const Fid& fid, std::string_view name) {
  std::string key = FidKey(fid, name.size());
  key.append(name);
  return key;
}

std::string OutboxKey(uint32_t ost_index, uint64_t transno, uint32_t number) {
  std::string key;
  AppendBig32(&key, ost_index);
  AppendBig64(&key, transno);
  AppendBig32(&key, number);
  return key;
}

std::string SessionKey(uint64_t session_id) {
  std::string key;
  AppendBig64(&key, session_id);
  return key;
}

std::string SlotKey(uint64_t session_id, uint32_t slot) {
  std::string key;
  AppendBig64(&key, session_id);
  AppendBig32(&key, slot);
  return key;
}

std::string AfterPrefix(std::string_view prefix) {
  std::string after(prefix);
  while (!after.empty()) {
    if (static_cast<uint8_t>(after.back()) != 0xFF) {
      after.back() = static_cast<char>(static_cast<uint8_t>(after.back()) + 1);
      break;
    }
    after.pop_back();
  }
  return after;
}

}  // namespace sheen::mdt
