// Layouts: of a file, a directory's default, and files created with a layout of their own.

#include <fcntl.h>

#include <optional>

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

namespace {

// `change` null: nothing is set aside: what this mount itself holds back is written, and its locks
// go, as with everybody else.
async::Task<Result<std::string>> SendLayout(State* state, CredentialId who,
                                            const v1::SetLayoutRequest* request,
                                            LockCache::Change* change) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSetLayout, who, *request);
  Result<Answered<v1::SetLayoutReply>> answered = Answered<v1::SetLayoutReply>();
  if (change == nullptr) {
    answered = co_await MdsCall<v1::SetLayoutReply>(state->Here(), std::move(call));
  } else {
    answered = co_await MdsChange<v1::SetLayoutReply>(state->Here(), std::move(call), change);
  }
  if (!answered) co_return std::unexpected(answered.error());
  if (change != nullptr) change->Done();
  co_return std::move(*answered->reply.mutable_layout());
}

}  // namespace

async::Task<Status> Filesystem::SetLayout(CredentialId who, Fid fid, std::string layout_template,
                                          LayoutChange edit) {
  v1::SetLayoutRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_layout_template(std::move(layout_template));
  if (edit.edit == LayoutEdit::kAdd) request.set_edit(v1::EDIT_ADD);
  if (edit.edit == LayoutEdit::kDelete) request.set_edit(v1::EDIT_DELETE);
  request.set_component_id(edit.component_id);
  request.set_set_flags(edit.set_flags);
  request.set_clear_flags(edit.clear_flags);
  State* const state = state_.get();
  // Of a file that has components bytes may go.
  std::optional<LockCache::Change> change;
  if (edit.edit == LayoutEdit::kNone) change.emplace(&state->locks, std::vector<Fid>{fid});
  const Result<std::string> encoded =
      co_await SendLayout(state, who, &request, change ? &*change : nullptr);
  if (!encoded) co_return std::unexpected(encoded.error());
  co_await state->Here()->KernelForgets(fid, lock::kAttrBits);
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(*encoded));
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
