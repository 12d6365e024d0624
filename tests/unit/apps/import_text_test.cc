#include "apps/common/import_text.h"

#include <gtest/gtest.h>

#include "rpc/frame.h"

namespace sheen::apps {
namespace {

TEST(ImportText, HasLustresKeysInLustresOrder) {
  ImportFacts facts;
  facts.name = "sheen-OST0001-osc-ffff0123456789ab";
  facts.target = "sheen-OST0001_UUID";
  facts.state = "FULL";
  facts.features = rpc::kExtentLocks | rpc::kOrigins;
  facts.boot = 7;
  facts.addresses = {"10.0.0.2@tcp", "192.168.0.2@tcp"};
  facts.current = "10.0.0.2@tcp";
  facts.connections = 2;
  facts.handshakes = 3;
  facts.in_flight = 1;
  facts.in_flight_max = 8;
  facts.resends = 4;
  facts.requests = 10;
  facts.micros = 1234;
  facts.committed = 4294967301;
  facts.is_ost = true;
  facts.granted_bytes = 8390656;
  EXPECT_EQ(ImportText(facts),
            "import:\n"
            "    name: sheen-OST0001-osc-ffff0123456789ab\n"
            "    target: sheen-OST0001_UUID\n"
            "    state: FULL\n"
            "    connect_flags: [ extent_locks, origins ]\n"
            "    connect_data:\n"
            "       flags: 0x84\n"
            "       instance: 7\n"
            "       grant: 8390656\n"
            "    connection:\n"
            "       failover_nids: [ \"10.0.0.2@tcp\", \"192.168.0.2@tcp\" ]\n"
            "       current_connection: \"10.0.0.2@tcp\"\n"
            "       connections: 2\n"
            "       generation: 3\n"
            "    rpcs:\n"
            "       inflight: 1\n"
            "       max_inflight: 8\n"
            "       resends: 4\n"
            "       avg_waittime: 123 usecs\n"
            "    transactions:\n"
            "       peer_committed: 4294967301\n");
}

TEST(ImportText, SaysThatThereIsNoConnection) {
  const std::string text = ImportText({.name = "sheen-MDT0000-mdc-ffff", .state = "DISCONN"});
  EXPECT_NE(text.find("    state: DISCONN\n"), std::string::npos) << text;
  EXPECT_NE(text.find("       current_connection: <none>\n"), std::string::npos) << text;
  EXPECT_NE(text.find("       avg_waittime: 0 usecs\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("grant"), std::string::npos) << "of an OST alone: " << text;
  EXPECT_EQ(ImportStateText("DISCONN"), "current_state: DISCONN\n");
}

}  // namespace
}  // namespace sheen::apps
