#include "lock/interval_tree.h"

#include <algorithm>
#include <utility>

namespace sheen::lock {
namespace {

std::pair<uint64_t, uint64_t> KeyOf(const IntervalItem& item) {
  return {item.extent.start, item.sequence};
}

}  // namespace

IntervalTree::IntervalTree() = default;
IntervalTree::~IntervalTree() = default;

void IntervalTree::Insert(IntervalItem* item) {
  InsertBelow(&root_, item);
  ++size_;
}

void IntervalTree::Erase(const IntervalItem& item) {
  EraseBelow(&root_, item);
  --size_;
}

void IntervalTree::Update(Node* node) {
  node->end_max = node->item->extent.end;
  node->owner_min = node->owner_max = node->item->owner;
  node->height = 1 + std::max(HeightOf(node->left), HeightOf(node->right));
  for (const Node* child : {node->left.get(), node->right.get()}) {
    if (child == nullptr) continue;
    node->end_max = std::max(node->end_max, child->end_max);
    node->owner_min = std::min(node->owner_min, child->owner_min);
    node->owner_max = std::max(node->owner_max, child->owner_max);
  }
}

void IntervalTree::RotateRight(Link* link) {
  Link top = std::move((*link)->left);
  (*link)->left = std::move(top->right);
  Update(link->get());
  top->right = std::move(*link);
  *link = std::move(top);
  Update(link->get());
}

void IntervalTree::RotateLeft(Link* link) {
  Link top = std::move((*link)->right);
  (*link)->right = std::move(top->left);
  Update(link->get());
  top->left = std::move(*link);
  *link = std::move(top);
  Update(link->get());
}

void IntervalTree::Balance(Link* link) {
  Node* const node = link->get();
  const int lean = HeightOf(node->left) - HeightOf(node->right);
  if (lean > 1) {
    if (HeightOf(node->left->left) < HeightOf(node->left->right)) RotateLeft(&node->left);
    RotateRight(link);
  } else if (lean < -1) {
    if (HeightOf(node->right->right) < HeightOf(node->right->left)) RotateRight(&node->right);
    RotateLeft(link);
  } else {
    Update(node);
  }
}

void IntervalTree::InsertBelow(Link* link, IntervalItem* item) {
  ++steps_;
  if (!*link) {
    *link = std::make_unique<Node>();
    (*link)->item = item;
    Update(link->get());
    return;
  }
  Node* const node = link->get();
  InsertBelow(KeyOf(*item) < KeyOf(*node->item) ? &node->left : &node->right, item);
  Balance(link);
}

void IntervalTree::EraseBelow(Link* link, const IntervalItem& item) {
  ++steps_;
  Node* const node = link->get();
  if (KeyOf(item) < KeyOf(*node->item)) {
    EraseBelow(&node->left, item);
  } else if (KeyOf(*node->item) < KeyOf(item)) {
    EraseBelow(&node->right, item);
  } else if (node->left && node->right) {
    node->item = TakeFirst(&node->right);
  } else {
    *link = std::move(node->left ? node->left : node->right);
  }
  if (*link) Balance(link);
}

IntervalItem* IntervalTree::TakeFirst(Link* link) {
  ++steps_;
  Node* const node = link->get();
  if (!node->left) {
    IntervalItem* const item = node->item;
    *link = std::move(node->right);
    return item;
  }
  IntervalItem* const item = TakeFirst(&node->left);
  Balance(link);
  return item;
}

// Every subtree that it enters beyond the path to `at` holds an item of another owner, so there is
// one such subtree.
uint64_t IntervalTree::NextStartBelow(const Node* node, uint64_t at, const NotOf& not_of) const {
  if (node == nullptr) return kEof;
  ++steps_;
  if (OnlyOf(node, not_of)) return kEof;
  const IntervalItem& item = *node->item;
  if (item.extent.start < at) return NextStartBelow(node->right.get(), at, not_of);
  const uint64_t below = NextStartBelow(node->left.get(), at, not_of);
  if (below != kEof) return below;
  if (not_of != item.owner) return item.extent.start;
  return NextStartBelow(node->right.get(), at, not_of);
}

}  // namespace sheen::lock
