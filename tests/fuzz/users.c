// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the search for users of KVM with a /proc and a /sys that contain anything: the list has
 * the processes that have a file of KVM open, within its bounds, their number is right, and the
 * reason not to reload is one string that ends.
 *
 * The pieces of the input are, in the order of the calls, the names in a directory, of which an
 * empty one is the last, the targets of links and the first lines of files.
 *
 * Seen to fail: with only the last descriptor of a process deciding; with the wrong process listed.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/fuzz/fuzz.h"

static const uint8_t *input;
static size_t left;
static int open_dirs;

/* The process whose descriptors are being read, and those that had one of KVM. */
static struct seen {
	int pid;
	bool found, vm;
	char name[32];
} now, seen[1024];
static size_t n_seen;

static DIR *fake_opendir(const char *path)
{
	MUST(!strncmp(path, "/proc", 5) || !strncmp(path, "/sys/module/", 12));
	errno = left && *input % 2 ? EACCES : ENOENT;
	if (left && *input % 8 == 1)
		return NULL;
	now = (struct seen){ 0 };
	sscanf(path, "/proc/%d/fd", &now.pid);
	open_dirs++;
	return (DIR *)&open_dirs;
}

static struct dirent *fake_readdir(DIR *dir)
{
	static struct dirent de;
	char *name = fuzz_piece(&input, &left);

	(void)dir;
	snprintf(de.d_name, sizeof(de.d_name), "%s", name);
	free(name);
	return de.d_name[0] ? &de : NULL;
}

static int fake_closedir(DIR *dir)
{
	(void)dir;
	MUST(n_seen < sizeof(seen) / sizeof(seen[0]));
	if (now.found)
		seen[n_seen++] = now;
	now.found = false;
	return open_dirs--;
}

static ssize_t fake_readlinkat(int dir, const char *path, char *target, size_t size)
{
	char *text = fuzz_piece(&input, &left);
	ssize_t n = strnlen(text, size);

	(void)dir, (void)path;
	memcpy(target, text, n);
	if (!strncmp(text, "anon_inode:kvm-", 15))
		now.found = now.vm = true;
	free(text);
	return n ? n : -1;
}

static int fake_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	(void)dir, (void)path, (void)flags;
	*st = (struct stat){ .st_mode = S_IFCHR, .st_rdev = makedev(10, left ? *input : 232) };
	now.found |= st->st_rdev == makedev(10, 232);
	return 0;
}

#define opendir	   fake_opendir
#define readdir	   fake_readdir
#define closedir   fake_closedir
#define dirfd(dir) 0
#define readlinkat fake_readlinkat
#define fstatat	   fake_fstatat
#include "tool/users.c"

bool read_line(const char *path, char *text, size_t size)
{
	char *line = fuzz_piece(&input, &left);
	bool ok = line[0];

	snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
	if (!strncmp(path, "/proc/", 6)) {
		MUST(n_seen && size <= sizeof(seen->name));
		strcpy(seen[n_seen - 1].name, text);
	}
	free(line);
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kvm_state s;
	struct kvm_users *u = malloc(sizeof(*u));
	const char *why;

	MUST(u);
	s = (struct kvm_state){ .release = "1", .kvm.name = "kvm", .vendor.name = "kvm_amd" };
	strcpy(s.kvm.next.path, "/a/kvm.ko");
	strcpy(s.vendor.next.path, "/a/kvm-amd.ko");
	strcpy(s.kvm.next.release, "1");
	strcpy(s.vendor.next.release, "1");
	input = data;
	left = size;
	n_seen = 0;
	kvm_users_get(u, &s);
	MUST(!open_dirs);
	MUST(u->n <= ARRAY_SIZE(u->list) && u->total == n_seen);
	MUST(u->n == u->total || (u->n < u->total && u->n == ARRAY_SIZE(u->list)));
	for (size_t i = 0; i < u->n; i++) {
		MUST(u->list[i].pid == seen[i].pid && u->list[i].vm == seen[i].vm);
		MUST(!strcmp(u->list[i].name, seen[i].name));
	}
	MUST(memchr(u->holders, 0, sizeof(u->holders)));
	why = reload_obstacle(&s, u);
	MUST(!why == (!u->n && !u->holders[0] && u->refcount <= 0));
	MUST(!why || (*why && strlen(why) < 1024));
	free(u);
	return 0;
}
