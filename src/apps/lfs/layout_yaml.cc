#include "apps/lfs/layout_yaml.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>
#include <string_view>

#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

using layout::Component;
using layout::Layout;

// Shown, but decided anew for a new file.
constexpr std::string_view kPassedOver[] = {
    "lcm_layout_gen", "lcm_mirror_count", "lcm_entry_count", "components",     "composite_header",
    "lcm_magic",      "lcm_size",         "lcm_flags",       "lcme_id",        "lcme_mirror_id",
    "lcme_flags",     "lcme_offset",      "lcme_size",       "sub_layout",     "lmm_magic",
    "lmm_seq",        "lmm_object_id",    "lmm_fid",         "lmm_layout_gen", "lmm_objects",
    "l_fid"};

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

class Reader final {
 public:
  Status Take(const std::string& key, const std::string& value) {
    if (std::ranges::find(kPassedOver, key) != std::end(kPassedOver)) return {};
    if (key == "lcme_extent.e_start") {
      Close();
      open_ = true;
      layout_.composite = true;
      return TakeBytes(value, &component_.start);
    }
    if (key == "lcme_extent.e_end") {
      if (value == "EOF") return {};
      return TakeBytes(value, &component_.end);
    }
    open_ = true;
    if (key == "lmm_stripe_count" || key == "stripe_count") return TakeCount(value);
    if (key == "lmm_stripe_size" || key == "stripe_size") {
      return TakeBytes(value, &component_.stripe_bytes);
    }
    if (key == "lmm_stripe_offset" || key == "stripe_offset") return TakeOffset(value);
    if (key == "lmm_pattern" || key == "pattern") {
      component_.overstriped = value == "raid0,overstriped";
      if (value == "raid0" || component_.overstriped) return {};
      return Fail(Errc::kNotSupported, "pattern '" + value + "' is not implemented in Sheen");
    }
    if (key == "lmm_pool" || key == "pool") {
      component_.pool = value;
      return {};
    }
    if (key == "l_ost_idx") {
      const auto index = ParseInteger(value);
      if (!index || *index < 0 || *index > UINT16_MAX) return Bad(value);
      component_.wanted_osts.push_back(static_cast<uint32_t>(*index));
      return {};
    }
    return Fail(Errc::kInvalid, "key '" + key + "' is not known");
  }

  Result<Layout> Finish() {
    Close();
    if (layout_.components.empty()) return Fail(Errc::kInvalid, "there is no layout in it");
    SHEEN_TRY(layout::Validate(layout_));
    return std::move(layout_);
  }

 private:
  static std::unexpected<Error> Bad(const std::string& value) {
    return Fail(Errc::kInvalid, "value '" + value + "' is not valid");
  }

  static Status TakeBytes(const std::string& value, uint64_t* out) {
    const auto size = ParseSize(value);
    if (!size) return Bad(value);
    *out = size->bytes;
    return {};
  }

  Status TakeCount(const std::string& value) {
    const auto count = ParseInteger(value);
    if (!count || *count < -1 || *count > layout::kStripeCountMax) return Bad(value);
    component_.stripe_count = *count == -1 ? layout::kAllOsts : static_cast<uint32_t>(*count);
    if (*count == 0) component_.stripe_count = 1;
    return {};
  }

  Status TakeOffset(const std::string& value) {
    const auto index = ParseInteger(value);
    if (!index || *index < -1 || *index > UINT16_MAX) return Bad(value);
    if (*index >= 0) component_.first_ost = static_cast<uint32_t>(*index);
    return {};
  }

  void Close() {
    if (!open_) return;
    component_.id = static_cast<uint32_t>(layout_.components.size()) + 1;
    if (!component_.wanted_osts.empty()) {
      component_.stripe_count = static_cast<uint32_t>(component_.wanted_osts.size());
      component_.first_ost = layout::kAnyOst;
    }
    layout_.components.push_back(std::exchange(component_, {}));
    open_ = false;
  }

  Layout layout_;
  Component component_;
  bool open_ = false;
};

}  // namespace

Result<Layout> ParseLayoutYaml(const std::string& text) {
  Reader reader;
  std::istringstream in(text);
  size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::string_view rest = Trimmed(line);
    if (rest.starts_with("- ")) rest = Trimmed(rest.substr(2));
    if (rest.empty() || rest.starts_with('#') || rest == "---") continue;
    const size_t colon = rest.find(':');
    if (colon == std::string_view::npos) {
      return Fail(Errc::kInvalid, fmt::format("line {}: there is no 'key: value' in it", number));
    }
    const Status taken = reader.Take(std::string(Trimmed(rest.substr(0, colon))),
                                     std::string(Trimmed(rest.substr(colon + 1))));
    if (!taken) {
      return std::unexpected(Annotate(taken.error(), fmt::format("line {}: ", number)));
    }
  }
  return reader.Finish();
}

}  // namespace sheen::lfs
