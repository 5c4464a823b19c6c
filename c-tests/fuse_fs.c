/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: a FUSE file system is refused, and said to be one, whatever calls
 * itself how behind it.
 * Method: the smallest server there can be, with an empty root directory.
 */
#include "helpers.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void reply(int device, uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header head = {.len = (uint32_t)(sizeof head + len), .error = error, .unique = unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, len}};
    /* Who asked may have gone. */
    if (writev(device, parts, 2) < 0)
        return;
}

static void serve(int device)
{
    static union {
        struct fuse_in_header head;
        char bytes[FUSE_MIN_READ_BUFFER * 8];
    } in;
    for (;;) {
        ssize_t got = read(device, &in, sizeof in);
        if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
            continue;
        if (got < (ssize_t)sizeof in.head)
            _exit(0); /* Unmounted. */
        uint64_t unique = in.head.unique;
        switch (in.head.opcode) {
        case FUSE_INIT: {
            struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
                                        .max_write = 4096};
            reply(device, unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_GETATTR: {
            struct fuse_attr_out out = {.attr_valid = 60, .attr = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}};
            reply(device, unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_OPENDIR: {
            struct fuse_open_out out = {0};
            reply(device, unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_STATFS: {
            struct fuse_statfs_out out = {.st = {.bsize = 4096, .namelen = 255, .frsize = 4096}};
            reply(device, unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_LOOKUP:
            reply(device, unique, -ENOENT, NULL, 0);
            break;
        case FUSE_RELEASEDIR:
        case FUSE_READDIR:
            reply(device, unique, 0, NULL, 0);
            break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
            break;
        default:
            reply(device, unique, -ENOSYS, NULL, 0);
        }
    }
}

int main(void)
{
    t_begin();
    if (geteuid() != 0)
        t_skip("mounting a file system needs root");
    t_private_mounts();
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0)
        t_skip("no /dev/fuse: %s", strerror(errno));
    const char *place = t_path("fuse");
    t_check(mkdir(place, 0700) == 0);
    char options_text[100];
    snprintf(options_text, sizeof options_text, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (mount("none", place, "fuse", 0, options_text))
        t_skip("no FUSE here: %s", strerror(errno));
    pid_t server = fork();
    t_check(server >= 0);
    if (server == 0)
        serve(device);
    close(device);

    twal_options options = t_options_small();
    twal_log *log = NULL;
    char dir[1100];
    snprintf(dir, sizeof dir, "%s/log", place);
    const char *const dirs[] = {place, dir};
    for (size_t i = 0; i < 2; i++) {
        t_code(twal_open(dirs[i], &options, &log), TWAL_E_UNSUPPORTED);
        t_check(strstr(t_last_error().text, "fuse") != NULL);
        t_check(strstr(t_last_error().text, "FUSE") != NULL);
    }
    t_code(twal_verify(place, &options, NULL, NULL, NULL), TWAL_E_UNSUPPORTED);
    t_check(!log);
    t_check(umount2(place, MNT_DETACH) == 0);
    t_wait_child_ok(server);
    return t_end();
}
