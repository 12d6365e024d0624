// What comes from S3, STS and configuration files: the first byte chooses the parser. Whatever is
// accepted keeps to the rules that its users rely on.

#include <cstdlib>

#include "s3/aws_config.h"
#include "s3/credential_chain.h"
#include "s3/encoding.h"
#include "s3/endpoint.h"
#include "s3/exchange.h"
#include "s3/key_split.h"
#include "s3/object.h"
#include "s3/xml.h"

namespace sheen::s3 {
namespace {

void CheckListing(std::string_view text) {
  const Result<ListPage> page = ParseListing(text);
  if (!page) return;
  for (const ListEntry& entry : page->entries) {
    if (entry.key.empty()) std::abort();
  }
  if (page->truncated && page->entries.empty() && page->prefixes.empty()) std::abort();
}

void CheckCuts(std::string_view text) {
  const size_t half = text.size() / 2;
  const std::string_view low = text.substr(0, half);
  const std::string_view high = text.substr(half);
  const auto cut = CutBetween(low, high);
  if (cut && (*cut <= low || (!high.empty() && *cut >= high))) std::abort();
  const auto points = CodePoints(low);
  if (points && Utf8Of(*points) != low) std::abort();
}

void CheckHead(std::string_view text) {
  HttpHead head{.status = 206};
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    head.headers.emplace_back(Lower(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  }
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t total = 0;
  if (ParseContentRange(head.Find("content-range"), &first, &last, &total) &&
      (first > last || last >= total)) {
    std::abort();
  }
  (void)CheckRangeHead(head, 0, 10, "\"e\"").has_value();
  (void)Judge({.what = "GET x", .clock = Nanos(1)}, HttpResponse{.head = head});
  (void)ParsePosixMetadata(head.headers);
}

void Check(uint8_t which, std::string_view text) {
  switch (which % 8) {
    case 0: return CheckListing(text);
    case 1: return CheckCuts(text);
    case 2: return CheckHead(text);
    case 3: (void)ParseServiceError(text); return;
    case 4: (void)ParseAssumeRole(text).has_value(); return;
    case 5: (void)ParseCredentialJson(text).has_value(); return;
    case 6: (void)ParseIni(text); return;
    default:
      (void)ParseIsoDate(text);
      (void)ParseHttpDate(text);
      (void)PercentDecode(text, true);
      (void)IsTrustedPlainHost(text);
      (void)ResolveEndpoint(text, "r", "bucket", Addressing::kAuto).has_value();
      (void)FollowLocation(Endpoint{.host = "h", .base_path = "/b"}, text).has_value();
  }
}

}  // namespace
}  // namespace sheen::s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  sheen::s3::Check(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
