// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap probe --file reports which pages of the exporter's memory and of ordinary files work,
 * leaves every byte as it was, and says clearly why something cannot be probed.
 *
 * Contract: 3, 7, as reported by the tool. Seen to fail: with a tool that does not restore the
 * content; with one that waits forever for a driver.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/kit.h"
#include "tests/lib/tool.h"

#define PAGES 64u
#define FILE_ "/tmp/file"

static struct tool t;

static const char *const refused = "KVM refuses this memory, as it does with non-refcounted "
				   "pages ";

/* part: ":OFFSET:SIZE" or nothing. */
static void probe(const char *path, const char *part)
{
	char file[64];

	snprintf(file, sizeof(file), "%s%s", path, part);
	tool_run(&t, "probe", "--file", file);
}

/* Open the named buffer, and write a different word into each page. */
static void open_buffer(struct buf *b, const struct pfnmap_create *spec)
{
	buf_open_named(b, spec);
	for (uint32_t i = 0; i < spec->pages; i++)
		buf_set_word(b, (uint64_t)i * KIT_PAGE + 8 * (i % 512), i + 1);
}

static bool unchanged(const struct buf *b)
{
	uint64_t page[KIT_PAGE / 8];

	for (uint32_t i = 0; i < b->spec.pages; i++) {
		if (pread(b->fd, page, KIT_PAGE, (off_t)i * KIT_PAGE) != KIT_PAGE)
			tap_bail("pread of the buffer: %s", strerror(errno));
		for (uint32_t w = 0; w < ARRAY_SIZE(page); w++)
			if (page[w] != (w == i % ARRAY_SIZE(page) ? i + 1 : 0))
				return false;
	}
	return true;
}

static void test_small(void)
{
	char regex[300];
	struct buf b;

	open_buffer(&b, &(struct pfnmap_create){
				.kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES });
	probe(PFNMAP_BUFFER_PATH, "");
	if (kit_takes_all())
		tool_ok(&t, 0, " " PFNMAP_BUFFER_PATH ", device result works: .* in all 64 pages ",
			"chunks of 8 pages");
	else {
		snprintf(regex, sizeof(regex),
			 " " PFNMAP_BUFFER_PATH
			 ", device result Bad address, only 8 of 64 pages work: %s",
			 refused);
		tool_ok(&t, 1, regex, "chunks of 8 pages");
	}
	tap_ok(unchanged(&b), "chunks of 8 pages: the content is what it was");

	probe(PFNMAP_BUFFER_PATH, ":0x8000:16K");
	if (kit_takes_all())
		tool_ok(&t, 0, "works: .* in all 4 pages ", "a part of them");
	else
		tool_ok(&t, 1, "first page only, then Bad address: .* 4 of 4 pages tried, ",
			"a part of them");
	tap_ok(unchanged(&b), "a part of them: the content is what it was");
	probe(PFNMAP_BUFFER_PATH, ":36K:4K");
	if (kit_takes_all())
		tool_ok(&t, 0, "works: .* in all 1 pages ", "a non-refcounted page");
	else
		tool_ok(&t, 1, "result Bad address: KVM refuses", "a non-refcounted page");
	probe(PFNMAP_BUFFER_PATH, ":0:1M");
	tool_ok(&t, 4, " result not mappable: " PFNMAP_BUFFER_PATH " has only 262144 bytes $",
		"more than the buffer has");

	buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_NOPAGE);
	buf_do(&b, PFNMAP_REVOKE, 0);
	tool_run(&t, "probe", "--timeout", "2", "--file", PFNMAP_BUFFER_PATH);
	tool_ok(&t, 5,
		" result hangs: no progress for 2 s during the host's own access, at page 0 of 64 ",
		"a driver that keeps it waiting");
	buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);

	buf_do(&b, PFNMAP_REFUSE, 1);
	probe(PFNMAP_BUFFER_PATH, "");
	tool_ok(&t, 4, " result not mappable: the host itself cannot access page 0: Bus error ",
		"a driver that provides no page");
	buf_do(&b, PFNMAP_REFUSE, 0);
	buf_do(&b, PFNMAP_FREE, 0);
	probe(PFNMAP_BUFFER_PATH, ":0:4K");
	tool_ok(&t, 4, " result not mappable: mmap: ", "a driver that has freed the pages");
	buf_close(&b);
}

static void put_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "we");

	for (size_t i = 0; f && i < size; i++)
		fputc((int)(i * 7 % 251), f);
	if (!f || fclose(f))
		tap_bail("%s: %s", path, strerror(errno));
}

static bool file_is(const char *path, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t i;

	for (i = 0; f && i < size; i++)
		if (fgetc(f) != (int)(i * 7 % 251))
			break;
	if (f)
		fclose(f);
	return i == size;
}

/* Kill the tool while its guest runs, or while it waits for a driver. */
static void test_killed(void)
{
	struct buf b;

	open_buffer(&b,
		    &(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = PFNMAP_MAX_PAGES });
	for (int hold = 0; hold < 2; hold++) {
		buf_do(&b, PFNMAP_HOLD, hold ? PFNMAP_HOLD_NOPAGE : PFNMAP_HOLD_OFF);
		t.kill_ms = 1500;
		probe(PFNMAP_BUFFER_PATH, ":0:64M");
		t.kill_ms = 0;
		/* The runner, too, checks that no process is left. */
		for (int i = 0; i < 40 && buf_stats(&b).mappings; i++)
			usleep(100000);
		tap_ok(t.status == -1 && !buf_stats(&b).mappings,
		       "killed %s: no mapping and no process is left",
		       hold ? "while it waits" : "while its guest runs");
		buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
		tap_ok(unchanged(&b), "the content is what it was");
	}
	buf_close(&b);
}

/* Start the tool from a process that ignores SIGCHLD. */
static void test_ignored(void)
{
	put_file(FILE_, KIT_PAGE);
	t.ignore_chld = true;
	probe(FILE_, "");
	tool_ok(&t, 0, " result works: ", "with SIGCHLD ignored");
	t.ignore_chld = false;
	unlink(FILE_);
}

/* 2 MiB entries: the first page is touched first and is refcounted, so any KVM maps all of it. */
static void test_huge(void)
{
	struct buf b;

	open_buffer(&b, &(struct pfnmap_create){ .kind = PFNMAP_NONCOMPOUND,
						 .insert = PFNMAP_INSERT_PMD,
						 .order = 9,
						 .pages = 1024 });
	probe(PFNMAP_BUFFER_PATH, "");
	tool_ok(&t, 0, "works: .*page sizes 2 MiB \\(2\\) ", "large pages");
	tap_ok(unchanged(&b), "large pages: the content is what it was");
	buf_close(&b);
}

static void test_files(void)
{
	put_file(FILE_, 3 * KIT_PAGE + 100);
	probe(FILE_, "");
	tool_ok(&t, 0, " " FILE_ ", file result works: .* in all 3 pages ",
		"a file: its whole pages");
	tap_ok(file_is(FILE_, 3 * KIT_PAGE + 100), "a file keeps its content");
	probe(FILE_, ":4K:16K");
	tool_ok(&t, 4, ": " FILE_ " has only 12388 bytes $", "a file that is too short");
	put_file(FILE_, 100);
	probe(FILE_, "");
	tool_ok(&t, 4, ": " FILE_ " has only 100 bytes, less than a page $", "a tiny file");
	unlink(FILE_);
	probe(FILE_, "");
	tool_ok(&t, 4, ": " FILE_ ": No such file or directory $", "no file");
	probe("/machine/bin/busybox", "");
	tool_ok(&t, 4, ": /machine/bin/busybox: Read-only file system $", "a read-only file");
	probe("/tmp", "");
	tool_ok(&t, 4, ": /tmp is a directory $", "a directory");
	mkfifo("/tmp/pipe", 0600);
	probe("/tmp/pipe", "");
	tool_ok(&t, 4, ": /tmp/pipe is neither a file nor a device $", "a pipe");
	unlink("/tmp/pipe");
	probe("/dev/ram0", "");
	tool_ok(&t, 4, ": /dev/ram0 is a disk: a probe might damage its content $", "a disk");
	probe("/dev/null", "");
	tool_ok(&t, 4, ": /dev/null does not report its size: use PATH:OFFSET:SIZE $",
		"a device without a size");
	probe("/dev/null", ":0:4K");
	tool_ok(&t, 4, ": mmap: No such device $", "a device without memory");
	tool_run(&t, "probe", "--drm", "/dev/null");
	tool_ok(&t, 4, ": /dev/null is not a DRM device $", "--drm with another device");
	tool_run(&t, "probe", "--drm", "/dev/dri/card99");
	tool_ok(&t, 4, ": /dev/dri/card99: No such file or directory $", "--drm without a device");
	tool_run(&t, "probe", "--json", "--drm", "/dev/dri/card99");
	tool_ok(&t, 4, "\"verdict\": \"no_buffer\", .*\"exit_status\": 4 \\} $",
		"the same in JSON");
}

int main(void)
{
	kit_start();
	test_small();
	test_killed();
	test_ignored();
	test_huge();
	test_files();
	return kit_finish();
}
