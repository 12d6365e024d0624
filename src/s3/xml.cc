#include "s3/xml.h"

#include <pugixml.hpp>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr size_t kMessageBytesMax = 1024;

// `name` without a namespace's prefix.
std::string_view LocalName(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  const size_t colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

pugi::xml_node Child(const pugi::xml_node& parent, std::string_view name) {
  for (const pugi::xml_node child : parent.children()) {
    if (LocalName(child) == name) return child;
  }
  return {};
}

std::string Text(const pugi::xml_node& parent, std::string_view name) {
  return Child(parent, name).child_value();
}

// Fits a log line: bounded, no control characters.
std::string Printable(std::string text) {
  if (text.size() > kMessageBytesMax) text.resize(kMessageBytesMax);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  return text;
}

bool Load(std::string_view body, pugi::xml_document* document) {
  // Blanks count: a key may be nothing else.
  constexpr unsigned int kOptions = pugi::parse_default | pugi::parse_ws_pcdata_single;
  return bool(document->load_buffer(body.data(), body.size(), kOptions, pugi::encoding_utf8));
}

Result<std::string> Key(const pugi::xml_node& parent, std::string_view name, bool encoded) {
  const std::string text = Text(parent, name);
  if (!encoded) return text;
  std::optional<std::string> decoded = PercentDecode(text, true);
  if (!decoded) return Fail(Errc::kProtocol, "listing: a key is not percent-encoded");
  return *std::move(decoded);
}

Result<ListEntry> Entry(const pugi::xml_node& node, bool encoded) {
  ListEntry entry;
  SHEEN_TRY_ASSIGN(entry.key, Key(node, "Key", encoded));
  if (entry.key.empty()) return Fail(Errc::kProtocol, "listing: an entry without a key");
  const std::optional<uint64_t> size = ParseNumber(Text(node, "Size"));
  if (!size) return Fail(Errc::kProtocol, "listing: an entry without a size");
  entry.size = *size;
  entry.etag = Text(node, "ETag");
  const std::optional<Nanos> modified = ParseIsoDate(Text(node, "LastModified"));
  if (!modified) return Fail(Errc::kProtocol, "listing: an entry without LastModified");
  entry.last_modified = *modified;
  entry.storage_class = Text(node, "StorageClass");
  entry.readable = !IsArchived(entry.storage_class);
  return entry;
}

}  // namespace

ServiceError ParseServiceError(std::string_view body) {
  pugi::xml_document document;
  if (!Load(body, &document)) return {};
  const pugi::xml_node root = document.document_element();
  const pugi::xml_node error = LocalName(root) == "Error" ? root : Child(root, "Error");
  if (!error) return {};
  ServiceError out{.code = Printable(Text(error, "Code")),
                   .message = Printable(Text(error, "Message")),
                   .request_id = Printable(Text(error, "RequestId")),
                   .region = Printable(Text(error, "Region")),
                   .endpoint = Printable(Text(error, "Endpoint"))};
  if (out.request_id.empty()) out.request_id = Printable(Text(root, "RequestId"));
  return out;
}

Result<ListPage> ParseListing(std::string_view body) {
  pugi::xml_document document;
  if (!Load(body, &document)) return Fail(Errc::kProtocol, "listing: not XML");
  const pugi::xml_node root = document.document_element();
  if (LocalName(root) != "ListBucketResult") return Fail(Errc::kProtocol, "not a listing");
  const bool encoded = Text(root, "EncodingType") == "url";
  ListPage page;
  for (const pugi::xml_node node : root.children()) {
    if (LocalName(node) == "Contents") {
      SHEEN_TRY_ASSIGN(ListEntry entry, Entry(node, encoded));
      page.entries.push_back(std::move(entry));
    } else if (LocalName(node) == "CommonPrefixes") {
      SHEEN_TRY_ASSIGN(std::string prefix, Key(node, "Prefix", encoded));
      page.prefixes.push_back(std::move(prefix));
    }
  }
  const std::string truncated = Text(root, "IsTruncated");
  if (truncated != "true" && truncated != "false") {
    return Fail(Errc::kProtocol, "listing: it does not say whether it is complete");
  }
  page.truncated = truncated == "true";
  page.next_token = Text(root, "NextContinuationToken");
  if (page.truncated && page.entries.empty() && page.prefixes.empty()) {
    return Fail(Errc::kProtocol, "listing: empty, and said to go on");
  }
  return page;
}

Result<std::string> ParseLocation(std::string_view body) {
  pugi::xml_document document;
  if (!Load(body, &document)) return Fail(Errc::kProtocol, "location: not XML");
  const pugi::xml_node root = document.document_element();
  if (LocalName(root) != "LocationConstraint") return Fail(Errc::kProtocol, "not a location");
  const std::string region(Trim(root.child_value()));
  if (region.empty()) return std::string("us-east-1");
  return region == "EU" ? std::string("eu-west-1") : region;
}

Result<Credentials> ParseAssumeRole(std::string_view body) {
  pugi::xml_document document;
  if (!Load(body, &document)) return Fail(Errc::kProtocol, "STS: not XML");
  const pugi::xml_node root = document.document_element();
  for (const pugi::xml_node result : root.children()) {
    const pugi::xml_node found = Child(result, "Credentials");
    if (!found) continue;
    Credentials out{.access_key_id = Text(found, "AccessKeyId"),
                    .secret_access_key = Text(found, "SecretAccessKey"),
                    .session_token = Text(found, "SessionToken")};
    const std::optional<Nanos> expires = ParseIsoDate(Text(found, "Expiration"));
    if (out.access_key_id.empty() || out.secret_access_key.empty() || out.session_token.empty() ||
        !expires) {
      return Fail(Errc::kProtocol, "STS: credentials with a part missing");
    }
    out.expires = *expires;
    return out;
  }
  return Fail(Errc::kProtocol, "STS: no credentials in the answer");
}

}  // namespace sheen::s3
