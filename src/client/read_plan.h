// How a read is put together from its pieces: which object ranges are asked for, and what the
// caller's buffer must hold when they have answered.
//
//   buffer  |aaaa....|bbbbbb|cc......|     a, c: objects ended early (holes or the end of the file)
//   below the file size the gaps are zeros; the answer ends at the file size.
//
// Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "layout/layout.h"

namespace sheen::client {

// One request to one object: a layout::Piece of at most max_rpc_bytes.
struct IoPiece {
  layout::Piece piece;
  uint64_t received = 0;  // bytes the object had
};

// Pieces of [offset, offset + length), in file order, those of uninstantiated components left out.
std::vector<IoPiece> PlanIo(const layout::Layout& layout, uint64_t offset, uint64_t length,
                            uint32_t rpc_bytes_max);
// The pieces cover the whole range and each is full.
bool CoversAll(const std::vector<IoPiece>& pieces, uint64_t length);
// If all data of the file is in one object (one instantiated stripe in all): where it is.
struct OnlyStripe {
  bool valid = false;
  uint32_t component = 0;
  uint32_t stripe = 0;
};
OnlyStripe OnlyStripeOf(const layout::Layout& layout);
// Zeroes what no object gave, below the file size. Gives the bytes of the answer:
// min(out.size(), size - offset), 0 at or beyond the size.
size_t FillGaps(const std::vector<IoPiece>& pieces, uint64_t offset, uint64_t file_bytes,
                MutableByteSpan out);

}  // namespace sheen::client
