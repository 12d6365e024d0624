/* Copies standard input to a file of a Sheen filesystem, or a file to standard output, without a
 * mount; lists a directory.
 *
 *   cc libsheen.c $(pkg-config --cflags --libs sheen) -o sheen-cp
 *   ./sheen-cp mds1:/sheen 7988 put /data/x < x
 *   ./sheen-cp mds1:/sheen 7988 get /data/x > y
 *   ./sheen-cp mds1:/sheen 7988 list /data
 */
#include <fcntl.h>
#include <sheen/sheen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, sheen_error());
  return 1;
}

static int put(sheen_mount* mount, const char* path) {
  static char block[BLOCK];
  sheen_file* file;
  uint64_t offset = 0;
  ssize_t got;
  if (sheen_open(mount, path, O_CREAT | O_TRUNC | O_WRONLY, 0644, &file) != 0) return failed(path);
  while ((got = read(0, block, BLOCK)) > 0) {
    if (sheen_pwrite(file, block, (size_t)got, offset) != got) return failed(path);
    offset += (uint64_t)got;
  }
  /* What was written survives a power cut, or we hear that it does not. */
  if (sheen_fsync(file) != 0) return failed(path);
  return sheen_close(file) == 0 ? 0 : failed(path);
}

static int get(sheen_mount* mount, const char* path) {
  static char block[BLOCK];
  sheen_file* file;
  uint64_t offset = 0;
  ssize_t got;
  if (sheen_open(mount, path, O_RDONLY, 0, &file) != 0) return failed(path);
  while ((got = sheen_pread(file, block, BLOCK, offset)) > 0) {
    if (fwrite(block, 1, (size_t)got, stdout) != (size_t)got) return 1;
    offset += (uint64_t)got;
  }
  if (got < 0) return failed(path);
  return sheen_close(file) == 0 ? 0 : failed(path);
}

static int show(void* argument, const char* name, uint8_t type, uint64_t inode) {
  (void)argument;
  (void)type;
  printf("%llu %s\n", (unsigned long long)inode, name);
  return 0;
}

int main(int argc, char** argv) {
  sheen_mount* mount;
  int status = 2;
  if (argc != 5) {
    fprintf(stderr, "usage: %s HOST:/FSNAME PORT put|get|list PATH\n", argv[0]);
    return 2;
  }
  if (sheen_connect(argv[1], (uint16_t)atoi(argv[2]), &mount) != 0) return failed(argv[1]);
  if (strcmp(argv[3], "put") == 0) status = put(mount, argv[4]);
  if (strcmp(argv[3], "get") == 0) status = get(mount, argv[4]);
  if (strcmp(argv[3], "list") == 0) {
    status = sheen_readdir(mount, argv[4], show, NULL) == 0 ? 0 : failed(argv[4]);
  }
  if (sheen_disconnect(mount) != 0 && status == 0) status = failed(argv[1]);
  return status;
}
