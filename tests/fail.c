// SPDX-License-Identifier: GPL-2.0-only
/*
 * fail - When the driver's fault handler fails, KVM_RUN and KVM_PRE_FAULT_MEMORY return EFAULT at
 * once, whatever the handler did before: it may have unmapped its own or another buffer of the VM,
 * as TTM does to make room, or released mmap_lock. When the driver serves faults again, the guest
 * continues with the same instruction.
 *
 * To KVM a handler that succeeds without making an entry has failed as well, unless the entry may
 * have been taken away since.
 *
 * "At once" is measured in calls of the fault handler. With the argument "race" this buffer and
 * another one are revoked all the time, which must not make a difference.
 *
 * Contract: 9, 7. Stock KVM does the same, with one exception: if a handler releases mmap_lock and,
 * when called again, fails or makes no entry, stock repeats the lookup inside the kernel without
 * end, and no signal stops it. The test then has the driver serve.
 *
 * Seen to fail: a KVM that repeats every lookup that failed while there was an invalidation: the
 * handler's own unmapping is one, so the handler is called thousands of times a second until there
 * is a signal, and in the race some errors take hundreds of calls. A KVM that repeats lookups for
 * which mmap_lock was released although they failed or found nothing.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define OTHER_SLOT (KIT_SLOT + 1)
#define OTHER_GPA  (KIT_GPA + 0x200000)
#define MANY	   100	 /* faults of one lookup that never ends */
#define LIMIT_MS   30000 /* for what should take no time */
#define TRIES	   200	 /* in a race, with at least as many revocations */

/* Who asks for a page: an access of the guest, or a prefault by the VMM. */
#define PREFAULT  KIT_NR_ACCESSES
#define NR_ASKERS (KIT_NR_ACCESSES + 1)

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 0, .pages = 8, .flags = PFNMAP_CREATE_MKWRITE },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8, .insert = PFNMAP_INSERT_AROUND },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 8, .insert = PFNMAP_INSERT_ALL },
	{ .kind = PFNMAP_BAR, .pages = 8 },
	{ .kind = PFNMAP_MIXED, .pages = 8 },
};

/*
 * How often the handler is called until KVM gives up. Refcounted pages in a VM_MIXEDMAP mapping
 * come from get_user_pages(), which KVM calls first without waiting, then waiting, then to check
 * for poisoned memory; patched KVM calls it once more to check whether the mapping was replaced.
 */
static const struct {
	uint32_t refuse, hold;
	const char *name;
	int remapped;	    /* VM_PFNMAP; 0, on stock only: never gives up */
	int stock_remapped; /* the same */
	int counted, stock_counted;
} modes[] = {
	{ PFNMAP_REFUSE_FAIL, 0, "at once", 1, 1, 4, 3 },
	{ PFNMAP_REFUSE_UNMAP, 0, "after unmapping its buffer", 1, 1, 4, 3 },
	{ PFNMAP_REFUSE_UNMAP_NAMED, 0, "after unmapping another buffer", 1, 1, 4, 3 },
	{ PFNMAP_REFUSE_RETRY, 0, "on the second call", 2, 0, 5, 4 },
	/* get_user_pages() does not return before there is an entry. */
	{ 0, PFNMAP_HOLD_BUSY, "with no entry on the second call", 2, 0, 0, 0 },
};

static bool mode_suits(const struct buf *b, size_t mode)
{
	return !modes[mode].hold || b->spec.kind != PFNMAP_MIXED;
}

/* Have faults fail as the mode says; have them served again. */
static void set_mode(const struct buf *b, size_t mode)
{
	buf_do(b, PFNMAP_REFUSE, modes[mode].refuse);
	buf_do(b, PFNMAP_HOLD, modes[mode].hold);
}

static void serve(const struct buf *b)
{
	buf_do(b, PFNMAP_REFUSE, PFNMAP_REFUSE_OFF);
	buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
}

static int calls_expected(const struct buf *b, size_t mode)
{
	if (b->spec.kind == PFNMAP_MIXED)
		return tap_kvm_patched() ? modes[mode].counted : modes[mode].stock_counted;
	return tap_kvm_patched() ? modes[mode].remapped : modes[mode].stock_remapped;
}

/* The VM: accesses of v fail, while `other` uses the other buffer. */
struct machine {
	struct vm *vm;
	struct vcpu *v, *other;
	struct buf named;
};

static const char *asker_name(unsigned int asker)
{
	return asker == PREFAULT ? "prefault" : kit_access_names[asker];
}

static unsigned int nr_askers(void)
{
	return kit_prefaults() ? NR_ASKERS : KIT_NR_ACCESSES;
}

/* One attempt to get a page, in the vCPU's thread. */
struct attempt {
	unsigned int asker;
	uint64_t gpa;
	bool again; /* resume the access that failed */
	struct guest_outcome out;
	struct kvm_pre_fault_memory range;
	int ret; /* 0 or -errno */
	atomic_bool done;
};

static int run_attempt(struct vcpu *v, void *arg)
{
	struct attempt *a = arg;

	if (a->asker == PREFAULT) {
		a->range = (struct kvm_pre_fault_memory){ .gpa = a->gpa, .size = KIT_PAGE };
		a->ret = kit_prefault(v, &a->range);
	} else if (a->again) {
		a->ret = guest_resume(v, &a->out);
	} else {
		a->ret = kit_touch(v, a->asker, a->gpa, 7, &a->out);
	}
	a->done = true;
	return 0;
}

static const char *describe(const struct attempt *a)
{
	return a->asker == PREFAULT ? strerror(-a->ret) : guest_describe(&a->out);
}

static bool failed_with(const struct attempt *a, int err)
{
	if (a->asker == PREFAULT)
		return a->ret == -err && a->range.gpa == a->gpa && a->range.size == KIT_PAGE;
	return a->out.end == GUEST_RUN_FAILED && a->out.err == err;
}

/* Wait for the attempt to end, or for so many calls of the driver that it never will. */
static void await(const struct attempt *a, const struct buf *b, uint64_t never)
{
	for (int i = 0; i < LIMIT_MS && !a->done && buf_stats(b).faults < never; i++)
		usleep(1000);
}

/* End the attempt, if need be by having the driver serve, for the sake of the tests that follow. */
static void end_attempt(struct machine *m, const struct attempt *a, const struct buf *b)
{
	if (!a->done) {
		vcpu_kick(m->v);
		for (int i = 0; i < 1000 && !a->done; i++)
			usleep(1000);
		tap_diag("%s", a->done ? "a signal ended it" : "a signal did not end it");
		serve(b);
	}
	vcpu_join(m->v);
}

/* The attempt fails, and the driver is called as often as expected. */
static void test_failure(struct machine *m, const struct buf *b, struct attempt *a, size_t mode)
{
	uint64_t before = buf_stats(b).faults, word = buf_word(b, a->gpa - KIT_GPA);

	a->done = false;
	vcpu_start(m->v, run_attempt, a);
	await(a, b, before + MANY);
	tap_is(buf_stats(b).faults - before, calls_expected(b, mode),
	       "%s: %s fails %s: number of driver calls", buf_name(b), asker_name(a->asker),
	       modes[mode].name);
	end_attempt(m, a, b);
	tap_ok(failed_with(a, EFAULT), "%s: the error is EFAULT: %s", buf_name(b), describe(a));
	tap_is(buf_word(b, a->gpa - KIT_GPA), word, "%s: the content is unchanged", buf_name(b));
	a->again = true;
}

/* The attempt does not end, neither after many calls of the driver nor after a signal. */
static void test_endless(struct machine *m, const struct buf *b, struct attempt *a, bool usable)
{
	uint64_t before = buf_stats(b).faults, word = buf_word(b, a->gpa - KIT_GPA);

	a->done = false;
	vcpu_start(m->v, run_attempt, a);
	await(a, b, before + MANY);
	vcpu_kick(m->v);
	before = buf_stats(b).faults;
	await(a, b, before + MANY);
	tap_ok(!a->done && buf_stats(b).faults >= before + MANY,
	       "%s: %s goes on in the kernel despite a signal", buf_name(b), asker_name(a->asker));
	tap_is(buf_word(b, a->gpa - KIT_GPA), word, "%s: the content is unchanged", buf_name(b));
	serve(b);
	vcpu_join(m->v);
	tap_ok(!usable		    ? failed_with(a, EFAULT) :
	       a->asker == PREFAULT ? !a->ret :
				      failed_with(a, EINTR),
	       "%s: the attempt ends once the driver serves: %s", buf_name(b), describe(a));
	a->again = true;
}

static void test_mode(struct machine *m, struct buf *b, unsigned int asker, uint32_t page,
		      size_t mode)
{
	uint64_t offset = (uint64_t)page * KIT_PAGE, code, other;
	struct attempt a = { .asker = asker, .gpa = KIT_GPA + offset };
	bool usable = page_usable(&b->start[page]), served;
	struct guest_outcome out;

	vcpu_code(m->v, &code, 0x4321);
	buf_set_word(b, offset, code);
	buf_do(b, PFNMAP_REVOKE, 0);
	kit_touch(m->other, KIT_READ, OTHER_GPA, 0, NULL);
	other = buf_stats(&m->named).faults;

	set_mode(b, mode);
	if (calls_expected(b, mode)) {
		test_failure(m, b, &a, mode);
		test_failure(m, b, &a, mode);
	} else {
		test_endless(m, b, &a, usable);
	}

	kit_touch(m->other, KIT_READ, OTHER_GPA, 0, &out);
	tap_ok(out.end == GUEST_DONE && buf_stats(&m->named).faults - other ==
						(modes[mode].refuse == PFNMAP_REFUSE_UNMAP_NAMED),
	       "%s: the other buffer still works: %s", buf_name(b), guest_describe(&out));

	serve(b);
	run_attempt(m->v, &a);
	if (asker == PREFAULT)
		served = !a.ret && buf_word(b, offset) == code;
	else
		served = a.out.end == GUEST_DONE &&
			 buf_word(b, offset) == (asker == KIT_WRITE ? 7 : code) &&
			 (asker != KIT_READ || a.out.result == code) &&
			 (asker != KIT_EXEC || a.out.result == 0x4321);
	tap_ok(usable ? served : failed_with(&a, EFAULT),
	       "%s: once the driver serves, the attempt %s: %s", buf_name(b),
	       usable ? "succeeds" : "is refused by KVM", describe(&a));
}

static void test(struct machine *m, const struct pfnmap_create *spec)
{
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(m->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	/* Stock must KVM_RUN before it prefaults if a memslot was deleted: see prefault_slots.c. */
	kit_touch(m->v, KIT_READ, 0, 0, NULL);
	for (size_t mode = 0; mode < ARRAY_SIZE(modes); mode++) {
		for (unsigned int asker = 0; mode_suits(&b, mode) && asker < nr_askers(); asker++)
			test_mode(m, &b, asker, (asker + mode) % 2 * 5, mode);
	}
	VMM_MUST(vm_slot_delete(m->vm, KIT_SLOT));
	buf_end(&b, "counts and flags are unchanged");
}

/* ---- races ---- */

/* Attempts in a row, in the vCPU's thread, up to the first with a wrong result. */
struct tries {
	const struct buf *b;
	atomic_int nr; /* that have ended */
	atomic_int revocations;
	atomic_ullong faults; /* when the current one began */
	atomic_bool done;
	struct attempt a;		 /* the last one */
	uint64_t expected, fewest, most; /* calls of the driver per attempt */
	int worse;			 /* attempts with more than expected */
	double sum_ms, max_ms;
};

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static int run_tries(struct vcpu *v, void *arg)
{
	struct tries *t = arg;

	while (t->nr < TRIES || t->revocations < TRIES) {
		uint64_t before = buf_stats(t->b).faults, calls;
		double start = now_ms(), ms;

		t->faults = before;
		run_attempt(v, &t->a);
		ms = now_ms() - start;
		calls = buf_stats(t->b).faults - before;
		t->a.again = true;
		if (!failed_with(&t->a, EFAULT))
			break;
		t->sum_ms += ms;
		if (ms > t->max_ms)
			t->max_ms = ms;
		if (calls < t->fewest)
			t->fewest = calls;
		if (calls > t->most)
			t->most = calls;
		t->worse += calls > t->expected;
		t->nr++;
	}
	t->done = true;
	return 0;
}

/* Each of many attempts fails as it would without the revocations that go on all the time. */
static void test_race(struct machine *m, const struct buf *b, unsigned int asker, size_t mode)
{
	struct tries t = { .b = b, .fewest = UINT64_MAX, .a = { .asker = asker, .gpa = KIT_GPA } };
	int last = -1, still = 0;
	double start;

	t.expected = calls_expected(b, mode);
	t.faults = buf_stats(b).faults;
	buf_do(b, PFNMAP_REVOKE, 0);
	set_mode(b, mode);
	start = now_ms();
	vcpu_start(m->v, run_tries, &t);
	while (!t.done) {
		buf_do(b, PFNMAP_REVOKE, 0);
		buf_do(&m->named, PFNMAP_REVOKE, 0);
		t.revocations++;
		if (t.nr != last) {
			still = 0;
			start = now_ms();
		}
		last = t.nr;
		/* No attempt takes this many revocations or calls of the driver. */
		if (++still > 100000 || buf_stats(b).faults > t.faults + 100 * MANY)
			break;
	}
	if (!t.done)
		tap_diag("one attempt has taken %.0f ms and %llu calls of the driver",
			 now_ms() - start, (unsigned long long)(buf_stats(b).faults - t.faults));
	t.a.done = t.done;
	end_attempt(m, &t.a, b);
	serve(b);

	tap_ok(t.nr >= TRIES && failed_with(&t.a, EFAULT),
	       "%s: %s fails %s, all of %d times during %d revocations: %s", buf_name(b),
	       asker_name(asker), modes[mode].name, t.nr, t.revocations, describe(&t.a));
	if (!t.nr)
		return;
	if (!tap_ok(t.fewest == t.expected && t.most == t.expected,
		    "%s: each attempt takes the expected number of driver calls", buf_name(b)))
		tap_diag("%llu to %llu driver calls; %d of %d attempts took too many",
			 (unsigned long long)t.fewest, (unsigned long long)t.most, t.worse, t.nr);
	tap_diag("%s fails %s in %.2f ms, at most %.2f", asker_name(asker), modes[mode].name,
		 t.sum_ms / t.nr, t.max_ms);
}

static void race(struct machine *m, const struct pfnmap_create *spec)
{
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(m->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	kit_touch(m->v, KIT_READ, 0, 0, NULL);
	for (size_t mode = 0; mode < ARRAY_SIZE(modes); mode++) {
		/* Here an absent entry may have been taken away, and KVM may look again. */
		if (!calls_expected(&b, mode) || modes[mode].hold)
			continue;
		test_race(m, &b, KIT_WRITE, mode);
		if (kit_prefaults())
			test_race(m, &b, PREFAULT, mode);
	}
	VMM_MUST(vm_slot_delete(m->vm, KIT_SLOT));
	buf_end(&b, "counts and flags are unchanged");
}

int main(int argc, char **argv)
{
	bool races = argc > 1 && !strcmp(argv[1], "race");
	struct machine m;

	kit_start();
	m.vm = vm_create(0);
	m.v = vcpu_create(m.vm, kit_mode());
	m.other = vcpu_create(m.vm, kit_mode());
	buf_open_named(&m.named, &(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = 1 });
	buf_map(&m.named, KIT_RW);
	VMM_MUST(vm_slot_set(m.vm, OTHER_SLOT, OTHER_GPA, m.named.size, m.named.map, 0));
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (races)
			race(&m, &specs[i]);
		else
			test(&m, &specs[i]);
	}
	vcpu_destroy(m.v);
	vcpu_destroy(m.other);
	vm_destroy(m.vm);
	buf_unmap(&m.named);
	buf_do(&m.named, PFNMAP_FREE, 0);
	buf_close(&m.named);
	return kit_finish();
}
