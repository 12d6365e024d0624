// What people write on command lines: sizes, names, where to listen. Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

// What to print for an error: its message, with what errno says where the message alone, the name
// of a call and a path, does not tell what was wrong.
std::string Sentence(const Error& error);

// What to do about a store in `directory` that cannot be opened, behind what went wrong: files that
// are damaged or gone, a disk that is read-only. Other errors stay as they are.
Error WithStoreRemedy(const Error& error, const std::string& directory);

// "4096", "512M", "1G", "1GiB", "2T": powers of 1024. Errors: kInvalid.
Result<uint64_t> ParseSize(std::string_view text);
// "512M", "1G" where that is exact, else bytes.
std::string FormatSize(uint64_t bytes);

// Absolute, without a slash at the end, with the links of its parent directories followed: as
// /proc/mounts shows a mount point. The last name itself is not looked at (it may be a mount whose
// daemon is gone).
std::string NormalPath(const std::string& path);

// 1 to 8 letters, digits, '-' or '_'. Errors: kInvalid.
Status CheckFsname(std::string_view fsname);

// "", "*", "0.0.0.0", "::": all addresses of the machine.
bool IsWildcard(std::string_view host);
// The rule for a daemon that may be reached from other machines: --listen on anything but loopback
// needs --allow. Errors: kInvalid.
Status CheckListen(std::string_view listen, const std::vector<std::string>& allow);

}  // namespace sheen::apps
