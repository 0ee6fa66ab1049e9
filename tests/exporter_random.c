// SPDX-License-Identifier: GPL-2.0-only
/*
 * exporter_random - Any sequence of the exporter's calls, right and wrong ones, has the results
 * that follow from pfnmap_exporter.h: a model of the buffer predicts the errno of each call, the
 * size, the content, the old pages and the mappings. The seeds are fixed; an argument is another
 * seed.
 *
 * Seen to fail: with an exporter that accepts unknown flags in PFNMAP_MOVE and PFNMAP_FREE, and
 * does not forget the kept pages in PFNMAP_CREATE; each of these ended some of the sequences.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define STEPS	  1000
#define MAX_PAGES 16u /* of a buffer that is created, so that memory never runs out */

/* The buffer as the header describes it. */
static struct {
	struct pfnmap_create spec;    /* the last one that was accepted */
	uint32_t pages;		      /* 0: none */
	uint64_t old;		      /* pages that are kept, the newest set first */
	bool stray[PFNMAP_MAX_PAGES]; /* those with a changed byte */
	volatile uint8_t first, last; /* bytes of the content */
	unsigned int refuse;
	uint8_t *map; /* of all pages at that time, or NULL */
	size_t map_size;
	enum { NONE, READ_ONLY, WRITABLE } entries; /* of its first and its last page */
} model;

static uint64_t state;
static int fd;
static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static uint32_t any(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % n;
}

static int result(int ret)
{
	return ret ? errno : 0;
}

static bool is_valid(const struct pfnmap_create *s)
{
	bool chunks = s->kind == PFNMAP_NONCOMPOUND || s->kind == PFNMAP_COMPOUND ||
		      s->kind == PFNMAP_RESERVED;

	return s->kind <= PFNMAP_MIXED && s->insert < PFNMAP_INSERT_PMD && !s->reserved &&
	       s->flags <= PFNMAP_CREATE_MKWRITE && s->pages && s->pages <= PFNMAP_MAX_PAGES &&
	       s->order <= (chunks ? PFNMAP_MAX_ORDER : 0) && s->pages % (1u << s->order) == 0 &&
	       !(s->flags && s->kind == PFNMAP_MIXED);
}

/* Neither the BAR, whose room depends on others, nor entries of 2 MiB. */
static const char *create(void)
{
	static const uint32_t kinds[] = {
		PFNMAP_NONCOMPOUND, PFNMAP_COMPOUND, PFNMAP_SINGLE,   PFNMAP_SHMEM,
		PFNMAP_RESERVED,    PFNMAP_MIXED,    PFNMAP_NR_KINDS,
	};
	struct pfnmap_create spec = {
		.kind = kinds[any(7)],
		.insert = any(3),
		.order = any(4),
		.flags = any(12) ? any(2) : any(4),
		.pages = any(10) ? 1 + any(MAX_PAGES) : 0,
		.reserved = !any(20),
	};
	int want = !is_valid(&spec) ? EINVAL : model.map ? EBUSY : 0;

	if (result(ioctl(fd, PFNMAP_CREATE, &spec)) != want)
		return "CREATE";
	if (!want) {
		model.spec = spec;
		model.pages = spec.pages;
		model.old = model.refuse = model.first = model.last = 0;
		memset(model.stray, 0, sizeof(model.stray));
	}
	return NULL;
}

static const char *replace(bool move)
{
	unsigned long flags = any(8) ? any(2) : any(4);
	int want = flags > 1 ? EINVAL : model.pages ? 0 : ENXIO;

	if (result(ioctl(fd, move ? PFNMAP_MOVE : PFNMAP_FREE, flags)) != want)
		return move ? "MOVE" : "FREE";
	if (want)
		return NULL;
	if (flags) {
		memmove(model.stray + model.pages, model.stray, model.old);
		memset(model.stray, 0, model.pages);
		model.old += model.pages;
	}
	model.entries = NONE;
	if (!move)
		model.pages = 0;
	return NULL;
}

static const char *set_mode(void)
{
	unsigned long refuse = any(PFNMAP_NR_REFUSES + 1), hold = PFNMAP_HOLD_OFF,
		      lose = any(8) ? any(4) : PFNMAP_MAX_LOSE + 1;

	if (any(3) == 0)
		hold = PFNMAP_NR_HOLDS + any(9);
	else if (any(2)) /* It ends by itself, and changes no result. */
		hold = (1 + any(PFNMAP_NR_HOLDS - 1)) | PFNMAP_HOLD_MS(1 + any(3));
	if (result(ioctl(fd, PFNMAP_LOSE, lose)) != (lose <= PFNMAP_MAX_LOSE ? 0 : EINVAL))
		return "LOSE";
	if (result(ioctl(fd, PFNMAP_HOLD, hold)) !=
	    (hold % PFNMAP_HOLD_MS(1) < PFNMAP_NR_HOLDS ? 0 : EINVAL))
		return "HOLD";
	/* That of the named buffer, which has no pages, does nothing. */
	if (result(ioctl(fd, PFNMAP_REFUSE, refuse)) != (refuse < PFNMAP_NR_REFUSES ? 0 : EINVAL))
		return "REFUSE";
	if (refuse < PFNMAP_NR_REFUSES)
		model.refuse = refuse;
	return NULL;
}

static struct pfnmap_page pages[2 * MAX_PAGES];

static const char *report(void)
{
	struct pfnmap_report r = { .first = any(MAX_PAGES),
				   .count = any(MAX_PAGES),
				   .pages = (uintptr_t)pages };
	int want = !model.pages ? ENXIO : r.first + r.count > model.pages ? EINVAL : 0;

	if (result(ioctl(fd, PFNMAP_REPORT, &r)) != want)
		return "REPORT";
	for (uint32_t i = 0; !want && i < r.count; i++)
		if (!pages[i].pfn || pages[i].count < 0)
			return "REPORT: a page";
	return NULL;
}

/* The first or the last page of the mapping, or memory that no driver maps. */
static const char *look(void)
{
	struct pfnmap_report all = { .count = model.pages, .pages = (uintptr_t)pages };
	bool last = any(2), mapped = model.map && model.spec.kind != PFNMAP_MIXED;
	struct pfnmap_look at = { .address = (uintptr_t)(model.map ? model.map : (void *)&model) };
	int want = !mapped ? EINVAL : model.entries == NONE ? ENXIO : 0;

	if (model.map && last)
		at.address += model.map_size - 1;
	if (result(ioctl(fd, PFNMAP_LOOK, &at)) != want)
		return "LOOK";
	if (want)
		return NULL;
	if (ioctl(fd, PFNMAP_REPORT, &all))
		return "REPORT of all pages";
	return at.page.pfn == pages[last ? model.pages - 1 : 0].pfn ? NULL : "LOOK: the page";
}

static const char *stray(void)
{
	unsigned long i = any(8) ? any(model.old + 2) : any(UINT32_MAX);

	if (result(ioctl(fd, PFNMAP_STRAY, i)) != (i < model.old ? 0 : EINVAL))
		return "STRAY";
	if (i < model.old)
		model.stray[i] = !model.stray[i];
	return NULL;
}

static const char *revoke_all(void)
{
	if (result(ioctl(fd, PFNMAP_REVOKE)) != (model.pages ? 0 : ENXIO))
		return "REVOKE";
	model.entries = NONE;
	return NULL;
}

static const char *map(void)
{
	bool refused = model.refuse && model.spec.insert == PFNMAP_INSERT_ALL;
	int want = !model.spec.pages ? EINVAL : !model.pages ? ENXIO : refused ? EBUSY : 0;
	void *p;

	if (model.map) {
		munmap(model.map, model.map_size);
		model.map = NULL;
		model.entries = NONE;
		return NULL;
	}
	model.map_size = (model.spec.pages ? model.spec.pages : 1) * KIT_PAGE;
	p = mmap(NULL, model.map_size, KIT_RW, MAP_SHARED, fd, 0);
	if ((p == MAP_FAILED ? errno : 0) != want)
		return "mmap";
	model.map = p == MAP_FAILED ? NULL : p;
	if (!want && model.spec.insert == PFNMAP_INSERT_ALL)
		model.entries = model.spec.flags ? READ_ONLY : WRITABLE;
	return NULL;
}

/* Write the first and the last byte through the mapping. */
static const char *touch(void)
{
	bool refused = !model.pages || (model.refuse && model.entries != WRITABLE);
	volatile uint8_t *p = model.map;

	if (!p)
		return NULL;
	if (sigsetjmp(fault, 1)) {
		if (model.refuse == PFNMAP_REFUSE_UNMAP)
			model.entries = NONE;
		return refused ? NULL : "SIGBUS";
	}
	p[0] = 1 + any(255);
	model.first = p[0];
	p[model.map_size - 1] = 1 + any(255);
	model.last = p[model.map_size - 1];
	model.entries = WRITABLE;
	return refused ? "no SIGBUS" : NULL;
}

static const char *check(void)
{
	off_t size = (off_t)model.spec.pages * KIT_PAGE;
	struct pfnmap_stats stats;
	struct pfnmap_old old;
	uint8_t first, last;
	uint64_t changed = 0;

	for (uint64_t i = 0; i < model.old; i++)
		changed += model.stray[i];
	if (ioctl(fd, PFNMAP_CHECK_OLD, &old) || ioctl(fd, PFNMAP_STATS, &stats))
		return "CHECK_OLD or STATS";
	if (old.pages != model.old || old.changed != changed || old.bad_counts)
		return "the old pages";
	if (stats.mappings != !!model.map)
		return "the mappings";
	if (lseek(fd, 0, SEEK_END) != size)
		return "the size";
	if (!model.pages)
		return pread(fd, &first, 1, 0) == -1 && errno == ENXIO ? NULL :
									 "a read without pages";
	if (pread(fd, &first, 1, 0) != 1 || pread(fd, &last, 1, size - 1) != 1)
		return "a read";
	return first == model.first && last == model.last ? NULL : "the content";
}

static const char *step(void)
{
	switch (any(11)) {
	case 0:
		return create();
	case 1:
		return replace(true);
	case 2:
		return any(3) ? NULL : replace(false);
	case 3:
		return set_mode();
	case 4:
		return report();
	case 5:
		return map();
	case 6:
		return revoke_all();
	case 7:
		return look();
	case 8:
		return stray();
	default:
		return touch();
	}
}

static void run(uint64_t seed)
{
	const char *wrong = NULL;
	int n;

	memset(&model, 0, sizeof(model));
	state = seed;
	fd = open(PFNMAP_EXPORTER_PATH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		tap_bail("%s: %s", PFNMAP_EXPORTER_PATH, strerror(errno));
	for (n = 0; n < STEPS && !wrong; n++) {
		wrong = step();
		if (!wrong)
			wrong = check();
	}
	if (!tap_ok(!wrong, "seed %llu: %d calls", (unsigned long long)seed, n))
		tap_diag("call %d: %s is not as expected: %s", n, wrong, strerror(errno));
	if (model.map)
		munmap(model.map, model.map_size);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_fault };

	kit_start();
	sigaction(SIGBUS, &sa, NULL);
	if (argc > 1)
		run(strtoull(argv[1], NULL, 0));
	else
		for (uint64_t seed = 1; seed <= 6; seed++)
			run(seed);
	return kit_finish();
}
