// The template of the root directory, which every create needs to know whose own directory says
// nothing of some of it: kept in memory, so that creates neither read the root's inode nor wait for
// others' changes of it.
//
//   moment = Moment(), read the inode, Put(moment, ...)     kept unless it changed since
//   write the inode, Changed()
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "layout/layout.h"

namespace sheen::mds {

class RootTemplate final {
 public:
  using Pointer = std::shared_ptr<const layout::Layout>;

  // Null: to be read.
  Pointer Find() const {
    const std::scoped_lock lock(mutex_);
    return layout_;
  }
  uint64_t Moment() const {
    const std::scoped_lock lock(mutex_);
    return changes_;
  }
  void Put(uint64_t moment, Pointer layout) {
    const std::scoped_lock lock(mutex_);
    if (moment == changes_) layout_ = std::move(layout);
  }
  void Changed() {
    const std::scoped_lock lock(mutex_);
    ++changes_;
    layout_.reset();
  }

 private:
  mutable std::mutex mutex_;  // guards the rest
  uint64_t changes_ = 0;
  Pointer layout_;
};

}  // namespace sheen::mds
