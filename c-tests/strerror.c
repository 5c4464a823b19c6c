/* Goal: every code has its own words, every other number has some; never NULL,
 * and always the same pointer's text. */
#include "helpers.h"

static const int codes[] = { 0, -101, -102, -103, -104, -201, -202, -203, -204, -205, -206, -207, -208,
                             -209, -210, -301, -302, -303, -304, -305, -401, -402, -403, -404, -501 };
#define CODES (sizeof codes / sizeof *codes)

int main(void)
{
    t_begin();
    const char *unknown = twal_strerror(-9999);
    t_check(unknown && *unknown);
    for (size_t n = 0; n < CODES; n++) {
        const char *text = twal_strerror(codes[n]);
        t_check(text && *text && strlen(text) < 200);
        t_check(strcmp(text, unknown) != 0);
        t_check(!strchr(text, '\n'));
        for (size_t other = 0; other < n; other++)
            t_check(strcmp(text, twal_strerror(codes[other])) != 0);
    }
    static const int strange[] = { 1, 2, -1, -100, -105, -199, -211, -306, -405, -502, INT32_MIN, INT32_MAX };
    for (size_t n = 0; n < sizeof strange / sizeof *strange; n++) {
        t_check(twal_strerror(strange[n]));
        t_check(strcmp(twal_strerror(strange[n]), unknown) == 0);
    }
    return t_end();
}
