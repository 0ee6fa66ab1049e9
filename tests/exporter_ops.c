// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exporter keeps its word: what pfnmap_exporter.h promises holds for every kind of buffer and
 * every way of inserting, seen from user space alone, without KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pfnmap_exporter.h"
#include "tap.h"

#define PAGE		4096ul
#define PMD_PAGES	512u

/* In a behaviour: end it with the reason of the failure. */
#define MUST(cond)					\
	do {						\
		if (!(cond))				\
			return "not: " #cond;		\
	} while (0)

struct buffer {
	struct pfnmap_create spec;
	int fd;
};

static const char * const kind_names[] = {
	"noncompound", "compound", "single", "shmem", "reserved", "bar", "mixed",
};

static const char * const insert_names[] = { "one", "around", "all", "pmd" };

static _Thread_local sigjmp_buf fault_env;

static void on_fault(int sig)
{
	siglongjmp(fault_env, sig);
}

/* Read (byte < 0) or write a byte; returns the signal that this ended in, or 0. */
static int touch(volatile uint8_t *p, int byte)
{
	int sig = sigsetjmp(fault_env, 1);

	if (sig)
		return sig;
	if (byte < 0)
		(void)*p;
	else
		*p = byte;
	return 0;
}

static int create(int fd, uint32_t kind, uint32_t insert, uint32_t order, uint32_t flags,
		  uint32_t pages)
{
	struct pfnmap_create spec = {
		.kind = kind, .insert = insert, .order = order, .flags = flags, .pages = pages,
	};

	return ioctl(fd, PFNMAP_CREATE, &spec);
}

static int report(int fd, uint32_t first, uint32_t count, struct pfnmap_page *pages)
{
	struct pfnmap_report arg = {
		.first = first, .count = count, .pages = (uintptr_t)pages,
	};

	return ioctl(fd, PFNMAP_REPORT, &arg);
}

static struct pfnmap_stats stats(int fd)
{
	struct pfnmap_stats s;

	if (ioctl(fd, PFNMAP_STATS, &s))
		tap_bail("PFNMAP_STATS: %s", strerror(errno));
	return s;
}

static struct pfnmap_old check_old(int fd)
{
	struct pfnmap_old old;

	if (ioctl(fd, PFNMAP_CHECK_OLD, &old))
		tap_bail("PFNMAP_CHECK_OLD: %s", strerror(errno));
	return old;
}

static size_t size_of(const struct buffer *b)
{
	return b->spec.pages * PAGE;
}

static uint8_t *map_part(const struct buffer *b, size_t offset, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, offset);
}

static uint8_t *map(const struct buffer *b)
{
	return map_part(b, 0, size_of(b));
}

/* A byte that tells pages, and runs with different seeds, apart. */
static uint8_t pattern(unsigned int page, unsigned int seed)
{
	return page * 7 + page / 256 + seed;
}

/* The first and the last byte of each page stand for it. */
static void fill(uint8_t *p, const struct buffer *b, unsigned int seed)
{
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		p[i * PAGE] = pattern(i, seed);
		p[i * PAGE + PAGE - 1] = pattern(i, seed + 1);
	}
}

static bool filled(const uint8_t *p, const struct buffer *b, unsigned int seed)
{
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		if (p[i * PAGE] != pattern(i, seed) ||
		    p[i * PAGE + PAGE - 1] != pattern(i, seed + 1))
			return false;
	}
	return true;
}

/* The same as the module sees it, without a mapping. */
static bool holds(const struct buffer *b, unsigned int seed)
{
	uint8_t *copy = malloc(size_of(b));
	bool ok = copy && pread(b->fd, copy, size_of(b), 0) == (ssize_t)size_of(b) &&
		  filled(copy, b, seed);

	free(copy);
	return ok;
}

static const char *content(struct buffer *b)
{
	uint8_t zero[PAGE] = { 0 }, page[PAGE];
	uint8_t *p, *q;

	for (unsigned int i = 0; i < b->spec.pages; i++) {
		MUST(pread(b->fd, page, PAGE, i * PAGE) == PAGE);
		MUST(!memcmp(page, zero, PAGE));
	}

	p = map(b);
	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(holds(b, 1));

	/* A write that crosses a page, seen through a second mapping with an offset. */
	MUST(pwrite(b->fd, "ab", 2, 3 * PAGE - 1) == 2);
	q = map_part(b, 2 * PAGE, 2 * PAGE);
	MUST(q != MAP_FAILED);
	MUST(q[PAGE - 1] == 'a' && q[PAGE] == 'b');
	q[0] = 'c';
	MUST(p[2 * PAGE] == 'c');
	MUST(stats(b->fd).mappings == 2);

	MUST(!munmap(p, size_of(b)) && !munmap(q, 2 * PAGE));
	MUST(stats(b->fd).mappings == 0);
	return NULL;
}

static const char *fault_counts(struct buffer *b)
{
	static const unsigned int pages_a_fault[] = { 1, PFNMAP_AROUND_PAGES, 0, PMD_PAGES };
	unsigned int n = pages_a_fault[b->spec.insert];
	unsigned int mkwrites = b->spec.flags & PFNMAP_CREATE_MKWRITE ? b->spec.pages : 0;
	uint8_t *p = map(b);

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(stats(b->fd).faults == (n ? b->spec.pages / n : 0));
	MUST(stats(b->fd).mkwrites == mkwrites);

	/* After a revocation; now read first, which makes nothing writable. */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	MUST(filled(p, b, 1));
	MUST(stats(b->fd).faults == (n ? 2 * b->spec.pages / n : 1));
	MUST(stats(b->fd).mkwrites == mkwrites);
	fill(p, b, 2);
	MUST(stats(b->fd).mkwrites == 2 * mkwrites);
	MUST(holds(b, 2));
	MUST(!munmap(p, size_of(b)));
	return NULL;
}

/* What a page that nobody maps has to look like. */
static bool as_allocated(const struct buffer *b, unsigned int i, const struct pfnmap_page *page)
{
	const uint32_t mark = PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED | PFNMAP_PAGE_ACTIVE;
	bool head = i % (1u << b->spec.order) == 0;
	uint32_t flags = PFNMAP_PAGE_STRUCT;
	int count = head;

	if (page->mapcount)
		return false;

	switch (b->spec.kind) {
	case PFNMAP_COMPOUND:
		/* The second page of a compound page keeps its data in the flags' place. */
		if (b->spec.order)
			flags |= head ? PFNMAP_PAGE_HEAD : PFNMAP_PAGE_TAIL;
		return page->count == count && (page->flags & ~mark) == flags;
	case PFNMAP_RESERVED:
		flags |= PFNMAP_PAGE_RESERVED;
		break;
	case PFNMAP_SHMEM:
		return page->count == 2 && (page->flags & ~mark) == (flags | PFNMAP_PAGE_LRU);
	case PFNMAP_BAR:
		flags = 0;
		count = 0;
		break;
	}
	return page->count == count && page->flags == flags;
}

static const char *counts(struct buffer *b)
{
	size_t len = b->spec.pages * sizeof(struct pfnmap_page);
	struct pfnmap_page *before = malloc(len), *now = malloc(len);
	int mapped = b->spec.kind == PFNMAP_MIXED;
	uint8_t *p;

	MUST(before && now);
	MUST(!report(b->fd, 0, b->spec.pages, before));
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		unsigned int head = i & ~((1u << b->spec.order) - 1);

		MUST(as_allocated(b, i, &before[i]));
		MUST(before[i].pfn == before[head].pfn + i - head);
	}

	p = map(b);
	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!report(b->fd, 0, b->spec.pages, now));
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		MUST(now[i].pfn == before[i].pfn);
		MUST(now[i].count == before[i].count + mapped);
		MUST(now[i].mapcount == mapped);
		MUST(now[i].flags == before[i].flags);
	}

	MUST(!munmap(p, size_of(b)));
	MUST(!report(b->fd, 0, b->spec.pages, now));
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		/* Counted mappings are the kernel's to mark. */
		if (mapped)
			now[i].flags &= ~(PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED);
		MUST(!memcmp(&now[i], &before[i], sizeof(now[i])));
	}
	free(before);
	free(now);
	return NULL;
}

static const char *move(struct buffer *b)
{
	size_t len = b->spec.pages * sizeof(struct pfnmap_page);
	struct pfnmap_page *before = malloc(len), *now = malloc(len);
	struct pfnmap_old old;
	uint8_t *p = map(b);

	MUST(before && now && p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!report(b->fd, 0, b->spec.pages, before));

	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	MUST(!report(b->fd, 0, b->spec.pages, now));
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		for (unsigned int j = 0; j < b->spec.pages; j += b->spec.pages - 1)
			MUST(now[i].pfn != before[j].pfn);
		MUST(now[i].count == before[i].count - (b->spec.kind == PFNMAP_MIXED));
	}
	MUST(holds(b, 1) && filled(p, b, 1));

	fill(p, b, 2);
	MUST(holds(b, 2));
	old = check_old(b->fd);
	MUST(old.pages == b->spec.pages && !old.changed && !old.bad_counts);

	/* The BAR's second half is free for a first move only while the old one is kept. */
	if (b->spec.kind != PFNMAP_BAR) {
		MUST(!ioctl(b->fd, PFNMAP_MOVE, 0));
		MUST(filled(p, b, 2));
		MUST(check_old(b->fd).pages == b->spec.pages);
	}
	MUST(!munmap(p, size_of(b)));
	free(before);
	free(now);
	return NULL;
}

static const char *free_pages(struct buffer *b)
{
	struct pfnmap_page page;
	struct pfnmap_old old;
	uint8_t *p = map(b);
	char c;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_FREE, PFNMAP_KEEP_OLD));
	for (unsigned int i = 0; i < b->spec.pages; i++)
		MUST(touch(p + i * PAGE, i & 1 ? -1 : 1) == SIGBUS);
	old = check_old(b->fd);
	MUST(old.pages == b->spec.pages && !old.changed && !old.bad_counts);

	MUST(pread(b->fd, &c, 1, 0) == -1 && errno == ENXIO);
	MUST(pwrite(b->fd, "x", 1, 0) == -1 && errno == ENXIO);
	MUST(report(b->fd, 0, 1, &page) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_REVOKE) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_MOVE, 0) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_FREE, 0) == -1 && errno == ENXIO);
	MUST(map_part(b, 0, PAGE) == MAP_FAILED && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_CREATE, &b->spec) == -1 && errno == EBUSY);
	MUST(!munmap(p, size_of(b)));

	MUST(!ioctl(b->fd, PFNMAP_CREATE, &b->spec));
	MUST(check_old(b->fd).pages == 0);
	p = map(b);
	MUST(p != MAP_FAILED);
	MUST(p[0] == 0 && p[size_of(b) - 1] == 0);
	MUST(!ioctl(b->fd, PFNMAP_FREE, 0));
	MUST(check_old(b->fd).pages == 0);
	MUST(touch(p, -1) == SIGBUS);
	MUST(!munmap(p, size_of(b)));
	return NULL;
}

static const char *refuse(struct buffer *b)
{
	uint8_t *p = map(b), *q;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_REFUSE, 1));
	MUST(filled(p, b, 1));		/* what is mapped stays mapped */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	MUST(touch(p, -1) == SIGBUS && touch(p + size_of(b) - 1, 1) == SIGBUS);

	q = map_part(b, 0, PAGE);
	if (b->spec.insert == PFNMAP_INSERT_ALL)
		MUST(q == MAP_FAILED && errno == EBUSY);
	else
		MUST(q != MAP_FAILED && touch(q, -1) == SIGBUS && !munmap(q, PAGE));

	MUST(!ioctl(b->fd, PFNMAP_REFUSE, 0));
	MUST(filled(p, b, 1));
	fill(p, b, 2);

	/* Writable only with leave: a page that was only read is refused when written. */
	if (b->spec.flags & PFNMAP_CREATE_MKWRITE) {
		MUST(!ioctl(b->fd, PFNMAP_REVOKE));
		MUST(!touch(p, -1));
		MUST(!ioctl(b->fd, PFNMAP_REFUSE, 1));
		MUST(!touch(p, -1));
		MUST(touch(p, 1) == SIGBUS);
		MUST(!ioctl(b->fd, PFNMAP_REFUSE, 0));
	}
	MUST(!munmap(p, size_of(b)));
	return NULL;
}

/* The child's half of forked(): each byte from the parent asks for one step. */
static int child(struct buffer *b, uint8_t *p, int in, int out)
{
	char c;

	if (!filled(p, b, 1))
		return 1;
	fill(p, b, 2);
	if (write(out, "x", 1) != 1 || read(in, &c, 1) != 1)
		return 2;
	if (!filled(p, b, 3))		/* moved, and written by the parent */
		return 3;
	if (write(out, "x", 1) != 1 || read(in, &c, 1) != 1)
		return 4;
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		if (touch(p + i * PAGE, 1) != SIGBUS)
			return 5;
	}
	return 0;
}

static const char *forked(struct buffer *b)
{
	int to_child[2], to_parent[2], status;
	uint8_t *p = map(b);
	pid_t pid;
	char c;

	MUST(p != MAP_FAILED && !pipe(to_child) && !pipe(to_parent));
	fill(p, b, 1);
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		/* So that a parent that gives up ends the child, too. */
		close(to_child[1]);
		_exit(child(b, p, to_child[0], to_parent[1]));
	}
	close(to_child[0]);
	close(to_parent[1]);

	MUST(read(to_parent[0], &c, 1) == 1);
	MUST(filled(p, b, 2));
	MUST(stats(b->fd).mappings == 2);
	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	fill(p, b, 3);
	MUST(write(to_child[1], "x", 1) == 1 && read(to_parent[0], &c, 1) == 1);
	MUST(!ioctl(b->fd, PFNMAP_FREE, PFNMAP_KEEP_OLD));
	MUST(write(to_child[1], "x", 1) == 1);
	MUST(waitpid(pid, &status, 0) == pid && !status);
	MUST(!check_old(b->fd).changed);
	MUST(stats(b->fd).mappings == 1);
	close(to_child[1]);
	close(to_parent[0]);
	MUST(!munmap(p, size_of(b)));
	return NULL;
}

static const char *partial(struct buffer *b)
{
	size_t half = size_of(b) / 2;
	uint8_t *p = map(b), *q;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!munmap(p + half - PAGE, PAGE));
	MUST(stats(b->fd).mappings == 2);
	MUST(touch(p + half - PAGE, -1) == SIGSEGV);
	MUST(!touch(p + half - 2 * PAGE, -1) && p[half] == pattern(b->spec.pages / 2, 1));

	MUST(!mprotect(p, half - PAGE, PROT_READ));
	MUST(!touch(p, -1) && touch(p, 1) == SIGSEGV);
	MUST(!mprotect(p, half - PAGE, PROT_READ | PROT_WRITE));
	MUST(!touch(p, 0x77));
	MUST(p[0] == 0x77);

	/* The hole is filled again, and mappings move and shrink, but never grow. */
	MUST(mmap(p + half - PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		  b->fd, half - PAGE) == p + half - PAGE);
	fill(p, b, 2);
	MUST(holds(b, 2));
	MUST(!munmap(p, half));
	p += half;
	MUST(mremap(p, half, size_of(b), MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	q = mmap(NULL, half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(q != MAP_FAILED);
	MUST(mremap(p, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	MUST(q[0] == pattern(b->spec.pages / 2, 2));
	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	MUST(q[0] == pattern(b->spec.pages / 2, 2));
	q[0] = 0;
	MUST(!check_old(b->fd).changed);
	MUST(mremap(q, half, PAGE, 0) == q && !munmap(q, PAGE));
	return NULL;
}

struct race {
	struct buffer *b;
	atomic_bool stop;
	uint8_t *p;		/* mapped all the time */
};

static void *race_write(void *arg)
{
	struct race *race = arg;

	for (unsigned int i = 0; !race->stop; i++)
		race->p[i % race->b->spec.pages * PAGE] = 1;
	return NULL;
}

static void *race_map(void *arg)
{
	struct race *race = arg;

	while (!race->stop) {
		uint8_t *p = map(race->b);

		if (p == MAP_FAILED)
			return "mmap failed";
		for (unsigned int i = 0; i < race->b->spec.pages; i += 3)
			p[i * PAGE] = 1;
		if (munmap(p, size_of(race->b)))
			return "munmap failed";
	}
	return NULL;
}

/* Pages move while other threads write and map: no old page is ever written again. */
static const char *race(struct buffer *b)
{
	/* As many moves as the module keeps pages of, within reason. */
	unsigned int moves = b->spec.kind == PFNMAP_BAR ? 1 : PFNMAP_MAX_PAGES / b->spec.pages;
	struct race race = { .b = b, .p = map(b) };
	void *why[2];
	pthread_t t[2];
	struct pfnmap_old old;

	MUST(race.p != MAP_FAILED);
	MUST(!pthread_create(&t[0], NULL, race_write, &race));
	MUST(!pthread_create(&t[1], NULL, race_map, &race));
	if (moves > 15)
		moves = 15;
	for (unsigned int i = 0; i < moves; i++) {
		usleep(500);
		if (ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD))
			break;
	}
	race.stop = true;
	pthread_join(t[0], &why[0]);
	pthread_join(t[1], &why[1]);
	MUST(!why[0] && !why[1]);
	old = check_old(b->fd);
	MUST(old.pages == (uint64_t)moves * b->spec.pages);
	MUST(!old.changed && !old.bad_counts);
	MUST(!munmap(race.p, size_of(b)));
	return NULL;
}

static const struct {
	const char *name;
	const char *(*run)(struct buffer *b);
} behaviours[] = {
	{ "content", content },
	{ "faults", fault_counts },
	{ "counts", counts },
	{ "move", move },
	{ "free", free_pages },
	{ "refuse", refuse },
	{ "fork", forked },
	{ "partial mappings", partial },
	{ "race", race },
};

static void every_behaviour(struct pfnmap_create spec)
{
	for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
		struct buffer b = { .spec = spec, .fd = open(PFNMAP_EXPORTER_PATH, O_RDWR) };
		const char *why;

		if (ioctl(b.fd, PFNMAP_CREATE, &spec)) {
			if (spec.kind == PFNMAP_BAR && errno == ENODEV) {
				tap_skip(1, "%s, %s: no ivshmem device", kind_names[spec.kind],
					 insert_names[spec.insert]);
				close(b.fd);
				return;
			}
			tap_bail("PFNMAP_CREATE: %s", strerror(errno));
		}
		why = behaviours[i].run(&b);
		tap_ok(!why, "%s order %u, %s%s: %s", kind_names[spec.kind], spec.order,
		       insert_names[spec.insert],
		       spec.flags & PFNMAP_CREATE_MKWRITE ? ", read-only first" : "",
		       behaviours[i].name);
		if (why)
			tap_diag("%s", why);
		close(b.fd);
	}
}

static void every_kind(void)
{
	static const struct {
		uint32_t kind, order;
	} kinds[] = {
		{ PFNMAP_NONCOMPOUND, 3 }, { PFNMAP_NONCOMPOUND, 9 }, { PFNMAP_COMPOUND, 3 },
		{ PFNMAP_COMPOUND, 9 }, { PFNMAP_SINGLE, 0 }, { PFNMAP_SHMEM, 0 },
		{ PFNMAP_RESERVED, 3 }, { PFNMAP_BAR, 0 }, { PFNMAP_MIXED, 0 },
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (uint32_t insert = 0; insert < PFNMAP_NR_INSERTS; insert++) {
			for (uint32_t flags = 0; flags <= PFNMAP_CREATE_MKWRITE; flags++) {
				bool big = kinds[k].order == 9 || kinds[k].kind == PFNMAP_BAR;
				bool pmd = insert == PFNMAP_INSERT_PMD;

				if (pmd && (!big || flags))
					continue;
				if (flags && kinds[k].kind == PFNMAP_MIXED)
					continue;
				every_behaviour((struct pfnmap_create){
					.kind = kinds[k].kind, .order = kinds[k].order,
					.insert = insert, .flags = flags,
					.pages = pmd || kinds[k].order == 9 ? 2 * PMD_PAGES : 64,
				});
			}
		}
	}
}

/* Every order, as far as its counts tell it apart. */
static void every_order(void)
{
	for (uint32_t kind = PFNMAP_NONCOMPOUND; kind <= PFNMAP_RESERVED; kind++) {
		if (kind == PFNMAP_SINGLE || kind == PFNMAP_SHMEM)
			continue;
		for (uint32_t order = 0; order <= PFNMAP_MAX_ORDER; order++) {
			struct buffer b = {
				.spec = { .kind = kind, .order = order, .pages = 2u << order },
				.fd = open(PFNMAP_EXPORTER_PATH, O_RDWR),
			};
			const char *why = ioctl(b.fd, PFNMAP_CREATE, &b.spec) ? "no buffer" :
					  counts(&b);

			tap_ok(!why, "%s order %u: counts", kind_names[kind], order);
			if (why)
				tap_diag("%s", why);
			close(b.fd);
		}
	}
}

#define FAILS(call, err) tap_ok((long)(call) == -1 && errno == (err), "%s: %s", #err, #call)

static void misuse(void)
{
	struct buffer b = { .spec = { .pages = 8 }, .fd = open(PFNMAP_EXPORTER_PATH, O_RDWR) };
	int ro = open(PFNMAP_EXPORTER_PATH, O_RDONLY);
	struct pfnmap_create reserved = { .pages = 8, .reserved = 1 };
	struct pfnmap_page pages[8];
	/* Volatile, so that the compiler lets it pass. */
	void *volatile nowhere = NULL;
	int fd = b.fd;
	void *p;
	char c;

	/* Before there is a buffer. */
	FAILS(map_part(&b, 0, PAGE), EINVAL);
	FAILS(report(fd, 0, 1, pages), ENXIO);
	FAILS(ioctl(fd, PFNMAP_REVOKE), ENXIO);
	FAILS(ioctl(fd, PFNMAP_MOVE, 0), ENXIO);
	FAILS(ioctl(fd, PFNMAP_FREE, 0), ENXIO);
	FAILS(pread(fd, &c, 1, 0), ENXIO);
	FAILS(pwrite(fd, "x", 1, 0), ENXIO);
	tap_is(lseek(fd, 0, SEEK_END), 0, "an empty buffer has no size");

	/* No buffer that is not described above. */
	FAILS(create(fd, PFNMAP_NR_KINDS, 0, 0, 0, 8), EINVAL);
	FAILS(create(fd, 0, PFNMAP_NR_INSERTS, 0, 0, 8), EINVAL);
	FAILS(create(fd, 0, 0, PFNMAP_MAX_ORDER + 1, 0, 2048), EINVAL);
	FAILS(create(fd, 0, 0, UINT32_MAX, 0, 2048), EINVAL);
	FAILS(create(fd, 0, 0, 0, 2, 8), EINVAL);
	FAILS(create(fd, 0, 0, 0, 0, 0), EINVAL);
	FAILS(create(fd, 0, 0, 0, 0, PFNMAP_MAX_PAGES + 1), EINVAL);
	FAILS(create(fd, 0, 0, 0, 0, UINT32_MAX), EINVAL);
	FAILS(create(fd, 0, 0, 4, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_SINGLE, 0, 1, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_SHMEM, 0, 1, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_BAR, 0, 1, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_MIXED, 0, 1, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_MIXED, 0, 0, PFNMAP_CREATE_MKWRITE, 8), EINVAL);
	FAILS(create(fd, 0, PFNMAP_INSERT_PMD, 8, 0, 512), EINVAL);
	FAILS(create(fd, 0, PFNMAP_INSERT_PMD, 9, PFNMAP_CREATE_MKWRITE, 512), EINVAL);
	FAILS(ioctl(fd, PFNMAP_CREATE, &reserved), EINVAL);
	FAILS(ioctl(fd, PFNMAP_CREATE, NULL), EFAULT);
	FAILS(ioctl(fd, _IO(PFNMAP_IOC, 99)), ENOTTY);

	tap_ok(!ioctl(fd, PFNMAP_CREATE, &b.spec), "a buffer of 8 pages");
	tap_is(lseek(fd, 0, SEEK_END), 8 * PAGE, "its size");
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	FAILS(report(fd, 0, 9, pages), EINVAL);
	FAILS(report(fd, 8, 1, pages), EINVAL);
	FAILS(report(fd, UINT32_MAX, 2, pages), EINVAL);
	FAILS(report(fd, 2, UINT32_MAX, pages), EINVAL);
	FAILS(report(fd, 0, 8, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_REPORT, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_STATS, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_CHECK_OLD, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_MOVE, 2), EINVAL);
	FAILS(ioctl(fd, PFNMAP_FREE, -1L), EINVAL);
	FAILS(ioctl(fd, PFNMAP_REFUSE, 2), EINVAL);
	FAILS(map_part(&b, 0, 9 * PAGE), EINVAL);
	FAILS(map_part(&b, 8 * PAGE, PAGE), EINVAL);
	FAILS(map_part(&b, 7 * PAGE, 2 * PAGE), EINVAL);
	FAILS(map_part(&b, INT64_MAX & -PAGE, PAGE), EINVAL);
	FAILS(map_part(&b, 1ul << 62, PAGE), EINVAL);
	FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	FAILS(pread(fd, nowhere, PAGE, 0), EFAULT);
	FAILS(pwrite(fd, nowhere, PAGE, 0), EFAULT);
	FAILS(pwrite(fd, "x", 1, 8 * PAGE), ENOSPC);
	FAILS(pwrite(fd, "x", 1, INT64_MAX - 1), ENOSPC);
	tap_is(pwrite(fd, "xy", 2, 8 * PAGE - 1), 1, "a write stops at the end");
	tap_is(pread(fd, &c, 1, 8 * PAGE), 0, "a read beyond the end reads nothing");
	FAILS(ftruncate(fd, PAGE), EINVAL);

	p = map(&b);
	FAILS(ioctl(fd, PFNMAP_CREATE, &b.spec), EBUSY);
	tap_ok(p != MAP_FAILED && !munmap(p, size_of(&b)), "mapped and unmapped");
	tap_ok(!create(fd, PFNMAP_SINGLE, 0, 0, 0, 2), "then it is replaced");
	FAILS(map(&b), EINVAL);

	/* Old pages are kept within the limit of a buffer. */
	tap_ok(!create(fd, PFNMAP_NONCOMPOUND, 0, 9, 0, PFNMAP_MAX_PAGES / 2 + 512),
	       "a big buffer");
	tap_ok(!ioctl(fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD), "moves once");
	FAILS(ioctl(fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD), ENOSPC);
	FAILS(ioctl(fd, PFNMAP_FREE, PFNMAP_KEEP_OLD), ENOSPC);
	tap_ok(!ioctl(fd, PFNMAP_FREE, 0), "and is freed");
	close(fd);

	/* A descriptor for reading gives no way to write. */
	b.fd = ro;
	tap_ok(!ioctl(ro, PFNMAP_CREATE, &b.spec), "a buffer through a read-only descriptor");
	FAILS(map(&b), EACCES);
	FAILS(write(ro, "x", 1), EBADF);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	tap_ok(p != MAP_FAILED && !touch(p, -1) && touch(p, 1) == SIGSEGV, "it maps for reading");
	FAILS(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	close(ro);
	tap_ok(!touch(p, -1) && !munmap(p, PAGE), "the mapping outlives the descriptor");
}

static void shared_buffer(void)
{
	struct buffer a = { .spec = { .order = 3, .pages = 64 } }, b = a;
	uint8_t *p, *q;

	a.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	b.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	tap_ok(!ioctl(a.fd, PFNMAP_CREATE, &a.spec), "the shared buffer is created");
	p = map(&a);
	q = map(&b);
	tap_ok(p != MAP_FAILED && q != MAP_FAILED, "mapped through two descriptors");
	fill(p, &a, 1);
	tap_ok(filled(q, &b, 1), "they map the same pages");
	tap_ok(!ioctl(b.fd, PFNMAP_FREE, 0), "freed through one");
	tap_is(touch(p, -1), SIGBUS, "gone from the other");
	FAILS(ioctl(b.fd, PFNMAP_CREATE, &b.spec), EBUSY);
	munmap(p, size_of(&a));
	munmap(q, size_of(&b));

	tap_ok(!ioctl(b.fd, PFNMAP_CREATE, &b.spec), "created again");
	p = map(&b);
	fill(p, &b, 2);
	munmap(p, size_of(&b));
	close(a.fd);
	close(b.fd);
	a.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	tap_ok(holds(&a, 2), "it keeps its content while nobody has it open");
	tap_ok(!ioctl(a.fd, PFNMAP_FREE, 0), "freed at the end");
	close(a.fd);
}

/* A reference that somebody else holds is noticed, and so is its end. */
static void foreign_reference(void)
{
	struct buffer b = {
		.spec = { .kind = PFNMAP_MIXED, .pages = 4 },
		.fd = open(PFNMAP_EXPORTER_PATH, O_RDWR),
	};
	struct pfnmap_page pages[4];
	struct iovec iov;
	int fds[2];

	if (ioctl(b.fd, PFNMAP_CREATE, &b.spec) || pipe(fds))
		tap_bail("no buffer or no pipe: %s", strerror(errno));
	iov = (struct iovec){ .iov_base = map(&b) + PAGE, .iov_len = PAGE };
	tap_is(vmsplice(fds[1], &iov, 1, 0), PAGE, "a pipe takes a reference");
	tap_ok(!report(b.fd, 0, 4, pages) && pages[1].count == pages[0].count + 2,
	       "its count shows it");
	tap_ok(!ioctl(b.fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD), "the buffer moves");
	tap_is(check_old(b.fd).bad_counts, 1, "an old page has a bad count");
	close(fds[0]);
	close(fds[1]);
	tap_is(check_old(b.fd).bad_counts, 0, "and none once the pipe is gone");
	munmap((uint8_t *)iov.iov_base - PAGE, size_of(&b));
	close(b.fd);
}

struct eager_race {
	struct buffer b;
	atomic_bool stop;
	atomic_uint mapped, refused;
};

static void *eager_map(void *arg)
{
	struct eager_race *race = arg;

	while (!race->stop) {
		uint8_t *p = map(&race->b);

		if (p == MAP_FAILED) {
			race->refused++;
			continue;
		}
		race->mapped++;
		touch(p, 1);
		munmap(p, size_of(&race->b));
	}
	return NULL;
}

/*
 * mmap() that inserts everything, while the pages are freed: at that time the new mapping is not yet
 * where revocation looks for mappings, and still none keeps an old page.
 */
static void eager_race(void)
{
	struct eager_race race = {
		.b = {
			.spec = { .insert = PFNMAP_INSERT_ALL, .order = 3, .pages = 64 },
			.fd = open(PFNMAP_EXPORTER_PATH, O_RDWR),
		},
	};
	uint64_t changed = 0, bad = 0;
	unsigned int rounds = 0;
	pthread_t t;

	if (ioctl(race.b.fd, PFNMAP_CREATE, &race.b.spec) ||
	    pthread_create(&t, NULL, eager_map, &race))
		tap_bail("no buffer or no thread: %s", strerror(errno));

	for (unsigned int i = 0; i < 20000 && rounds < 200; i++) {
		if (ioctl(race.b.fd, PFNMAP_FREE, PFNMAP_KEEP_OLD) && errno != ENXIO)
			break;
		/* EBUSY until the thread has unmapped, so what it wrote is there to be seen. */
		while (stats(race.b.fd).mappings)
			sched_yield();
		changed += check_old(race.b.fd).changed;
		bad += check_old(race.b.fd).bad_counts;
		if (!ioctl(race.b.fd, PFNMAP_CREATE, &race.b.spec))
			rounds++;
		usleep(i % 50);
	}
	race.stop = true;
	pthread_join(t, NULL);
	tap_is(rounds, 200, "the pages were freed often, with %u mappings and %u refused",
	       race.mapped, race.refused);
	tap_ok(race.mapped && race.refused, "before and after mmap()");
	tap_is(changed + bad, 0, "no freed page was written");
	close(race.b.fd);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_fault };
	struct pfnmap_stats before;
	int fd;

	/* A deadlock ends the program. */
	alarm(300);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);

	fd = open(PFNMAP_EXPORTER_PATH, O_RDWR);
	if (fd < 0)
		tap_bail("%s: %s", PFNMAP_EXPORTER_PATH, strerror(errno));
	before = stats(fd);

	misuse();
	every_kind();
	every_order();
	shared_buffer();
	foreign_reference();
	eager_race();

	tap_is(stats(fd).leaked, before.leaked, "nothing has leaked");
	return tap_done();
}
