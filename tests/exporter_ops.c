// SPDX-License-Identifier: GPL-2.0-only
/*
 * exporter_ops - The exporter does what pfnmap_exporter.h promises, for every kind of buffer and
 * every way of inserting it, as seen from user space alone, without KVM.
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
#include <time.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGE	  ((size_t)KIT_PAGE)
#define PMD_PAGES (KIT_HUGE / KIT_PAGE)
#define HOLD_MS	  20

/* In a behaviour: end it with the reason for the failure. */
#define MUST(cond)                            \
	do {                                  \
		if (!(cond))                  \
			return "not: " #cond; \
	} while (0)

static _Thread_local sigjmp_buf fault_env;

static void on_fault(int sig)
{
	siglongjmp(fault_env, sig);
}

/* Read (byte < 0) or write a byte; returns the signal that this raised, or 0. */
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
		.kind = kind,
		.insert = insert,
		.order = order,
		.flags = flags,
		.pages = pages,
	};

	return ioctl(fd, PFNMAP_CREATE, &spec);
}

static int report(int fd, uint32_t first, uint32_t count, struct pfnmap_page *pages)
{
	struct pfnmap_report arg = {
		.first = first,
		.count = count,
		.pages = (uintptr_t)pages,
	};

	return ioctl(fd, PFNMAP_REPORT, &arg);
}

/* Unlike buf_map(), this may fail. */
static uint8_t *map_part(const struct buf *b, off_t offset, size_t len)
{
	return mmap(NULL, len, KIT_RW, MAP_SHARED, b->fd, offset);
}

/* A 32-bit kernel does not align a mapping for 2 MiB entries by itself. */
static uint8_t *map(const struct buf *b)
{
	if (kit_mode() == VCPU_LONG || b->spec.insert != PFNMAP_INSERT_PMD)
		return map_part(b, 0, b->size);
	return mmap(vm_anon(b->size, KIT_HUGE), b->size, KIT_RW, MAP_SHARED | MAP_FIXED, b->fd, 0);
}

/* A byte that differs between pages, and between seeds. */
static uint8_t pattern(unsigned int page, unsigned int seed)
{
	return page * 7 + page / 256 + seed;
}

/* The first and last byte of each page stand for all of it. */
static void fill(uint8_t *p, const struct buf *b, unsigned int seed)
{
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		p[i * PAGE] = pattern(i, seed);
		p[i * PAGE + PAGE - 1] = pattern(i, seed + 1);
	}
}

static bool filled(const uint8_t *p, const struct buf *b, unsigned int seed)
{
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		if (p[i * PAGE] != pattern(i, seed) ||
		    p[i * PAGE + PAGE - 1] != pattern(i, seed + 1))
			return false;
	}
	return true;
}

/* The same check through the module, without a mapping. */
static bool holds(const struct buf *b, unsigned int seed)
{
	uint8_t *copy = malloc(b->size);
	bool ok = copy && pread(b->fd, copy, b->size, 0) == (ssize_t)b->size &&
		  filled(copy, b, seed);

	free(copy);
	return ok;
}

static bool has_chunks(uint32_t kind)
{
	return kind == PFNMAP_NONCOMPOUND || kind == PFNMAP_COMPOUND || kind == PFNMAP_RESERVED;
}

/* The BAR has 4 MiB, which is room for one move. */
static bool in_bar(uint32_t kind)
{
	return kind == PFNMAP_BAR || kind == PFNMAP_DEVICE;
}

static const char *content(struct buf *b)
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

	/* A write across a page boundary, seen through a second mapping with an offset. */
	MUST(pwrite(b->fd, "ab", 2, 3 * PAGE - 1) == 2);
	q = map_part(b, 2 * PAGE, 2 * PAGE);
	MUST(q != MAP_FAILED);
	MUST(q[PAGE - 1] == 'a' && q[PAGE] == 'b');
	q[0] = 'c';
	MUST(p[2 * PAGE] == 'c');
	MUST(buf_stats(b).mappings == 2);

	MUST(!munmap(p, b->size) && !munmap(q, 2 * PAGE));
	MUST(buf_stats(b).mappings == 0);
	return NULL;
}

static const char *fault_counts(struct buf *b)
{
	static const unsigned int pages_a_fault[] = { 1, PFNMAP_AROUND_PAGES, 0, PMD_PAGES };
	unsigned int n = pages_a_fault[b->spec.insert];
	unsigned int mkwrites = b->spec.flags & PFNMAP_CREATE_MKWRITE ? b->spec.pages : 0;
	uint8_t *p = map(b);

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(buf_stats(b).faults == (n ? b->spec.pages / n : 0));
	MUST(buf_stats(b).mkwrites == mkwrites);

	/* The same after a revocation, but read first, which makes nothing writable. */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	MUST(filled(p, b, 1));
	MUST(buf_stats(b).faults == (n ? 2 * b->spec.pages / n : 1));
	MUST(buf_stats(b).mkwrites == mkwrites);
	fill(p, b, 2);
	MUST(buf_stats(b).mkwrites == 2 * mkwrites);
	MUST(holds(b, 2));
	MUST(!munmap(p, b->size));
	return NULL;
}

/* Does a page that nobody maps look as it was allocated? */
static bool as_allocated(const struct buf *b, unsigned int i, const struct pfnmap_page *page)
{
	const uint32_t mark = PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED | PFNMAP_PAGE_ACTIVE;
	bool head = i % (1u << b->spec.order) == 0;
	uint32_t flags = PFNMAP_PAGE_STRUCT;
	int count = head;

	if (page->mapcount)
		return false;

	switch (b->spec.kind) {
	case PFNMAP_COMPOUND:
		/* The second page of a compound page keeps other data in some of its flags. */
		if (b->spec.order)
			flags |= head ? PFNMAP_PAGE_HEAD : PFNMAP_PAGE_TAIL;
		return page->count == count && (page->flags & ~mark) == flags;
	case PFNMAP_RESERVED:
		flags |= PFNMAP_PAGE_RESERVED;
		break;
	case PFNMAP_DEVICE:
		flags |= PFNMAP_PAGE_RESERVED | PFNMAP_PAGE_DEVICE;
		if (b->spec.order)
			flags |= head ? PFNMAP_PAGE_HEAD : PFNMAP_PAGE_TAIL;
		return page->count == count && (page->flags & ~mark) == flags;
	case PFNMAP_SHMEM:
		return page->count == 2 && (page->flags & ~mark) == (flags | PFNMAP_PAGE_LRU);
	case PFNMAP_BAR:
		flags = 0;
		count = 0;
		break;
	}
	return page->count == count && page->flags == flags;
}

static const char *counts(struct buf *b)
{
	int mapped = b->spec.kind == PFNMAP_MIXED;
	struct pfnmap_page *now;

	for (unsigned int i = 0; i < b->spec.pages; i++) {
		unsigned int head = i & ~((1u << b->spec.order) - 1);

		MUST(as_allocated(b, i, &b->start[i]));
		MUST(b->start[i].pfn == b->start[head].pfn + i - head);
	}

	buf_map(b, KIT_RW);
	fill((uint8_t *)b->map, b, 1);
	now = buf_report(b);
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		MUST(now[i].pfn == b->start[i].pfn);
		MUST(now[i].count == b->start[i].count + mapped);
		MUST(now[i].mapcount == mapped);
		MUST(now[i].flags == b->start[i].flags);
	}
	free(now);

	buf_unmap(b);
	now = buf_report(b);
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		/* The kernel marks the pages of counted mappings by itself. */
		if (mapped)
			now[i].flags &= ~(PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED);
		MUST(!memcmp(&now[i], &b->start[i], sizeof(now[i])));
	}
	free(now);
	return NULL;
}

static const char *move(struct buf *b)
{
	struct pfnmap_page *now;
	struct pfnmap_old old;
	uint8_t *p = map(b);

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	now = buf_report(b);
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		for (unsigned int j = 0; j < b->spec.pages; j += b->spec.pages - 1)
			MUST(now[i].pfn != b->start[j].pfn);
		MUST(as_allocated(b, i, &now[i]));
	}
	free(now);
	MUST(holds(b, 1) && filled(p, b, 1));

	fill(p, b, 2);
	MUST(holds(b, 2));
	old = buf_check_old(b);
	MUST(old.pages == b->spec.pages && !old.changed && !old.bad_counts);

	/* The BAR has room for one move only while the old pages are kept. */
	if (!in_bar(b->spec.kind)) {
		MUST(!ioctl(b->fd, PFNMAP_MOVE, 0));
		MUST(filled(p, b, 2));
		MUST(buf_check_old(b).pages == b->spec.pages);
	}
	MUST(!munmap(p, b->size));
	return NULL;
}

static const char *free_pages(struct buf *b)
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
	old = buf_check_old(b);
	MUST(old.pages == b->spec.pages && !old.changed && !old.bad_counts);

	MUST(pread(b->fd, &c, 1, 0) == -1 && errno == ENXIO);
	MUST(pwrite(b->fd, "x", 1, 0) == -1 && errno == ENXIO);
	MUST(report(b->fd, 0, 1, &page) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_REVOKE) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_MOVE, 0) == -1 && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_FREE, 0) == -1 && errno == ENXIO);
	MUST(map_part(b, 0, PAGE) == MAP_FAILED && errno == ENXIO);
	MUST(ioctl(b->fd, PFNMAP_CREATE, &b->spec) == -1 && errno == EBUSY);
	MUST(!munmap(p, b->size));

	MUST(!ioctl(b->fd, PFNMAP_CREATE, &b->spec));
	MUST(buf_check_old(b).pages == 0);
	p = map(b);
	MUST(p != MAP_FAILED);
	MUST(p[0] == 0 && p[b->size - 1] == 0);
	MUST(!ioctl(b->fd, PFNMAP_FREE, 0));
	MUST(buf_check_old(b).pages == 0);
	MUST(touch(p, -1) == SIGBUS);
	MUST(!munmap(p, b->size));
	return NULL;
}

static const char *refuse(struct buf *b)
{
	uint8_t *p = map(b), *q;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_REFUSE, 1));
	MUST(filled(p, b, 1)); /* a mapped page stays mapped */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	MUST(touch(p, -1) == SIGBUS && touch(p + b->size - 1, 1) == SIGBUS);

	q = map_part(b, 0, PAGE);
	if (b->spec.insert == PFNMAP_INSERT_ALL)
		MUST(q == MAP_FAILED && errno == EBUSY);
	else
		MUST(q != MAP_FAILED && touch(q, -1) == SIGBUS && !munmap(q, PAGE));

	MUST(!ioctl(b->fd, PFNMAP_REFUSE, 0));
	MUST(filled(p, b, 1));
	fill(p, b, 2);

	/* With mkwrite a page that was only read can still be refused when it is written. */
	if (b->spec.flags & PFNMAP_CREATE_MKWRITE) {
		MUST(!ioctl(b->fd, PFNMAP_REVOKE));
		MUST(!touch(p, -1));
		MUST(!ioctl(b->fd, PFNMAP_REFUSE, 1));
		MUST(!touch(p, -1));
		MUST(touch(p, 1) == SIGBUS);
		MUST(!ioctl(b->fd, PFNMAP_REFUSE, 0));
	}
	MUST(!munmap(p, b->size));
	return NULL;
}

/* Read a byte; check the signal, and the number of faults that buffer b takes for it. */
#define READ(b, p, signal, nr)                               \
	do {                                                 \
		uint64_t before_ = buf_stats(b).faults;      \
                                                             \
		MUST(touch(p, -1) == (signal));              \
		MUST(buf_stats(b).faults - before_ == (nr)); \
	} while (0)

/*
 * What else a fault does before it ends in SIGBUS. Of two mappings one has all its entries, and the
 * other one takes the fault.
 */
static const char *refuse_how(struct buf *b, const struct buf *named, uint8_t *there,
			      unsigned int how)
{
	unsigned int attempts = how == PFNMAP_REFUSE_RETRY ? 2 : 1;
	bool unmaps = how == PFNMAP_REFUSE_UNMAP, unmaps_named = how == PFNMAP_REFUSE_UNMAP_NAMED;
	uint8_t *p = map(b), *q = map(b);

	MUST(p != MAP_FAILED && q != MAP_FAILED);
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	fill(p, b, 1);
	MUST(!touch(there, -1));
	MUST(!ioctl(b->fd, PFNMAP_REFUSE, how));
	MUST(filled(p, b, 1)); /* a mapped page stays mapped */
	READ(named, there, 0, 0);

	READ(b, q, SIGBUS, attempts);
	READ(b, p, unmaps ? SIGBUS : 0, unmaps);
	READ(b, p + b->size - 1, unmaps ? SIGBUS : 0, unmaps);
	READ(named, there, 0, unmaps_named);

	/* A write to a page that was mapped for reading. */
	if (b->spec.flags & PFNMAP_CREATE_MKWRITE) {
		uint64_t mkwrites;

		MUST(!ioctl(b->fd, PFNMAP_REFUSE, PFNMAP_REFUSE_OFF));
		MUST(!ioctl(b->fd, PFNMAP_REVOKE));
		MUST(!touch(p, -1) && !touch(p + PAGE, -1));
		MUST(!ioctl(b->fd, PFNMAP_REFUSE, how));
		mkwrites = buf_stats(b).mkwrites;
		MUST(touch(p, 1) == SIGBUS);
		MUST(buf_stats(b).mkwrites == mkwrites + 1);
		READ(b, p + PAGE, unmaps ? SIGBUS : 0, unmaps);
		READ(named, there, 0, unmaps_named);
	}

	MUST(!ioctl(b->fd, PFNMAP_REFUSE, PFNMAP_REFUSE_OFF));
	MUST(filled(p, b, 1) && filled(q, b, 1));
	MUST(!munmap(p, b->size) && !munmap(q, b->size));
	return NULL;
}

static const char *refuse_all(struct buf *b)
{
	struct buf named;
	const char *why = NULL;

	buf_open_named(&named, &(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = 1 });
	buf_map(&named, KIT_RW);
	for (unsigned int how = PFNMAP_REFUSE_FAIL; how < PFNMAP_NR_REFUSES && !why; how++)
		why = refuse_how(b, &named, (uint8_t *)named.map, how);
	buf_unmap(&named);
	MUST(!ioctl(named.fd, PFNMAP_FREE, 0));
	buf_close(&named);
	return why;
}

struct toucher {
	uint8_t *p;
	uint8_t seen;
	atomic_bool done;
};

static atomic_uint signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void *touch_held(void *arg)
{
	struct toucher *t = arg;

	t->seen = *(volatile uint8_t *)t->p;
	t->done = true;
	return NULL;
}

/* Wait for *p to be at least n; false after 10 s. */
static bool reaches(const atomic_uint *p, unsigned int n)
{
	for (int i = 0; i < 10000 && *p < n; i++)
		usleep(1000);
	return *p >= n;
}

/* Wait until the buffer has taken n faults; false after 10 s. */
static bool faulted(const struct buf *b, uint64_t n)
{
	for (int i = 0; i < 10000 && buf_stats(b).faults < n; i++)
		usleep(1000);
	return buf_stats(b).faults >= n;
}

/*
 * A signal is handled while a fault waits, and a task that waits can be killed. The test does not
 * change mappings meanwhile, because a waiting fault may keep it from doing so.
 */
static const char *hold_one(struct buf *b, unsigned int hold)
{
	static struct toucher t;
	uint8_t *p = map(b);
	uint64_t faults;
	pthread_t thread;
	unsigned int n;
	int status;
	pid_t pid;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_HOLD, hold));
	MUST(filled(p, b, 1)); /* a mapped page stays mapped */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));

	faults = buf_stats(b).faults;
	t = (struct toucher){ .p = p };
	MUST(!pthread_create(&thread, NULL, touch_held, &t));
	MUST(faulted(b, faults + 1));
	for (int i = 0; i < 2; i++) {
		n = signals;
		MUST(!pthread_kill(thread, SIGUSR1));
		MUST(reaches(&signals, n + 1) && !t.done);
		/* The access is repeated. */
		MUST(faulted(b, faults + 2 + i));
	}
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_OFF));
	pthread_join(thread, NULL);
	MUST(t.seen == pattern(0, 1));

	MUST(!ioctl(b->fd, PFNMAP_HOLD, hold) && !ioctl(b->fd, PFNMAP_REVOKE));
	faults = buf_stats(b).faults;
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		touch(p, 1);
		_exit(0);
	}
	MUST(faulted(b, faults + 1));
	MUST(!kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid);
	MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_OFF));
	MUST(filled(p, b, 1));
	MUST(!munmap(p, b->size));
	return NULL;
}

/* The access is repeated, with two attempts each time, until the driver serves. */
static const char *hold_busy(struct buf *b)
{
	static struct toucher t;
	uint8_t *p = map(b);
	pthread_t thread;
	uint64_t faults;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_BUSY));
	MUST(filled(p, b, 1)); /* a mapped page stays mapped */
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));

	faults = buf_stats(b).faults;
	t = (struct toucher){ .p = p };
	MUST(!pthread_create(&thread, NULL, touch_held, &t));
	MUST(faulted(b, faults + 10) && !t.done);
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_OFF));
	pthread_join(thread, NULL);
	MUST(t.seen == pattern(0, 1));
	MUST(!munmap(p, b->size));
	return NULL;
}

/* This thread itself waits for the end, so that nothing but the time can bring it. */
static const char *hold_ends(struct buf *b)
{
	uint8_t *p = map(b);

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	for (unsigned int hold = PFNMAP_HOLD_NOPAGE; hold < PFNMAP_NR_HOLDS; hold++) {
		struct timespec from, to;

		MUST(!ioctl(b->fd, PFNMAP_REVOKE));
		clock_gettime(CLOCK_MONOTONIC, &from);
		MUST(!ioctl(b->fd, PFNMAP_HOLD, hold | PFNMAP_HOLD_MS(HOLD_MS)));
		MUST(!touch(p, -1) && p[0] == pattern(0, 1));
		clock_gettime(CLOCK_MONOTONIC, &to);
		MUST((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >=
		     HOLD_MS);
	}
	/* A new argument replaces the time, too. */
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_NOPAGE | PFNMAP_HOLD_MS(HOLD_MS)));
	MUST(!ioctl(b->fd, PFNMAP_HOLD, PFNMAP_HOLD_OFF));
	MUST(filled(p, b, 1));
	MUST(!munmap(p, b->size));
	return NULL;
}

static const char *hold(struct buf *b)
{
	return hold_one(b, PFNMAP_HOLD_NOPAGE)	      ?:
		       hold_one(b, PFNMAP_HOLD_RETRY) ?:
		       hold_busy(b)		      ?:
							hold_ends(b);
}

/* Lost faults leave nothing mapped, of any mapping, so that the access faults once more. */
static const char *lose(struct buf *b)
{
	uint8_t *p = map(b), *q = map(b);
	uint64_t faults;

	MUST(p != MAP_FAILED && q != MAP_FAILED);
	fill(p, b, 1);
	MUST(!ioctl(b->fd, PFNMAP_REVOKE) && !ioctl(b->fd, PFNMAP_LOSE, 3));
	faults = buf_stats(b).faults;
	MUST(p[0] == pattern(0, 1));
	MUST(buf_stats(b).faults == faults + 4);
	MUST(filled(p, b, 1));

	/* The one that is lost takes the other mapping's entries along. */
	MUST(!munmap(q, b->size));
	q = map(b);
	MUST(q != MAP_FAILED && !ioctl(b->fd, PFNMAP_REVOKE));
	MUST(p[0] == pattern(0, 1) && !ioctl(b->fd, PFNMAP_LOSE, 1));
	faults = buf_stats(b).faults;
	MUST(!touch(q, -1) && !touch(p, -1) && p[0] == pattern(0, 1));
	MUST(buf_stats(b).faults == faults + 3);

	MUST(!ioctl(b->fd, PFNMAP_LOSE, 3) && !ioctl(b->fd, PFNMAP_LOSE, 0));
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	faults = buf_stats(b).faults;
	MUST(p[0] == pattern(0, 1));
	MUST(buf_stats(b).faults == faults + 1);
	MUST(!munmap(p, b->size) && !munmap(q, b->size));
	return NULL;
}

/* The child's half of forked(): each byte from the parent asks for one step. */
static int child(struct buf *b, uint8_t *p, int in, int out)
{
	char c;

	if (!filled(p, b, 1))
		return 1;
	fill(p, b, 2);
	if (write(out, "x", 1) != 1 || read(in, &c, 1) != 1)
		return 2;
	if (!filled(p, b, 3)) /* moved, and written by the parent */
		return 3;
	if (write(out, "x", 1) != 1 || read(in, &c, 1) != 1)
		return 4;
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		if (touch(p + i * PAGE, 1) != SIGBUS)
			return 5;
	}
	return 0;
}

static const char *forked(struct buf *b)
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
		/* So that the child ends, too, when the parent gives up. */
		close(to_child[1]);
		_exit(child(b, p, to_child[0], to_parent[1]));
	}
	close(to_child[0]);
	close(to_parent[1]);

	MUST(read(to_parent[0], &c, 1) == 1);
	MUST(filled(p, b, 2));
	MUST(buf_stats(b).mappings == 2);
	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	fill(p, b, 3);
	MUST(write(to_child[1], "x", 1) == 1 && read(to_parent[0], &c, 1) == 1);
	MUST(!ioctl(b->fd, PFNMAP_FREE, PFNMAP_KEEP_OLD));
	MUST(write(to_child[1], "x", 1) == 1);
	MUST(waitpid(pid, &status, 0) == pid && !status);
	MUST(!buf_check_old(b).changed);
	MUST(buf_stats(b).mappings == 1);
	close(to_child[1]);
	close(to_parent[0]);
	MUST(!munmap(p, b->size));
	return NULL;
}

static const char *partial(struct buf *b)
{
	size_t half = b->size / 2;
	uint8_t *p = map(b), *q;

	MUST(p != MAP_FAILED);
	fill(p, b, 1);
	MUST(!munmap(p + half - PAGE, PAGE));
	MUST(buf_stats(b).mappings == 2);
	MUST(touch(p + half - PAGE, -1) == SIGSEGV);
	MUST(!touch(p + half - 2 * PAGE, -1) && p[half] == pattern(b->spec.pages / 2, 1));

	MUST(!mprotect(p, half - PAGE, PROT_READ));
	MUST(!touch(p, -1) && touch(p, 1) == SIGSEGV);
	MUST(!mprotect(p, half - PAGE, KIT_RW));
	MUST(!touch(p, 0x77));
	MUST(p[0] == 0x77);

	/* Fill the hole again. Mappings can move and shrink, but not grow. */
	MUST(mmap(p + half - PAGE, PAGE, KIT_RW, MAP_SHARED | MAP_FIXED, b->fd, half - PAGE) ==
	     p + half - PAGE);
	fill(p, b, 2);
	MUST(holds(b, 2));
	MUST(!munmap(p, half));
	p += half;
	MUST(mremap(p, half, b->size, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	q = mmap(NULL, half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(q != MAP_FAILED);
	MUST(mremap(p, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	MUST(q[0] == pattern(b->spec.pages / 2, 2));
	MUST(!ioctl(b->fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD));
	MUST(q[0] == pattern(b->spec.pages / 2, 2));
	q[0] = 0;
	MUST(!buf_check_old(b).changed);
	MUST(mremap(q, half, PAGE, 0) == q && !munmap(q, PAGE));
	return NULL;
}

struct race {
	struct buf *b;
	atomic_bool stop;
	uint8_t *p; /* mapped all the time */
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
		if (munmap(p, race->b->size))
			return "munmap failed";
	}
	return NULL;
}

/* Pages move while other threads write and map: no old page is ever written again. */
static const char *race(struct buf *b)
{
	/* As many moves as the module can keep the pages of, within reason. */
	unsigned int moves = in_bar(b->spec.kind) ? 1 : PFNMAP_MAX_PAGES / b->spec.pages;
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
	old = buf_check_old(b);
	MUST(old.pages == (uint64_t)moves * b->spec.pages);
	MUST(!old.changed && !old.bad_counts);
	MUST(!munmap(race.p, b->size));
	return NULL;
}

/* The view through an address is that of PFNMAP_REPORT. */
static const char *look(struct buf *b)
{
	bool special = b->spec.kind != PFNMAP_MIXED;
	bool blind = b->spec.insert == PFNMAP_INSERT_PMD && !kit_kernel(6, 12);
	uint8_t *p = map(b);

	MUST(p != MAP_FAILED);
	MUST(!ioctl(b->fd, PFNMAP_REVOKE));
	for (unsigned int i = 0; i < b->spec.pages; i++) {
		struct pfnmap_look look = { .address = (uintptr_t)p + i * PAGE + 1 };
		int ret = ioctl(b->fd, PFNMAP_LOOK, &look);

		if (!special) {
			MUST(ret && errno == EINVAL);
			continue;
		}
		/* Other pages than the first may have been inserted together with it. */
		MUST(i || (ret && errno == ENXIO));
		(void)*(volatile uint8_t *)(p + i * PAGE);
		ret = ioctl(b->fd, PFNMAP_LOOK, &look);
		if (blind) {
			MUST(ret && errno == ENXIO);
			continue;
		}
		MUST(!ret && !memcmp(&look.page, &b->start[i], sizeof(look.page)));
	}
	MUST(!munmap(p, b->size));
	return NULL;
}

static const struct {
	const char *name;
	const char *(*run)(struct buf *b);
} behaviours[] = {
	/* clang-format off */
	{ "all views have the same content", content },
	{ "the exporter counts faults", fault_counts },
	{ "pages have the documented counts and flags", counts },
	{ "PFNMAP_LOOK finds the page behind an address", look },
	{ "a move keeps the content", move },
	{ "freed pages are gone", free_pages },
	{ "a refused fault raises SIGBUS", refuse },
	{ "every way to refuse works", refuse_all },
	{ "a held fault waits", hold },
	{ "a fault loses a race on request", lose },
	{ "a fork shares the pages", forked },
	{ "a mapping can be split, moved and shrunk", partial },
	{ "moves race with writes and mmap", race },
	/* clang-format on */
};

static void check(const char *(*run)(struct buf *b), const char *name,
		  const struct pfnmap_create *spec)
{
	const char *why;
	struct buf b;

	if (!buf_try_open(&b, spec)) {
		if (in_bar(spec->kind) && errno == ENODEV)
			tap_skip(1, "%s: this host has no such device", buf_name(&b));
		else
			tap_ok(false, "PFNMAP_CREATE of %s: %s", buf_name(&b), strerror(errno));
		return;
	}
	why = run(&b);
	tap_ok(!why, "%s: %s", buf_name(&b), name);
	if (why)
		tap_diag("%s", why);
	buf_close(&b);
}

static void every_behaviour(const struct pfnmap_create *spec)
{
	for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++)
		check(behaviours[i].run, behaviours[i].name, spec);
}

static void every_kind(void)
{
	for (uint32_t kind = 0; kind < PFNMAP_NR_KINDS; kind++) {
		for (uint32_t insert = 0; insert < PFNMAP_INSERT_PMD; insert++) {
			struct pfnmap_create spec = {
				.kind = kind,
				.insert = insert,
				.order = has_chunks(kind)      ? 3 :
					 kind == PFNMAP_DEVICE ? 9 :
								 0,
				.pages = kind == PFNMAP_DEVICE ? PMD_PAGES : 64,
			};

			every_behaviour(&spec);
			spec.flags = PFNMAP_CREATE_MKWRITE;
			if (kind != PFNMAP_MIXED)
				every_behaviour(&spec);
		}
	}

	for (uint32_t kind = 0; kind < PFNMAP_NR_KINDS; kind++) {
		struct pfnmap_create spec = { .kind = kind, .insert = PFNMAP_INSERT_PMD };

		if (has_chunks(kind)) {
			spec.order = 9;
			spec.pages = 2 * PMD_PAGES;
			every_behaviour(&spec);
		} else if (in_bar(kind)) {
			spec.order = kind == PFNMAP_DEVICE ? 9 : 0;
			spec.pages = PMD_PAGES;
			every_behaviour(&spec);
		}
	}
}

/* Every order; only counts and flags depend on it. */
static void every_order(void)
{
	for (uint32_t kind = 0; kind < PFNMAP_NR_KINDS; kind++) {
		for (uint32_t order = 0; has_chunks(kind) && order <= PFNMAP_MAX_ORDER; order++) {
			check(counts, "pages have the documented counts and flags",
			      &(struct pfnmap_create){
				      .kind = kind,
				      .order = order,
				      .pages = 2u << order,
			      });
		}
		for (uint32_t order = 0; kind == PFNMAP_DEVICE && order <= PFNMAP_MAX_ORDER;
		     order++) {
			check(counts, "pages have the documented counts and flags",
			      &(struct pfnmap_create){
				      .kind = kind,
				      .order = order,
				      .pages = PMD_PAGES,
			      });
		}
	}
}

#define FAILS(call, err) tap_ok((long)(call) == -1 && errno == (err), "%s: %s", #err, #call)

static void misuse(void)
{
	struct buf b = {
		.spec = { .pages = 8 },
		.size = 8 * PAGE,
		.fd = open(PFNMAP_EXPORTER_PATH, O_RDWR),
	};
	int ro = open(PFNMAP_EXPORTER_PATH, O_RDONLY);
	struct pfnmap_create reserved = { .pages = 8, .reserved = 1 };
	struct pfnmap_page pages[8];
	struct pfnmap_look none = { .address = 0 }, ordinary = { .address = (uintptr_t)pages };
	/* Volatile, so that the compiler does not object. */
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
	tap_is(lseek(fd, 0, SEEK_END), 0, "a descriptor without a buffer has size 0");

	/* Descriptions that do not make a buffer. */
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
	FAILS(create(fd, PFNMAP_DEVICE, 0, 0, 0, 8), EINVAL);
	FAILS(create(fd, PFNMAP_MIXED, 0, 0, PFNMAP_CREATE_MKWRITE, 8), EINVAL);
	FAILS(create(fd, 0, PFNMAP_INSERT_PMD, 8, 0, 512), EINVAL);
	FAILS(create(fd, 0, PFNMAP_INSERT_PMD, 9, PFNMAP_CREATE_MKWRITE, 512), EINVAL);
	FAILS(ioctl(fd, PFNMAP_CREATE, &reserved), EINVAL);
	FAILS(ioctl(fd, PFNMAP_CREATE, NULL), EFAULT);
	FAILS(ioctl(fd, _IO(PFNMAP_IOC, 99)), ENOTTY);

	tap_ok(!ioctl(fd, PFNMAP_CREATE, &b.spec), "a buffer of 8 pages can be created");
	tap_is(lseek(fd, 0, SEEK_END), 8 * PAGE, "the file has the size of the buffer");
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	FAILS(report(fd, 0, 9, pages), EINVAL);
	FAILS(report(fd, 8, 1, pages), EINVAL);
	FAILS(report(fd, UINT32_MAX, 2, pages), EINVAL);
	FAILS(report(fd, 2, UINT32_MAX, pages), EINVAL);
	FAILS(report(fd, 0, 8, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_REPORT, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_STATS, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_CHECK_OLD, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_LOOK, NULL), EFAULT);
	FAILS(ioctl(fd, PFNMAP_LOOK, &none), EINVAL);
	FAILS(ioctl(fd, PFNMAP_LOOK, &ordinary), EINVAL);
	FAILS(ioctl(fd, PFNMAP_MOVE, 2), EINVAL);
	FAILS(ioctl(fd, PFNMAP_FREE, -1L), EINVAL);
	FAILS(ioctl(fd, PFNMAP_REFUSE, PFNMAP_NR_REFUSES), EINVAL);
	FAILS(ioctl(fd, PFNMAP_REFUSE, -1L), EINVAL);
	FAILS(ioctl(fd, PFNMAP_HOLD, PFNMAP_NR_HOLDS), EINVAL);
	FAILS(ioctl(fd, PFNMAP_HOLD, -1L), EINVAL);
	FAILS(ioctl(fd, PFNMAP_HOLD, PFNMAP_NR_HOLDS | PFNMAP_HOLD_MS(1)), EINVAL);
	FAILS(ioctl(fd, PFNMAP_HOLD, PFNMAP_HOLD_MS(PFNMAP_HOLD_MAX_MS + 1)), EINVAL);
	FAILS(ioctl(fd, PFNMAP_LOSE, PFNMAP_MAX_LOSE + 1), EINVAL);
	FAILS(ioctl(fd, PFNMAP_LOSE, -1L), EINVAL);
	FAILS(map_part(&b, 0, 9 * PAGE), EINVAL);
	FAILS(map_part(&b, 8 * PAGE, PAGE), EINVAL);
	FAILS(map_part(&b, 7 * PAGE, 2 * PAGE), EINVAL);
	FAILS(map_part(&b, INT64_MAX / KIT_PAGE * KIT_PAGE, PAGE), EINVAL);
	FAILS(map_part(&b, 1ull << 62, PAGE), EINVAL);
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
	tap_ok(p != MAP_FAILED && !munmap(p, b.size), "the buffer can be mapped and unmapped");
	tap_ok(!create(fd, PFNMAP_SINGLE, 0, 0, 0, 2), "an unmapped buffer can be replaced");
	FAILS(map(&b), EINVAL);

	/* The exporter keeps no more old pages than a buffer can have. */
	tap_ok(!create(fd, PFNMAP_NONCOMPOUND, 0, 9, 0, PFNMAP_MAX_PAGES / 2 + 512),
	       "a big buffer can be created");
	tap_ok(!ioctl(fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD), "the big buffer moves once");
	b.fd = fd;
	FAILS(ioctl(fd, PFNMAP_STRAY, PFNMAP_MAX_PAGES / 2 + 512), EINVAL);
	tap_ok(!ioctl(fd, PFNMAP_STRAY, 1000) && buf_check_old(&b).changed == 1,
	       "a change of a kept page is noticed");
	FAILS(ioctl(fd, PFNMAP_MOVE, PFNMAP_KEEP_OLD), ENOSPC);
	FAILS(ioctl(fd, PFNMAP_FREE, PFNMAP_KEEP_OLD), ENOSPC);
	tap_ok(!ioctl(fd, PFNMAP_FREE, 0), "the big buffer can be freed");
	close(fd);

	/* A read-only descriptor does not allow writes. */
	b.fd = ro;
	tap_ok(!ioctl(ro, PFNMAP_CREATE, &b.spec), "a read-only descriptor can create a buffer");
	FAILS(map(&b), EACCES);
	FAILS(write(ro, "x", 1), EBADF);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	tap_ok(p != MAP_FAILED && !touch(p, -1) && touch(p, 1) == SIGSEGV,
	       "a read-only descriptor maps for reading only");
	FAILS(mprotect(p, PAGE, KIT_RW), EACCES);
	close(ro);
	tap_ok(!touch(p, -1) && !munmap(p, PAGE), "the mapping outlives the descriptor");
}

static void shared_buffer(void)
{
	struct buf a = { .spec = { .order = 3, .pages = 64 }, .size = 64 * PAGE }, b = a;
	uint8_t *p, *q;

	a.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	b.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	tap_ok(!ioctl(a.fd, PFNMAP_CREATE, &a.spec), "the shared buffer is created");
	p = map(&a);
	q = map(&b);
	tap_ok(p != MAP_FAILED && q != MAP_FAILED, "two descriptors map the shared buffer");
	fill(p, &a, 1);
	tap_ok(filled(q, &b, 1), "both mappings have the same pages");
	munmap(p, a.size);
	p = map(&a);
	ioctl(a.fd, PFNMAP_REFUSE, PFNMAP_REFUSE_UNMAP_NAMED);
	tap_ok(!touch(q, -1) && touch(p, -1) == SIGBUS && touch(q, -1) == SIGBUS,
	       "a fault in the shared buffer can unmap it");
	ioctl(a.fd, PFNMAP_REFUSE, PFNMAP_REFUSE_OFF);
	tap_ok(filled(p, &b, 1), "the shared buffer is served again");
	tap_ok(!ioctl(b.fd, PFNMAP_FREE, 0), "one descriptor frees the shared buffer");
	tap_is(touch(p, -1), SIGBUS, "its pages are gone from the other's mapping");
	FAILS(ioctl(b.fd, PFNMAP_CREATE, &b.spec), EBUSY);
	munmap(p, a.size);
	munmap(q, b.size);

	tap_ok(!ioctl(b.fd, PFNMAP_CREATE, &b.spec), "the shared buffer is created again");
	p = map(&b);
	fill(p, &b, 2);
	munmap(p, b.size);
	close(a.fd);
	close(b.fd);
	a.fd = open(PFNMAP_BUFFER_PATH, O_RDWR);
	tap_ok(holds(&a, 2), "the shared buffer keeps its content while nobody has it open");
	tap_ok(!ioctl(a.fd, PFNMAP_FREE, 0), "the shared buffer is freed at the end");
	close(a.fd);
}

struct eager_race {
	struct buf b;
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
		munmap(p, race->b.size);
	}
	return NULL;
}

/*
 * mmap() inserts all entries while the pages are freed: revocation cannot find the new mapping yet,
 * but still no mapping keeps an old page.
 */
static void eager_race(void)
{
	struct eager_race race = { .stop = false };
	uint64_t changed = 0, bad = 0;
	unsigned int rounds = 0;
	pthread_t t;

	buf_open(&race.b, &(struct pfnmap_create){
				  .insert = PFNMAP_INSERT_ALL,
				  .order = 3,
				  .pages = 64,
			  });
	if (pthread_create(&t, NULL, eager_map, &race))
		tap_bail("pthread_create: %s", strerror(errno));

	for (unsigned int i = 0; i < 20000 && rounds < 200; i++) {
		if (ioctl(race.b.fd, PFNMAP_FREE, PFNMAP_KEEP_OLD) && errno != ENXIO)
			break;
		/* A new buffer is EBUSY until the thread has unmapped; look for its writes then. */
		while (buf_stats(&race.b).mappings)
			sched_yield();
		changed += buf_check_old(&race.b).changed;
		bad += buf_check_old(&race.b).bad_counts;
		if (!ioctl(race.b.fd, PFNMAP_CREATE, &race.b.spec))
			rounds++;
		usleep(i % 50);
	}
	race.stop = true;
	pthread_join(t, NULL);
	tap_is(rounds, 200, "the pages are freed over and over, with %u mappings and %u refused",
	       race.mapped, race.refused);
	tap_ok(race.mapped && race.refused, "mmap() both succeeds and fails meanwhile");
	tap_is(changed + bad, 0, "no freed page is written");
	buf_close(&race.b);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_fault }, usr1 = { .sa_handler = on_signal };

	kit_start();
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGUSR1, &usr1, NULL);
	misuse();
	every_kind();
	every_order();
	shared_buffer();
	eager_race();
	return kit_finish();
}
