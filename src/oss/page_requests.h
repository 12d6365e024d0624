// What requests have to do with pages that clients' kernels keep (page_readers.h).
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "layout/layout.h"
#include "oss/requests.h"

namespace sheen::oss {

// For a request that has id `pages` (0: none), before the bytes are looked at or changed: will its
// client be called back when another one changes the object?
bool WillCallBack(const RequestContext& context, const rpc::Request& request,
                  const layout::ObjectId& id, uint64_t pages);

// After a change, in this order and without a place among the accesses: has another client pages of
// before? If so, RecallPages returns when they are gone.
bool OthersHavePages(const RequestContext& context, const rpc::Request& request,
                     const layout::ObjectId& id);
async::Task<void> RecallPages(RequestContext context, const rpc::Request* request,
                              layout::ObjectId id);
// Of all these, whoever has them; returns soon in any case.
async::Task<void> RecallPagesSoon(RequestContext context, uint32_t target,
                                  std::vector<layout::ObjectId> ids);

}  // namespace sheen::oss
