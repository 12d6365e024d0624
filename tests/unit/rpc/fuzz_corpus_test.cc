#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "fuzz/requests.h"

namespace sheen::fuzz {
namespace {

std::set<uint16_t> OpcodesIn(const char* service) {
  std::set<uint16_t> out;
  const auto corpus = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path() /
                      "fuzz" / "corpus" / service;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    for (const Input& input : Parse(AsBytes(bytes)))
      out.insert(static_cast<uint16_t>(input.opcode));
  }
  return out;
}

TEST(FuzzCorpusTest, EveryOpcodeOfEveryServiceHasAnInput) {
  const std::set<uint16_t> mds = OpcodesIn("mds");
  const std::set<uint16_t> oss = OpcodesIn("oss");
  for (uint16_t code = 100; code < 300; ++code) {
    const auto opcode = static_cast<rpc::Opcode>(code);
    if (!rpc::IsKnown(opcode)) continue;
    EXPECT_TRUE((code < 200 ? mds : oss).contains(code)) << rpc::NameOf(opcode);
  }
}

}  // namespace
}  // namespace sheen::fuzz
