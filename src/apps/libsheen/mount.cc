#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "apps/libsheen/connection.h"
#include "apps/libsheen/file.h"
#include "apps/libsheen/path_walk.h"
#include "client/stat.h"
#include "layout/layout.h"
#include "sheen/v1/mds.pb.h"

namespace sheen {
namespace {

using lib::Connection;
using lib::Place;
using lib::Walker;

Walker WalkerOf(Connection* connection) { return {connection->fs(), connection->who()}; }

// A last name is needed: the root cannot be made or removed.
Status CheckNamed(const Place& place, Errc otherwise) {
  if (!place.name.empty()) return {};
  return Fail(otherwise, "the path ends in a directory, not in a name");
}

// It is not a directory's name.
Status CheckNoSlash(const Place& place, Errc otherwise) {
  if (!place.slash) return {};
  return Fail(otherwise, "'" + place.name + "/'");
}

struct OpenRequest {
  std::string path;
  int flags = 0;
  uint32_t mode = 0;
  std::string layout_template;
};

struct OpenedFile {
  Fid fid;
  uint64_t handle = 0;
};

async::Task<Result<OpenedFile>> OpenExisting(Connection* connection, OpenRequest request) {
  const bool follow = (request.flags & O_NOFOLLOW) == 0;
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr,
                      co_await WalkerOf(connection).Find(request.path, follow));
  if (S_ISLNK(attr.mode)) co_return Fail(Errc::kLoop, request.path + " is a symbolic link");
  const bool changes = (request.flags & O_ACCMODE) != O_RDONLY || (request.flags & O_TRUNC) != 0;
  if (S_ISDIR(attr.mode) && changes) co_return Fail(Errc::kIsDirectory, request.path);
  if ((request.flags & O_DIRECTORY) != 0 && !S_ISDIR(attr.mode)) {
    co_return Fail(Errc::kNotDirectory, request.path);
  }
  SHEEN_CO_TRY_ASSIGN(const client::Opened opened,
                      co_await connection->fs()->Open(connection->who(), attr.fid,
                                                      static_cast<uint32_t>(request.flags)));
  co_return OpenedFile{attr.fid, opened.handle};
}

async::Task<Result<OpenedFile>> OpenFile(Connection* connection, OpenRequest request) {
  if ((request.flags & O_CREAT) == 0) {
    co_return co_await OpenExisting(connection, std::move(request));
  }
  const Walker walker = WalkerOf(connection);
  const bool stay = (request.flags & (O_EXCL | O_NOFOLLOW)) != 0;
  Result<Place> place = stay ? co_await walker.FindPlace(request.path)
                             : co_await walker.FindPlaceBeyondLinks(request.path);
  if (!place) co_return std::unexpected(place.error());
  SHEEN_CO_TRY(CheckNamed(*place, Errc::kIsDirectory));
  SHEEN_CO_TRY(CheckNoSlash(*place, Errc::kIsDirectory));
  client::CreateOptions options;
  options.mode = request.mode & 07777;
  options.umask = connection->umask();
  options.flags = static_cast<uint32_t>(request.flags);
  options.layout_template = std::move(request.layout_template);
  SHEEN_CO_TRY_ASSIGN(const client::Opened opened,
                      co_await connection->fs()->Create(connection->who(), place->parent,
                                                        place->name, std::move(options)));
  co_return OpenedFile{opened.attr.fid, opened.handle};
}

async::Task<Result<struct stat>> StatPath(Connection* connection, std::string path, bool follow) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr found,
                      co_await WalkerOf(connection).Find(std::move(path), follow));
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr,
                      co_await connection->fs()->GetAttr(connection->who(), found.fid));
  co_return client::StatOf(attr);
}

async::Task<Result<std::vector<DirectoryEntry>>> List(Connection* connection, std::string path) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr, co_await WalkerOf(connection).Find(path, true));
  if (!S_ISDIR(attr.mode)) co_return Fail(Errc::kNotDirectory, path);
  std::vector<DirectoryEntry> out;
  uint64_t cookie = 0;
  for (;;) {
    SHEEN_CO_TRY_ASSIGN(const client::DirBatch batch,
                        co_await connection->fs()->ReadDir(connection->who(), attr.fid, cookie,
                                                           false));
    for (const client::DirEntry& entry : batch.entries) {
      out.push_back({entry.name, static_cast<uint8_t>(entry.type), entry.fid.ToInode()});
      cookie = entry.cookie;
    }
    if (batch.end || batch.entries.empty()) co_return out;
  }
}

async::Task<Status> MakeDir(Connection* connection, std::string path, uint32_t mode) {
  SHEEN_CO_TRY_ASSIGN(const Place place, co_await WalkerOf(connection).FindPlace(std::move(path)));
  SHEEN_CO_TRY(CheckNamed(place, Errc::kExists));
  client::NodeOptions options;
  options.mode = S_IFDIR | (mode & 07777);
  options.umask = connection->umask();
  const auto made =
      co_await connection->fs()->MakeNode(connection->who(), place.parent, place.name, options);
  if (!made) co_return std::unexpected(made.error());
  co_return Status();
}

async::Task<Status> Remove(Connection* connection, std::string path, bool directory) {
  SHEEN_CO_TRY_ASSIGN(const Place place, co_await WalkerOf(connection).FindPlace(std::move(path)));
  SHEEN_CO_TRY(CheckNamed(place, directory ? Errc::kBusy : Errc::kIsDirectory));
  if (directory) {
    co_return co_await connection->fs()->RemoveDir(connection->who(), place.parent, place.name);
  }
  SHEEN_CO_TRY(CheckNoSlash(place, Errc::kNotDirectory));
  co_return co_await connection->fs()->Unlink(connection->who(), place.parent, place.name);
}

async::Task<Status> Move(Connection* connection, std::string from, std::string to) {
  const Walker walker = WalkerOf(connection);
  SHEEN_CO_TRY_ASSIGN(const Place source, co_await walker.FindPlace(std::move(from)));
  SHEEN_CO_TRY_ASSIGN(const Place target, co_await walker.FindPlace(std::move(to)));
  SHEEN_CO_TRY(CheckNamed(source, Errc::kBusy));
  SHEEN_CO_TRY(CheckNamed(target, Errc::kBusy));
  if (source.slash || target.slash) {
    SHEEN_CO_TRY_ASSIGN(const client::Attr moved,
                        co_await connection->fs()->Search(connection->who(), source.directory,
                                                          source.name));
    if (!S_ISDIR(moved.mode)) co_return Fail(Errc::kNotDirectory, "'" + source.name + "'");
  }
  co_return co_await connection->fs()->Rename(connection->who(), source.parent, source.name,
                                              target.parent, target.name, 0);
}

async::Task<Status> MakeLink(Connection* connection, std::string existing, std::string path) {
  const Walker walker = WalkerOf(connection);
  SHEEN_CO_TRY_ASSIGN(const client::Attr file, co_await walker.Find(std::move(existing), false));
  SHEEN_CO_TRY_ASSIGN(const Place place, co_await walker.FindPlace(std::move(path)));
  SHEEN_CO_TRY(CheckNamed(place, Errc::kExists));
  SHEEN_CO_TRY(CheckNoSlash(place, Errc::kNoEntry));
  const auto made =
      co_await connection->fs()->Link(connection->who(), file.fid, place.parent, place.name);
  if (!made) co_return std::unexpected(made.error());
  co_return Status();
}

async::Task<Status> MakeSymlink(Connection* connection, std::string target, std::string path) {
  SHEEN_CO_TRY_ASSIGN(const Place place, co_await WalkerOf(connection).FindPlace(std::move(path)));
  SHEEN_CO_TRY(CheckNamed(place, Errc::kExists));
  SHEEN_CO_TRY(CheckNoSlash(place, Errc::kNoEntry));
  const auto made = co_await connection->fs()->Symlink(connection->who(), place.parent, place.name,
                                                       std::move(target));
  if (!made) co_return std::unexpected(made.error());
  co_return Status();
}

async::Task<Result<std::string>> TargetOf(Connection* connection, std::string path) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr, co_await WalkerOf(connection).Find(path, false));
  if (!S_ISLNK(attr.mode)) co_return Fail(Errc::kInvalid, path + " is no symbolic link");
  co_return co_await connection->fs()->ReadLink(connection->who(), attr.fid);
}

async::Task<Status> Change(Connection* connection, std::string path, client::AttrChange change) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr,
                      co_await WalkerOf(connection).Find(std::move(path), true));
  const auto changed =
      co_await connection->fs()->SetAttr(connection->who(), attr.fid, change, 0);
  if (!changed) co_return std::unexpected(changed.error());
  co_return Status();
}

Result<std::string> TemplateOf(const Striping& striping) {
  const layout::Layout layout =
      layout::PlainTemplate(striping.stripe_count, striping.stripe_bytes);
  SHEEN_TRY(layout::Validate(layout));
  return layout::Encode(layout);
}

async::Task<Status> SetDefault(Connection* connection, std::string path, std::string encoded) {
  SHEEN_CO_TRY_ASSIGN(const client::Attr attr, co_await WalkerOf(connection).Find(path, true));
  if (!S_ISDIR(attr.mode)) co_return Fail(Errc::kNotDirectory, path);
  co_return co_await connection->fs()->SetLayout(connection->who(), attr.fid, std::move(encoded));
}

}  // namespace

class Mount::State final {
 public:
  explicit State(std::unique_ptr<Connection> opened) : connection(std::move(opened)) {}
  const std::unique_ptr<Connection> connection;

  // `function` on a shard with the arguments, which are copied.
  template <class T, class... Parameters, class... Arguments>
  T Call(async::Task<T> (*function)(Connection*, Parameters...), Arguments... arguments) {
    Connection* const c = connection.get();
    return c->Await<T>([=] { return function(c, arguments...); });
  }
};

Mount::Mount(std::unique_ptr<State> state) : state_(std::move(state)) {}
Mount::~Mount() = default;

Status Mount::Disconnect() { return state_->connection->Close(); }

Result<std::unique_ptr<Mount>> Mount::Connect(const std::string& source,
                                              const ConnectOptions& options) {
  SHEEN_TRY_ASSIGN(std::unique_ptr<Connection> connection, Connection::Open(source, options));
  return std::make_unique<Mount>(std::make_unique<State>(std::move(connection)));
}

Result<std::unique_ptr<File>> Mount::Open(const std::string& path, int flags, uint32_t mode) {
  const OpenRequest request{.path = path, .flags = flags, .mode = mode};
  SHEEN_TRY_ASSIGN(const OpenedFile opened, state_->Call(&OpenFile, request));
  return std::make_unique<File>(std::make_unique<File::State>(state_->connection.get(), opened.fid,
                                                              opened.handle, flags));
}

Result<std::unique_ptr<File>> Mount::Create(const std::string& path, int flags, uint32_t mode,
                                            const Striping& striping) {
  OpenRequest request{.path = path, .flags = flags | O_CREAT | O_EXCL, .mode = mode};
  SHEEN_TRY_ASSIGN(request.layout_template, TemplateOf(striping));
  SHEEN_TRY_ASSIGN(const OpenedFile opened, state_->Call(&OpenFile, request));
  return std::make_unique<File>(std::make_unique<File::State>(state_->connection.get(), opened.fid,
                                                              opened.handle, flags));
}

Result<struct stat> Mount::Stat(const std::string& path) {
  return state_->Call(&StatPath, path, true);
}

Result<struct stat> Mount::LinkStat(const std::string& path) {
  return state_->Call(&StatPath, path, false);
}

Result<std::vector<DirectoryEntry>> Mount::ReadDirectory(const std::string& path) {
  return state_->Call(&List, path);
}

Status Mount::MakeDirectory(const std::string& path, uint32_t mode) {
  return state_->Call(&MakeDir, path, mode);
}

Status Mount::RemoveDirectory(const std::string& path) {
  return state_->Call(&Remove, path, true);
}

Status Mount::Unlink(const std::string& path) { return state_->Call(&Remove, path, false); }

Status Mount::Rename(const std::string& from, const std::string& to) {
  return state_->Call(&Move, from, to);
}

Status Mount::Link(const std::string& existing, const std::string& path) {
  return state_->Call(&MakeLink, existing, path);
}

Status Mount::Symlink(const std::string& target, const std::string& path) {
  return state_->Call(&MakeSymlink, target, path);
}

Result<std::string> Mount::ReadLink(const std::string& path) {
  return state_->Call(&TargetOf, path);
}

Status Mount::ChangeMode(const std::string& path, uint32_t mode) {
  client::AttrChange change;
  change.valid = v1::SET_MODE;
  change.mode = mode & 07777;
  return state_->Call(&Change, path, change);
}

Status Mount::Truncate(const std::string& path, uint64_t size) {
  client::AttrChange change;
  change.set_size = true;
  change.size = size;
  return state_->Call(&Change, path, change);
}

Status Mount::SetStriping(const std::string& directory, const Striping& striping) {
  SHEEN_TRY_ASSIGN(const std::string encoded, TemplateOf(striping));
  return state_->Call(&SetDefault, directory, encoded);
}

}  // namespace sheen
