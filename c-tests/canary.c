/*
 * Not a test of twal: proves that the harness sees a failure when there is one.
 * run.sh calls it with the fault to commit, and fails if it is not noticed.
 */
#include "helpers.h"

static int raced;

static void *race(void *arg)
{
    for (int n = 0; n < 1000; n++)
        raced++;
    return arg;
}

int main(int argc, char **argv)
{
    const char *fault = argc > 1 ? argv[1] : "";
    t_begin();
    if (!strcmp(fault, "check"))
        t_equal(twal_close(NULL), 1);
    if (!strcmp(fault, "child")) {
        t_wait_child_ok(t_fork((void (*)(void *))(uintptr_t)abort, NULL));
    }
    if (!strcmp(fault, "hang"))
        for (;;)
            pause();
    if (!strcmp(fault, "skip"))
        t_skip("as it was told");
    if (!strcmp(fault, "overflow")) {
        volatile char *bytes = malloc(8);
        volatile int beyond = 8;
        t_check(bytes);
        bytes[beyond] = 1;
        free((void *)(uintptr_t)bytes);
    }
    if (!strcmp(fault, "undefined")) {
        volatile int most = INT32_MAX;
        printf("%d\n", most + 1);
    }
    if (!strcmp(fault, "leak")) {
        volatile char *bytes = malloc(1000);
        t_check(bytes);
        bytes = NULL;
    }
    if (!strcmp(fault, "race")) {
        pthread_t one = t_thread(race, NULL), two = t_thread(race, NULL);
        t_join(one);
        t_join(two);
    }
    if (!strcmp(fault, "payload")) {
        /* The payload check must see one wrong bit, and a stranger's record. */
        char data[100];
        uint64_t writer, number;
        for (size_t at = 0; at < sizeof data; at++) {
            t_payload_fill(data, sizeof data, 3, 4);
            data[at] = (char)(data[at] ^ 1);
            if (t_payload_read(data, sizeof data, &writer, &number))
                return t_end();
        }
        t_fail(__FILE__, __LINE__, "as it should");
    }
    return t_end();
}
