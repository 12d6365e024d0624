#include "apps/lfs/format.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

namespace sheen::lfs {

namespace {

using layout::Component;
using layout::Layout;

// Sizes of Lustre's structures (lustre_user.h), as they would be in the xattr lustre.lov.
constexpr size_t kLovHeaderBytes = 32;
constexpr size_t kLovPoolBytes = 16;
constexpr size_t kLovObjectBytes = 24;
constexpr size_t kCompositeHeaderBytes = 32;
constexpr size_t kCompositeEntryBytes = 48;
constexpr uint32_t kMagicPlain = 0x0BD10BD0;
constexpr uint32_t kMagicPool = 0x0BD30BD0;
constexpr uint32_t kMagicComposite = 0x0BD60BD0;

std::string Line(std::string_view indent, std::string_view label, std::string_view value,
                 int width = 19) {
  return fmt::format("{}{:<{}}{}\n", indent, label, width, value);
}

std::string StripeCount(const Component& component) {
  if (component.stripe_count >= layout::kManyPerOst) {
    return fmt::format("-{}", layout::kAllOsts - component.stripe_count + 1);
  }
  return std::to_string(component.stripe_count);
}

std::string_view Pattern(const Component& component) {
  return component.overstriped ? "raid0,overstriped" : "raid0";
}

std::string StripeOffset(const Component& component) {
  if (!component.osts.empty()) return std::to_string(component.osts[0]);
  if (!component.wanted_osts.empty()) return std::to_string(component.wanted_osts[0]);
  return component.first_ost == layout::kAnyOst ? "-1" : std::to_string(component.first_ost);
}

std::string EndOf(const Component& component) {
  return component.end == layout::kEof ? "EOF" : std::to_string(component.end);
}

size_t LovBytes(const Component& component) {
  return kLovHeaderBytes + (component.pool.empty() ? 0 : kLovPoolBytes) +
         kLovObjectBytes * component.osts.size();
}

// lmm_magic and so on: the lines that -v puts first.
std::string DetailLines(std::string_view indent, const Component& component, const Fid& fid) {
  return Line(indent, "lmm_magic:",
              fmt::format("0x{:08X}", component.pool.empty() ? kMagicPlain : kMagicPool)) +
         Line(indent, "lmm_seq:", fmt::format("{:#x}", fid.seq)) +
         Line(indent, "lmm_object_id:", fmt::format("{:#x}", fid.oid)) +
         Line(indent, "lmm_fid:", fid.ToString());
}

// Of a plain layout Lustre does not count that its objects were made.
uint32_t GenerationOf(const layout::Layout& layout) {
  const bool counted = layout.components.size() == 1 && layout.components[0].instantiated();
  return counted && layout.generation > 0 ? layout.generation - 1 : layout.generation;
}

std::string StripingLines(std::string_view indent, const Component& component,
                          uint32_t generation) {
  std::string out = Line(indent, "lmm_stripe_count:", StripeCount(component)) +
                    Line(indent, "lmm_stripe_size:", std::to_string(component.stripe_bytes)) +
                    Line(indent, "lmm_pattern:", Pattern(component)) +
                    Line(indent, "lmm_layout_gen:", std::to_string(generation)) +
                    Line(indent, "lmm_stripe_offset:", StripeOffset(component));
  if (!component.pool.empty()) out += Line(indent, "lmm_pool:", component.pool);
  return out;
}

std::string YamlObjects(const Component& component, std::string_view indent) {
  if (!component.instantiated()) return {};
  std::string out = fmt::format("{}lmm_objects:\n", indent);
  const Fid& fid = component.object_fid;
  for (const uint32_t ost : component.osts)
    out += fmt::format("      - l_ost_idx: {}\n        l_fid:     {:#x}:{:#x}:{:#x}\n", ost,
                       fid.seq, fid.oid, fid.ver);
  return out;
}

std::string IndexText(uint32_t ost, const FormatOptions& options) {
  return options.hex_index ? fmt::format("{:#x}", ost) : std::to_string(ost);
}

std::string MarkOf(uint32_t ost, const FormatOptions& options) {
  return options.marked_ost == ost ? " *" : "";
}

std::string ObjectTable(const Component& component, const FormatOptions& options) {
  if (!component.instantiated()) return {};
  std::string out = "\tobdidx\t\t objid\t\t objid\t\t group\n";
  const Fid& fid = component.object_fid;
  for (const uint32_t ost : component.osts)
    out += fmt::format("\t{:>6}\t{:14}\t{:#13x}\t{:#14x}{}\n", IndexText(ost, options), fid.oid,
                       fid.oid, fid.seq, MarkOf(ost, options));
  return out;
}

std::string ObjectList(const Component& component, const FormatOptions& options) {
  if (!component.instantiated()) return {};
  std::string out = "      lmm_objects:\n";
  for (size_t i = 0; i < component.osts.size(); ++i)
    out += fmt::format("      - {:3}: {{ l_ost_idx: {:>3}, l_fid: {} }}{}\n", i,
                       IndexText(component.osts[i], options), component.object_fid.ToString(),
                       MarkOf(component.osts[i], options));
  return out;
}

// "stripe_count:  1 stripe_size:   1048576 ..." of a directory's default.
std::string DirectoryStriping(const Component& component, std::string_view separator) {
  std::string out =
      fmt::format("{:<15}{}{}{:<15}{}{}{:<15}{}{}{:<15}{}", "stripe_count:", StripeCount(component),
                  separator, "stripe_size:", component.stripe_bytes, separator, "pattern:",
                  Pattern(component),
                  separator, "stripe_offset:", StripeOffset(component));
  if (!component.pool.empty()) out += fmt::format("{}{:<15}{}", separator, "pool:", component.pool);
  return out + "\n";
}

bool Filtered(const FormatOptions& options) {
  return options.component_id || options.component_flags || options.component_start ||
         options.component_end || options.no_mirror;
}

bool Selected(const Component& component, const FormatOptions& options) {
  if (options.no_mirror) return false;
  if (options.component_id && *options.component_id != component.id) return false;
  if (options.component_start && !options.component_start->Holds(component.start)) return false;
  if (options.component_end && !options.component_end->Holds(component.end)) return false;
  return !options.component_flags || options.component_flags->Matches(component);
}

std::string CompositeHeader(const FormatSubject& subject, const FormatOptions& options) {
  const Layout& layout = *subject.layout;
  const std::string_view indent = options.yaml && !options.verbose ? "" : "  ";
  std::string out;
  if (options.verbose) {
    size_t bytes = kCompositeHeaderBytes + kCompositeEntryBytes * layout.components.size();
    for (const Component& component : layout.components) bytes += LovBytes(component);
    out += "composite_header:\n" +
           Line(indent, "lcm_magic:", fmt::format("0x{:08X}", kMagicComposite)) +
           Line(indent, "lcm_size:", std::to_string(bytes)) + Line(indent, "lcm_flags:", "0");
  }
  out += Line(indent, "lcm_layout_gen:", std::to_string(layout.generation)) +
         Line(indent, "lcm_mirror_count:", "1") +
         Line(indent, "lcm_entry_count:", std::to_string(layout.components.size()));
  if (options.verbose || options.yaml) out += "components:\n";
  return out;
}

// `lov_offset`: where Lustre's xattr would have the component's part.
std::string CompositeEntry(const FormatSubject& subject, const Component& component,
                           const FormatOptions& options, size_t lov_offset) {
  constexpr int kWidth = 21;
  constexpr std::string_view kIndent = "    ";
  const bool named = !subject.is_directory;
  const bool listed = options.verbose || options.yaml;
  std::string out = Line(listed ? "  - " : kIndent,
                         "lcme_id:", named ? std::to_string(component.id) : "N/A", kWidth) +
                    Line(kIndent, "lcme_mirror_id:", named ? "0" : "N/A", kWidth) +
                    Line(kIndent, "lcme_flags:", ComponentFlagsText(component), kWidth) +
                    Line(kIndent, "lcme_extent.e_start:", std::to_string(component.start), kWidth) +
                    Line(kIndent, "lcme_extent.e_end:", EndOf(component), kWidth);
  if (options.verbose) {
    out += Line(kIndent, "lcme_offset:", std::to_string(lov_offset), kWidth) +
           Line(kIndent, "lcme_size:", std::to_string(LovBytes(component)), kWidth);
  }
  if (listed) out += "    sub_layout:\n";
  if (subject.is_directory && !options.yaml)
    return out + "      " + DirectoryStriping(component, "       ") + "\n";
  if (options.verbose) out += DetailLines("      ", component, subject.fid);
  out += StripingLines("      ", component, 0);
  out += options.yaml ? YamlObjects(component, "      ") : ObjectList(component, options) + "\n";
  return out;
}

std::string FormatComposite(const FormatSubject& subject, const FormatOptions& options) {
  std::string out = CompositeHeader(subject, options);
  size_t lov_offset =
      kCompositeHeaderBytes + kCompositeEntryBytes * subject.layout->components.size();
  for (const Component& component : subject.layout->components) {
    if (Selected(component, options))
      out += CompositeEntry(subject, component, options, lov_offset);
    lov_offset += LovBytes(component);
  }
  return out;
}

std::string FormatPlain(const FormatSubject& subject, const FormatOptions& options) {
  const Component& component = subject.layout->components[0];
  if (options.no_mirror) return {};
  if (subject.is_directory && !options.yaml) {
    const bool marked = options.verbose && subject.inherited;
    return (marked ? "(Default) " : "") + DirectoryStriping(component, " ") + "\n";
  }
  std::string out;
  if (!options.quiet) {
    if (options.verbose && !subject.is_directory) out += DetailLines("", component, subject.fid);
    out += StripingLines("", component, GenerationOf(*subject.layout));
  }
  return out + (options.yaml ? YamlObjects(component, "") : ObjectTable(component, options) + "\n");
}

// Whose values a single attribute shows: the chosen component's, else the last instantiated one's.
const Component& SpeakerOf(const Layout& layout, const FormatOptions& options) {
  const Component* speaker = &layout.components[0];
  for (const Component& component : layout.components) {
    const bool speaks =
        Filtered(options) ? Selected(component, options) : component.instantiated();
    if (speaks) speaker = &component;
  }
  return *speaker;
}

struct Shown {
  std::string_view label;
  std::string value;
};

Shown ShowAttribute(uint32_t attribute, const FormatSubject& subject, const Component& component) {
  switch (attribute) {
    case kShowStripeCount:
      return {"lmm_stripe_count:", StripeCount(component)};
    case kShowStripeSize:
      return {"lmm_stripe_size:", std::to_string(component.stripe_bytes)};
    case kShowPattern:
      return {"lmm_pattern:", std::string(Pattern(component))};
    case kShowGeneration:
      return {"lmm_layout_gen:", std::to_string(GenerationOf(*subject.layout))};
    case kShowStripeIndex:
      return {"lmm_stripe_offset:", StripeOffset(component)};
    case kShowPool:
      return {"lmm_pool:", component.pool};
    case kShowFid:
      return {"lmm_fid:", subject.fid.ToString()};
    case kShowMdtIndex:
      return {"lmm_mdt_index:", "0"};
    case kShowMirrorCount:
      return {"lcm_mirror_count:", "1"};
    case kShowComponentCount:
      return {"lcm_entry_count:",
              subject.layout->composite ? std::to_string(subject.layout->components.size()) : "0"};
    case kShowComponentId:
      return {"lcme_id:", std::to_string(component.id)};
    case kShowComponentFlags:
      return {"lcme_flags:", ComponentFlagsText(component)};
    case kShowMirrorId:
      return {"lcme_mirror_id:", "0"};
    case kShowComponentStart:
      return {"lcme_extent.e_start:", std::to_string(component.start)};
    default:
      return {"lcme_extent.e_end:", EndOf(component)};
  }
}

}  // namespace

bool AnySelected(const Layout& layout, const FormatOptions& options) {
  return std::ranges::any_of(layout.components, [&options](const Component& component) {
    const bool has_ost =
        !options.marked_ost || std::ranges::find(component.osts, *options.marked_ost) !=
                                   component.osts.end();
    return has_ost && Selected(component, options);
  });
}

std::string FormatLayout(const FormatSubject& subject, const FormatOptions& options) {
  return subject.layout->composite ? FormatComposite(subject, options)
                                   : FormatPlain(subject, options);
}

std::string FormatAttributes(const FormatSubject& subject, const FormatOptions& options) {
  const bool labelled = std::popcount(options.attributes) > 1;
  const auto& components = subject.layout->components;
  const auto selected = [&options](const Component& one) { return Selected(one, options); };
  if (Filtered(options) && std::ranges::none_of(components, selected)) return {};
  const Component none;
  const Component& component = subject.layout->empty() ? none : SpeakerOf(*subject.layout, options);
  std::string out;
  for (uint32_t bit = 1; bit != 0 && bit <= options.attributes; bit <<= 1) {
    if ((options.attributes & bit) == 0) continue;
    const Shown shown = ShowAttribute(bit, subject, component);
    const int width = shown.label.starts_with("lcme_") ? 21 : 19;
    out += labelled ? Line("", shown.label, shown.value, width) : shown.value + "\n";
  }
  return out;
}

}  // namespace sheen::lfs
