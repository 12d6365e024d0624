// The version that --version prints. Immutable.
#pragma once

namespace sheen::apps {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace sheen::apps
