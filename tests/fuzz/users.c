// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the search for users of KVM with a /proc and a /sys that contain anything: the list stays
 * within its bounds, no user is lost, and the reason not to reload is one string that ends.
 *
 * The pieces of the input are, in the order of the calls, the names in a directory, of which an
 * empty one is the last, the targets of links and the first lines of files.
 *
 * Seen to fail: with only the last descriptor of a process deciding.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/fuzz/fuzz.h"

static const uint8_t *input;
static size_t left;
static int open_dirs, kvm_files;

static DIR *fake_opendir(const char *path)
{
	MUST(!strncmp(path, "/proc", 5) || !strncmp(path, "/sys/module/", 12));
	errno = left && *input % 2 ? EACCES : ENOENT;
	if (left && *input % 8 == 1)
		return NULL;
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
	return open_dirs--;
}

static ssize_t fake_readlinkat(int dir, const char *path, char *target, size_t size)
{
	char *text = fuzz_piece(&input, &left);
	ssize_t n = strnlen(text, size);

	(void)dir, (void)path;
	memcpy(target, text, n);
	kvm_files += !strncmp(text, "anon_inode:kvm-", 15);
	free(text);
	return n ? n : -1;
}

static int fake_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	(void)dir, (void)path, (void)flags;
	*st = (struct stat){ .st_mode = S_IFCHR, .st_rdev = makedev(10, left ? *input : 232) };
	kvm_files += st->st_rdev == makedev(10, 232);
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

	(void)path;
	snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
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
	kvm_files = 0;
	kvm_users_get(u, &s);
	MUST(!open_dirs);
	MUST(u->n <= ARRAY_SIZE(u->list) && u->total >= u->n && !u->total == !kvm_files);
	MUST(u->n == u->total || u->n == ARRAY_SIZE(u->list));
	for (size_t i = 0; i < u->n; i++)
		MUST(memchr(u->list[i].name, 0, sizeof(u->list[i].name)));
	MUST(memchr(u->holders, 0, sizeof(u->holders)));
	why = reload_obstacle(&s, u);
	MUST(!why == (!u->n && !u->holders[0] && u->refcount <= 0));
	MUST(!why || (*why && strlen(why) < 1024));
	free(u);
	return 0;
}
