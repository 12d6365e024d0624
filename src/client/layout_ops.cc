// Layouts: of a file, a directory's default, and files created with a layout of their own.

#include <fcntl.h>

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {

async::Task<Result<LayoutAnswer>> Filesystem::GetLayout(CredentialId who, Fid fid, bool effective) {
  v1::GetLayoutRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_effective(effective);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetLayout, who, request);
  auto answered = co_await MdsCall<v1::GetLayoutReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return LayoutAnswer{std::move(*answered->reply.mutable_layout()), answered->reply.inherited()};
}

async::Task<Status> Filesystem::SetLayout(CredentialId who, Fid fid, std::string layout_template) {
  v1::SetLayoutRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_layout_template(std::move(layout_template));
  LockCache::Change change(&state_->locks, {fid});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSetLayout, who, request);
  auto answered = co_await MdsChange<v1::SetLayoutReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  co_await state_->Here()->KernelForgets(fid, lock::kAttrBits);
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(answered->reply.layout()));
  if (const std::shared_ptr<OpenFile> file = state_->files.Find(fid)) file->UpdateLayout(layout);
  co_return Status();
}

async::Task<Result<Fid>> Filesystem::CreateWithLayout(CredentialId who, Fid parent,
                                                      std::string name, uint32_t mode,
                                                      std::string layout_template) {
  CreateOptions options;
  options.mode = mode;
  options.flags = O_CREAT | O_EXCL | O_WRONLY;
  options.layout_template = std::move(layout_template);
  SHEEN_CO_TRY_ASSIGN(const Opened opened,
                      co_await Create(who, parent, std::move(name), std::move(options)));
  // The kernel has not seen it made.
  co_await state_->Here()->KernelForgets(parent, lock::kAttrBits);
  SHEEN_CO_TRY(co_await Close(opened.attr.fid, opened.handle));
  co_return opened.attr.fid;
}

}  // namespace sheen::client
