/* The smallest whole program: write three records, read them back.
 * cc hello.c -ltwal -o hello && ./hello hello-log */
#include <stdio.h>
#include <string.h>
#include <twal.h>

static int fail(const char *what, int code)
{
    twal_error why = {.struct_size = sizeof why};
    twal_last_error(&why);
    fprintf(stderr, "%s: %s: %s\n", what, twal_strerror(code), why.text);
    return 1;
}

int main(int argc, char **argv)
{
    static const char *const words[] = {"written", "flushed", "acknowledged"};
    twal_log *log;
    int rc = twal_open(argc > 1 ? argv[1] : "hello-log", NULL, &log);
    if (rc != TWAL_OK)
        return fail("open", rc);

    for (size_t i = 0; i < 3 && rc == TWAL_OK; i++) {
        uint64_t seq;
        rc = twal_append(log, words[i], strlen(words[i]), &seq); /* returns when the record is durable */
        if (rc == TWAL_OK)
            printf("durable: %llu\n", (unsigned long long)seq);
    }

    twal_iter *iter = NULL;
    twal_record record;
    if (rc == TWAL_OK)
        rc = twal_recover_iter(log, 0, &iter); /* 0: from the oldest record on */
    while (rc == TWAL_OK && (rc = twal_iter_next(iter, &record)) == 1) {
        printf("record %llu: %.*s\n", (unsigned long long)record.seq, (int)record.len, (const char *)record.data);
        rc = TWAL_OK;
    }
    if (rc != TWAL_OK)
        fail("append or read", rc);
    twal_iter_close(iter);
    int closed = twal_close(log);
    return rc != TWAL_OK || closed != TWAL_OK;
}
