// SPDX-License-Identifier: GPL-2.0-only
/*
 * module_params - Each parameter that the series and the exporter add takes the values that it is
 * documented to take, and no others: the module then does not load, with an errno that says why,
 * and nothing of it stays. No parameter can be changed at run time.
 *
 * This proves that allow_unsafe_mappings is off unless the administrator asks for it, and stays
 * what it was when KVM was loaded. KVM must not be loaded; the exporter is loaded anew.
 *
 * Seen to fail: the addresses, with an exporter that does not check them; the parameter that cannot
 * be changed, with 0644 in place of 0444 in the exporter.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What is loaded before kvm.ko; some of it may be there. */
static const char *const before_kvm[] = { "/modules/irqbypass.ko" };

static const struct param {
	const char *module, *file, *name;
} unsafe = { "kvm", "/modules/patched/kvm.ko", "allow_unsafe_mappings" },
  untold = { "pfnmap_exporter", "/modules/pfnmap_exporter.ko", "untold" };

static const struct {
	const struct param *param;
	const char *args;
	int err;
	const char *value; /* in /sys, once it is loaded */
} table[] = {
	{ &unsafe, "", 0, "N" },
	{ &unsafe, "allow_unsafe_mappings=0", 0, "N" },
	{ &unsafe, "allow_unsafe_mappings=n", 0, "N" },
	{ &unsafe, "allow_unsafe_mappings=off", 0, "N" },
	{ &unsafe, "allow_unsafe_mappings=1", 0, "Y" },
	{ &unsafe, "allow_unsafe_mappings=Y", 0, "Y" },
	{ &unsafe, "allow_unsafe_mappings", 0, "Y" },
	/* The last one counts, as everywhere. */
	{ &unsafe, "allow_unsafe_mappings=1 allow_unsafe_mappings=0", 0, "N" },
	{ &unsafe, "allow_unsafe_mappings=", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=2", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=-1", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=maybe", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=\"", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=99999999999999999999", EINVAL, NULL },
	{ &unsafe, "allow_unsafe_mappings=1 allow_unsafe_mappings=x", EINVAL, NULL },
	{ &untold, "", 0, "0" },
	{ &untold, "untold=0", 0, "0" },
	/* Nothing is there, which the exporter cannot know, and nothing is mapped yet. */
	{ &untold, "untold=0xf00000000", 0, "64424509440" },
	{ &untold, "untold", EINVAL, NULL },
	{ &untold, "untold=", EINVAL, NULL },
	{ &untold, "untold=x", EINVAL, NULL },
	{ &untold, "untold=-1", EINVAL, NULL },
	{ &untold, "untold=1G", EINVAL, NULL },
	{ &untold, "untold=0x10000000000000000", ERANGE, NULL },
	/* Not aligned for entries of 2 MiB, */
	{ &untold, "untold=1", EINVAL, NULL },
	{ &untold, "untold=0xf00001000", EINVAL, NULL },
	{ &untold, "untold=0xffffffffffffffff", EINVAL, NULL },
	/* beyond the end, */
	{ &untold, "untold=0xffffffffffe00000", EINVAL, NULL },
	{ &untold, "untold=0x8000000000000000", EINVAL, NULL },
	/* and memory that the kernel uses. */
	{ &untold, "untold=0x1000000", EINVAL, NULL },
	{ &untold, "untold=0x2000000", EINVAL, NULL },
};

static int load(const char *file, const char *args)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		tap_bail("%s: %s", file, strerror(errno));
	err = syscall(SYS_finit_module, fd, args, 0) ? errno : 0;
	close(fd);
	return err;
}

static void unload(const char *module)
{
	if (syscall(SYS_delete_module, module, O_NONBLOCK))
		tap_bail("rmmod %s: %s", module, strerror(errno));
}

static bool is_loaded(const char *module)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s", module);
	return !access(path, F_OK);
}

static const char *value_of(const struct param *p)
{
	static char value[64];
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", p->module, p->name);
	f = fopen(path, "re");
	if (!f || !fgets(value, sizeof(value), f))
		value[0] = '\0';
	if (f)
		fclose(f);
	value[strcspn(value, "\n")] = '\0';
	return value;
}

/* Root, who may write anything, cannot write this. */
static void test_read_only(const struct param *p, const char *value)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", p->module, p->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	err = fd < 0 ? errno : 0;
	if (fd >= 0) {
		tap_diag("writing 1 to it returns %zd", write(fd, "1\n", 2));
		close(fd);
	}
	tap_ok(err == EACCES && !strcmp(value_of(p), value), "%s is %s and cannot be written: %s",
	       p->name, value_of(p), strerror(err));
}

int main(void)
{
	if (is_loaded("kvm"))
		tap_bail("KVM is loaded, but this test must load it");
	for (size_t i = 0; i < COUNT(before_kvm); i++) {
		int err = load(before_kvm[i], "");

		if (err && err != EEXIST)
			tap_bail("%s: %s", before_kvm[i], strerror(err));
	}
	unload(untold.module);
	for (size_t i = 0; i < COUNT(table); i++) {
		const struct param *p = table[i].param;
		int err = load(p->file, table[i].args);

		tap_is(err, table[i].err, "%s with '%s': %s", p->module, table[i].args,
		       err ? strerror(err) : "loads");
		if (err) {
			tap_ok(!is_loaded(p->module), "and nothing of it is left");
			continue;
		}
		if (table[i].value) {
			tap_ok(!strcmp(value_of(p), table[i].value), "and %s is %s", p->name,
			       value_of(p));
			test_read_only(p, table[i].value);
		}
		unload(p->module);
	}
	tap_is(load(untold.file, ""), 0, "the exporter loads again");
	return tap_done();
}
