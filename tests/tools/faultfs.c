// A file system that passes everything on to a folder, except where a rule wants it to fail or to wait.
//
//   faultfs FOLDER RULES MOUNTPOINT [FUSE OPTIONS]
//
// RULES is a file of one line, read again whenever it changes; absent or empty, nothing fails:
//
//   OPERATION SUBSTRING err ERRNO      the operation on paths that contain SUBSTRING fails
//   OPERATION SUBSTRING delay MS       it takes so long
//   write SUBSTRING short N            at most N bytes of each call are written
//
// OPERATION: getattr open create read write flush fsync rename mkdir unlink readdir. A failed flush, which is what close(2)
// sends, empties a file that was written: as on a server that took the bytes and could not keep them. How often the rule
// applied is the content of RULES.hits.
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static const char *folder, *rules;
// Of the environment: no page cache. Who waits for a page that another one reads cannot be killed.
static int uncached;
static struct { char operation[16], part[200], action[8]; long value, hits; struct timespec read; int there; } rule;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void read_rule(void) {
    struct stat st;
    if (stat(rules, &st) != 0) { rule.there = 0; return; }
    if (rule.there && st.st_mtim.tv_sec == rule.read.tv_sec && st.st_mtim.tv_nsec == rule.read.tv_nsec) return;
    memset(&rule, 0, sizeof rule);
    rule.read = st.st_mtim;
    rule.there = 1;
    FILE *file = fopen(rules, "r");
    if (!file) return;
    if (fscanf(file, "%15s %199s %7s %ld", rule.operation, rule.part, rule.action, &rule.value) != 4) rule.operation[0] = 0;
    fclose(file);
}

// 0, the negative error number of the rule that applies, or how many bytes it lets pass.
static int fault(const char *operation, const char *path) {
    int error = 0;
    long wait_ms = 0;
    pthread_mutex_lock(&lock);
    read_rule();
    if (rule.there && strcmp(rule.operation, operation) == 0 && strstr(path, rule.part)) {
        if (strcmp(rule.action, "err") == 0) error = -(int)rule.value;
        else if (strcmp(rule.action, "short") == 0) error = (int)rule.value;
        else wait_ms = rule.value;
        char name[4200];
        snprintf(name, sizeof name, "%s.hits", rules);
        FILE *file = fopen(name, "w");
        if (file) { fprintf(file, "%ld\n", ++rule.hits); fclose(file); }
    }
    pthread_mutex_unlock(&lock);
    // Who is killed while it waits is let go, and nothing is done any more.
    if (wait_ms && nanosleep(&(struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000}, NULL) != 0) return -EINTR;
    return error;
}

#define REAL(name, path) char name[8192]; snprintf(name, sizeof name, "%s%s", folder, path)
#define FAIL(operation, path) do { int error = fault(operation, path); if (error) return error; } while (0)
#define RESULT(call) return (call) < 0 ? -errno : 0

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *info) { (void)info; FAIL("getattr", path); REAL(real, path); RESULT(lstat(real, st)); }
static int do_readlink(const char *path, char *out, size_t size) { REAL(real, path); ssize_t n = readlink(real, out, size - 1); if (n < 0) return -errno; out[n] = 0; return 0; }
static int do_symlink(const char *target, const char *path) { REAL(real, path); RESULT(symlink(target, real)); }
static int do_mkdir(const char *path, mode_t mode) { FAIL("mkdir", path); REAL(real, path); RESULT(mkdir(real, mode)); }
static int do_unlink(const char *path) { FAIL("unlink", path); REAL(real, path); RESULT(unlink(real)); }
static int do_rmdir(const char *path) { REAL(real, path); RESULT(rmdir(real)); }
static int do_rename(const char *from, const char *to, unsigned flags) { (void)flags; FAIL("rename", to); REAL(a, from); REAL(b, to); RESULT(rename(a, b)); }
static int do_truncate(const char *path, off_t len, struct fuse_file_info *info) { (void)info; REAL(real, path); RESULT(truncate(real, len)); }
static int do_utimens(const char *path, const struct timespec t[2], struct fuse_file_info *info) { (void)info; REAL(real, path); RESULT(utimensat(AT_FDCWD, real, t, AT_SYMLINK_NOFOLLOW)); }
static int do_statfs(const char *path, struct statvfs *s) { REAL(real, path); RESULT(statvfs(real, s)); }

static int do_open(const char *path, struct fuse_file_info *info) {
    FAIL("open", path);
    REAL(real, path);
    int fd = open(real, info->flags & ~(O_DIRECT | O_EXCL | O_CREAT));
    if (fd < 0) return -errno;
    info->direct_io = uncached;
    info->fh = (uint64_t)fd;
    return 0;
}
static int do_create(const char *path, mode_t mode, struct fuse_file_info *info) {
    FAIL("create", path);
    REAL(real, path);
    int fd = open(real, (info->flags & ~O_DIRECT) | O_CREAT, mode);
    if (fd < 0) return -errno;
    // A direct write that was cut short is passed on as such.
    info->direct_io = uncached || (info->flags & O_DIRECT) != 0;
    info->fh = (uint64_t)fd;
    return 0;
}
static int do_read(const char *path, char *out, size_t size, off_t at, struct fuse_file_info *info) { FAIL("read", path); ssize_t n = pread((int)info->fh, out, size, at); return n < 0 ? -errno : (int)n; }
static int do_write(const char *path, const char *in, size_t size, off_t at, struct fuse_file_info *info) {
    int most = fault("write", path);
    if (most < 0) return most;
    if (most > 0 && size > (size_t)most) size = (size_t)most;
    ssize_t n = pwrite((int)info->fh, in, size, at);
    return n < 0 ? -errno : (int)n;
}
static int do_fsync(const char *path, int data_only, struct fuse_file_info *info) { (void)data_only; FAIL("fsync", path); RESULT(fsync((int)info->fh)); }
static int do_flush(const char *path, struct fuse_file_info *info) {
    int error = fault("flush", path);
    if (error && (fcntl((int)info->fh, F_GETFL) & O_ACCMODE) != O_RDONLY && ftruncate((int)info->fh, 0) != 0) return -errno;
    return error;
}
static int do_release(const char *path, struct fuse_file_info *info) { (void)path; close((int)info->fh); return 0; }
static int do_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t at, struct fuse_file_info *info, enum fuse_readdir_flags flags) {
    (void)at; (void)info; (void)flags;
    FAIL("readdir", path);
    REAL(real, path);
    DIR *dir = opendir(real);
    if (!dir) return -errno;
    for (struct dirent *entry; (entry = readdir(dir));) fill(out, entry->d_name, NULL, 0, 0);
    closedir(dir);
    return 0;
}
// Nothing is remembered: every operation of a test arrives here. But with -o kernel_cache the page cache keeps contents, as of a disk.
static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config) {
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    config->intr = 1;
    // Our own writes change the time of change, and that alone made the kernel forget.
    if (config->kernel_cache) connection->want &= ~FUSE_CAP_AUTO_INVAL_DATA;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init, .getattr = do_getattr, .readlink = do_readlink, .symlink = do_symlink, .mkdir = do_mkdir,
    .unlink = do_unlink, .rmdir = do_rmdir, .rename = do_rename, .truncate = do_truncate, .utimens = do_utimens,
    .statfs = do_statfs, .open = do_open, .create = do_create, .read = do_read, .write = do_write, .fsync = do_fsync,
    .flush = do_flush, .release = do_release, .readdir = do_readdir,
};

static void woken(int signal) { (void)signal; }

int main(int argc, char **argv) {
    if (argc < 4) { fprintf(stderr, "usage: faultfs FOLDER RULES MOUNTPOINT [FUSE OPTIONS]\n"); return 2; }
    folder = realpath(argv[1], NULL);
    rules = argv[2];
    uncached = getenv("FAULTFS_UNCACHED") != NULL;
    if (!folder) { perror(argv[1]); return 1; }
    // libfuse sends it to a thread whose caller was killed.
    struct sigaction wake = {.sa_handler = woken};
    sigaction(SIGUSR1, &wake, NULL);
    argv[2] = argv[0];
    return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
