#include "apps/bench/mdtest_task.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sheen::bench {
namespace {

namespace fs = std::filesystem;

// Two tasks, one after the other in this process, in a directory of the test's own.
class MdtestTask : public testing::Test {
 protected:
  MdtestTask() {
    std::string pattern = fs::temp_directory_path() / "mdtest_task.XXXXXX";
    options_.directory = ::mkdtemp(pattern.data());
    options_.task_count = 2;
    options_.items = 3;
    options_.write_bytes = options_.read_bytes = 3901;
    options_.unique_directory = true;
    options_.create = options_.stat = options_.read = options_.remove = true;
  }
  ~MdtestTask() override { fs::remove_all(options_.directory); }

  void Run(MdtestPhase phase) {
    for (const uint32_t task : {0U, 1U}) RunMdtestPhase(options_, phase, 0, task, &slots_[task]);
  }
  uint64_t Errors() const { return slots_[0].errors + slots_[1].errors; }
  uint64_t BadFiles() const { return slots_[0].bad_files + slots_[1].bad_files; }
  std::string FileOf(uint32_t task, uint32_t item) const {
    return MdtestTreeOf(options_, 0, task) + "/file.mdtest." + std::to_string(task) + "." +
           std::to_string(item);
  }

  MdtestOptions options_;
  MdtestSlot slots_[2];
};

TEST_F(MdtestTask, AllPhasesLeaveNothingBehind) {
  for (const uint32_t stride : {0U, 1U}) {
    options_.stride = stride;
    for (const MdtestPhase phase : MdtestPhasesOf(options_)) Run(phase);
    EXPECT_EQ(Errors(), 0U);
    EXPECT_EQ(BadFiles(), 0U);
    EXPECT_TRUE(fs::is_empty(options_.directory));
  }
}

TEST_F(MdtestTask, StrideReadsWhatTwoFurtherMade) {
  options_.stride = 1;  // of two tasks, so that each stats the other's and reads its own
  Run(MdtestPhase::kTreeCreate);
  Run(MdtestPhase::kFileCreate);
  fs::remove(FileOf(1, 2));
  RunMdtestPhase(options_, MdtestPhase::kFileStat, 0, 0, &slots_[0]);
  EXPECT_EQ(slots_[0].errors, 1U);
  RunMdtestPhase(options_, MdtestPhase::kFileRead, 0, 0, &slots_[0]);
  EXPECT_EQ(slots_[0].errors, 1U);
}

TEST_F(MdtestTask, AChangedByteIsFound) {
  Run(MdtestPhase::kTreeCreate);
  Run(MdtestPhase::kFileCreate);
  std::fstream file(FileOf(1, 0), std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(3900);
  const int last = file.get();
  file.seekp(3900);
  file.put(static_cast<char>(last ^ 1));
  file.close();
  Run(MdtestPhase::kFileRead);
  EXPECT_EQ(Errors(), 0U);
  EXPECT_EQ(BadFiles(), 1U);
}

TEST_F(MdtestTask, SwappedFilesAreFound) {
  Run(MdtestPhase::kTreeCreate);
  Run(MdtestPhase::kFileCreate);
  fs::copy_file(FileOf(0, 0), FileOf(1, 1), fs::copy_options::overwrite_existing);
  Run(MdtestPhase::kFileRead);
  EXPECT_EQ(BadFiles(), 1U);
}

TEST_F(MdtestTask, AShortFileIsFoundByStatAndByRead) {
  Run(MdtestPhase::kTreeCreate);
  Run(MdtestPhase::kFileCreate);
  fs::resize_file(FileOf(0, 1), 3900);
  Run(MdtestPhase::kFileStat);
  EXPECT_EQ(BadFiles(), 1U);
  Run(MdtestPhase::kFileRead);
  EXPECT_EQ(Errors(), 1U);
}

}  // namespace
}  // namespace sheen::bench
