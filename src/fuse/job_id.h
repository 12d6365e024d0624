// JobIds: which job a process works for, as Lustre's clients tell it by the parameters
//
//   jobid_var    disable (nobody is told), procname_uid ("cp.1000"), nodelocal (jobid_name),
//                session (jobid_this_session), or a variable of the process' environment, as
//                SLURM_JOB_ID
//   jobid_name   text with %e program, %u uid, %g gid, %h host, %H host up to its first dot,
//                %p process, %j what jobid_var names; with %j it is used whatever jobid_var names
//
// Thread-safe. Of() reads files of /proc, which wait for nothing: callers keep its answer a while.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

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
};

// The value of NAME in "A=1\0NAME=value\0"; empty: it is not there.
std::string_view VariableIn(std::string_view environment, std::string_view name);

}  // namespace sheen::fuse
