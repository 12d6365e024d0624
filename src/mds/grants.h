// What an answer grants beside what it says.
#pragma once

#include <string>

#include "mds/op_context.h"

namespace sheen::mds {

// Puts the locks that the operation has got behind the reply. Not part of what the reply slot
// keeps: a lock belongs to the connection of this answer.
void AppendGrants(OpContext* context, std::string* reply);

}  // namespace sheen::mds
