// SPDX-License-Identifier: GPL-2.0-only
/*
 * exporter_misuse - Every ioctl of the exporter, with wrong, missing, huge and hostile arguments,
 * in every state of a buffer, fails as pfnmap_exporter.h says, and leaves nothing behind: the pages
 * with their counts and content, the kept old pages, the counters and the mappings stay what they
 * were.
 *
 * Seen to fail: with an exporter that does not test the reserved field in spec_valid() nor the
 * flags in buffer_replace(), where a specification that must be refused replaces the buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES	 16u
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum state { EMPTY, FULL, MAPPED, KEPT, FREED, NR_STATES };
static const char *const state_names[NR_STATES] = {
	"empty", "with pages", "mapped", "moved, old pages kept", "freed, old pages kept, mapped",
};
#define IN(state) (1u << (state))
#define ANY	  (IN(NR_STATES) - 1)
#define HAS_PAGES (IN(FULL) | IN(MAPPED) | IN(KEPT))

static const struct pfnmap_create good = { .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = PAGES };

/* Everything that user space can know of a buffer. */
struct view {
	struct pfnmap_page pages[PAGES];
	uint8_t content[PAGES * KIT_PAGE];
	struct pfnmap_old old;
	struct pfnmap_stats stats;
	off_t size;
	bool has_pages;
};

static void look(int fd, struct view *v)
{
	struct pfnmap_report report = { .count = PAGES, .pages = (uintptr_t)v->pages };

	memset(v, 0, sizeof(*v));
	v->has_pages = !ioctl(fd, PFNMAP_REPORT, &report);
	if (!v->has_pages && errno != ENXIO)
		tap_bail("PFNMAP_REPORT: %s", strerror(errno));
	if (v->has_pages && pread(fd, v->content, sizeof(v->content), 0) != sizeof(v->content))
		tap_bail("pread: %s", strerror(errno));
	if (ioctl(fd, PFNMAP_CHECK_OLD, &v->old) || ioctl(fd, PFNMAP_STATS, &v->stats))
		tap_bail("PFNMAP_STATS: %s", strerror(errno));
	v->size = lseek(fd, 0, SEEK_END);
}

static const char *change(const struct view *a, const struct view *b)
{
	if (a->has_pages != b->has_pages)
		return "pages came or went";
	if (memcmp(a->pages, b->pages, sizeof(a->pages)))
		return "a page, a count or a flag changed";
	if (memcmp(a->content, b->content, sizeof(a->content)))
		return "the content changed";
	if (memcmp(&a->old, &b->old, sizeof(a->old)))
		return "the old pages changed";
	if (memcmp(&a->stats, &b->stats, sizeof(a->stats)))
		return "a counter changed";
	return a->size == b->size ? NULL : "the size changed";
}

/* ---- pointers ---- */

enum pointer { NOWHERE, KERNEL, TOP, UNMAPPED, CUT, READ_ONLY, NO_ACCESS, REFUSED, NR_POINTERS };
static const char *const pointer_names[NR_POINTERS] = {
	"NULL",		  "the kernel's",
	"the last bytes", "unmapped",
	"cut at the end", "read-only, for output",
	"no access",	  "a page that cannot be faulted in",
};
static void *pointers[NR_POINTERS];

static void *anon(int prot, size_t pages)
{
	void *p = mmap(NULL, pages * KIT_PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	return p;
}

static void make_pointers(void)
{
	static struct buf refused;
	uint8_t *two = anon(KIT_RW, 2);

	pointers[KERNEL] = (void *)(~(UINTPTR_MAX >> 2) | 0x1000);
	pointers[TOP] = (void *)(UINTPTR_MAX - 3);
	/* Below the program, where mmap() puts nothing by itself. */
	pointers[UNMAPPED] = (void *)0x10000;
	if (mprotect(two + KIT_PAGE, KIT_PAGE, PROT_NONE))
		tap_bail("mprotect: %s", strerror(errno));
	/* Four bytes of the structure are there. */
	pointers[CUT] = two + KIT_PAGE - 4;
	pointers[READ_ONLY] = anon(PROT_READ, 1);
	pointers[NO_ACCESS] = anon(PROT_NONE, 1);
	buf_open(&refused, &(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = 1 });
	buf_map(&refused, KIT_RW);
	buf_do(&refused, PFNMAP_REFUSE, PFNMAP_REFUSE_FAIL);
	pointers[REFUSED] = refused.map;
}

/* ---- the calls ---- */

static const struct {
	const char *name;
	unsigned long request;
	bool output;
} with_pointer[] = {
	{ "CREATE", PFNMAP_CREATE, false },	 { "REPORT", PFNMAP_REPORT, false },
	{ "CHECK_OLD", PFNMAP_CHECK_OLD, true }, { "STATS", PFNMAP_STATS, true },
	{ "LOOK", PFNMAP_LOOK, false },
};

/* Wrong values of arguments by value: all bits above the known ones count, up to `last`, if any. */
static const unsigned long bits[] = { 2,     3,		0x80,
				      0x100, 1ul << 31, 1ul << (sizeof(long) * 8 - 1),
				      -1ul,  -2ul };
static const struct {
	const char *name;
	unsigned long request, first_wrong, last;
} with_value[] = {
	{ "MOVE", PFNMAP_MOVE, 2, 0 },
	{ "FREE", PFNMAP_FREE, 2, 0 },
	{ "REFUSE", PFNMAP_REFUSE, PFNMAP_NR_REFUSES, 0 },
	{ "HOLD", PFNMAP_HOLD, PFNMAP_NR_HOLDS, PFNMAP_HOLD_MS(1) - 1 },
	{ "HOLD", PFNMAP_HOLD, PFNMAP_NR_HOLDS | PFNMAP_HOLD_MS(1), PFNMAP_HOLD_MS(2) - 1 },
	{ "HOLD", PFNMAP_HOLD, PFNMAP_HOLD_MS(PFNMAP_HOLD_MAX_MS + 1), 0 },
	{ "LOSE", PFNMAP_LOSE, PFNMAP_MAX_LOSE + 1, 0 },
	{ "STRAY", PFNMAP_STRAY, 0, 0 }, /* from the number of old pages on */
};

static const struct pfnmap_create wrong_specs[] = {
	{ .kind = PFNMAP_NR_KINDS, .pages = 1 },
	{ .kind = UINT32_MAX, .pages = 1 },
	{ .kind = 1u << 31, .pages = 1 },
	{ .insert = PFNMAP_NR_INSERTS, .pages = 1 },
	{ .insert = UINT32_MAX, .pages = 1 },
	{ .order = PFNMAP_MAX_ORDER + 1, .pages = 1024 },
	{ .order = 31, .pages = PFNMAP_MAX_PAGES },
	{ .order = 32, .pages = 1 },
	{ .order = 64, .pages = 1 },
	{ .order = UINT32_MAX, .pages = 1 },
	{ .order = 1, .pages = 1 },
	{ .order = 9, .pages = 511 },
	{ .kind = PFNMAP_SINGLE, .order = 1, .pages = 2 },
	{ .kind = PFNMAP_SHMEM, .order = 9, .pages = 512 },
	{ .kind = PFNMAP_DEVICE, .order = 9, .pages = 513 },
	{ .kind = PFNMAP_DEVICE, .pages = 256 },
	{ .flags = PFNMAP_CREATE_MKWRITE | 2, .pages = 1 },
	{ .flags = UINT32_MAX, .pages = 1 },
	{ .kind = PFNMAP_MIXED, .flags = PFNMAP_CREATE_MKWRITE, .pages = 1 },
	{ .insert = PFNMAP_INSERT_PMD, .order = 8, .pages = 512 },
	{ .insert = PFNMAP_INSERT_PMD, .kind = PFNMAP_MIXED, .pages = 512 },
	{ .insert = PFNMAP_INSERT_PMD, .order = 9, .flags = PFNMAP_CREATE_MKWRITE, .pages = 512 },
	{ .pages = 0 },
	{ .pages = PFNMAP_MAX_PAGES + 1 },
	{ .pages = 1u << 31 },
	{ .pages = UINT32_MAX },
	{ .reserved = 1, .pages = 1 },
	{ .reserved = 1u << 31, .pages = 1 },
};

static const struct {
	uint32_t first, count;
} wrong_reports[] = {
	{ 0, PAGES + 1 },
	{ PAGES, 1 },
	{ PAGES - 1, 2 },
	{ PAGES + 1, 0 },
	{ UINT32_MAX, 1 },
	{ UINT32_MAX, UINT32_MAX },
	{ 1, UINT32_MAX },
	{ 0, UINT32_MAX },
	{ PFNMAP_MAX_PAGES, PFNMAP_MAX_PAGES },
	{ 1u << 31, 1u << 31 },
	{ 1, PFNMAP_MAX_PAGES },
};

/* One call that must fail with this errno and change nothing. Counts what is wrong. */
static int wrong(int fd, const struct view *before, unsigned long request, unsigned long arg,
		 int want, const char *what, const char *how, unsigned long nr)
{
	static struct view after;
	int ret = ioctl(fd, request, arg), err = errno;
	const char *changed;

	look(fd, &after);
	changed = change(before, &after);
	if (ret == -1 && err == want && !changed)
		return 0;
	tap_diag("%s, %s %lu: %s instead of %s; %s", what, how, nr,
		 ret == -1 ? strerror(err) : "success", strerror(want),
		 changed ? changed : "nothing changed");
	return 1;
}

static void calls_with_pointers(int fd, enum state state, const struct view *before)
{
	int bad = 0, n = 0;

	for (size_t i = 0; i < COUNT(with_pointer); i++)
		for (int p = 0; p < NR_POINTERS; p++) {
			if (p == READ_ONLY && !with_pointer[i].output)
				continue;
			bad += wrong(fd, before, with_pointer[i].request,
				     (unsigned long)(uintptr_t)pointers[p], EFAULT,
				     with_pointer[i].name, pointer_names[p], 0);
			n++;
		}
	/* The pointer in the structure. */
	for (int p = 0; p < NR_POINTERS && IN(state) & HAS_PAGES; p++) {
		struct pfnmap_report report = { .count = 1, .pages = (uintptr_t)pointers[p] };

		bad += wrong(fd, before, PFNMAP_REPORT, (unsigned long)(uintptr_t)&report, EFAULT,
			     "REPORT to", pointer_names[p], 0);
		n++;
	}
	if (IN(state) & HAS_PAGES) {
		struct pfnmap_page page;
		struct pfnmap_report report = {
			.count = 1,
			.pages = (uintptr_t)&page | 1ull << 63,
		};

		bad += wrong(fd, before, PFNMAP_REPORT, (unsigned long)(uintptr_t)&report, EFAULT,
			     "REPORT to", "an address that is too large", 0);
		n++;
	}
	tap_is(bad, 0, "%s: EFAULT for %d bad pointers", state_names[state], n);
}

static void calls_with_values(int fd, enum state state, const struct view *before)
{
	bool none = !(IN(state) & HAS_PAGES);
	struct pfnmap_look at = { 0 };
	int bad = 0, n = 0;

	for (size_t i = 0; i < COUNT(with_value); i++)
		for (size_t j = 0; j <= COUNT(bits); j++) {
			unsigned long first = with_value[i].request == PFNMAP_STRAY ?
						      before->old.pages :
						      with_value[i].first_wrong;
			unsigned long arg = j < COUNT(bits) ? bits[j] : first;

			if (arg < first || (with_value[i].last && arg > with_value[i].last))
				continue;
			bad += wrong(fd, before, with_value[i].request, arg, EINVAL,
				     with_value[i].name, "argument", arg);
			n++;
		}
	for (size_t i = 0; i < COUNT(wrong_specs); i++, n++)
		bad += wrong(fd, before, PFNMAP_CREATE, (unsigned long)(uintptr_t)&wrong_specs[i],
			     EINVAL, "CREATE", "specification", i);
	for (size_t i = 0; i < COUNT(wrong_reports); i++, n++) {
		struct pfnmap_report report = { wrong_reports[i].first, wrong_reports[i].count, 0 };
		bool huge = report.first > PFNMAP_MAX_PAGES || report.count > PFNMAP_MAX_PAGES;

		bad += wrong(fd, before, PFNMAP_REPORT, (unsigned long)(uintptr_t)&report,
			     none && !huge ? ENXIO : EINVAL, "REPORT", "range", i);
	}
	for (int i = 0; i < NR_POINTERS; i++) {
		if (i == REFUSED)
			continue;
		at.address = (uintptr_t)pointers[i];
		bad += wrong(fd, before, PFNMAP_LOOK, (unsigned long)(uintptr_t)&at, EINVAL,
			     "LOOK at", pointer_names[i], 0);
		n++;
	}
	/* Cut to a pointer of 32 bits, it is the address of the buffer of REFUSED. */
	at.address = (uintptr_t)pointers[REFUSED] | 1ull << 63;
	bad += wrong(fd, before, PFNMAP_LOOK, (unsigned long)(uintptr_t)&at, EINVAL, "LOOK at",
		     "an address of 64 bits", 0);
	n++;
	tap_is(bad, 0, "%s: EINVAL for %d wrong values", state_names[state], n);
}

/* What the state itself rules out. */
static void calls_out_of_place(int fd, enum state state, const struct view *before)
{
	unsigned long spec = (unsigned long)(uintptr_t)&good;
	int bad = 0;

	if (!(IN(state) & HAS_PAGES)) {
		bad += wrong(fd, before, PFNMAP_REVOKE, 0, ENXIO, "REVOKE", "argument", 0);
		for (unsigned long arg = 0; arg < 2; arg++) {
			bad += wrong(fd, before, PFNMAP_MOVE, arg, ENXIO, "MOVE", "argument", arg);
			bad += wrong(fd, before, PFNMAP_FREE, arg, ENXIO, "FREE", "argument", arg);
		}
		tap_is(bad, 0, "%s: ENXIO, since there are no pages", state_names[state]);
	}
	if (before->stats.mappings)
		tap_is(wrong(fd, before, PFNMAP_CREATE, spec, EBUSY, "CREATE", "mapped", 0), 0,
		       "%s: EBUSY, since it is mapped", state_names[state]);
}

/* Numbers around the known ones and beyond, and the known ones with another direction or size. */
static void unknown_calls(int fd, enum state state, const struct view *before)
{
	static const unsigned int sizes[] = { 0, 1, 8, 16, 24, 32, 4096, _IOC_SIZEMASK };
	static const unsigned int known[] = {
		PFNMAP_CREATE, PFNMAP_REPORT,	 PFNMAP_REVOKE, PFNMAP_MOVE,
		PFNMAP_FREE,   PFNMAP_REFUSE,	 PFNMAP_HOLD,	PFNMAP_LOSE,
		PFNMAP_STRAY,  PFNMAP_CHECK_OLD, PFNMAP_STATS,	PFNMAP_LOOK,
	};
	int bad = 0, n = 0;

	for (unsigned int nr = 0; nr < 256; nr += nr < 24 ? 1 : 33)
		for (unsigned int dir = 0; dir < 4; dir++)
			for (size_t i = 0; i < COUNT(sizes); i++) {
				unsigned int request = _IOC(dir, PFNMAP_IOC, nr, sizes[i]);
				bool is_known = false;

				for (size_t j = 0; j < COUNT(known); j++)
					is_known |= known[j] == request;
				if (is_known)
					continue;
				bad += wrong(fd, before, request, (unsigned long)(uintptr_t)&good,
					     ENOTTY, "unknown call", "number", request);
				n++;
			}
	bad += wrong(fd, before, _IOC(_IOC_WRITE, PFNMAP_IOC + 1, 0, sizeof(good)),
		     (unsigned long)(uintptr_t)&good, ENOTTY, "another driver's", "number", 0);
	tap_is(bad, 0, "%s: ENOTTY for %d unknown calls", state_names[state], n + 1);
}

/* Prepare a buffer, and return its mapping, if it has one. */
static void *prepare(int fd, enum state state)
{
	void *map = NULL;

	if (state != EMPTY && ioctl(fd, PFNMAP_CREATE, &good))
		tap_bail("PFNMAP_CREATE: %s", strerror(errno));
	for (unsigned int i = 0; state != EMPTY && i < PAGES; i++)
		if (pwrite(fd, &i, sizeof(i), i * KIT_PAGE + 8) != sizeof(i))
			tap_bail("pwrite: %s", strerror(errno));
	if (state == MAPPED || state == FREED) {
		map = mmap(NULL, PAGES * KIT_PAGE, KIT_RW, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			tap_bail("mmap: %s", strerror(errno));
		*(volatile uint32_t *)map = 77;
	}
	if (state == KEPT && ioctl(fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD))
		tap_bail("PFNMAP_MOVE: %s", strerror(errno));
	if (state == FREED && ioctl(fd, PFNMAP_FREE, PFNMAP_KEEP_OLD))
		tap_bail("PFNMAP_FREE: %s", strerror(errno));
	return map;
}

static void in_state(const char *path, enum state state)
{
	static struct view before;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *map;

	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	map = prepare(fd, state);
	look(fd, &before);
	tap_is(before.has_pages, !!(IN(state) & HAS_PAGES), "%s: %s", path, state_names[state]);
	tap_is(before.old.pages, state == KEPT || state == FREED ? PAGES : 0, "with its old pages");
	calls_with_pointers(fd, state, &before);
	calls_with_values(fd, state, &before);
	calls_out_of_place(fd, state, &before);
	unknown_calls(fd, state, &before);
	/* It still works: it is neither refused, nor held, nor locked. */
	if (map && state == MAPPED)
		tap_is(*(volatile uint32_t *)map, 77, "%s: the mapping works", state_names[state]);
	if (map)
		munmap(map, PAGES * KIT_PAGE);
	tap_ok(!ioctl(fd, PFNMAP_CREATE, &good) && !ioctl(fd, PFNMAP_MOVE, 0) &&
		       !ioctl(fd, PFNMAP_FREE, 0),
	       "%s: it can be created anew, moved and freed", state_names[state]);
	close(fd);
}

int main(void)
{
	kit_start();
	make_pointers();
	for (enum state state = EMPTY; state < NR_STATES; state++)
		in_state(PFNMAP_EXPORTER_PATH, state);
	for (enum state state = FULL; state < NR_STATES; state++)
		in_state(PFNMAP_BUFFER_PATH, state);
	return kit_finish();
}
