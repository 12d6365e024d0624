// JobIds: which job a process works for, as Lustre's clients tell it by the parameters
//
//   jobid_var    disable (nobody is told), procname_uid ("cp.1000"), nodelocal (jobid_name),
//                session (jobid_this_session), or a variable of the process' environment, as
//                SLURM_JOB_ID
//   jobid_name   text with %e program, %u uid, %g gid, %h host, %H host up to its first dot,
//                %p process, %j what jobid_var names; with %j it is used whatever jobid_var names
//
// Thread-safe. Of() reads files of /proc: an environment is read under the process' mmap_lock, and
// whoever holds that may be waiting for this mount. So shards Ask(), let a process' first request
// wait a while for the answer (Session::set_admission), and keep it.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "async/blocking_pool.h"
#include "sheen/result.h"

namespace sheen::fuse {

class JobIds final {
 public:
  static constexpr size_t kBytesMax = 31;

  // One for the process: all its mounts.
  static JobIds* Instance();

  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
  // At most kBytesMax; empty: none.
  std::string Of(int32_t pid, uint32_t uid, uint32_t gid) const;
  // The same from another thread. May take as long as the process likes.
  std::shared_future<std::string> Ask(int32_t pid, uint32_t uid, uint32_t gid);

  std::string variable() const;
  std::string name() const;
  std::string session() const;
  // Errors: kInvalid (neither a word of the above nor the name of a variable).
  Status SetVariable(const std::string& variable);
  // Errors: kInvalid (an unknown code after %).
  Status SetName(const std::string& name);
  Status SetSession(const std::string& session);

 private:
  std::atomic<bool> enabled_{false};
  mutable std::mutex mutex_;  // guards what follows
  std::string variable_ = "disable";
  std::string name_ = "%e.%u";
  std::string session_;
  // Since the first Ask: a daemon has forked by then.
  std::unique_ptr<async::BlockingPool> readers_;
};

// The value of NAME in "A=1\0NAME=value\0"; empty: it is not there.
std::string_view VariableIn(std::string_view environment, std::string_view name);

}  // namespace sheen::fuse
