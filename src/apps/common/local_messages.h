// Messages over a UNIX socket: u32 little-endian length, then the message. Both sides give up after
// a while, so that none holds the other up.
#pragma once

#include <google/protobuf/message_lite.h>

#include <string_view>

namespace sheen::apps {

inline constexpr int kServingSeconds = 1;
inline constexpr int kPatientSeconds = 10;

// Sends and receives on `fd` fail when nothing moves for so long.
void BoundTimes(int fd, int seconds = kServingSeconds);
// False: the other side has gone, was too slow, or (receiving) what came is no such message.
bool SendAll(int fd, std::string_view bytes);
bool SendMessage(int fd, const google::protobuf::MessageLite& message);
bool ReceiveMessage(int fd, google::protobuf::MessageLite* message);

}  // namespace sheen::apps
