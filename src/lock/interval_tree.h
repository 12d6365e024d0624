// IntervalTree: extents with owners, overlapping ones too; finds those that overlap a range and
// belong to somebody else.
//
//   [0,10) of A   [5,7) of B   [20,EOF) of A        Visit([4,30), not A) -> [5,7)
//
// An AVL tree by (start, sequence). Every node also knows of its subtree the highest end, so that
// subtrees below a range are skipped, and the lowest and highest owner, so that subtrees of one
// owner alone are: a client with 10,000 locks asks past them as fast as past one.
// Insert, Erase and NextStart are O(log n). A visit is O(log n) a hit, and more only where extents
// of the owner that it passes over lie between those of others and overlap the range.
// The height is bounded whatever clients ask for, so recursion is.
//
// Not thread-safe. The items are the caller's, live as long as they are in a tree and do not change
// there. A visitor must not change the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "lock/extent.h"

namespace sheen::lock {

// What a tree holds derives from it.
struct IntervalItem {
  Extent extent;
  uint64_t owner = 0;
  uint64_t sequence = 0;  // makes equal starts different
};

class IntervalTree final {
 public:
  using NotOf = std::optional<uint64_t>;  // an owner whose items are passed over

  IntervalTree();
  ~IntervalTree();
  IntervalTree(const IntervalTree&) = delete;
  IntervalTree& operator=(const IntervalTree&) = delete;

  // REQUIRES: no item with this start and sequence is in it.
  void Insert(IntervalItem* item);
  // REQUIRES: it is in it.
  void Erase(const IntervalItem& item);
  size_t size() const { return size_; }

  // Calls visit(IntervalItem*) for what overlaps `extent`, by rising start and sequence, until it
  // returns true. Whether it did.
  template <class F>
  bool Visit(const Extent& extent, NotOf not_of, F&& visit) const {
    return VisitBelow(root_.get(), extent, not_of, visit);
  }
  // Calls visit(IntervalItem*) for what ends above `floor`, by falling start, until it returns
  // true.
  template <class F>
  bool VisitDown(uint64_t floor, F&& visit) const {
    return VisitDownBelow(root_.get(), floor, visit);
  }
  // The lowest start that is not below `at`; kEof when there is none.
  uint64_t NextStart(uint64_t at, NotOf not_of) const {
    return NextStartBelow(root_.get(), at, not_of);
  }

  // Nodes looked at since the tree was made: what the operations cost, for tests and statistics.
  uint64_t steps() const { return steps_; }
  int height() const { return HeightOf(root_); }

 private:
  struct Node {
    IntervalItem* item = nullptr;
    std::unique_ptr<Node> left;
    std::unique_ptr<Node> right;
    uint64_t end_max = 0;
    uint64_t owner_min = 0;
    uint64_t owner_max = 0;
    int height = 1;
  };
  using Link = std::unique_ptr<Node>;

  static int HeightOf(const Link& node) { return node ? node->height : 0; }
  static bool OnlyOf(const Node* node, const NotOf& owner) {
    return owner && node->owner_min == *owner && node->owner_max == *owner;
  }
  static void Update(Node* node);
  static void RotateRight(Link* link);
  static void RotateLeft(Link* link);
  static void Balance(Link* link);
  void InsertBelow(Link* link, IntervalItem* item);
  void EraseBelow(Link* link, const IntervalItem& item);
  IntervalItem* TakeFirst(Link* link);

  template <class F>
  bool VisitBelow(const Node* node, const Extent& extent, const NotOf& not_of, F& visit) const;
  template <class F>
  bool VisitDownBelow(const Node* node, uint64_t floor, F& visit) const;
  uint64_t NextStartBelow(const Node* node, uint64_t at, const NotOf& not_of) const;

  Link root_;
  size_t size_ = 0;
  mutable uint64_t steps_ = 0;
};

template <class F>
bool IntervalTree::VisitBelow(const Node* node, const Extent& extent, const NotOf& not_of,
                              F& visit) const {
  if (node == nullptr) return false;
  ++steps_;
  if (node->end_max <= extent.start || OnlyOf(node, not_of)) return false;
  if (VisitBelow(node->left.get(), extent, not_of, visit)) return true;
  IntervalItem* const item = node->item;
  if (item->extent.start >= extent.end) return false;
  if (item->extent.Overlaps(extent) && not_of != item->owner && visit(item)) return true;
  return VisitBelow(node->right.get(), extent, not_of, visit);
}

template <class F>
bool IntervalTree::VisitDownBelow(const Node* node, uint64_t floor, F& visit) const {
  if (node == nullptr) return false;
  ++steps_;
  if (node->end_max <= floor) return false;
  if (VisitDownBelow(node->right.get(), floor, visit)) return true;
  if (node->item->extent.end > floor && visit(node->item)) return true;
  return VisitDownBelow(node->left.get(), floor, visit);
}

}  // namespace sheen::lock
