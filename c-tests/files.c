/* Files of a log, seen from outside.  See helpers.h. */
#include "helpers.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

static int by_index(const void *left, const void *right)
{
    const t_segment *a = left, *b = right;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return strcmp(a->path, b->path);
}

static bool all_digits(const char *text, size_t len)
{
    return strspn(text, "0123456789") >= len;
}

/* twal-<index:016>-<first_seq:020>.<state> */
static bool segment_name(const char *name, t_segment *segment)
{
    if (strncmp(name, "twal-", 5) != 0 || strlen(name) < 5 + 16 + 1 + 20 + 1 ||
        !all_digits(name + 5, 16) || name[21] != '-' || !all_digits(name + 22, 20) || name[42] != '.')
        return false;
    const char *state = name + 43;
    if (strcmp(state, "active") && strcmp(state, "sealed") && strcmp(state, "archived"))
        return false;
    segment->index = strtoull(name + 5, NULL, 10);
    segment->first_seq = strtoull(name + 22, NULL, 10);
    snprintf(segment->state, sizeof segment->state, "%s", state);
    return true;
}

t_segment *t_segments(const char *dir, size_t *count_out)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;
    size_t count = 0, room = 64;
    t_segment *list = t_keep(room * sizeof *list);

    if (!stream)
        t_fail(__FILE__, __LINE__, "opendir %s: %s", dir, strerror(errno));
    while ((entry = readdir(stream))) {
        t_segment segment;
        if (strncmp(entry->d_name, "twal-", 5) != 0 || !strncmp(entry->d_name, "twal-spare-", 11) ||
            !strncmp(entry->d_name, "twal-holds", 10) || !strncmp(entry->d_name, "twal-sink", 9))
            continue;
        if (!segment_name(entry->d_name, &segment))
            t_fail(__FILE__, __LINE__, "%s/%s is no name of a segment", dir, entry->d_name);
        snprintf(segment.path, sizeof segment.path, "%s/%s", dir, entry->d_name);
        if (count == room) {
            t_segment *more = t_keep(2 * room * sizeof *list);
            memcpy(more, list, room * sizeof *list);
            list = more;
            room *= 2;
        }
        list[count++] = segment;
    }
    closedir(stream);
    qsort(list, count, sizeof *list, by_index);
    if (count_out)
        *count_out = count;
    return list;
}

t_segment t_segment_at(const char *dir, uint64_t index)
{
    size_t count;
    t_segment *list = t_segments(dir, &count);
    for (size_t n = 0; n < count; n++)
        if (list[n].index == index)
            return list[n];
    t_fail(__FILE__, __LINE__, "no segment %" PRIu64 " in %s", index, dir);
}

t_segment t_active(const char *dir)
{
    size_t count;
    t_segment *list = t_segments(dir, &count);
    t_check(count > 0);
    t_check(!strcmp(list[count - 1].state, "active"));
    return list[count - 1];
}

size_t t_count_state(const char *dir, const char *state)
{
    size_t count, found = 0;
    t_segment *list = t_segments(dir, &count);
    for (size_t n = 0; n < count; n++)
        found += !strcmp(list[n].state, state);
    return found;
}

size_t t_count_spares(const char *dir)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;
    size_t found = 0;
    t_check(stream);
    while ((entry = readdir(stream)))
        found += !strncmp(entry->d_name, "twal-spare-", 11);
    closedir(stream);
    return found;
}

void t_await_renames(const char *dir)
{
    t_await(t_count_state(dir, "active") == 1, T_PATIENCE_MS);
}

size_t t_count_entries(const char *dir)
{
    DIR *stream = opendir(dir);
    size_t count = 0;
    t_check(stream);
    while (readdir(stream))
        count++;
    closedir(stream);
    return count;
}

bool t_exists(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0;
}

uint64_t t_file_size(const char *path)
{
    struct stat about;
    t_check(stat(path, &about) == 0);
    return (uint64_t)about.st_size;
}

/* A file's bytes, to be freed; NULL if it went away meanwhile. */
static char *slurp(const char *path, size_t *len_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    size_t len = 0;
    ssize_t got = 0;

    if (fd < 0)
        return NULL;
    t_check(fstat(fd, &about) == 0);
    char *data = malloc((size_t)about.st_size + 1);
    t_check(data);
    while (len < (size_t)about.st_size && (got = read(fd, data + len, (size_t)about.st_size - len)) > 0)
        len += (size_t)got;
    t_check(got >= 0);
    close(fd);
    *len_out = len;
    return data;
}

char *t_file_read(const char *path, size_t *len_out)
{
    size_t len = 0;
    char *data = slurp(path, &len);
    if (!data)
        t_fail(__FILE__, __LINE__, "open %s: %s", path, strerror(errno));
    char *mine = t_keep(len + 1);
    memcpy(mine, data, len);
    free(data);
    *len_out = len;
    return mine;
}

void t_file_write(const char *path, uint64_t offset, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    t_check(fd >= 0);
    t_check(pwrite(fd, data, len, (off_t)offset) == (ssize_t)len);
    /* The log reads past the page cache. */
    t_check(fsync(fd) == 0);
    close(fd);
}

void t_file_make(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    t_check(fd >= 0);
    while (done < len) {
        ssize_t wrote = write(fd, (const char *)data + done, len - done);
        t_check(wrote > 0);
        done += (size_t)wrote;
    }
    t_check(fsync(fd) == 0);
    close(fd);
}

void t_file_flip(const char *path, uint64_t offset, size_t len)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char *bytes = malloc(len);
    t_check(fd >= 0 && bytes);
    t_check(pread(fd, bytes, len, (off_t)offset) == (ssize_t)len);
    for (size_t n = 0; n < len; n++)
        bytes[n] = (unsigned char)~bytes[n];
    t_check(pwrite(fd, bytes, len, (off_t)offset) == (ssize_t)len);
    t_check(fsync(fd) == 0);
    free(bytes);
    close(fd);
}

void t_file_zero(const char *path, uint64_t offset, size_t len)
{
    char *zeros = calloc(1, len + 1);
    t_check(zeros);
    t_file_write(path, offset, zeros, len);
    free(zeros);
}

void t_file_truncate(const char *path, uint64_t len)
{
    t_check(truncate(path, (off_t)len) == 0);
}

void t_file_copy(const char *from, const char *to)
{
    size_t len = 0;
    char *data = slurp(from, &len);
    t_check(data);
    t_file_make(to, data, len);
    free(data);
}

void t_rename(const char *from, const char *to)
{
    t_check(rename(from, to) == 0);
}

void t_remove(const char *path)
{
    t_check(unlink(path) == 0);
}

/* Calls fn with the path of every file in a directory, in the order of names. */
static void each_file(const char *dir, void (*fn)(const char *dir, const char *name, void *arg), void *arg)
{
    struct dirent **names = NULL;
    int count = scandir(dir, &names, NULL, alphasort);
    t_check(count >= 0);
    for (int n = 0; n < count; n++) {
        if (strcmp(names[n]->d_name, ".") && strcmp(names[n]->d_name, ".."))
            fn(dir, names[n]->d_name, arg);
        free(names[n]);
    }
    free(names);
}

static void copy_one(const char *dir, const char *name, void *to)
{
    char source[1024], target[1024];
    snprintf(source, sizeof source, "%s/%s", dir, name);
    snprintf(target, sizeof target, "%s/%s", (const char *)to, name);
    t_file_copy(source, target);
}

void t_dir_copy(const char *from, const char *to)
{
    t_dir_remove(to);
    t_check(mkdir(to, 0700) == 0);
    each_file(from, copy_one, (void *)(uintptr_t)to);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

void t_dir_remove(const char *dir)
{
    if (t_exists(dir))
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static uint64_t sum_bytes(uint64_t sum, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    size_t at = 0;
    for (; at + 8 <= len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        sum = t_mix(sum ^ word) + at;
    }
    for (; at < len; at++)
        sum = t_mix(sum ^ bytes[at]) + at;
    return sum;
}

uint64_t t_file_sum(const char *path)
{
    size_t len = 0;
    char *data = slurp(path, &len);
    t_check(data);
    uint64_t sum = sum_bytes(len, data, len);
    free(data);
    return sum;
}

static void sum_one(const char *dir, const char *name, void *sum)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *(uint64_t *)sum = sum_bytes(*(uint64_t *)sum, name, strlen(name)) ^ t_file_sum(path);
}

static void sum_segment(const char *dir, const char *name, void *sum)
{
    if (!strncmp(name, "twal-", 5) && strncmp(name, "twal-spare-", 11))
        sum_one(dir, name, sum);
}

uint64_t t_dir_sum(const char *dir)
{
    uint64_t sum = 1;
    each_file(dir, sum_one, &sum);
    return sum;
}

uint64_t t_segments_sum(const char *dir)
{
    uint64_t sum = 1;
    each_file(dir, sum_segment, &sum);
    return sum;
}

uint64_t t_file_find(const char *path, size_t len, uint64_t writer, uint64_t number)
{
    size_t size = 0;
    char *data = slurp(path, &size);
    uint64_t head[4];
    t_check(data && len >= sizeof head);
    t_payload_head(head, len, writer, number);
    char *found = memmem(data, size, head, sizeof head);
    uint64_t offset = (uint64_t)(found - data);
    free(data);
    if (!found)
        t_fail(__FILE__, __LINE__, "payload %" PRIu64 "/%" PRIu64 " is not in %s", writer, number, path);
    return offset;
}

uint64_t t_file_last_block(const char *path, uint64_t block_size)
{
    size_t size = 0;
    char *data = slurp(path, &size);
    t_check(data && size >= block_size);
    size_t end = size;
    while (end > 0 && data[end - 1] == 0)
        end--;
    free(data);
    t_check(end > 0);
    return (end - 1) / block_size * block_size;
}
