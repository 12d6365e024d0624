#include "mds/grants.h"

namespace sheen::mds {

void AppendGrants(OpContext* context, std::string* reply) {
  if (context->peer == nullptr) return;
  for (const OpContext::Lock& wanted : context->grants_after) {
    context->GrantNow(wanted.fid, wanted.bits);
  }
  if (context->granted.empty()) return;
  v1::LockedReply locked;
  for (const OpContext::Lock& granted : context->granted) {
    v1::InodeLock* lock = locked.add_granted();
    SetFid(granted.fid, lock->mutable_fid());
    lock->set_bits(granted.bits);
  }
  locked.AppendToString(reply);
}

}  // namespace sheen::mds
