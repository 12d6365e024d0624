// allocate_sequence: a FID sequence for the client's own use. Survives power loss before it is
// answered, so that it is never granted again.
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status AllocateSequence(OpContext* context, const v1::AllocateSequenceRequest& /*request*/,
                        v1::AllocateSequenceReply* reply) {
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const uint64_t sequence, context->mdt().GrantSequence(context->txn));
  reply->set_seq(sequence);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
