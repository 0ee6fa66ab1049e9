// SPDX-License-Identifier: GPL-2.0-only
/*
 * torture - Threads do everything at once that a VMM, a driver and the kernel can do to guest
 * memory, and vCPUs and nested guests touch it all the time: every touch ends as foreseen, nobody
 * sees or changes a page that was taken away, no store is lost, the dirty log has each, pages get
 * dirty, and all counts and flags are as before.
 *
 *	torture [seed=N | seed=fresh] [ops=N | ops=N-N,N,...] [seconds=N] [tries=N] [multi] [shrink]
 *	torture self
 *
 * The operations follow from the seed and their numbers, so a list of numbers repeats them, though
 * not the moment at which each one meets the others: tries=N runs the list that often. With
 * shrink, a failure is followed by a search for a shorter list that fails, too. With seconds, runs
 * with other seeds follow until the time is over. seed=fresh draws one and tells it. `multi` says
 * that the emulator has a thread for each processor, which the command to repeat a list then asks
 * for. `torture self` breaks each invariant on purpose.
 *
 * Contract: 1, 3, 7, 9. Stock passes with what it can map: it refuses the tails of chunks, and
 * gives up when it loses a race.
 *
 * Seen to fail, with seed=1 ops=300: a KVM whose TDP MMU unmaps nothing for the MMU notifier (a
 * store is lost, within 23 operations), keeps the references of faults (wrong counts, within 34),
 * or marks every page dirty that it unmaps (by KVM's warning).
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/swap.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/torture/torture.h"

#define OPS_PER_WORLD 150u
#define DEFAULT_OPS   600u
#define MAX_OPS	      100000u
#define LOOP_TICKS    8u     /* a touch that repeats itself ends at such a tick */
#define PATIENCE      20000u /* ticks without a step: many times too long */
#define SWAP	      "/dev/ram0"
#define KSM	      "/sys/kernel/mm/ksm/"

static const char *const invariants[NR_INVARIANTS] = {
	[INV_OUTCOME] = "every touch ends as foreseen",
	[INV_READ] = "nobody reads bytes of another page",
	[INV_STORE] = "no store is lost",
	[INV_OLD] = "nothing writes to pages that were taken back",
	[INV_LOG] = "the dirty log has all stores, and nothing that nobody touched",
	[INV_DIRTY] = "refcounted pages of the driver that guests stored to are dirty",
	[INV_COUNT] = "counts and flags are as they were",
	[INV_STUCK] = "every thread goes on",
};

atomic_bool stopping;
unsigned int patience = PATIENCE;
bool fails_allocations;

static pthread_mutex_t violation_lock = PTHREAD_MUTEX_INITIALIZER;
static char violations[NR_INVARIANTS][256]; /* the first one of each, or "" */

void violated(enum invariant inv, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&violation_lock);
	if (!violations[inv][0]) {
		va_start(ap, fmt);
		vsnprintf(violations[inv], sizeof(violations[inv]), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&violation_lock);
	stopping = true;
}

void violations_clear(void)
{
	memset(violations, 0, sizeof(violations));
	stopping = false;
}

const char *violation(enum invariant inv)
{
	return violations[inv];
}

/* ---- lists of operations ---- */

struct list {
	uint32_t *op;
	uint32_t nr;
};

static bool multi; /* the emulator has a thread for each processor */

/* How to repeat it. */
static void list_print(uint64_t seed, const struct list *l)
{
	const char *paging = !kit_tdp() ? "shadow" : kit_tdp_mmu() ? "tdp" : "tdp_mmu0";
	char text[800];
	struct utsname uts;
	uint32_t i;
	int n = 0;

	uname(&uts);
	for (i = 0; i < l->nr && n < (int)sizeof(text) - 32; i++) {
		uint32_t first = l->op[i];

		while (i + 1 < l->nr && l->op[i + 1] == l->op[i] + 1)
			i++;
		n += snprintf(text + n, sizeof(text) - n, n ? ",%u-%u" : "%u-%u", first, l->op[i]);
	}
	tap_diag("%u operations: make torture KERNEL=%s VARIANT=%s PAGING=%s%s SEED=%llu "
		 "TRIES=10 OPS=%s%s",
		 l->nr, uts.release, getenv("KVM"), paging, multi ? " MULTI=1" : "",
		 (unsigned long long)seed, text, i < l->nr ? ",..." : "");
}

static void list_add(struct list *l, uint32_t first, uint32_t last)
{
	if (last < first || last >= MAX_OPS)
		tap_bail("ops=: want numbers below %u in ascending order", MAX_OPS);
	for (; first <= last; first++) {
		if (l->nr && l->op[l->nr - 1] >= first)
			tap_bail("ops=: want numbers below %u in ascending order", MAX_OPS);
		l->op[l->nr++] = first;
	}
}

/* "N": the first N; otherwise a list of numbers and ranges. */
static void list_parse(struct list *l, const char *text)
{
	char *end;
	uint32_t first = strtoul(text, &end, 10), last;

	if (!*end) {
		if (!first)
			tap_bail("ops=: want some");
		list_add(l, 0, first - 1);
		return;
	}
	for (;;) {
		first = last = strtoul(text, &end, 10);
		if (end == text)
			tap_bail("ops=%s: want N, or N-N,N,...", text);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		list_add(l, first, last);
		if (!*end)
			return;
		text = end + 1;
	}
}

/* ---- one world ---- */

static struct {
	uint64_t seed;
	const uint32_t *op;
	uint32_t nr;
	atomic_uint next;
} work;

static void *vmm_main(void *arg)
{
	struct vmm *m = arg;

	while (!stopping) {
		uint32_t i = work.next++;

		if (i >= work.nr)
			break;
		m->op = work.op[i];
		m->doing = op_names[op_kind(work.seed, m->op)];
		m->steps++;
		op_do(m, work.seed, m->op);
	}
	m->doing = "the end of what was replaced";
	retire(m, 0);
	m->steps = STEPS_ALL;
	return NULL;
}

static void end_vm(void)
{
	pthread_mutex_lock(&world.vm_lock);
	vm_end();
	pthread_mutex_unlock(&world.vm_lock);
}

/* The VM may go before its memory, or after it. */
static void *end_main(void *arg)
{
	struct vmm *m = arg;
	bool vm_first = world.seed & 1;

	m->doing = "the end";
	if (vm_first)
		end_vm();
	for (int i = 0; i < NR_PLACES; i++) {
		m->steps++;
		place_set(m, &world.places[i], NULL);
	}
	m->steps++;
	retire(m, 0);
	if (!vm_first)
		end_vm();
	m->steps = STEPS_ALL;
	return NULL;
}

/* Two places of 2 MiB, where 2 MiB can be mapped at once, and one after the other in the rest. */
static void lay_out(void)
{
	static const uint32_t pages[NR_PLACES] = { 512, 512, 33, 4, 1, 33, 1, 4, 64, 512, 4, 1 };
	uint32_t at = 0;

	for (int i = 0; i < NR_PLACES; i++) {
		struct place *p = &world.places[i];

		p->pages = pages[i];
		p->at = world.window + (size_t)at * KIT_PAGE;
		p->gpa = KIT_GPA + (uint64_t)at * KIT_PAGE;
		at += pages[i];
	}
}

static void *reservation(size_t size, size_t align)
{
	char *p = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	return (char *)(((uintptr_t)p + align - 1) & ~(align - 1));
}

static void world_init(void)
{
	world.window = reservation(WINDOW_SIZE, KIT_HUGE);
	pthread_mutex_init(&world.vm_lock, NULL);
	for (int i = 0; i < NR_VMMS; i++) {
		world.vmms[i].number = i;
		world.vmms[i].parking = reservation(KIT_HUGE, KIT_HUGE);
		world.vmms[i].graves = reservation(NR_RETIRED * KIT_HUGE, KIT_HUGE);
	}
	for (int i = 0; i < NR_PLACES; i++)
		pthread_mutex_init(&world.places[i].lock, NULL);
	lay_out();
}

bool stands_still(struct watched *w, unsigned int now)
{
	w->idle = now == w->seen ? w->idle + 1 : 0;
	w->seen = now;
	return w->idle >= patience;
}

void watch_vcpus(struct watched *vcpus)
{
	for (int i = 0; i < NR_VCPUS; i++) {
		const struct runner *r = &world.runners[i];

		unsigned int inside = r->inside;

		/* Outside of a touch, its thread may have ended. */
		if (stands_still(&vcpus[i], inside) && inside & 1)
			violated(INV_STUCK, "vCPU %d does not end a %s of page %u of place %d", i,
				 r->touch, r->page, (int)(r->place - world.places));
	}
}

static bool stuck(void)
{
	return violation(INV_STUCK)[0];
}

/* Run threads of the VMM, as long as each thread makes a step now and then. */
static void run_threads(int nr, void *(*fn)(void *))
{
	struct watched vmms[NR_VMMS] = { 0 }, vcpus[NR_VCPUS] = { 0 };
	unsigned int ticks = 0;
	bool busy = true;

	for (int i = 0; i < nr; i++) {
		world.vmms[i].steps = 0;
		if (pthread_create(&world.vmms[i].thread, NULL, fn, &world.vmms[i]))
			tap_bail("pthread_create: %s", strerror(errno));
	}
	while (busy && !stuck()) {
		busy = false;
		for (int i = 0; i < nr; i++) {
			struct vmm *m = &world.vmms[i];

			if (m->steps == STEPS_ALL)
				continue;
			busy = true;
			if (stands_still(&vmms[i], m->steps))
				violated(INV_STUCK, "%s (operation %u) does not end", m->doing,
					 m->op);
		}
		watch_vcpus(vcpus);
		if (++ticks % LOOP_TICKS == 0)
			touches_stop();
		tick();
	}
	/* One that is stuck cannot be joined. */
	for (int i = 0; i < nr && !stuck(); i++)
		pthread_join(world.vmms[i].thread, NULL);
}

/* Run operations in one world. */
static void world_run(uint64_t seed, const uint32_t *op, uint32_t nr)
{
	world.seed = seed;
	work.op = op;
	work.nr = nr;
	work.next = 0;
	for (int i = 0; i < NR_PLACES; i++)
		place_set(&world.vmms[0], &world.places[i],
			  blob_create(world.places[i].pages, hash(seed, MAX_OPS + i)));
	vm_begin();
	run_threads(NR_VMMS, vmm_main);
	if (!stuck())
		run_threads(1, end_main);
}

/* Run a list; true if nothing was violated. */
static bool run(uint64_t seed, const struct list *l)
{
	violations_clear();
	work.seed = seed;
	for (uint32_t i = 0, n; i < l->nr && !stopping; i += n) {
		uint32_t number = l->op[i] / OPS_PER_WORLD;

		for (n = 1; i + n < l->nr && l->op[i + n] / OPS_PER_WORLD == number; n++)
			;
		world_run(hash(seed, number), l->op + i, n);
	}
	return !stopping;
}

static bool run_tries(uint64_t seed, const struct list *l, int tries)
{
	while (tries-- > 0)
		if (!run(seed, l))
			return false;
	return true;
}

/* Leave out parts of a list that fails, ever smaller ones, as long as it goes on failing. */
static void shrink(uint64_t seed, struct list *l, int tries)
{
	struct list part = { .op = malloc(MAX_OPS * sizeof(*part.op)) };

	if (!part.op)
		tap_bail("out of memory");
	for (uint32_t chunk = l->nr / 2; chunk; chunk /= 2) {
		for (uint32_t at = 0; at < l->nr && l->nr > chunk;) {
			uint32_t end = at + chunk < l->nr ? at + chunk : l->nr;

			part.nr = l->nr - (end - at);
			memcpy(part.op, l->op, at * sizeof(*l->op));
			memcpy(part.op + at, l->op + end, (l->nr - end) * sizeof(*l->op));
			if (run_tries(seed, &part, tries)) {
				at = end;
				continue;
			}
			memcpy(l->op, part.op, part.nr * sizeof(*l->op));
			l->nr = part.nr;
			list_print(seed, l);
		}
	}
	for (uint32_t i = 0; i < l->nr && i < 32; i++)
		tap_diag("%u: %s", l->op[i], op_names[op_kind(seed, l->op[i])]);
	free(part.op);
}

/* ---- the host ---- */

static void restore(void)
{
	kit_put(KSM "run", "2");
	kit_put(KSM "run", "0");
	swapoff(SWAP);
}

/* Swap space, and same-page merging. */
static void prepare_host(void)
{
	static const uint32_t head[] = { 1, 2047 }; /* version, last page */
	static const char magic[10] = "SWAPSPACE2";
	static char page[KIT_PAGE];
	int fd = open(SWAP, O_RDWR | O_CLOEXEC);

	memcpy(page + 1024, head, sizeof(head));
	memcpy(page + KIT_PAGE - sizeof(magic), magic, sizeof(magic));
	if (fd < 0 || write(fd, page, sizeof(page)) != sizeof(page) || fsync(fd) || swapon(SWAP, 0))
		tap_bail(SWAP ": %s", strerror(errno));
	close(fd);
	kit_put(KSM "sleep_millisecs", "20");
	kit_put(KSM "run", "1");
	fails_allocations = kit_enable_failures();
}

/* ---- results ---- */

static void report(uint64_t since)
{
	uint64_t spent = microseconds() - since;
	unsigned int ops = 0;
	char text[1024];
	int n = 0;

	for (int i = 0; i < NR_INVARIANTS; i++)
		if (!tap_ok(!violations[i][0], "%s", invariants[i]))
			tap_diag("%s", violations[i]);
	for (int i = 0; i < NR_OPS; i++) {
		n += snprintf(text + n, sizeof(text) - n, " %s %u (%lu us)", op_names[i],
			      done_ops[i], done_ops[i] ? spent_ops[i] / done_ops[i] : 0);
		ops += done_ops[i];
	}
	tap_diag("operations:%s", text);
	tap_diag("%u operations and %u touches (%lu accesses) in %.1f seconds, %.1f and %.1f a "
		 "second",
		 ops, world.touches, world.passes, spent / 1e6, ops * 1e6 / spent,
		 world.touches * 1e6 / spent);
	n = 0;
	for (int i = 0; i < NR_TOUCHES; i++)
		n += snprintf(text + n, sizeof(text) - n, " %s %u", touch_names[i],
			      done_touches[i]);
	tap_diag("touches done:%s; EFAULT %u, MMIO %u, internal error %u, EAGAIN %u, unjudged %u",
		 text, outcomes[1], outcomes[2], outcomes[3], outcomes[4], unjudged);
	if (fails_allocations)
		tap_diag("allocations were made to fail; %u touches ended with ENOMEM",
			 outcomes[5]);
	else
		tap_diag("no allocation was made to fail: the kernel lacks CONFIG_FAILSLAB");
}

static uint64_t fresh(void)
{
	uint32_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		tap_bail("getrandom: %s", strerror(errno));
	return seed;
}

static void test(int argc, char **argv)
{
	struct list l = { .op = malloc(MAX_OPS * sizeof(*l.op)) };
	uint64_t seed = 1, first, start = microseconds();
	bool shrinks = false, failed;
	time_t end = time(NULL);
	int tries = 1;

	if (!l.op)
		tap_bail("out of memory");
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "seed=fresh"))
			seed = fresh();
		else if (!strncmp(argv[i], "seed=", 5))
			seed = strtoull(argv[i] + 5, NULL, 0);
		else if (!strncmp(argv[i], "ops=", 4))
			list_parse(&l, argv[i] + 4);
		else if (!strncmp(argv[i], "seconds=", 8))
			end += strtoul(argv[i] + 8, NULL, 10);
		else if (!strncmp(argv[i], "tries=", 6))
			tries = strtoul(argv[i] + 6, NULL, 10);
		else if (!strcmp(argv[i], "multi"))
			multi = true;
		else if (!strcmp(argv[i], "shrink"))
			shrinks = true;
		else
			tap_bail("%s: see the head of torture.c", argv[i]);
	}
	if (!l.nr)
		list_add(&l, 0, DEFAULT_OPS - 1);

	first = seed;
	tap_diag("seed %llu", (unsigned long long)seed);
	do {
		failed = !run_tries(seed, &l, tries);
	} while (!failed && time(NULL) < end && ++seed);
	tap_diag("seeds %llu to %llu, %u operations each", (unsigned long long)first,
		 (unsigned long long)seed, l.nr);
	report(start);
	if (failed) {
		list_print(seed, &l);
		/* Threads that are stuck are still there. */
		if (shrinks && !stuck())
			shrink(seed, &l, tries > 3 ? tries : 3);
	}
	free(l.op);
}

/* Restore the host after the test, even if that is stuck or bails out. */
static int supervise(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			tap_bail("waitpid: %s", strerror(errno));
	restore();
	if (WIFSIGNALED(status))
		tap_bail("the test was killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Nothing but the test maps memory while addresses are free for a moment. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	prepare_host();
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (pid)
		return supervise(pid);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	kit_start();
	kit_cgroup();
	world_init();
	if (argc == 2 && !strcmp(argv[1], "self")) {
		self_test();
		return tap_done();
	}
	test(argc, argv);
	return kit_finish();
}
