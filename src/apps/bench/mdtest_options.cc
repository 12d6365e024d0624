#include "apps/bench/mdtest_options.h"

#include <fmt/format.h>
#include <getopt.h>

#include "apps/bench/arguments.h"
#include "apps/bench/task_group.h"

namespace sheen::bench {
namespace {

constexpr char kHelp[] =
    R"(NAME
  sheen-bench mdtest - rates of metadata operations, a work-alike of mdtest

SYNOPSIS
  sheen-bench mdtest -n ITEMS [OPTIONS]

DESCRIPTION
  Each task makes, looks at, reads and removes directories and files of its own; all tasks begin
  every phase together and wait for each other after it. A phase's rate is all tasks' operations by
  the time from the first begin to the last end. What -w writes is made from task, item and place,
  and is compared by every read.

OPTIONS
  -n ITEMS   directories and files of each task
  --tasks N  number of tasks, made by fork (default 1)
  -d DIR     where to work (default ./out); made when it is not there
  -u         each task in a directory of its own; else all in one
  -D         directories only
  -F         files only
  -C -T -E -r  only the create, stat, read, remove phase; several may be given, without any all are
               run. What -C made stays, for a later run with the other options unchanged, until -r.
  -w BYTES   write so many to each file after it was created (default 0)
  -e BYTES   read so many of each file (default 0: open and close it)
  -N STRIDE  task T looks at what task T + STRIDE made, reads what T + 2 STRIDE made, and removes
             what T + 3 STRIDE made (default 0: each its own)
  -i N       iterations (default 1)
  -Z         print times in place of rates
  -P         print both
  -h, --help this text
  BYTES take k, m, g, t (powers of 1024).

EXIT STATUS
  0; 1 when a call failed or data was wrong; 2 when the command line was.

EXAMPLE
  sheen-bench mdtest --tasks 8 -n 1000 -F -u -w 3901 -e 3901 -N 1 -i 3 -d /mnt/sheen/mdtest
)";

constexpr int kTasks = 1000;  // the long option
constexpr uint32_t kCountMax = 1U << 30;
constexpr uint64_t kFileBytesMax = 1ULL << 30;

struct Flag {
  char letter;
  bool MdtestOptions::*member;
};
constexpr Flag kFlags[] = {
    {'u', &MdtestOptions::unique_directory},
    {'C', &MdtestOptions::create},
    {'T', &MdtestOptions::stat},
    {'E', &MdtestOptions::read},
    {'r', &MdtestOptions::remove},
};

Status ApplyValue(int letter, const char* argument, MdtestOptions* options) {
  const std::string name = letter == kTasks ? "--tasks" : fmt::format("-{:c}", letter);
  if (letter == 'd') {
    if (*argument == '\0') return Fail(Errc::kInvalid, "-d: must name a directory");
    options->directory = argument;
    return {};
  }
  if (letter == 'w' || letter == 'e') {
    SHEEN_TRY_ASSIGN(const uint64_t bytes, ParseSize(name, argument));
    if (bytes > kFileBytesMax) {
      return Fail(Errc::kInvalid, fmt::format("{} {}: at most 1g", name, argument));
    }
    (letter == 'w' ? options->write_bytes : options->read_bytes) = bytes;
    return {};
  }
  const uint32_t least = letter == 'N' ? 0 : 1;
  const uint32_t most = letter == kTasks ? kTasksMax : kCountMax;
  SHEEN_TRY_ASSIGN(const uint32_t count, ParseCount(name, argument, least, most));
  if (letter == 'n') options->items = count;
  if (letter == 'i') options->iterations = count;
  if (letter == 'N') options->stride = count;
  if (letter == kTasks) options->task_count = count;
  return {};
}

Status Apply(int letter, const char* argument, MdtestOptions* options) {
  for (const Flag& flag : kFlags) {
    if (flag.letter == letter) {
      options->*flag.member = true;
      return {};
    }
  }
  if (letter == 'D') options->files = false;
  if (letter == 'F') options->directories = false;
  if (letter == 'Z' || letter == 'P') options->times = true;
  if (letter == 'Z') options->rates = false;
  if (argument != nullptr) return ApplyValue(letter, argument, options);
  return {};
}

Status Complete(MdtestOptions* options) {
  if (options->items == 0) {
    return Fail(Errc::kInvalid, "-n: how many items each task makes must be given");
  }
  if (!options->files && !options->directories) {
    return Fail(Errc::kInvalid, "-D and -F: nothing is left to test; give one of them");
  }
  if (options->read_bytes > 0 && options->write_bytes > 0 &&
      options->read_bytes > options->write_bytes) {
    return Fail(Errc::kInvalid, fmt::format("-e {}: more than the {} bytes that -w writes",
                                            options->read_bytes, options->write_bytes));
  }
  if (options->read && !options->create && !options->stat && !options->remove && !options->files) {
    return Fail(Errc::kInvalid, "-E: reads files, which -D leaves out");
  }
  if (!options->create && !options->stat && !options->read && !options->remove) {
    options->create = options->stat = options->read = options->remove = true;
  }
  return {};
}

}  // namespace

Result<MdtestOptions> ParseMdtestOptions(int argc, char** argv) {
  static const option kLong[] = {{"tasks", required_argument, nullptr, kTasks},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  MdtestOptions options;
  optind = 0;  // of glibc: all anew
  opterr = 0;
  for (;;) {
    const int letter = getopt_long(argc, argv, ":CDEFN:PTZd:e:hi:n:ruw:", kLong, nullptr);
    if (letter == -1) break;
    if (letter == 'h') {
      fmt::print("{}", kHelp);
      return Fail(Errc::kAlready);
    }
    if (letter == '?' || letter == ':') {
      const std::string name =
          optopt > 0 && optopt < 256 ? fmt::format("-{:c}", optopt) : argv[optind - 1];
      const char* what = letter == ':' ? "needs a value" : "is not known; see --help";
      return Fail(Errc::kInvalid, fmt::format("option {} {}", name, what));
    }
    SHEEN_TRY(Apply(letter, optarg, &options));
  }
  if (optind < argc) {
    return Fail(Errc::kInvalid, fmt::format("unexpected argument '{}'", argv[optind]));
  }
  SHEEN_TRY(Complete(&options));
  return options;
}

}  // namespace sheen::bench
