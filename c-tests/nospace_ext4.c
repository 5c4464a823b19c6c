/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: what full_disk.h says, on ext4.
 */
#include "full_disk.h"

int main(void)
{
    return full_disk("ext4", 48 * T_MIB);
}
