// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the Debian guests of tests/lib/qemu.c: takes commands on the console and uses the memory
 * of the ivshmem device (BAR 2).
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "tests/guest/ivshmem.h"

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

/* Without a driver, only the firmware makes a device answer to its addresses, at boot. */
static void enable(const char *dev)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/enable", dev);
	f = fopen(path, "w");
	if (!f)
		return;
	fputs("1", f);
	fclose(f);
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

	*size = 0;
	if (glob("/sys/bus/pci/devices/*", 0, NULL, &devs))
		return NULL;
	for (i = 0; i < devs.gl_pathc; i++) {
		const char *dev = devs.gl_pathv[i];

		if (!has(dev, "vendor", "0x1af4\n") || !has(dev, "device", "0x1110\n"))
			continue;
		enable(dev);
		snprintf(path, sizeof(path), "%s/resource2", dev);
		fd = open(path, O_RDWR);
		if (fd < 0)
			break;
		if (!fstat(fd, &st))
			mem = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		break;
	}
	globfree(&devs);
	if (mem == MAP_FAILED)
		return NULL;
	*size = st.st_size;
	return mem;
}

/* The pages of a command, and the seed of their content. */
struct job {
	volatile uint64_t *mem;
	size_t size, step; /* bytes */
	unsigned long seed;
};

static void write_pages(const struct job *j)
{
	size_t off, i;

	for (off = 0; off < j->size; off += j->step)
		for (i = off / 8; i < off / 8 + GUEST_WORDS; i++)
			j->mem[i] = ivshmem_pattern(i, j->seed);
}

static size_t check_pages(const struct job *j, size_t *wrong)
{
	size_t off, i, done = 0;

	for (off = 0; off < j->size; off += j->step, done += GUEST_PAGE)
		for (i = off / 8; i < off / 8 + GUEST_WORDS; i++)
			*wrong += j->mem[i] != ivshmem_pattern(i, j->seed);
	return done;
}

static void obey(const char *line)
{
	unsigned int stride = 0;
	size_t done = 0, wrong = 0;
	char verb[16] = "";
	struct job j = { 0 };

	sscanf(line, "%15s %u %lu", verb, &stride, &j.seed);
	if (!strcmp(verb, "reboot"))
		reboot(RB_AUTOBOOT);
	if (!strcmp(verb, "poweroff"))
		reboot(RB_POWER_OFF);
	j.mem = map_bar(&j.size);
	j.step = (size_t)stride * GUEST_PAGE;
	if (j.mem && stride) {
		if (!strcmp(verb, "loop"))
			for (;; j.seed++)
				write_pages(&j);
		if (!strcmp(verb, "write"))
			write_pages(&j);
		done = check_pages(&j, &wrong);
	}
	printf(GUEST_SAYS_DID, j.size, done, wrong);
	if (j.mem)
		munmap((void *)j.mem, j.size);
}

int main(void)
{
	struct termios t;
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/sys", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	/* Keep the commands out of the output. */
	if (!tcgetattr(0, &t)) {
		t.c_lflag &= ~ECHO;
		tcsetattr(0, TCSANOW, &t);
	}
	puts(GUEST_SAYS_UP);
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	reboot(RB_POWER_OFF);
	return 1;
}
