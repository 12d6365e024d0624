// The guardian of a mount: a small process that outlives the daemon when that is killed.
//
// The kernel ends a FUSE connection when the daemon's descriptors are closed, which they are only
// when its last thread is gone. A thread that tells the kernel to forget something may wait for a
// directory's lock, held by a process whose request the dead daemon will not answer: neither ends.
// The guardian hears of the death (prctl(2), PR_SET_PDEATHSIG), gives the process a moment, and if
// something of it is left ends the connection: all requests get ECONNABORTED, the threads go on and
// go. The mount stays, its users get ENOTCONN, as with any daemon that was killed.
//
// Belongs to the main thread.
#pragma once

#include <cstdint>
#include <string>

namespace sheen::apps {

inline constexpr char kGuardianName[] = "sheen-guardian";
// The program when it is called by that name, with the daemon's pid and the mount point.
int RunGuardian(int argc, char** argv);

class Guardian final {
 public:
  Guardian() = default;
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // REQUIRES: the main thread, before there are others. Without one the mount works as well: an
  // error is logged.
  void Start(const std::string& mountpoint);
  // What is mounted there now is what it watches (st_dev).
  void Watch(uint64_t device);

 private:
  int pipe_ = -1;
};

}  // namespace sheen::apps
