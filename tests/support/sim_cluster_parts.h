// What a SimCluster is made of, for its own files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ost/format.h"
#include "ost/target.h"
#include "support/mortal_disk.h"
#include "support/sim_cluster.h"
#include "support/troubled_disk.h"

namespace sheen::test {

struct SimCluster::Mds {
  const std::shared_ptr<Fuse> fuse = std::make_shared<Fuse>();
  std::unique_ptr<kv::Store> real_store;
  std::unique_ptr<kv::Store> store;
  std::unique_ptr<mds::MdsService> service;
  std::unique_ptr<rpc::SessionTable> sessions;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<rpc::SimTransport> transport;
  std::unique_ptr<rpc::Listener> listener;
};

struct SimCluster::Ost {
  explicit Ost(uint32_t ost_index)
      : index(ost_index), disk(ost::IndexFamilies().size()), path("/ost") {
    files.MakeDurableDirectory(path);
  }
  const uint32_t index;
  io::MemoryFileSystem files;
  kv::MemoryDisk disk;
  std::string path;
  bool formatted = false;
  std::shared_ptr<Fuse> fuse;
  std::unique_ptr<kv::Store> real_store;
  std::unique_ptr<kv::Store> store;
  std::unique_ptr<io::MemoryFileIo> real_io;
  std::unique_ptr<io::FileIo> mortal_io;
  std::unique_ptr<io::FileIo> io;
  const std::shared_ptr<DiskTrouble> trouble = std::make_shared<DiskTrouble>();
  std::unique_ptr<ost::Target> target;
};

// One OSS a simulated OST: each has a file system of its own.
struct SimCluster::Oss {
  struct Server {
    std::unique_ptr<oss::OssService> service;
    std::unique_ptr<rpc::SessionTable> sessions;
    std::unique_ptr<rpc::Server> server;
    std::unique_ptr<rpc::SimTransport> transport;
    std::unique_ptr<rpc::Listener> listener;
  };
  std::vector<Server> servers;
};

struct SimCluster::ClientNode {
  std::unique_ptr<rpc::SimTransport> transport;
  std::unique_ptr<client::Filesystem> filesystem;
};

// Awaits both; an error of the service's end fails the test.
async::Task<void> StopService(rpc::Server* server, async::Task<Status> stop);

}  // namespace sheen::test
