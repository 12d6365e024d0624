// A change that was executed before is answered as it was then: see reply_slots.h.
//
// Thread-safe.
#pragma once

#include <optional>

#include "oss/requests.h"

namespace sheen::oss {

// Errors: kProtocol (a slot that is too high).
Status CheckSlot(const rpc::Request& request);
// The answer of a request that comes again; nullopt: it is to be executed. kStale: its slot was
// used again since, so its client was answered.
std::optional<rpc::Response> AnswerAgain(const RequestContext& context,
                                         const rpc::Request& request);
// `response` answers what was executed.
void RememberAnswer(const RequestContext& context, const rpc::Request& request,
                    const rpc::Response& response);
ost::RequestName NameOf(const rpc::Request& request);

}  // namespace sheen::oss
