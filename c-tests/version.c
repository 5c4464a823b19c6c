/* Goal: the library says the version of the header that it came with, as number
 * and as text. */
#include "helpers.h"

int main(void)
{
    t_begin();
    char text[64];
    t_equal(twal_version_number(), TWAL_VERSION_NUMBER);
    t_check(strcmp(twal_version_string(), TWAL_VERSION_STRING) == 0);
    snprintf(text, sizeof text, "%d.%d.%d", TWAL_VERSION_MAJOR, TWAL_VERSION_MINOR, TWAL_VERSION_PATCH);
    t_check(strcmp(text, TWAL_VERSION_STRING) == 0);
    t_equal(TWAL_VERSION_NUMBER,
            1000000 * TWAL_VERSION_MAJOR + 1000 * TWAL_VERSION_MINOR + TWAL_VERSION_PATCH);
    return t_end();
}
