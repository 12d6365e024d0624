#include "client/read_plan.h"

#include <algorithm>
#include <cstring>

namespace sheen::client {
namespace {

void ZeroRange(MutableByteSpan out, uint64_t begin, uint64_t end) {
  if (begin < end) std::memset(out.data() + begin, 0, end - begin);
}

}  // namespace

std::vector<IoPiece> PlanIo(const layout::Layout& layout, uint64_t offset, uint64_t length,
                            uint32_t rpc_bytes_max) {
  std::vector<IoPiece> plan;
  for (layout::Piece rest : layout::MapRange(layout, offset, length)) {
    if (!layout.components[rest.component].instantiated()) continue;
    while (rest.length > 0) {
      layout::Piece piece = rest;
      piece.length = std::min<uint64_t>(rest.length, rpc_bytes_max);
      plan.push_back({piece, 0});
      rest.file_offset += piece.length;
      rest.object_offset += piece.length;
      rest.length -= piece.length;
    }
  }
  return plan;
}

bool CoversAll(const std::vector<IoPiece>& pieces, uint64_t length) {
  uint64_t covered = 0;
  for (const IoPiece& io : pieces) covered += std::min(io.received, io.piece.length);
  return covered == length;
}

OnlyStripe OnlyStripeOf(const layout::Layout& layout) {
  OnlyStripe only;
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const layout::Component& component = layout.components[i];
    if (!component.instantiated()) continue;
    if (only.valid || component.osts.size() != 1) return {};
    only = {true, i, 0};
  }
  return only;
}

size_t FillGaps(const std::vector<IoPiece>& pieces, uint64_t offset, uint64_t file_bytes,
                MutableByteSpan out) {
  if (file_bytes <= offset) return 0;
  const uint64_t answer = std::min<uint64_t>(out.size(), file_bytes - offset);
  uint64_t filled = 0;  // [0, filled) of `out` is right
  for (const IoPiece& io : pieces) {
    const uint64_t begin = io.piece.file_offset - offset;
    ZeroRange(out, filled, std::min(begin, answer));
    filled = std::max(filled, std::min(begin + io.received, answer));
  }
  ZeroRange(out, filled, answer);
  return answer;
}

}  // namespace sheen::client
