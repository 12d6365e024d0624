// The S3 client as a program, for scripts under tests/. Not a user's tool.
//
//   s3_tool sign < LINES            one request in JSON a line; answers target and headers
//   s3_tool COMMAND --endpoint URL --bucket B [--region R] [--virtual-host] [--resolve H:P:A]
//     check                         the bucket can be used
//     head KEY                      attributes
//     get KEY [OFFSET SIZE [ETAG]]  to standard output, in one request
//     cat KEY WINDOW PARALLEL       in ranges of WINDOW bytes, PARALLEL at a time; only counts
//     latency KEY SIZE N            N GETs of SIZE bytes, one after the other: their milliseconds
//     put KEY FILE [NAME=VALUE]...
//     delete KEY
//     list PREFIX                   page by page: "SIZE ETAG KEY"
//     list-parallel PREFIX N        "COUNT HASH" and how it went
// Credentials and region come from where AWS's tools find them. Ends with 1 and "ERRC: message".

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "async/blocking_pool.h"
#include "async/sync.h"
#include "s3/client.h"
#include "s3/encoding.h"
#include "s3/lister.h"
#include "support/wait_poller.h"

namespace sheen::s3 {
namespace {

using Json = nlohmann::json;

int SignLines() {
  for (std::string line; std::getline(std::cin, line);) {
    const Json in = Json::parse(line);
    PlainRequest request{.method = in["method"], .host = in["host"], .path = in["path"]};
    for (const auto& pair : in["query"]) request.query.emplace_back(pair[0], pair[1]);
    for (const auto& pair : in["headers"]) request.headers.emplace_back(pair[0], pair[1]);
    const Credentials keys{.access_key_id = in["access_key"],
                           .secret_access_key = in["secret_key"],
                           .session_token = in["token"]};
    const SigningScope scope{.region = in["region"],
                             .service = in["service"],
                             .wall = std::chrono::seconds(in["time"].get<int64_t>())};
    std::string names;
    Sign(&request, keys, scope, in["payload_hash"].get<std::string>());
    Json headers = Json::object();
    for (const auto& [name, value] : request.headers) headers[Lower(name)] = value;
    const Json out = {{"target", PathAndQuery(request)}, {"headers", headers}};
    std::cout << out.dump() << "\n";
  }
  return 0;
}

// What the command line says.
struct Arguments {
  std::string command;
  ClientOptions client;
  std::vector<std::string> words;
};

bool Parse(int argc, char** argv, Arguments* out) {
  if (argc < 2) return false;
  out->command = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--virtual-host") {
      out->client.addressing = Addressing::kVirtualHost;
    } else if (word.starts_with("--") && i + 1 == argc) {
      return false;
    } else if (word == "--endpoint") {
      out->client.endpoint = argv[++i];
    } else if (word == "--bucket") {
      out->client.bucket = argv[++i];
    } else if (word == "--region") {
      out->client.region = argv[++i];
    } else if (word == "--resolve") {
      out->client.link.resolve.push_back(argv[++i]);
    } else {
      out->words.push_back(word);
    }
  }
  out->client.link.concurrency = 64;
  return true;
}

class ToStdout final : public BodySink {
 public:
  async::Task<Status> Take(ByteSpan bytes) override {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    co_return Status();
  }
};

class CountOnly final : public ListSink {
 public:
  async::Task<Status> Take(std::vector<ListEntry>) override { co_return Status(); }
};

std::string Text(const ObjectInfo& info) {
  std::string out = fmt::format("size {}\netag {}\nmodified {}\nreadable {}\ntype {}\n", info.size,
                                info.etag, info.last_modified.count() / 1'000'000'000,
                                info.readable, info.content_type);
  for (const auto& [name, value] : info.metadata) out += fmt::format("meta {}={}\n", name, value);
  const PosixMetadata posix = ParsePosixMetadata(info.metadata);
  if (posix.mode) out += fmt::format("mode {:o}\n", *posix.mode);
  if (posix.uid && posix.gid) out += fmt::format("owner {}:{}\n", *posix.uid, *posix.gid);
  if (posix.mtime) out += fmt::format("mtime {}\n", posix.mtime->count());
  return out;
}

async::Task<Status> Get(Client* client, std::vector<std::string> words) {
  GetRangeRequest request{.key = words[0]};
  if (words.size() >= 3) {
    request.offset = std::stoull(words[1]);
    request.size = std::stoull(words[2]);
    if (words.size() > 3) request.etag = words[3];
  } else {
    SHEEN_CO_TRY_ASSIGN(const ObjectInfo info, co_await client->Head({.key = words[0]}));
    if (info.size == 0) co_return Status();
    request.size = info.size;
    request.etag = info.etag;
  }
  ToStdout sink;
  const Result<RangeResult> got = co_await client->GetRange(std::move(request), &sink);
  SHEEN_CO_TRY(got);
  co_return Status();
}

async::Task<Status> CatRanges(Client* client, ObjectInfo info, std::string key, uint64_t window,
                              uint64_t* next) {
  std::vector<std::byte> buffer(window);
  while (*next < info.size) {
    const uint64_t offset = *next;
    const uint64_t size = std::min(window, info.size - offset);
    *next += size;
    GetRangeRequest request{.key = key, .offset = offset, .size = size, .etag = info.etag};
    const MutableByteSpan into = MutableByteSpan(buffer).first(size);
    const Result<RangeResult> got = co_await client->GetRange(std::move(request), into);
    SHEEN_CO_TRY(got);
  }
  co_return Status();
}

async::Task<Status> Cat(Client* client, std::vector<std::string> words) {
  SHEEN_CO_TRY_ASSIGN(const ObjectInfo info, co_await client->Head({.key = words[0]}));
  uint64_t next = 0;
  std::vector<async::Task<Status>> tasks;
  const Nanos begin = SystemClock().Monotonic();
  for (int i = 0; i < std::stoi(words[2]); ++i) {
    tasks.push_back(CatRanges(client, info, words[0], std::stoull(words[1]), &next));
  }
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : all) SHEEN_CO_TRY(one);
  const double seconds = std::chrono::duration<double>(SystemClock().Monotonic() - begin).count();
  std::cout << fmt::format("{} bytes, {:.3f} s, {:.1f} MB/s\n", info.size, seconds,
                           double(info.size) / seconds / 1e6);
  co_return Status();
}

async::Task<Status> Latency(Client* client, std::vector<std::string> words) {
  SHEEN_CO_TRY_ASSIGN(const ObjectInfo info, co_await client->Head({.key = words[0]}));
  const uint64_t size = std::stoull(words[1]);
  std::vector<std::byte> buffer(size);
  for (uint64_t i = 0; i < std::stoull(words[2]); ++i) {
    GetRangeRequest request{.key = words[0],
                            .offset = i * size % (info.size - size + 1),
                            .size = size,
                            .etag = info.etag};
    const Nanos begin = SystemClock().Monotonic();
    const Result<RangeResult> got =
        co_await client->GetRange(std::move(request), MutableByteSpan(buffer));
    SHEEN_CO_TRY(got);
    const Nanos took = SystemClock().Monotonic() - begin;
    std::cout << fmt::format("{:.3f}\n",
                             std::chrono::duration<double, std::milli>(took).count());
  }
  co_return Status();
}

async::Task<Status> Put(Client* client, std::vector<std::string> words) {
  std::ifstream file(words[1], std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  const std::string body = content.str();
  PutRequest request{.key = words[0], .body = body};
  for (size_t i = 2; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    request.metadata.emplace_back(words[i].substr(0, equals), words[i].substr(equals + 1));
  }
  SHEEN_CO_TRY_ASSIGN(const std::string etag, co_await client->Put(std::move(request)));
  std::cout << etag << "\n";
  co_return Status();
}

async::Task<Status> List(Client* client, std::vector<std::string> words) {
  ListRequest request{.prefix = words.empty() ? "" : words[0]};
  for (;;) {
    SHEEN_CO_TRY_ASSIGN(const ListPage page, co_await client->List(request));
    for (const ListEntry& entry : page.entries) {
      std::cout << entry.size << " " << entry.etag << " " << entry.key << "\n";
    }
    if (!page.truncated) co_return Status();
    request.token = page.next_token;
  }
}

async::Task<Status> ListParallel(Client* client, std::vector<std::string> words) {
  const auto concurrency = static_cast<uint32_t>(std::stoul(words[1]));
  Lister lister(client, {.prefix = words[0], .concurrency = concurrency});
  CountOnly sink;
  const Nanos begin = SystemClock().Monotonic();
  SHEEN_CO_TRY_ASSIGN(const ListSummary all, co_await lister.Run(&sink));
  const double seconds = std::chrono::duration<double>(SystemClock().Monotonic() - begin).count();
  std::cout << fmt::format("{} {:016x}\n{} bytes, {} pages, {} probes, {} cuts, {:.3f} s\n",
                           all.digest.count, all.digest.hash, all.bytes, all.pages, all.probes,
                           all.cuts, seconds);
  co_return Status();
}

async::Task<Status> Command(Client* client, CredentialProvider* provider, Arguments arguments) {
  const std::string& command = arguments.command;
  const std::vector<std::string>& words = arguments.words;
  if (command == "check") {
    SHEEN_CO_TRY_ASSIGN(const BucketInfo info, co_await client->CheckBucket());
    SHEEN_CO_TRY_ASSIGN(const Credentials keys, co_await provider->Get());
    std::cout << "ok, region '" << info.region << "', keys from " << keys.source << "\n";
    co_return Status();
  }
  if (command == "list") co_return co_await List(client, words);
  if (words.empty()) co_return Fail(Errc::kInvalid, "a key or prefix is missing");
  if (command == "head") {
    SHEEN_CO_TRY_ASSIGN(const ObjectInfo info, co_await client->Head({.key = words[0]}));
    std::cout << Text(info);
    co_return Status();
  }
  if (command == "get") co_return co_await Get(client, words);
  if (command == "delete") co_return co_await client->Delete(words[0]);
  if (command == "put" && words.size() >= 2) co_return co_await Put(client, words);
  if (command == "cat" && words.size() == 3) co_return co_await Cat(client, words);
  if (command == "latency" && words.size() == 3) co_return co_await Latency(client, words);
  if (command == "list-parallel" && words.size() == 2) {
    co_return co_await ListParallel(client, words);
  }
  co_return Fail(Errc::kInvalid, "no such command");
}

int Run(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::cerr << "s3_tool: see the head of tests/s3/s3_tool.cc\n";
    return 2;
  }
  if (arguments.command == "sign") return SignLines();
  HttpClient http;
  async::BlockingPool pool(1);
  CredentialProvider provider(&http, &pool, {});
  Client client(&http, &provider, arguments.client);
  ShardRunner shard;
  const Status done = shard.Await(Command(&client, &provider, arguments));
  std::cout.flush();
  if (done) return 0;
  std::cerr << NameOf(done.error().code()) << ": " << done.error().message() << "\n";
  return 1;
}

}  // namespace
}  // namespace sheen::s3

int main(int argc, char** argv) { return sheen::s3::Run(argc, argv); }
