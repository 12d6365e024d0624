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
// filesystem's. A directory's components without a pool have the root's.
Result<Template> TemplateFor(OpContext* context, const Fid& parent, const mdt::Inode& directory);
// The same of an existing file, by its first name; without a name: in the root.
Result<Template> TemplateForFile(OpContext* context, const Fid& fid);
// The layout that a new file has of `wanted`, whose components without a pool and without OSTs of
// their own take the pool of `found` where they start.
layout::Layout NewLayout(const layout::Layout& wanted, const Template& found);
// Of components of a new layout that stand where they will be.
void GivePools(const Template& found, layout::Layout* layout);
// What a file's own layout asks for when its OSTs are chosen anew. A pool that is no more, or has
// no OSTs any more, is not asked for: its bytes can be moved off in no other way.
layout::Layout LayoutAfresh(const OpContext& context, const layout::Layout& own);
// A template from a client (lfs setstripe). Errors: kInvalid with the sentence for people (also a
// pool that does not exist or has no OSTs, and OSTs that are not in it; not in a replay).
Result<layout::Layout> ParseTemplate(const OpContext& context, std::string_view bytes);
// Each change of a layout has a higher one. Errors: kOverflow.
Status RaiseGeneration(layout::Layout* layout);
// Chooses OSTs for the components that [offset, offset + length) reaches and that have none, and
// raises the generation; each gets a transno of its own as birth, since objects are named by it.
// They are of the component's pool, except OSTs that it lists. False: nothing to do. Errors:
// kNoSpace (also: no such pool, or an empty one), kInvalid, kOverflow; kUnavailable while OSTs are
// still to report after a start (the runner tries again).
Result<bool> InstantiateRange(OpContext* context, const Fid& fid, layout::Layout* layout,
                              uint64_t offset, uint64_t length);
// A replay's layout as decided then. `known`: the file's as it is; its objects may be another's,
// since layouts change places. Errors: kInvalid when it names further objects that are not the
// file's, or that no earlier boot can have made.
Result<layout::Layout> DecidedLayout(const OpContext& context, const Fid& fid,
                                     std::string_view bytes, const layout::Layout& known);

}  // namespace sheen::mds
