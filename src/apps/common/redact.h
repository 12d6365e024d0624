// Texts that leave a host, without its secrets: what files of configuration, command lines and logs
// may hold that lets somebody in. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace sheen::apps {

// Put in the place of what is taken out.
inline constexpr std::string_view kRemoved = "(removed)";

// Takes out
//   - the value behind a name that contains secret, password, token, credential, an access, API or
//     private key, or authorization: name = value, name: value, "name": "value"; quoted values and
//     arrays to their end, also over lines, of authorization the whole line;
//   - the password of scheme://user:password@host;
//   - PEM blocks of private keys.
// Never adds or takes away lines, but those of values that go over several.
std::string WithoutSecrets(std::string_view text);

}  // namespace sheen::apps
