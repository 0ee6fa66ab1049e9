// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the Debian guest of tests/qemu_ivshmem.c: fills the memory of the ivshmem device
 * (BAR 2), reads it back, says so on the console and powers off.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ivshmem_guest.h"

static int has(const char *dir, const char *file, const char *want)
{
	char path[256], text[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return !strcmp(text, want);
}

/* Map BAR 2 of the first ivshmem device; *size becomes its size in bytes. */
static volatile uint64_t *map_bar(size_t *size)
{
	volatile uint64_t *mem = MAP_FAILED;
	char path[256];
	struct stat st;
	glob_t devs;
	size_t i;
	int fd;

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &devs))
		return NULL;
	for (i = 0; i < devs.gl_pathc; i++) {
		const char *dev = devs.gl_pathv[i];

		if (!has(dev, "vendor", "0x1af4\n") || !has(dev, "device", "0x1110\n"))
			continue;
		snprintf(path, sizeof(path), "%s/resource2", dev);
		fd = open(path, O_RDWR);
		if (fd < 0 || fstat(fd, &st))
			break;
		*size = st.st_size;
		mem = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		break;
	}
	return mem == MAP_FAILED ? NULL : mem;
}

int main(void)
{
	volatile uint64_t *mem;
	size_t size, i, wrong = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts(GUEST_SAYS_UP);
	mkdir("/sys", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mem = map_bar(&size);
	if (mem) {
		printf(GUEST_SAYS_FOUND, size);
		for (i = 0; i < size / 8; i++)
			mem[i] = ivshmem_pattern(i);
		for (i = 0; i < size / 8; i++)
			wrong += mem[i] != ivshmem_pattern(i);
		printf(GUEST_SAYS_DONE, size, wrong);
	} else {
		puts("guest: there is no ivshmem device");
	}
	reboot(RB_POWER_OFF);
	return 1;
}
