// Kills the process at an exact change of the file system. Preloaded before the C library, it counts every call that changes
// something below $KILL_ROOT, logs each to $KILL_LOG if that is set, and sends SIGKILL instead of call number $KILL_AT; in a
// write, after half of its bytes. Syncing is counted but skipped: a killed process loses nothing that it has handed to the
// kernel.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long count;

static void put(int fd, const char *text, size_t length) { syscall(SYS_write, fd, text, length); }

static void log_call(long number, const char *what, const char *path) {
    const char *name = getenv("KILL_LOG");
    if (!name) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, what, path);
    long fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND, 0644);
    put((int)fd, line, (size_t)length);
    syscall(SYS_close, fd);
}

// Whether this is the call to kill at; the path is absolute, as are all paths in the tests.
static int is_due(const char *what, const char *path) {
    const char *root = getenv("KILL_ROOT"), *at = getenv("KILL_AT");
    if (!root || strncmp(path, root, strlen(root)) != 0) return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    log_call(number, what, path);
    return at && number == atol(at);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void change(const char *what, const char *path) {
    if (is_due(what, path)) die();
}

static const char *of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static const char *at_folder(int fd, const char *name, char *path) {
    if (fd == AT_FDCWD || name[0] == '/') return name;
    char folder[PATH_MAX];
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", of_fd(fd, folder), name);
    return path;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        va_list more;                                                                  \
        va_start(more, flags);                                                         \
        mode_t mode = va_arg(more, mode_t);                                            \
        va_end(more);                                                                  \
        if (flags & (O_CREAT | O_TRUNC)) change("open", path);                         \
        return REAL(name)(path, flags, mode);                                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
    int name(int folder, const char *path, int flags, ...) {                           \
        va_list more;                                                                  \
        va_start(more, flags);                                                         \
        mode_t mode = va_arg(more, mode_t);                                            \
        va_end(more);                                                                  \
        char buffer[PATH_MAX];                                                         \
        if (flags & (O_CREAT | O_TRUNC)) change("open", at_folder(folder, path, buffer)); \
        return REAL(name)(folder, path, flags, mode);                                  \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (is_due("write", of_fd(fd, path))) {
        put(fd, bytes, length / 2);
        die();
    }
    return REAL(write)(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int n_parts) {
    char path[PATH_MAX];
    change("writev", of_fd(fd, path));
    return REAL(writev)(fd, parts, n_parts);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t start) {
    char path[PATH_MAX];
    if (is_due("pwrite", of_fd(fd, path))) {
        syscall(SYS_pwrite64, fd, bytes, length / 2, start);
        die();
    }
    return REAL(pwrite64)(fd, bytes, length, start);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    char path[PATH_MAX];
    change("copy", of_fd(to, path));
    return REAL(copy_file_range)(from, from_at, to, to_at, length, flags);
}

int fsync(int fd) {
    char path[PATH_MAX];
    change("fsync", of_fd(fd, path));
    return 0;
}

int fdatasync(int fd) {
    char path[PATH_MAX];
    change("fdatasync", of_fd(fd, path));
    return 0;
}

int ftruncate64(int fd, off64_t length) {
    char path[PATH_MAX];
    change("ftruncate", of_fd(fd, path));
    return REAL(ftruncate64)(fd, length);
}

int rename(const char *from, const char *to) {
    change("rename", to);
    return REAL(rename)(from, to);
}

int link(const char *from, const char *to) {
    change("link", to);
    return REAL(link)(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char path[PATH_MAX];
    change("link", at_folder(to_folder, to, path));
    return REAL(linkat)(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path) {
    change("unlink", path);
    return REAL(unlink)(path);
}

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    change("unlink", at_folder(folder, name, path));
    return REAL(unlinkat)(folder, name, flags);
}

int rmdir(const char *path) {
    change("rmdir", path);
    return REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    change("mkdir", path);
    return REAL(mkdir)(path, mode);
}

int chmod(const char *path, mode_t mode) {
    change("chmod", path);
    return REAL(chmod)(path, mode);
}
