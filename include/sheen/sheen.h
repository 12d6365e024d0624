/* libsheen in C: a Sheen filesystem in the process itself, without FUSE. sheen/client.h is the same
 * for C++ and says more; libsheen(3) has an example.
 *
 * Functions that give an int give 0, or a negative errno value; those that give an ssize_t a number
 * of bytes, or a negative errno value. sheen_error() says more of the calling thread's last error.
 *
 * Thread-safe. After fork(2) only the parent may go on with what is open.
 */
#ifndef SHEEN_SHEEN_H
#define SHEEN_SHEEN_H
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sheen_mount sheen_mount;
typedef struct sheen_file sheen_file;

/* Of the calling thread's last call that failed: what happened, to what, what to do. Valid until
 * its next call. */
const char* sheen_error(void);

/* `source`: HOST[:HOST...]:/FSNAME[/SUBDIR]; `port`: the MDS's data port, 0: 7988. */
int sheen_connect(const char* source, uint16_t port, sheen_mount** out);
/* Waits until what was written is stored, a minute at most for a server that is away. Every file
 * must be closed. -EIO: not all of it is known to be stored; it is disconnected in any case. */
int sheen_disconnect(sheen_mount* mount);

/* `flags` and `mode` as open(2). */
int sheen_open(sheen_mount* mount, const char* path, int flags, mode_t mode, sheen_file** out);
/* A new file of `stripe_count` stripes of `stripe_bytes`. */
int sheen_create_striped(sheen_mount* mount, const char* path, int flags, mode_t mode,
                         uint32_t stripe_count, uint64_t stripe_bytes, sheen_file** out);
/* The error of a write that was answered and could not be stored. It is closed in any case. */
int sheen_close(sheen_file* file);
ssize_t sheen_pread(sheen_file* file, void* buffer, size_t bytes, uint64_t offset);
ssize_t sheen_pwrite(sheen_file* file, const void* buffer, size_t bytes, uint64_t offset);
/* They return at once; `done` is called once, on a thread of the library, with a number of bytes or
 * a negative errno value. It must not call functions that wait. */
typedef void (*sheen_done)(void* argument, ssize_t result);
void sheen_pread_async(sheen_file* file, void* buffer, size_t bytes, uint64_t offset,
                       sheen_done done, void* argument);
void sheen_pwrite_async(sheen_file* file, const void* buffer, size_t bytes, uint64_t offset,
                        sheen_done done, void* argument);
int sheen_fsync(sheen_file* file);
int sheen_ftruncate(sheen_file* file, uint64_t size);
int sheen_fstat(sheen_file* file, struct stat* out);

int sheen_stat(sheen_mount* mount, const char* path, struct stat* out);
int sheen_lstat(sheen_mount* mount, const char* path, struct stat* out);
int sheen_mkdir(sheen_mount* mount, const char* path, mode_t mode);
int sheen_rmdir(sheen_mount* mount, const char* path);
int sheen_unlink(sheen_mount* mount, const char* path);
int sheen_rename(sheen_mount* mount, const char* from, const char* to);
int sheen_link(sheen_mount* mount, const char* existing, const char* path);
int sheen_symlink(sheen_mount* mount, const char* target, const char* path);
/* The target and a NUL, as much as fits; gives its length without the NUL. */
ssize_t sheen_readlink(sheen_mount* mount, const char* path, char* buffer, size_t bytes);
int sheen_chmod(sheen_mount* mount, const char* path, mode_t mode);
int sheen_truncate(sheen_mount* mount, const char* path, uint64_t size);
/* Calls `entry` for each name but "." and ".."; a result that is not 0 ends it and is given. */
typedef int (*sheen_entry)(void* argument, const char* name, uint8_t type, uint64_t inode);
int sheen_readdir(sheen_mount* mount, const char* path, sheen_entry entry, void* argument);
/* What new files in the directory get. */
int sheen_set_striping(sheen_mount* mount, const char* directory, uint32_t stripe_count,
                       uint64_t stripe_bytes);
/* Of the part of the file that has byte `offset`. */
int sheen_get_striping(sheen_file* file, uint64_t offset, uint32_t* stripe_count,
                       uint64_t* stripe_bytes);

#ifdef __cplusplus
}
#endif
#endif
