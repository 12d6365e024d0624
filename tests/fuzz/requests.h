// The input format of the service fuzzers: requests one after the other, each
//
//   u16 opcode, u8 flags (1: with a reply slot, 2: same xid as the one before), u8 credential,
//   u16 body bytes, u16 bulk bytes, body, bulk
//
// Lengths beyond the input's end are cut to what is there. Little-endian.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "rpc/server.h"

namespace sheen::fuzz {

struct Input {
  rpc::Opcode opcode = rpc::Opcode::kPing;
  uint8_t flags = 0;
  uint8_t credential = 0;
  std::string body;
  std::string bulk;
};

inline constexpr size_t kRequestsMax = 64;

inline std::vector<Input> Parse(ByteSpan data) {
  std::vector<Input> out;
  while (data.size() >= 8 && out.size() < kRequestsMax) {
    Decoder in(data.first(8));
    Input request;
    request.opcode = static_cast<rpc::Opcode>(in.U16());
    request.flags = in.U8();
    request.credential = in.U8();
    const size_t body = in.U16();
    const size_t bulk = in.U16();
    data = data.subspan(8);
    const size_t body_taken = std::min(body, data.size());
    request.body = AsText(data.first(body_taken));
    data = data.subspan(body_taken);
    const size_t bulk_taken = std::min(bulk, data.size());
    request.bulk = AsText(data.first(bulk_taken));
    data = data.subspan(bulk_taken);
    out.push_back(std::move(request));
  }
  return out;
}

inline std::string Format(const std::vector<Input>& requests) {
  Encoder out;
  for (const Input& r : requests) {
    out.U16(static_cast<uint16_t>(r.opcode));
    out.U8(r.flags);
    out.U8(r.credential);
    out.U16(static_cast<uint16_t>(r.body.size()));
    out.U16(static_cast<uint16_t>(r.bulk.size()));
    out.Raw(r.body.data(), r.body.size());
    out.Raw(r.bulk.data(), r.bulk.size());
  }
  return out.Take();
}

inline rpc::Request ToRequest(const Input& input, uint64_t xid,
                              std::shared_ptr<rpc::Session> session) {
  rpc::Request request;
  request.header.opcode = input.opcode;
  request.header.xid = xid;
  request.header.slot = (input.flags & 1) != 0 ? 1 : 0;
  request.header.credential = input.credential % 2;
  request.header.transno = xid > 1 ? xid - 1 : 0;
  request.header.body_bytes = static_cast<uint32_t>(input.body.size());
  request.header.bulk_bytes = static_cast<uint32_t>(input.bulk.size());
  request.body = input.body;
  if (!input.bulk.empty()) {
    request.bulk = io::Buffer::Allocate(input.bulk.size());
    std::copy_n(AsBytes(input.bulk).data(), input.bulk.size(), request.bulk.data());
  }
  request.session = std::move(session);
  return request;
}

// Handles all requests, one after the other; returns when the last is answered.
inline async::Task<void> HandleAll(rpc::Service* service, std::vector<Input> inputs,
                                   std::shared_ptr<rpc::Session> session, bool* done) {
  uint64_t xid = 0;
  for (const Input& input : inputs) {
    if ((input.flags & 2) == 0 || xid == 0) ++xid;
    if (static_cast<uint16_t>(input.opcode) < 100 || !rpc::IsKnown(input.opcode)) continue;
    rpc::Response response = co_await service->Handle(ToRequest(input, xid, session));
    // Reading the answer lets the sanitizer see bytes that were never written.
    volatile uint64_t sum = response.body.size() + response.bulk.size();
    static_cast<void>(sum);
  }
  *done = true;
}

inline std::shared_ptr<rpc::Session> MakeSession() {
  auto session = std::make_shared<rpc::Session>(1, Uuid{}, std::array<uint8_t, 16>{});
  const Status set = session->SetCredential(1, rpc::Credential{1000, 1000, {}});
  if (!set) std::abort();
  return session;
}

}  // namespace sheen::fuzz
