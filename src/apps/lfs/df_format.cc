#include "apps/lfs/df_format.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

namespace sheen::lfs {

namespace {

// In bytes or inodes.
struct Space {
  uint64_t total = 0;
  uint64_t used = 0;
  uint64_t available = 0;

  void Add(const Space& other) {
    total += other.total;
    used += other.used;
    available += other.available;
  }
};

Space SpaceOf(const v1::TargetSpace& target, bool inodes) {
  if (inodes) {
    return {target.files_total(),
            target.files_total() - std::min(target.files_total(), target.files_free()),
            target.files_free()};
  }
  return {target.bytes_total(),
          target.bytes_total() - std::min(target.bytes_total(), target.bytes_free()),
          target.bytes_available()};
}

// Up to 11 wide: "10223616", "9.8G".
std::string Number(uint64_t value, const DfOptions& options) {
  if (options.unit_base == 0) return std::to_string(options.inodes ? value : value >> 10);
  if (value < options.unit_base) return std::to_string(value);
  constexpr std::string_view kUnits = "KMGTPE";
  auto scaled = static_cast<double>(value);
  size_t unit = 0;
  const auto base = static_cast<double>(options.unit_base);
  for (scaled /= base; scaled >= base && unit + 1 < kUnits.size(); ++unit) scaled /= base;
  return fmt::format("{:.1f}{}", scaled, kUnits[unit]);
}

// Rounded up; 0 when there is no space at all.
uint64_t PercentUsed(const Space& space) {
  const double sum = static_cast<double>(space.used) + static_cast<double>(space.available);
  if (sum <= 0) return 0;
  const double percent = 100 * static_cast<double>(space.used) / sum;
  const auto whole = static_cast<uint64_t>(percent);
  return static_cast<double>(whole) < percent ? whole + 1 : whole;
}

std::string Row(const std::string& name, const Space& space, const std::string& mounted_on,
                const DfOptions& options) {
  return fmt::format("{:<20} {:>11} {:>11} {:>11} {:3}% {}\n", name, Number(space.total, options),
                     Number(space.used, options), Number(space.available, options),
                     PercentUsed(space), mounted_on);
}

std::string Header(const DfOptions& options) {
  if (options.inodes)
    return fmt::format("{:<20} {:>11} {:>11} {:>11} {:>4} {}\n", "UUID", "Inodes", "IUsed", "IFree",
                       "IUse%", "Mounted on");
  return fmt::format("{:<20} {:>11} {:>11} {:>11} {:>4} {}\n", "UUID",
                     options.unit_base == 0 ? "1K-blocks" : "bytes", "Used", "Available", "Use%",
                     "Mounted on");
}

std::string TargetRow(const v1::TargetSpace& target, const std::string& directory,
                      const DfOptions& options) {
  if (!target.up()) {
    if (options.verbose)
      return fmt::format("{:<20}: inactive device\n",
                         fmt::format("{}{:04x}", target.is_mdt() ? "MDT" : "OST", target.index()));
    return fmt::format("{:<21}: {}\n", target.name() + "_UUID", std::strerror(EAGAIN));
  }
  std::string mounted_on =
      fmt::format("{}[{}:{}]", directory, target.is_mdt() ? "MDT" : "OST", target.index());
  if (!target.state().empty()) mounted_on += " " + target.state();
  return Row(target.name() + "_UUID", SpaceOf(target, options.inodes), mounted_on, options);
}

// OSTs without a size of their own that lie on one disk share its space: it is counted once.
Space SumOfOsts(const std::vector<v1::TargetSpace>& targets) {
  Space sum;
  std::set<uint64_t> disks;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt() || !target.up()) continue;
    const bool shares_disk = !target.limited() && target.device() != 0;
    if (shares_disk && !disks.insert(target.device()).second) continue;
    sum.Add(SpaceOf(target, false));
  }
  return sum;
}

Space SumOfMdts(const std::vector<v1::TargetSpace>& targets, bool inodes) {
  Space sum;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt() && target.up()) sum.Add(SpaceOf(target, inodes));
  }
  return sum;
}

// A file needs an inode on an MDT and, once written, an object on an OST.
Space SumOfInodes(const std::vector<v1::TargetSpace>& targets) {
  Space sum = SumOfMdts(targets, true);
  bool known = false;
  uint64_t objects = 0;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt() || !target.up() || target.files_total() == 0) continue;
    known = true;
    objects += target.files_free();
  }
  if (known && objects < sum.available) {
    sum.available = objects;
    sum.total = sum.used + objects;
  }
  return sum;
}

}  // namespace

std::string FormatDf(std::vector<v1::TargetSpace> targets, const std::string& directory,
                     const DfOptions& options) {
  std::erase_if(targets, [&options](const v1::TargetSpace& target) {
    return options.pool && !target.is_mdt() && !options.pool->contains(target.index());
  });
  std::string out = options.header ? Header(options) : "";
  bool any_ost = false;
  for (const v1::TargetSpace& target : targets) {
    any_ost = any_ost || !target.is_mdt();
    if (target.is_mdt() ? !options.mdts : !options.osts) continue;
    if (options.index && *options.index != target.index()) continue;
    out += TargetRow(target, directory, options);
  }
  Space sum;
  if (options.inodes) {
    sum = SumOfInodes(targets);
  } else {
    sum = any_ost ? SumOfOsts(targets) : SumOfMdts(targets, false);
  }
  return out + "\n" + Row("filesystem_summary:", sum, directory, options) + "\n";
}

}  // namespace sheen::lfs
