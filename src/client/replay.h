// What cannot be repeated any more.
#pragma once

namespace sheen::client {

class State;

// The session in which they were answered has ended: what the MDS had lost of that stays lost. The
// next fsync of each file and directory says so.
void LoseKeptRequests(State* state);

}  // namespace sheen::client
