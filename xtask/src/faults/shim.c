/* A library that is loaded before the C library (LD_PRELOAD). It counts the calls of a process that change files below
 * a folder, and at one of them kills the process, or pretends from then on that the disk is full. The program under
 * test is the one that users run, unchanged.
 *
 * FAULT_UNDER  the folder; calls for files elsewhere are not affected
 * FAULT_WHO    "worker", "sweep" or another subcommand of the program; processes of other subcommands are not affected
 * FAULT_MODE   "count": only count; "before", "after": kill before or after the call; "torn": write half, then kill;
 *              "full": no space is left, from this call on
 * FAULT_AT     the number of the call, from 1
 * FAULT_COUNT  a file to which the number of calls is written when the process ends
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char *under, *mode, *count_file;
static long at;
static atomic_long calls;
static int active;

__attribute__((constructor)) static void begin(void) {
    char line[4096];
    const char *who = getenv("FAULT_WHO"), *number = getenv("FAULT_AT");
    under = getenv("FAULT_UNDER");
    mode = getenv("FAULT_MODE");
    count_file = getenv("FAULT_COUNT");
    at = number ? atol(number) : 0;
    if (!under || !mode || !who) return;
    FILE *file = fopen("/proc/self/cmdline", "r");
    if (!file) return;
    size_t read = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[read] = 0;
    const char *verb = line + strlen(line) + 1;
    active = verb < line + read && strcmp(verb, who) == 0;
}

__attribute__((destructor)) static void end(void) {
    if (!active || !count_file) return;
    FILE *file = fopen(count_file, "w");
    if (!file) return;
    active = 0;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

/* Whether a path is in the folder. */
static int ours(const char *path) {
    char whole[2 * PATH_MAX];
    if (!active || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, PATH_MAX)) return 0;
        strcat(whole, "/");
        strncat(whole, path, PATH_MAX - 1);
        path = whole;
    }
    return strncmp(path, under, strlen(under)) == 0;
}

/* Whether an open file is in the folder. */
static int our_file(int fd) {
    char link[64], path[PATH_MAX];
    if (!active) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return ours(path);
}

/* What happens at a call: nothing; failure for lack of space; death after the call; death after half of a write. */
enum { PASS, FULL, LAST, HALF };

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call and returns what happens at it; does not return if the process is killed before the call. */
static int turn(void) {
    long call = atomic_fetch_add(&calls, 1) + 1;
    if (strcmp(mode, "full") == 0) return call >= at ? FULL : PASS;
    if (call != at) return PASS;
    if (strcmp(mode, "before") == 0) die();
    if (strcmp(mode, "after") == 0) return LAST;
    return strcmp(mode, "torn") == 0 ? HALF : PASS;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t size) {
    int what = our_file(fd) ? turn() : PASS;
    if (what == FULL) { errno = ENOSPC; return -1; }
    ssize_t written = REAL(write)(fd, bytes, what == HALF ? size / 2 : size);
    if (what == LAST || what == HALF) die();
    return written;
}

/* Defines the body of a function that needs disk space and returns `failure` if there is none. */
#define SPACE(path, failure, call) \
    int what = ours(path) ? turn() : PASS; \
    if (what == FULL) { errno = ENOSPC; return failure; } \
    __auto_type result = call; \
    if (what == LAST || what == HALF) die(); \
    return result

/* Defines the body of a function that needs no disk space. */
#define FREE(is_ours, call) \
    int what = (is_ours) ? turn() : PASS; \
    __auto_type result = call; \
    if (what == LAST || what == HALF) die(); \
    return result

static int open_with(const char *name, const char *path, int flags, mode_t permissions) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    if (!(flags & O_CREAT)) return real(path, flags);
    SPACE(path, -1, real(path, flags, permissions));
}

#define PERMISSIONS(flags) \
    mode_t permissions = 0; \
    if ((flags) & O_CREAT) { va_list rest; va_start(rest, flags); permissions = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { PERMISSIONS(flags) return open_with("open", path, flags, permissions); }
int open64(const char *path, int flags, ...) { PERMISSIONS(flags) return open_with("open64", path, flags, permissions); }
int mkdir(const char *path, mode_t permissions) { SPACE(path, -1, REAL(mkdir)(path, permissions)); }
int rename(const char *from, const char *to) { FREE(ours(to), REAL(rename)(from, to)); }
int unlink(const char *path) { FREE(ours(path), REAL(unlink)(path)); }
int fsync(int fd) { FREE(our_file(fd), REAL(fsync)(fd)); }
int fdatasync(int fd) { FREE(our_file(fd), REAL(fdatasync)(fd)); }
