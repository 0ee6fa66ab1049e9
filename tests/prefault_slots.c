// SPDX-License-Identifier: GPL-2.0-only
/*
 * prefault_slots - KVM_PRE_FAULT_MEMORY works after memslots were deleted, moved or created without
 * a KVM_RUN in between, and gives way to a thread that deletes or moves the memslot that is being
 * prefaulted: it returns EAGAIN, or 0 with the rest of the range if it processed any page.
 *
 * Contract: 9, 7. Stock KVM tries again in both cases until there is a signal, in the second one
 * while the other thread waits for it. The race is for patched KVM; stock would hang at once.
 * Shadow paging and Linux 6.1 do not have the call.
 *
 * Seen to fail: a KVM that neither frees obsolete page tables before it prefaults nor checks
 * whether the memslot is going away; then each call hangs, in the race the first one.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define OTHER_SLOT (KIT_SLOT + 1)
#define OTHER_GPA  (KIT_GPA + 0x20000000ull)
#define ELSEWHERE  0x10000000ull /* how far a memslot moves */
#define PAGES	   8u
#define ROUNDS	   100

#define LIMIT_MS 30000 /* for what should take no time */
#define SPIN_MS	 100   /* of processor time, after which a call hangs */
#define HANG_MS	 3000  /* the same, for calls that must not hang */

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_SINGLE, .pages = PAGES },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES },
};

/* One call, in the vCPU's thread. */
struct job {
	struct kvm_pre_fault_memory range;
	int ret;
	atomic_bool done;
};

static int run_job(struct vcpu *v, void *arg)
{
	struct job *job = arg;

	job->ret = kit_prefault(v, &job->range);
	job->done = true;
	return 0;
}

static void start_job(struct vcpu *v, struct job *job, uint64_t gpa)
{
	*job = (struct job){ .range = { .gpa = gpa, .size = PAGES * KIT_PAGE } };
	vcpu_start(v, run_job, job);
}

/*
 * Wait until the call is done, or has used this much processor time, which means that it tries in
 * vain. Elapsed time would include the pauses of an emulated processor.
 */
static bool comes_back(struct vcpu *v, struct job *job, int64_t ms)
{
	int64_t end = kit_cpu_ms(v) + ms;

	while (!job->done && kit_cpu_ms(v) < end)
		usleep(1000);
	return job->done;
}

/* End a call that must come back; if it does not, send a signal and return false. */
static bool finish_job(struct vcpu *v, struct job *job)
{
	bool back = comes_back(v, job, HANG_MS);

	if (!back)
		vcpu_kick(v);
	vcpu_join(v);
	return back;
}

/* Did the call return `want` and stop at page `stop`? */
static bool job_stopped(const struct job *job, uint64_t gpa, uint32_t stop, int want)
{
	if (job->ret == want && job->range.gpa == gpa + (uint64_t)stop * KIT_PAGE &&
	    job->range.size == (uint64_t)(PAGES - stop) * KIT_PAGE)
		return true;
	tap_diag("returns %d, gpa %#llx, size %#llx", job->ret, (unsigned long long)job->range.gpa,
		 (unsigned long long)job->range.size);
	return false;
}

/* The number of pages that the guest can use, up to the first that it cannot. */
static uint32_t usable_pages(const struct buf *b)
{
	uint32_t i = 0;

	while (i < b->spec.pages && page_usable(&b->start[i]))
		i++;
	return i;
}

/* Do a KVM_RUN, which frees obsolete page tables. */
static void run(struct vcpu *v)
{
	if (kit_touch(v, KIT_READ, 0, 0, NULL))
		tap_bail("the guest cannot use its own memory: %s", vmm_error());
}

/* ---- one thread ---- */

static void delete_other(struct vm *vm, const struct buf *b, void *other)
{
	(void)b;
	(void)other;
	VMM_MUST(vm_slot_delete(vm, OTHER_SLOT));
}

static void move_other(struct vm *vm, const struct buf *b, void *other)
{
	(void)b;
	(void)other;
	VMM_MUST(vm_slot_move(vm, OTHER_SLOT, OTHER_GPA + ELSEWHERE));
}

static void create_again(struct vm *vm, const struct buf *b, void *other)
{
	(void)other;
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
}

static void move_back(struct vm *vm, const struct buf *b, void *other)
{
	(void)b;
	(void)other;
	VMM_MUST(vm_slot_move(vm, KIT_SLOT, KIT_GPA + ELSEWHERE));
	VMM_MUST(vm_slot_move(vm, KIT_SLOT, KIT_GPA));
}

static void several(struct vm *vm, const struct buf *b, void *other)
{
	move_other(vm, b, other);
	create_again(vm, b, other);
	delete_other(vm, b, other);
	move_back(vm, b, other);
	VMM_MUST(vm_slot_set(vm, OTHER_SLOT, OTHER_GPA, KIT_HUGE, other, 0));
	create_again(vm, b, other);
	delete_other(vm, b, other);
}

static const struct {
	const char *name;
	void (*update)(struct vm *vm, const struct buf *b, void *other);
} updates[] = {
	{ "after another memslot was deleted", delete_other },
	{ "after another memslot was moved", move_other },
	{ "after its memslot was created again", create_again },
	{ "after its memslot was moved and moved back", move_back },
	{ "after several updates", several },
};

/* Stock: until there is a KVM_RUN, each call hangs and maps nothing. */
static void test_hang(struct vcpu *v, const struct buf *b, const char *name)
{
	int64_t before = VMM_MUST(vm_stat(v->vm, "pages_4k"));
	struct job job;

	for (int i = 0; i < 2; i++) {
		start_job(v, &job, KIT_GPA);
		tap_ok(!comes_back(v, &job, SPIN_MS), "%s: %s: prefaulting hangs", buf_name(b),
		       name);
		vcpu_kick(v);
		vcpu_join(v);
		tap_ok(job_stopped(&job, KIT_GPA, 0, -EINTR), "%s: a signal ends it", buf_name(b));
	}
	tap_is(VMM_MUST(vm_stat(v->vm, "pages_4k")), before, "%s: KVM maps nothing", buf_name(b));
	run(v);
}

static void test_works(struct vcpu *v, const struct buf *b, const char *name)
{
	int64_t before = VMM_MUST(vm_stat(v->vm, "pages_4k"));
	uint32_t pages = usable_pages(b);
	struct job job;

	start_job(v, &job, KIT_GPA);
	tap_ok(finish_job(v, &job), "%s: %s: prefaulting comes back", buf_name(b), name);
	tap_ok(job_stopped(&job, KIT_GPA, pages, 0), "%s: it processes %u pages", buf_name(b),
	       pages);
	tap_is(VMM_MUST(vm_stat(v->vm, "pages_4k")) - before, pages, "%s: KVM maps all of them",
	       buf_name(b));
}

static void test_update(struct vcpu *v, const struct buf *b, size_t i, void *other)
{
	struct vm *vm = v->vm;

	VMM_MUST(vm_slot_set(vm, OTHER_SLOT, OTHER_GPA, KIT_HUGE, other, 0));
	run(v);
	/* At first the page tables that become obsolete have none of this memslot's pages. */
	for (int round = 0; round < 2; round++) {
		updates[i].update(vm, b, other);
		if (!tap_kvm_patched())
			test_hang(v, b, updates[i].name);
		test_works(v, b, updates[i].name);
		if (!vm->slots[OTHER_SLOT].size)
			VMM_MUST(vm_slot_set(vm, OTHER_SLOT, OTHER_GPA, KIT_HUGE, other, 0));
		else
			VMM_MUST(vm_slot_move(vm, OTHER_SLOT, OTHER_GPA));
	}
	VMM_MUST(vm_slot_delete(vm, OTHER_SLOT));
	run(v);
}

/* ---- two threads ---- */

/* The thread that deletes or moves the memslot. */
struct updater {
	struct vm *vm;
	bool moves;
	atomic_bool go;
	atomic_int tid; /* set when it starts to */
	int ret;
	atomic_bool done;
	pthread_t thread;
};

static void *run_update(void *arg)
{
	struct updater *u = arg;

	while (!u->go)
		usleep(1000);
	u->tid = syscall(SYS_gettid);
	u->ret = u->moves ? vm_slot_move(u->vm, KIT_SLOT, KIT_GPA + ELSEWHERE) :
			    vm_slot_delete(u->vm, KIT_SLOT);
	u->done = true;
	return NULL;
}

/* Wait until the thread waits for users of the memslots, which now see the memslot go away. */
static bool waits(struct updater *u)
{
	for (int i = 0; i < LIMIT_MS && !u->done; i++) {
		if (u->tid && kit_sleeps_in(u->tid, "srcu"))
			return true;
		usleep(1000);
	}
	return false;
}

/*
 * Where prefaulting is when the memslot begins to go away: in the driver's fault handler for page
 * `held`. If `revoked`, the driver then takes all entries away, which makes the lookup of that page
 * void.
 */
static const struct {
	uint32_t held;
	bool revoked;
	uint32_t stop;
	int ret;
} points[] = {
	{ .held = 0, .revoked = true, .stop = 0, .ret = -EAGAIN },
	{ .held = 0, .revoked = false, .stop = 1, .ret = 0 },
	{ .held = 5, .revoked = true, .stop = 5, .ret = 0 },
	{ .held = 5, .revoked = false, .stop = 6, .ret = 0 },
	/* No page is left to prefault. */
	{ .held = PAGES - 1, .revoked = false, .stop = PAGES, .ret = 0 },
};

/* After the update nothing is at the old place, and everything at the new one. */
static void test_after(struct vcpu *v, const struct buf *b, bool moved)
{
	struct job job;

	/* With obsolete page tables stock would hang, as above. */
	if (!tap_kvm_patched())
		run(v);
	start_job(v, &job, KIT_GPA);
	tap_ok(finish_job(v, &job) && job_stopped(&job, KIT_GPA, 0, -ENOENT),
	       "%s: prefaulting then finds no memslot", buf_name(b));
	if (!moved)
		return;
	start_job(v, &job, KIT_GPA + ELSEWHERE);
	tap_ok(finish_job(v, &job) && job_stopped(&job, KIT_GPA + ELSEWHERE, usable_pages(b), 0),
	       "%s: prefaulting works at the new place", buf_name(b));
}

static void test_point(struct vcpu *v, const struct buf *b, size_t i, bool moves)
{
	uint32_t held = points[i].held, stop = points[i].stop;
	bool hangs = !tap_kvm_patched() && stop < PAGES;
	struct updater u = { .vm = v->vm, .moves = moves };
	int want = points[i].ret;
	uint64_t faults;
	struct job job;

	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	run(v);
	/* KVM does not call the driver for pages that the VMM has touched. */
	buf_do(b, PFNMAP_REVOKE, 0);
	for (uint32_t page = 0; page < held; page++)
		((volatile char *)b->map)[page * KIT_PAGE] = 0;
	faults = buf_stats(b).faults;
	/* No thread can be created while a fault holds mmap_lock. */
	if (pthread_create(&u.thread, NULL, run_update, &u))
		tap_bail("cannot create a thread");
	buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_NOPAGE);
	start_job(v, &job, KIT_GPA);
	for (int ms = 0; ms < LIMIT_MS && buf_stats(b).faults == faults; ms++)
		usleep(1000);
	u.go = true;
	tap_ok(waits(&u) && !job.done, "%s: memslot being %s waits while page %u is prefaulted",
	       buf_name(b), moves ? "moved" : "deleted", held);
	if (points[i].revoked)
		buf_do(b, PFNMAP_REVOKE, 0);
	buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);

	if (hangs) {
		tap_ok(!comes_back(v, &job, SPIN_MS) && !u.done && kit_sleeps_in(u.tid, "srcu"),
		       "%s: neither thread makes progress", buf_name(b));
		vcpu_kick(v);
		vcpu_join(v);
		if (want)
			want = -EINTR;
	} else {
		tap_ok(finish_job(v, &job), "%s: prefaulting gives way", buf_name(b));
	}
	pthread_join(u.thread, NULL);
	tap_ok(job_stopped(&job, KIT_GPA, stop, want),
	       "%s: prefaulting returns: %s, after %u pages", buf_name(b), strerror(-want), stop);
	tap_is(u.ret, 0, "%s: the memslot is %s", buf_name(b), moves ? "moved" : "deleted");
	test_after(v, b, moves);
	if (moves)
		VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
}

/* ---- a race ---- */

struct race {
	const struct buf *b;
	atomic_bool stop;
	atomic_uint calls; /* that have returned */
	unsigned int done, again, nothing, wrong;
	int error; /* the last wrong result */
	/* The other thread */
	struct vm *vm;
	atomic_bool over;
};

static int race_prefault(struct vcpu *v, void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		struct kvm_pre_fault_memory range = { .gpa = KIT_GPA, .size = r->b->size };
		int ret = kit_prefault(v, &range);

		r->done += !ret;
		r->again += ret == -EAGAIN;
		r->nothing += ret == -ENOENT;
		if (ret && ret != -EAGAIN && ret != -ENOENT) {
			r->wrong++;
			r->error = ret;
		}
		r->calls++;
	}
	return 0;
}

static void *race_update(void *arg)
{
	struct race *r = arg;

	for (int i = 0; i < ROUNDS && !r->stop; i++) {
		VMM_MUST(vm_slot_move(r->vm, KIT_SLOT, KIT_GPA + ELSEWHERE));
		VMM_MUST(vm_slot_move(r->vm, KIT_SLOT, KIT_GPA));
		buf_do(r->b, PFNMAP_REVOKE, 0);
		VMM_MUST(vm_slot_delete(r->vm, KIT_SLOT));
		VMM_MUST(vm_slot_set(r->vm, KIT_SLOT, KIT_GPA, r->b->size, r->b->map, 0));
	}
	r->over = true;
	return NULL;
}

/*
 * A memslot goes away and comes back while it is prefaulted. A call that uses more processor time
 * than any call needs is hanging, and gets a signal.
 */
static void test_race(struct vcpu *v, const struct buf *b)
{
	struct race r = { .b = b, .vm = v->vm };
	unsigned int calls = 0, hangs = 0;
	int64_t since = 0, now;
	pthread_t thread;

	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	vcpu_start(v, race_prefault, &r);
	if (pthread_create(&thread, NULL, race_update, &r))
		tap_bail("cannot create a thread");
	while (!r.over) {
		usleep(1000);
		now = kit_cpu_ms(v);
		if (r.calls != calls) {
			calls = r.calls;
			since = now;
		} else if (now - since > HANG_MS) {
			since = now;
			if (++hangs == 3)
				r.stop = true;
			vcpu_kick(v);
		}
	}
	pthread_join(thread, NULL);
	r.stop = true;
	vcpu_join(v);
	tap_ok(!hangs, "%s: no call hangs while the memslot moves and is replaced %d times: %u do",
	       buf_name(b), ROUNDS, hangs);
	if (!tap_ok(!r.wrong, "%s: each call returns 0, EAGAIN or ENOENT", buf_name(b)))
		tap_diag("%u calls return something else, the last one: %s", r.wrong,
			 strerror(-r.error));
	tap_diag("%u calls: 0 %u times, EAGAIN %u times, ENOENT %u times", r.calls, r.done, r.again,
		 r.nothing);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
}

static void test(struct vcpu *v, const struct pfnmap_create *spec)
{
	void *other = vm_anon(KIT_HUGE, KIT_HUGE);
	struct vm *vm = v->vm;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	for (size_t i = 0; i < ARRAY_SIZE(updates); i++)
		test_update(v, &b, i, other);
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		/* A page that KVM refuses would end the call before. */
		if (points[i].held < usable_pages(&b)) {
			test_point(v, &b, i, false);
			test_point(v, &b, i, true);
		}
	}
	if (tap_kvm_patched())
		test_race(v, &b);
	munmap(other, KIT_HUGE);
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	if (!kit_prefaults())
		tap_skip_all("Linux 6.1 and shadow paging do not have KVM_PRE_FAULT_MEMORY");
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		test(v, &specs[i]);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
