/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: what full_disk.h says, on xfs.
 */
#include "full_disk.h"

int main(void)
{
    return full_disk("xfs", 300 * T_MIB);
}
