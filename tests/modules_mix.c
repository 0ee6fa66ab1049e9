// SPDX-License-Identifier: GPL-2.0-only
/*
 * modules_mix - Stock and patched modules never mix: the kvm.ko of one kind refuses the vendor
 * modules of the other. kvmgt.ko, which is not rebuilt, loads on both.
 *
 * This proves the design rule "drop-in" rather than a sentence of the contract. No module of KVM is
 * loaded before the test or after it. Once loaded, kvmgt.ko is also a user of KVM that kvm-pfnmap
 * reload must name. The test needs the machine's files at /machine and, in BUILD, the machine's
 * path of the build directory.
 *
 * Seen to fail: a stock kvm.ko in the place of the patched one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/lib/tool.h"

#define MAX_FILES 40
#define LINE	  4096

/* Newer than the headers of Debian 12. */
#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4
#endif

static const char *const kinds[] = { "stock", "patched" };

/* Module files, each after those that it depends on. */
struct files {
	char text[LINE];
	char *path[MAX_FILES];
	bool ours[MAX_FILES]; /* loaded by load_files() */
	int n;
};

static int kmsg = -1;
static struct tool tool;

/* Skip what is in the kernel log so far. */
static void log_start(void)
{
	if (kmsg < 0)
		kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		tap_bail("/dev/kmsg: %s", strerror(errno));
}

/* Has this text been logged since? */
static bool log_has(const char *text)
{
	char record[LINE];
	bool found = false;
	ssize_t n;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		record[n > 0 ? n : 0] = '\0';
		found |= strstr(record, text) != NULL;
	}
	return found;
}

static bool packed(const char *path)
{
	size_t len = strlen(path);

	return len > 3 && !strcmp(path + len - 3, ".xz");
}

/* Load a module file; returns 0 or errno. */
static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	if (syscall(SYS_finit_module, fd, "", packed(path) ? MODULE_INIT_COMPRESSED_FILE : 0))
		err = errno;
	close(fd);
	return err;
}

/* The kernel's name for a file's module. */
static const char *name_of(const char *path)
{
	static char name[64];
	size_t i;

	path = strrchr(path, '/') + 1;
	for (i = 0; i + 1 < sizeof(name) && path[i] && path[i] != '.'; i++)
		name[i] = path[i] == '-' ? '_' : path[i];
	name[i] = '\0';
	return name;
}

static void unload(const char *path)
{
	if (syscall(SYS_delete_module, name_of(path), O_NONBLOCK))
		tap_bail("rmmod %s: %s", name_of(path), strerror(errno));
}

/* Find "KEY: FILE FILE ..." in the file `list`, and take the words after the colon. */
static void read_files(struct files *f, const char *list, const char *key)
{
	size_t len = strlen(key);
	char *word;
	FILE *in;

	*f = (struct files){ .n = 0 };
	in = fopen(list, "re");
	if (!in)
		tap_bail("%s: %s", list, strerror(errno));
	while (fgets(f->text, sizeof(f->text), in))
		if (!strncmp(f->text, key, len) && f->text[len] == ':')
			break;
	if (feof(in))
		tap_bail("%s has no line for %s", list, key);
	fclose(in);
	for (word = strtok(f->text + len + 1, " \n"); word && f->n < MAX_FILES;
	     word = strtok(NULL, " \n"))
		f->path[f->n++] = word;
}

/* Load those that are not loaded yet; returns 0 or the errno of the first that fails. */
static int load_files(struct files *f)
{
	for (int i = 0; i < f->n; i++) {
		int err = load(f->path[i]);

		if (err && err != EEXIST) {
			tap_diag("%s: %s", f->path[i], strerror(err));
			return err;
		}
		f->ours[i] = !err;
	}
	return 0;
}

static void unload_files(struct files *f)
{
	for (int i = f->n - 1; i >= 0; i--)
		if (f->ours[i])
			unload(f->path[i]);
}

/* vendor: "kvm-amd" or "kvm-intel"; err: how loading the one that fits ends on this host. */
static void test_vendor(const char *kind, const char *other, const char *vendor, int err)
{
	char key[32], path[64], said[80], unknown[80], module[32];
	struct files f;
	int got;

	snprintf(key, sizeof(key), "%s/%s", kind, vendor);
	read_files(&f, "/modules/deps", key);
	/* The list ends with the vendor module itself. */
	f.n--;
	if (load_files(&f))
		tap_bail("the dependencies of %s do not load", key);

	snprintf(path, sizeof(path), "/modules/%s/%s.ko", other, vendor);
	snprintf(module, sizeof(module), "%s", name_of(path));
	snprintf(said, sizeof(said), "%s: disagrees about version of symbol", module);
	snprintf(unknown, sizeof(unknown), "%s: Unknown symbol", module);
	log_start();
	got = load(path);
	/* The order of the module's symbols decides which error comes first. */
	tap_ok((got == EINVAL && log_has(said)) || (got == ENOENT && log_has(unknown)),
	       "%s %s does not fit %s kvm: %s", other, vendor, kind, strerror(got));
	log_start();
	got = load(f.path[f.n]);
	tap_ok(got == err && !log_has(said), "%s %s fits %s kvm: %s", kind, vendor, kind,
	       got ? strerror(got) : "loads");
	if (!got)
		unload(f.path[f.n]);
	unload_files(&f);
}

/* The files of kvmgt.ko and its dependencies in the stock image, except KVM's own. */
static void kvmgt_files(struct files *f)
{
	const char *kvmgt = "kernel/drivers/gpu/drm/i915/kvmgt.ko";
	static char text[2 * LINE];
	const char *build = getenv("BUILD");
	char root[512], list[600], *end = text;
	struct utsname u;
	struct files in_dep;

	if (!build)
		tap_bail("BUILD is not set; it is the machine's path of the build directory");
	uname(&u);
	snprintf(root, sizeof(root), "/machine%s/%s/image/lib/modules/%s", build, u.release,
		 u.release);
	/* From 6.12 on Debian compresses modules. */
	snprintf(list, sizeof(list), "%s/%s", root, kvmgt);
	if (access(list, F_OK))
		kvmgt = "kernel/drivers/gpu/drm/i915/kvmgt.ko.xz";
	snprintf(list, sizeof(list), "%s/modules.dep", root);
	read_files(&in_dep, list, kvmgt);

	/* depmod lists first what must be loaded last. */
	*f = (struct files){ .n = 0 };
	for (int i = in_dep.n; i >= 0; i--) {
		const char *path = i ? in_dep.path[i - 1] : kvmgt;

		if (strstr(path, "/kvm/"))
			continue;
		f->path[f->n++] = end;
		end += snprintf(end, text + sizeof(text) - end, "%s/%s", root, path) + 1;
		if (end > text + sizeof(text))
			tap_bail("kvmgt.ko has too many dependencies");
	}
}

static void test_kvmgt(const char *kind)
{
	struct files kvm, gvt;
	char key[32];
	int err;

	snprintf(key, sizeof(key), "%s/kvm-amd", kind);
	read_files(&kvm, "/modules/deps", key);
	if (load_files(&kvm))
		tap_bail("%s does not load", key);
	kvmgt_files(&gvt);
	log_start();
	err = load_files(&gvt);
	tap_ok(!err && !access("/sys/module/kvm/holders/kvmgt", F_OK) &&
		       !log_has("disagrees about"),
	       "kvmgt.ko fits %s kvm: %s", kind, err ? strerror(err) : "loads");
	tool_run(&tool, "reload");
	tool_ok(&tool, 1,
		"^kvm-pfnmap: reload: other modules use KVM: kvmgt; nothing was changed $",
		"kvm-pfnmap reload names kvmgt");
	unload_files(&gvt);
	unload_files(&kvm);
}

int main(void)
{
	if (!access("/sys/module/kvm", F_OK))
		tap_bail("KVM is loaded, but this test must load it");
	for (int i = 0; i < 2; i++) {
		test_vendor(kinds[i], kinds[1 - i], "kvm-amd", 0);
		/* The host has no VT-x; the module says so after its symbols are resolved. */
		test_vendor(kinds[i], kinds[1 - i], "kvm-intel", EOPNOTSUPP);
		test_kvmgt(kinds[i]);
	}
	tap_ok(access("/sys/module/kvm", F_OK), "no module of KVM is left loaded");
	return tap_done();
}
