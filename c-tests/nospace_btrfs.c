/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: what full_disk.h says, on btrfs: its files are written in place, or every write would need room.
 */
#include "full_disk.h"

int main(void)
{
    return full_disk("btrfs", 160 * T_MIB);
}
