// Extended attributes. A size of 0 asks how long the value is; too small a size is ERANGE.

#include <cerrno>

#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

void ReplyValue(fuse_req_t req, const std::string& value, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

async::Task<void> GetXattr(fuse_req_t req, Fid fid, std::string name, size_t size) {
  const Result<std::string> value =
      co_await FsOf(req)->GetXattr(WhoAsks(req), fid, std::move(name));
  if (!value) {
    ReplyError(req, value.error());
  } else {
    ReplyValue(req, *value, size);
  }
}

async::Task<void> ListXattr(fuse_req_t req, Fid fid, size_t size) {
  const Result<std::vector<std::string>> names = co_await FsOf(req)->ListXattr(WhoAsks(req), fid);
  if (!names) {
    ReplyError(req, names.error());
    co_return;
  }
  std::string list;
  for (const std::string& name : *names) list.append(name).push_back('\0');
  ReplyValue(req, list, size);
}

async::Task<void> SetXattr(fuse_req_t req, Fid fid, std::string name, std::string value,
                           uint32_t flags) {
  const Status status =
      co_await FsOf(req)->SetXattr(WhoAsks(req), fid, std::move(name), std::move(value), flags);
  ReplyStatus(req, status);
}

// A file's capabilities go when anyone changes it: the kernel then takes them away in the name of
// the writer, who might not do so himself. Where a user asks for it, the kernel has checked.
async::Task<void> RemoveXattr(fuse_req_t req, Fid fid, std::string name) {
  const client::CredentialId who = name == "security.capability" ? 0 : WhoAsks(req);
  const Status status = co_await FsOf(req)->RemoveXattr(who, fid, std::move(name));
  ReplyStatus(req, status);
}

}  // namespace

void AddXattrOps(fuse_lowlevel_ops* ops) {
  ops->getxattr = [](fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
    Spawn(GetXattr(req, FidOfNode(FsOf(req), node), name, size));
  };
  ops->listxattr = [](fuse_req_t req, fuse_ino_t node, size_t size) {
    Spawn(ListXattr(req, FidOfNode(FsOf(req), node), size));
  };
  ops->setxattr = [](fuse_req_t req, fuse_ino_t node, const char* name, const char* value,
                     size_t size, int flags) {
    Spawn(SetXattr(req, FidOfNode(FsOf(req), node), name, std::string(value, size),
                   static_cast<uint32_t>(flags)));
  };
  ops->removexattr = [](fuse_req_t req, fuse_ino_t node, const char* name) {
    Spawn(RemoveXattr(req, FidOfNode(FsOf(req), node), name));
  };
}

}  // namespace sheen::fuse
