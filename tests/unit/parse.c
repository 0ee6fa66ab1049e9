// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that tool/parse.c parses arguments, Debian versions, kernel names and the output of dkms,
 * and rejects everything else.
 */
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/parse.h"
#include "tests/lib/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* ---- arguments ---- */

static void sizes(void)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "4096", 4096 },
		{ "4k", 4 * KIB },
		{ "4K", 4 * KIB },
		{ "2M", 2 * MIB },
		{ "2m", 2 * MIB },
		{ "1G", GIB },
		{ "1g", GIB },
		{ "0G", 0 },
		{ "0x1000", 4096 },
		{ "0XfF", 255 },
		{ "0x10K", 16 * KIB },
		{ "010", 8 },
		{ "010k", 8 * KIB },
		{ "18446744073709551615", UINT64_MAX },
		{ "0xffffffffffffffff", UINT64_MAX },
		{ "18014398509481983K", UINT64_MAX - 1023 },
		{ "17179869183G", UINT64_MAX - GIB + 1 },
	};
	static const char *const bad[] = {
		"",
		"K",
		" 1",
		"1 ",
		"\t1",
		"+1",
		"-1",
		"-0",
		"1KK",
		"1KB",
		"1KiB",
		"1T",
		"1.5K",
		"1,5",
		"0x",
		"0xK",
		"08",
		"0x1g1",
		"1 K",
		"a",
		"1e3",
		"0b1",
		"1-",
		"1:",
		"K1",
		"4096x",
		"--",
		"\xff",
		"1\xff",
		"18446744073709551616",
		"0x10000000000000000",
		"99999999999999999999999999999999",
		"18014398509481984K",
		"17592186044416M",
		"17179869184G",
	};
	uint64_t value;

	for (size_t i = 0; i < COUNT(good); i++) {
		value = ~good[i].value;
		tap_ok(parse_size(good[i].text, &value), "a size: %s", good[i].text);
		tap_ok(value == good[i].value, "its value: %llu", (unsigned long long)value);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		tap_ok(!parse_size(bad[i], &value), "not a size: '%s'", bad[i]);
	tap_ok(!parse_size("\xff", &value) && !parse_size("1\xff", &value),
	       "nor with a byte that is not ASCII");
}

static void file_specs(void)
{
	static const struct {
		const char *text, *path;
		uint64_t offset, size; /* no size: the whole file */
	} good[] = {
		{ "/dev/x", "/dev/x", 0, 0 },
		{ "x", "x", 0, 0 },
		{ ":", ":", 0, 0 },
		{ "::", "::", 0, 0 },
		{ "a:", "a:", 0, 0 },
		{ ":4096", ":4096", 0, 0 },
		{ "4096:4096", "4096:4096", 0, 0 },
		{ "/sys/bus/pci/devices/0000:00:02.0/resource0",
		  "/sys/bus/pci/devices/0000:00:02.0/resource0", 0, 0 },
		{ "/dev/x:4096", "/dev/x:4096", 0, 0 },
		{ "/dev/x::4096", "/dev/x::4096", 0, 0 },
		{ "/dev/x:4096:", "/dev/x:4096:", 0, 0 },
		{ "/dev/x:-4096:4096", "/dev/x:-4096:4096", 0, 0 },
		{ "/dev/x:4096:+4096", "/dev/x:4096:+4096", 0, 0 },
		{ "/dev/x: 0:4096", "/dev/x: 0:4096", 0, 0 },
		{ "/dev/x:0:4096 ", "/dev/x:0:4096 ", 0, 0 },
		{ "/dev/x:y:4096", "/dev/x:y:4096", 0, 0 },
		{ "/dev/x:18446744073709551616:4096", "/dev/x:18446744073709551616:4096", 0, 0 },
		{ "/dev/x:0:17179869184G", "/dev/x:0:17179869184G", 0, 0 },
		{ "/dev/x:0:4096", "/dev/x", 0, 4096 },
		{ "/dev/x:1M:2M", "/dev/x", MIB, 2 * MIB },
		{ "/dev/x:0x1000:010000", "/dev/x", 4096, 4096 },
		{ "/dev/x:0:1G", "/dev/x", 0, GIB },
		{ "/dev/x:0:0:4096", "/dev/x:0", 0, 4096 },
		{ "::0:4096", ":", 0, 4096 },
		{ "/0000:00:02.0/r:4K:8K", "/0000:00:02.0/r", 4 * KIB, 8 * KIB },
		{ "x:0x7fffffffffffe000:4096", "x", INT64_MAX - 8191, 4096 },
	};
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "the path is empty" },
		{ ":0:4096", "the path is empty" },
		{ "x:1:4096", "offset and size must be multiples of 4096" },
		{ "x:2K:4096", "offset and size must be multiples of 4096" },
		{ "x:0:4095", "offset and size must be multiples of 4096" },
		{ "x:0:1", "offset and size must be multiples of 4096" },
		{ "x:0:0", "the size must be between 4096 and 1G" },
		{ "x:4096:0", "the size must be between 4096 and 1G" },
		{ "x:0:1073745920", "the size must be between 4096 and 1G" },
		{ "x:0:2G", "the size must be between 4096 and 1G" },
		{ "x:0:0xfffffffffffff000", "the size must be between 4096 and 1G" },
		{ "x:0x7ffffffffffff000:4096", "the offset is too large" },
		{ "x:0x8000000000000000:4096", "the offset is too large" },
		{ "x:0xfffffffffffff000:4096", "the offset is too large" },
		{ "x:0x7fffffffc0000000:1G", "the offset is too large" },
	};
	static char text[5000];
	struct file_spec spec;
	const char *why;

	for (size_t i = 0; i < COUNT(good); i++) {
		memset(&spec, 0xff, sizeof(spec));
		why = parse_file_spec(good[i].text, &spec);
		tap_ok(!why, "understood: %s", good[i].text);
		if (!why)
			tap_ok(!strcmp(spec.path, good[i].path) && spec.whole == !good[i].size &&
				       (spec.whole || (spec.offset == good[i].offset &&
						       spec.size == good[i].size)),
			       "as %s, %llu, %llu", spec.path, (unsigned long long)spec.offset,
			       (unsigned long long)spec.size);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		why = parse_file_spec(bad[i].text, &spec);
		tap_ok(why && !strcmp(why, bad[i].why), "refused: %s: %s", bad[i].text,
		       why ? why : "not at all");
	}

	memset(text, 'x', sizeof(spec.path) - 1);
	tap_ok(!parse_file_spec(text, &spec) && strlen(spec.path) == sizeof(spec.path) - 1,
	       "a path of 4095 bytes");
	strcat(text, ":0:4096");
	tap_ok(!parse_file_spec(text, &spec) && strlen(spec.path) == sizeof(spec.path) - 1 &&
		       spec.size == 4096,
	       "and offset and size do not count");
	memset(text, 'x', sizeof(spec.path));
	strcpy(text + sizeof(spec.path), ":0:4096");
	why = parse_file_spec(text, &spec);
	tap_ok(why && !strcmp(why, "the path is too long"), "but one more is too long");
	text[sizeof(spec.path)] = '\0';
	why = parse_file_spec(text, &spec);
	tap_ok(why && !strcmp(why, "the path is too long"), "also without offset and size");
	memset(text, '1', sizeof(text) - 1);
	text[1] = ':';
	text[sizeof(text) - 10] = ':';
	why = parse_file_spec(text, &spec);
	tap_ok(why && !strcmp(why, "the path is too long"), "a number of that length is rejected");
}

/* ---- versions ---- */

/* The expected order is that of dpkg --compare-versions. */
static const struct {
	const char *a, *b;
	int order;
} versions[] = {
	{ "6.1.187-1", "6.1.187-1", 0 },
	{ "6.1.192-2", "6.1.187-1", 1 },
	{ "6.1.176-1", "6.1.187-1", -1 },
	{ "6.1.99-1", "6.1.187-1", -1 },
	{ "6.1.187-1~deb11u1", "6.1.187-1", -1 },
	{ "6.1.187-1+b1", "6.1.187-1", 1 },
	{ "6.12.111-1~deb12u1", "6.12.111-1~deb12u1", 0 },
	{ "6.12.111-1", "6.12.111-1~deb12u1", 1 },
	{ "6.12.111-1~deb12u2", "6.12.111-1~deb12u1", 1 },
	{ "6.12.111-1~bpo12+1", "6.12.111-1~deb12u1", -1 },
	{ "6.12.9-1", "6.12.111-1~deb12u1", -1 },
	{ "6.12.111-1~deb12u1", "6.12.111-1~deb12u1+rt1", -1 },
	{ "6.12~rc6-1~exp1", "6.12-1", -1 },
	{ "6.12~rc6-1~exp1", "6.12~rc6-1", -1 },
	{ "1:1.0-1", "2.0-1", 1 },
	{ "1:1.0-1", "1:1.0-2", -1 },
	{ "0:1.0-1", "1.0-1", 0 },
	{ "2:0", "10:0", -1 },
	{ "1:1~:0", "1:1", -1 },
	{ "1:0", "1:0-0", 0 },
	{ "1.0", "1.0-0", 0 },
	{ "1.0", "1.0-1", -1 },
	{ "1.0-1", "1.0-0.1", 1 },
	{ "1.0-1", "1.0-01", 0 },
	{ "1.01", "1.1", 0 },
	{ "1.001-1", "1.2-1", -1 },
	{ "1.0", "1.0.0", -1 },
	{ "1.0~", "1.0", -1 },
	{ "1.0~~", "1.0~", -1 },
	{ "1.0~~a", "1.0~", -1 },
	{ "1.0~a", "1.0~b", -1 },
	{ "1.0~rc1", "1.0~rc10", -1 },
	{ "1.0~rc1", "1.0+rc1", -1 },
	{ "1.0", "1.0a", -1 },
	{ "1.0a", "1.0+", -1 },
	{ "1.0a", "1.0b", -1 },
	{ "1.0Z", "1.0a", -1 },
	{ "1.0a1", "1.0a", 1 },
	{ "1.0a", "1.0.", -1 },
	{ "1.0+dfsg", "1.0.1", -1 },
	{ "1.0-1-1", "1.0-1", 1 },
	{ "1.0-1-1", "1.0-2", 1 },
	{ "1-2-3", "1-2-4", -1 },
	{ "10", "9", 1 },
	{ "0", "00", 0 },
	{ "20240101123456789012345678-1", "20240101123456789012345679-1", -1 },
	{ "99999999999999999999", "18446744073709551615", 1 },
	{ "18446744073709551616", "18446744073709551615", 1 },
	{ "1.99999999999999999999", "1.100000000000000000000", -1 },
	{ "1.0-1~", "1.0-1", -1 },
	{ "1.0-1ubuntu1", "1.0-1", 1 },
	{ "1.0-1ubuntu1", "1.0-1build1", 1 },
	{ "0.1.0", "0.1.0~git1", 1 },
};

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* 0: dpkg agrees; 1: it does not; -1: there is no dpkg. */
static int ask_dpkg(const char *a, const char *b, int order)
{
	static const char *const operators[] = { "lt", "eq", "gt" };
	const char *argv[] = { "dpkg", "--compare-versions", a, operators[order + 1], b, NULL };
	char *envp[] = { NULL };
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char **)argv, envp) ||
	    waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
		return -1;
	return status != 0;
}

static void compare(void)
{
	static char a[300], b[300];

	for (size_t i = 0; i < COUNT(versions); i++) {
		tap_is(sign(compare_versions(versions[i].a, versions[i].b)), versions[i].order,
		       "%s and %s", versions[i].a, versions[i].b);
		tap_is(sign(compare_versions(versions[i].b, versions[i].a)), -versions[i].order,
		       "and the other way around");
	}
	if (ask_dpkg("1", "1", 0)) {
		tap_skip(1, "there is no dpkg");
	} else {
		int wrong = 0;

		for (size_t i = 0; i < COUNT(versions); i++)
			wrong += ask_dpkg(versions[i].a, versions[i].b, versions[i].order);
		tap_is(wrong, 0, "dpkg orders all of them the same way");
	}
	memset(a, '1', sizeof(a) - 1);
	memset(b, '1', sizeof(b) - 1);
	tap_is(compare_versions(a, b), 0, "a version of 299 digits equals itself");
	tap_ok(compare_versions(a, "2") > 0 && compare_versions("2", a) < 0, "and is later than 2");
	tap_is(compare_versions("", ""), 0, "two empty versions are equal");
	tap_ok(compare_versions("", "1") < 0 && compare_versions("1", "") > 0,
	       "and earlier than all others");
}

static const char *support_name(enum support support)
{
	return support == SUPPORT_YES	  ? "supported" :
	       support == SUPPORT_TOO_OLD ? "too old" :
					    "not supported";
}

static void support_is(const struct kernel_line *list, const char *release, const char *version,
		       enum support want)
{
	enum support got = kernel_support(list, release, version);

	tap_ok(got == want, "%s, version %s, is %s", release, version ? version : "unknown",
	       support_name(got));
}

/* The list that is built into the tool. */
static void our_kernels(void)
{
	static const char *const yes[] = {
		"6.1.0-56-amd64",
		"6.1.0-9-amd64",
		"6.1.0-56-cloud-amd64",
		"6.1.0-56-rt-amd64",
		"6.12.117+deb12-amd64",
		"6.12.9+deb12-amd64",
		"6.12.117+deb12.1-amd64",
		"6.12.118+deb13-amd64",
		"6.12.118+deb13.1-amd64",
		"6.12.118+deb13-cloud-amd64",
		"6.12.118+deb13.2-rt-amd64",
	};
	static const char *const no[] = {
		"",
		"6.1.0-56-cloud-rt-amd64",
		"6.1.0-56-686-pae",
		"6.1.0-56-686",
		"6.1.0-56-arm64",
		"6.1.0-56-amd64-dbg",
		"6.1.0-56-amd64 ",
		"6.1.0-56-amd64\n",
		"x6.1.0-56-amd64",
		"6.1.0--amd64",
		"6.1.0-amd64",
		"6x1x0-56-amd64",
		"6.1.0-0.deb11.56-amd64",
		"6.1.0-0.deb11.21-cloud-amd64",
		"6.1.192",
		"6.1.192-dirty",
		"6.12.111+deb12-arm64",
		"6.12.111+deb12+1-amd64",
		"6.12.118+deb13.-amd64",
		"6.12.118+deb13.1.1-amd64",
		"6.12.118+deb14-amd64",
		"6.12.111-amd64",
		"6.12.12+bpo-amd64",
		"6.10.11+bpo-amd64",
		"6.12+deb12-amd64",
		"6.11.0-1026-oem",
		"6.8.12-9-pve",
		"6.13.0-1-amd64",
		"5.10.0-35-amd64",
		"4.19.0-27-amd64",
	};
	const struct kernel_line *last = supported_kernels;

	for (size_t i = 0; i < COUNT(yes); i++) {
		support_is(supported_kernels, yes[i], NULL, SUPPORT_YES);
		support_is(supported_kernels, yes[i], "", SUPPORT_YES);
		support_is(supported_kernels, yes[i], "6.0.0-1", SUPPORT_TOO_OLD);
	}
	for (size_t i = 0; i < COUNT(no); i++)
		support_is(supported_kernels, no[i], "99-1", SUPPORT_NO);
	support_is(supported_kernels, "6.1.0-50-amd64", "6.1.176-1", SUPPORT_TOO_OLD);
	support_is(supported_kernels, "6.1.0-56-amd64", "6.1.192-2", SUPPORT_YES);
	support_is(supported_kernels, "6.12.117+deb12-amd64", "6.12.117-1~deb12u1", SUPPORT_YES);
	support_is(supported_kernels, "6.12.117+deb12-amd64", "6.12.117-1~bpo12+1",
		   SUPPORT_TOO_OLD);
	support_is(supported_kernels, "6.12.117+deb13-amd64", "6.12.117-1", SUPPORT_YES);
	support_is(supported_kernels, "6.12.116+deb13-amd64", "6.12.116-1", SUPPORT_TOO_OLD);
	while (last->series)
		last++;
	tap_ok(last - supported_kernels >= 2, "the list has %td kernels", last - supported_kernels);
}

/* Other lists. */
static void lists(void)
{
	static char lengthy[300];
	struct kernel_line list[] = {
		{ "broken", "(", "1" },		{ "lengthy", lengthy, "1" },
		{ "two", "two|deux", "2.0-1" }, { "again", "two", "1.0-1" },
		{ "escaped", "a\\.b", "1" },	{ NULL, NULL, NULL },
	};

	memset(lengthy, 'x', sizeof(lengthy) - 1);
	support_is(list + 5, "two", NULL, SUPPORT_NO);
	support_is(list, "two", "2.0-1", SUPPORT_YES);
	support_is(list, "two", "2.0-2", SUPPORT_YES);
	support_is(list, "two", "1:1", SUPPORT_YES);
	support_is(list, "two", "2.0-1~1", SUPPORT_TOO_OLD);
	support_is(list, "deux", "1.9", SUPPORT_TOO_OLD);
	support_is(list, "twox", NULL, SUPPORT_NO);
	support_is(list, "xdeux", NULL, SUPPORT_NO);
	support_is(list, "a.b", NULL, SUPPORT_YES);
	support_is(list, "acb", NULL, SUPPORT_NO);
	support_is(list, "(", NULL, SUPPORT_NO);
}

static void debian_versions(void)
{
	static const struct {
		const char *uname, *version;
	} table[] = {
		{ "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-01)", "6.1.192-2" },
		{ "#1 SMP PREEMPT_DYNAMIC Debian 6.12.111-1~deb12u1 (2026-10-28)",
		  "6.12.111-1~deb12u1" },
		{ "#1 SMP PREEMPT_DYNAMIC Debian 6.12.9-1~bpo12+1 (2025-01-19)",
		  "6.12.9-1~bpo12+1" },
		{ "#1 SMP PREEMPT_DYNAMIC Debian 6.12~rc6-1~exp1 (2024-11-10)", "6.12~rc6-1~exp1" },
		{ "#1 SMP PREEMPT_RT Debian 6.1.140-1 (2025-05-22)", "6.1.140-1" },
		{ "#1 SMP Debian 5.10.237-1 (2025-05-19)", "5.10.237-1" },
		{ "#1 SMP Debian 4.19.316-1 (2024-06-25)", "4.19.316-1" },
		{ "#1 SMP Debian 6.1.192-2", "6.1.192-2" },
		{ "#1 SMP PREEMPT_DYNAMIC Tue Nov 24 20:28:15 UTC 2026", "" },
		{ "#31~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Tue Nov 24 20:28:15 UTC 2", "" },
		{ "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-9 (2025-03-16T19:18Z)", "" },
		{ "#1 SMP Debian kernel of mine", "" },
		{ "#1 SMP Debian (2026-11-01)", "" },
		{ "#1 SMP Debian ", "" },
		{ "#1 SMP Debian", "" },
		{ "", "" },
	};
	char version[64];

	for (size_t i = 0; i < COUNT(table); i++) {
		memset(version, 'x', sizeof(version));
		debian_version(table[i].uname, version, sizeof(version));
		tap_ok(!strcmp(version, table[i].version), "of %s: '%s'", table[i].uname, version);
	}
	memset(version, 'x', sizeof(version));
	debian_version(table[0].uname, version, 4);
	tap_ok(!strcmp(version, "6.1") && version[4] == 'x', "cut where there is no room");
}

static void releases(void)
{
	static const struct {
		const char *release;
		bool is;
	} table[] = {
		{ "6.13.0-1-amd64", true },
		{ "6.13", true },
		{ "6.13-rc1", true },
		{ "6.14.1", true },
		{ "6.100.0", true },
		{ "7.0.0", true },
		{ "7.0", true },
		{ "10.2.3", true },
		{ "6.12.111+deb12-amd64", false },
		{ "6.1.0-56-amd64", false },
		{ "6.2.13", false },
		{ "5.19.0", false },
		{ "5.99.13", false },
		{ "6", false },
		{ "6.", false },
		{ "", false },
		{ "x6.13", false },
		{ "linux", false },
	};

	for (size_t i = 0; i < COUNT(table); i++)
		tap_is(release_at_least(table[i].release, 6, 13), table[i].is, "'%s' and 6.13",
		       table[i].release);
	tap_ok(release_at_least("6.1.0-56-amd64", 6, 1), "6.1.0 is 6.1 or later");
	tap_ok(release_at_least("6.1.0-56-amd64", 5, 19), "and later than 5.19");
}

/* ---- dkms ---- */

#define DIFF_2	 " (WARNING! Diff between built and installed module!)"
#define DIFF_3	 " (Differences between built and installed modules)"
#define ORIGINAL " (original_module exists)"

static void dkms_lines(void)
{
	static const struct {
		const char *line, *version, *release, *state;
	} good[] = {
		{ "kvm-pfnmap, 0.1.0: added\n", "0.1.0", "", "added" },
		{ "kvm-pfnmap, 0.1.0, 6.1.0-56-amd64, x86_64: built\n", "0.1.0", "6.1.0-56-amd64",
		  "built" },
		{ "kvm-pfnmap, 0.1.0, 6.1.0-56-amd64, x86_64: installed\n", "0.1.0",
		  "6.1.0-56-amd64", "installed" },
		{ "kvm-pfnmap, 0.1.0, 6.1.0-56-amd64, x86_64: installed" ORIGINAL "\n", "0.1.0",
		  "6.1.0-56-amd64", "installed" ORIGINAL },
		{ "kvm-pfnmap, 0.1.0, 6.1.0-56-amd64, x86_64: installed" DIFF_2 DIFF_2 DIFF_2 "\n",
		  "0.1.0", "6.1.0-56-amd64", "installed" DIFF_2 DIFF_2 DIFF_2 },
		{ "kvm-pfnmap/0.1.0: added\n", "0.1.0", "", "added" },
		{ "kvm-pfnmap/0.1.0: broken\n", "0.1.0", "", "broken" },
		{ "kvm-pfnmap/0.1.0, 6.12.111+deb12-amd64, x86_64: built\n", "0.1.0",
		  "6.12.111+deb12-amd64", "built" },
		{ "kvm-pfnmap/0.1.0, 6.12.111+deb12-amd64, x86_64: installed\n", "0.1.0",
		  "6.12.111+deb12-amd64", "installed" },
		{ "kvm-pfnmap/0.1.0, 6.1.0-56-amd64, x86_64: installed" DIFF_3 "\n", "0.1.0",
		  "6.1.0-56-amd64", "installed" DIFF_3 },
		{ "kvm-pfnmap/0.1.0, 6.1.0-56-amd64, x86_64: installed" ORIGINAL DIFF_3 "\n",
		  "0.1.0", "6.1.0-56-amd64", "installed" ORIGINAL DIFF_3 },
		{ "kvm-pfnmap/0.1.0+git~1-2, 6.1.0-56-amd64, x86_64: built", "0.1.0+git~1-2",
		  "6.1.0-56-amd64", "built" },
		{ "kvm-pfnmap/0.1.0,6.1.0-56-amd64,x86_64:built \t\r\n", "0.1.0", "6.1.0-56-amd64",
		  "built" },
	};
	static const char *const bad[] = {
		"",
		"\n",
		"nvidia/550.163.01, 6.1.0-56-amd64, x86_64: installed\n",
		"nvidia, 550.163.01, 6.1.0-56-amd64, x86_64: installed\n",
		"kvm/0.1.0: added\n",
		"kvm-pfnmap-more/0.1.0: added\n",
		"kvm-pfnmap-more, 0.1.0: added\n",
		"xkvm-pfnmap/0.1.0: added\n",
		" kvm-pfnmap/0.1.0: added\n",
		"KVM-PFNMAP/0.1.0: added\n",
		"kvm-pfnmap",
		"kvm-pfnmap\n",
		"kvm-pfnmap: added\n",
		"kvm-pfnmap/: added\n",
		"kvm-pfnmap/, 6.1.0-56-amd64, x86_64: built\n",
		"kvm-pfnmap/0.1.0\n",
		"kvm-pfnmap/0.1.0, 6.1.0-56-amd64, x86_64\n",
		"kvm-pfnmap/0.1.0:\n",
		"kvm-pfnmap/0.1.0, 6.1.0-56-amd64, x86_64: \n",
		"Error! kvm-pfnmap/0.1.0: Missing the module source directory\n",
		"Deprecated feature: REMAKE_INITRD (/var/lib/dkms/kvm-pfnmap/0.1.0/source)\n",
	};
	struct dkms_line out;
	char line[1024];
	bool ok;

	for (size_t i = 0; i < COUNT(good); i++) {
		memset(&out, 0xff, sizeof(out));
		ok = parse_dkms_line(good[i].line, "kvm-pfnmap", &out);
		tap_ok(ok, "a line of dkms: %s", good[i].line);
		if (ok)
			tap_ok(!strcmp(out.version, good[i].version) &&
				       !strcmp(out.release, good[i].release) &&
				       !strcmp(out.state, good[i].state),
			       "it says: '%s' '%s' '%s'", out.version, out.release, out.state);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		tap_ok(!parse_dkms_line(bad[i], "kvm-pfnmap", &out), "none: '%s'", bad[i]);

	snprintf(line, sizeof(line), "a/%0*d, %0*d, x: built", (int)sizeof(out.version) - 1, 1,
		 (int)sizeof(out.release) - 1, 2);
	tap_ok(parse_dkms_line(line, "a", &out) && strlen(out.version) == sizeof(out.version) - 1 &&
		       strlen(out.release) == sizeof(out.release) - 1,
	       "the longest version and release");
	snprintf(line, sizeof(line), "a/%0*d: built", (int)sizeof(out.version), 1);
	tap_ok(!parse_dkms_line(line, "a", &out), "a longer version is rejected");
	snprintf(line, sizeof(line), "a/1, %0*d, x: built", (int)sizeof(out.release), 2);
	tap_ok(!parse_dkms_line(line, "a", &out), "a longer release is rejected");
	snprintf(line, sizeof(line), "a/1: %0*d", (int)sizeof(out.state), 3);
	tap_ok(parse_dkms_line(line, "a", &out) && strlen(out.state) == sizeof(out.state) - 1,
	       "a longer state is cut");
}

/* ---- others ---- */

static void brackets(void)
{
	static const struct {
		const char *text, *word; /* NULL: none */
	} table[] = {
		{ "[none] integrity confidentiality", "none" },
		{ "none [integrity] confidentiality", "integrity" },
		{ "none integrity [confidentiality]", "confidentiality" },
		{ "[a][b]", "a" },
		{ "[]", "" },
		{ "] [a]", "a" },
		{ "", NULL },
		{ "none", NULL },
		{ "[none", NULL },
		{ "none]", NULL },
		{ "]none[", NULL },
	};
	char word[32];

	for (size_t i = 0; i < COUNT(table); i++) {
		bool found;

		memset(word, 'x', sizeof(word));
		found = bracketed_word(table[i].text, word, sizeof(word));
		tap_is(found, table[i].word != NULL, "a word in '%s'", table[i].text);
		if (found && table[i].word)
			tap_ok(!strcmp(word, table[i].word), "it is '%s'", word);
	}
	memset(word, 'x', sizeof(word));
	tap_ok(bracketed_word("[integrity]", word, 4) && !strcmp(word, "int") && word[4] == 'x',
	       "cut where there is no room");
}

int main(void)
{
	sizes();
	file_specs();
	compare();
	our_kernels();
	lists();
	debian_versions();
	releases();
	dkms_lines();
	brackets();
	return tap_done();
}
