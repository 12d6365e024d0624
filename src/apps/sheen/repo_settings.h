// The settings of a data repository: from options to what the MDS keeps, and as people see them.
//
// Pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "apps/sheen/repo.h"
#include "sheen/v1/control.pb.h"

namespace sheen::apps {

// Of a new one. Errors: kInvalid, with what can be written.
Result<v1::Repository> WantedRepository(const RepoFlags& flags);
// Those settings that `take` wants, by the names of their options; and the policy of imports.
// Errors: kInvalid.
Status SetSettings(const RepoFlags& flags, const std::function<bool(const char*)>& take,
                   v1::Repository* out);
// "new,deleted"; "none": v1::ImportPolicy bits. Errors: kInvalid.
Result<uint32_t> ParseImport(const std::string& text);
std::string ImportText(uint32_t what);
// "s3://bucket/prefix/"
std::string UrlOf(const v1::Repository& repository);
nlohmann::json AsJson(const v1::Repository& repository);

}  // namespace sheen::apps
