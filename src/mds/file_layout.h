// Layouts as the MDS gives them: what a new file starts with, and the choice of OSTs for
// components that a write or truncate reaches.
//
// Pure over a Txn, but for the round-robin position in Core.
#pragma once

#include <cstdint>
#include <string_view>

#include "layout/layout.h"
#include "mds/op_context.h"

namespace sheen::mds {

struct Template {
  layout::Layout layout;
  bool inherited = false;  // from the root or the filesystem's default
};

// What a file made in `parent` gets: the directory's default, else the root's, else the
// filesystem's.
Result<Template> TemplateFor(OpContext* context, const Fid& parent, const mdt::Inode& directory);
// A template from a client (lfs setstripe). Errors: kInvalid with the sentence for people.
Result<layout::Layout> ParseTemplate(std::string_view bytes);
// Chooses OSTs for the components that [offset, offset + length) reaches and that have none, and
// raises the generation; each gets a transno of its own as birth, since objects are named by it.
// False: nothing to do. Errors: kNoSpace, kInvalid; kUnavailable while OSTs are still to report
// after a start (the runner tries again).
Result<bool> InstantiateRange(OpContext* context, const Fid& fid, layout::Layout* layout,
                              uint64_t offset, uint64_t length);
// A replay's layout as decided then. Errors: kInvalid when it names objects that are not the file's
// or that no earlier boot can have made.
Result<layout::Layout> DecidedLayout(const OpContext& context, const Fid& fid,
                                     std::string_view bytes);

}  // namespace sheen::mds
