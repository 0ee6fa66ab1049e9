// SPDX-License-Identifier: GPL-2.0-only
/*
 * races - Each window between KVM and the owner of memory is held open while the other side acts,
 * and the outcome is the one of the contract: a guest never reaches a page that its owner took
 * back, an owner never gets a page back that a guest can still reach, and pages are marked while
 * that is allowed.
 *
 * A thread is held at a function that it calls or returns from (rig/module/rig_hold.h). There are
 * three threads, each on a CPU of its own: this one, the vCPU's, and the owner's.
 *
 * Contract: 3, 4, 6, 8, 9. The windows, and what happens in them:
 *
 *	lookup, lock	the owner revokes, moves or frees the page after a fault, or
 *			KVM_PRE_FAULT_MEMORY, has looked it up, or when it is about to take
 *			mmu_lock: the fault is repeated
 *	lookup, lock	the same while the owner has only begun to take the page away
 *	entry		the owner does so between its fault handler and KVM's look at the page
 *			table: patched KVM repeats the fault, stock KVM fails with EFAULT
 *	memslot		the VMM deletes the memslot after a fault has looked the page up: it waits
 *			for the fault, and the guest finds no memory afterwards
 *	zap, free	the guest goes on with the old page until KVM zaps, and waits from then on
 *			until the owner is done
 *	mark		patched KVM marks the page of a fault before it releases mmu_lock; stock KVM
 *			does so afterwards, holding a reference. Both mark what they zap under
 *			mmu_lock. Non-refcounted pages are not marked
 *	split		a huge page is split for dirty logging while its owner takes it away
 *	ageing		the owner takes its page away while KVM ages another one: it waits
 *	vmcb		the owner moves a VMCB while KVM has it mapped: stock KVM writes to the old
 *			page, patched KVM does not map it
 *	clock		the owner moves or frees the page of a kvmclock that KVM has looked up: the
 *			lookup is repeated, and the old page is not written; stock KVM does not
 *			write the clock at all after "entry"
 *
 * Stock KVM refuses the non-refcounted page with EFAULT, before any window, and passes with the
 * refcounted one, except for "entry", "mark" and "vmcb".
 *
 * Seen to fail (6.1, nested paging): faults that are not checked for being stale, in "lookup",
 * "lock" and "zap"; a fault that marks after it released mmu_lock, and zapping that marks every
 * page, in "mark"; lookups that are not repeated, in "entry" and "clock"; a kvm_vcpu_map() that
 * takes every page, in "vmcb". The other windows were not seen to fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "rig/module/rig_hold.h"
#include "tests/lib/kit.h"

#define PATIENCE_MS 60000 /* RIG_HOLD_MAX_S ends a hold earlier */
#define CLOCK_MS    5000  /* 50 times as long as KVM takes */
#define PAGES	    8u
#define VALUE	    0x5eedull
#define VECTOR_GP   13u
#define PMD_PAGES   (KIT_HUGE / KIT_PAGE)

#define WAIT_MS(cond, limit)                                                       \
	({                                                                         \
		int ms_;                                                           \
		for (ms_ = 0; !(cond) && ms_ < (limit); ms_++)                     \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); \
		ms_ < (limit);                                                     \
	})
#define WAIT_FOR(cond) WAIT_MS(cond, PATIENCE_MS)

/* ---- threads ---- */

static struct actor {
	pthread_t thread;
	int cpu;
	pid_t tid;
	sem_t start;
	atomic_bool busy;
	void (*job)(void *arg);
	void *arg;
} vcpu_thread = { .cpu = 1 }, owner_thread = { .cpu = 2 };

static void *actor_main(void *arg)
{
	struct actor *a = arg;

	kit_bind_to(a->cpu);
	a->tid = gettid();
	a->busy = false;
	for (;;) {
		while (sem_wait(&a->start))
			;
		if (!a->job)
			return NULL;
		a->job(a->arg);
		a->busy = false;
	}
}

static void actor_begin(struct actor *a)
{
	a->busy = true;
	if (sem_init(&a->start, 0, 0) || pthread_create(&a->thread, NULL, actor_main, a))
		tap_bail("pthread_create failed");
	WAIT_FOR(!a->busy);
}

static void actor_do(struct actor *a, void (*job)(void *arg), void *arg)
{
	a->job = job;
	a->arg = arg;
	a->busy = true;
	sem_post(&a->start);
}

static void actor_wait(struct actor *a)
{
	if (!WAIT_FOR(!a->busy))
		tap_bail("a thread does not come back");
}

static void actor_end(struct actor *a)
{
	a->job = NULL;
	sem_post(&a->start);
	pthread_join(a->thread, NULL);
	sem_destroy(&a->start);
}

/* ---- places where threads are held ---- */

/* To remove a probe takes long, so each exists until the program ends. */
static struct hold {
	struct rig_hold_place place;
	int fd;
} lookup_return = { .place.at_return = 1 }, lookup_entry, lock_entry = { .place.module = "kvm" },
  zap_entry = { .place.function = "kvm_unmap_gfn_range" },
  zap_end = { .place.function = "kvm_mmu_notifier_invalidate_range_end" }, release_entry,
  dirty_entry = { .place.function = "kvm_set_pfn_dirty" },
  split_entry = { .place.function = "kvm_mmu_slot_try_split_huge_pages" },
  map_return = { .place.function = "kvm_vcpu_map", .place.at_return = 1 },
  hva_return = { .place.function = "hva_to_pfn", .place.at_return = 1 },
  fault_return = { .place.function = "fixup_user_fault",
		   .place.module = "kvm",
		   .place.at_return = 1 },
  fault_entry, write_lock_entry = { .place.function = "_raw_write_lock", .place.module = "kvm" },
  age_entry = { .place.function = "kvm_age_gfn" },
  tdp_split_entry = { .place.function = "kvm_tdp_mmu_try_split_huge_pages" },
  srcu_entry = { .place.function = "synchronize_srcu_expedited", .place.module = "kvm" };

static struct hold *const holds[] = {
	&lookup_return,	   &lookup_entry,  &lock_entry,	     &zap_entry,
	&zap_end,	   &release_entry, &dirty_entry,     &split_entry,
	&map_return,	   &hva_return,	   &fault_return,    &fault_entry,
	&write_lock_entry, &age_entry,	   &tdp_split_entry, &srcu_entry,
};

static void holds_begin(void)
{
	const char *lookup = tap_kvm_patched() ? "__kvm_follow_pfn" : "__gfn_to_pfn_memslot";

	strcpy(lookup_return.place.function, lookup);
	strcpy(lookup_entry.place.function, lookup);
	strcpy(fault_entry.place.function,
	       kit_tdp() ? "kvm_tdp_page_fault" : "paging64_page_fault");
	strcpy(lock_entry.place.function, kit_tdp_mmu() ? "_raw_read_lock" : "_raw_write_lock");
	strcpy(release_entry.place.function,
	       tap_kvm_patched() ? "kvm_release_page_clean" : "kvm_release_pfn_clean");
	for (size_t i = 0; i < ARRAY_SIZE(holds); i++) {
		holds[i]->fd = open(RIG_HOLD_PATH, O_RDWR | O_CLOEXEC);
		if (holds[i]->fd < 0 || ioctl(holds[i]->fd, RIG_HOLD_SET, &holds[i]->place))
			tap_bail("%s: no hold in %s: %s", RIG_HOLD_PATH, holds[i]->place.function,
				 strerror(errno));
	}
}

static void holds_end(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(holds); i++)
		close(holds[i]->fd);
}

static void hold_do(struct hold *h, unsigned long request, const struct actor *a)
{
	if (ioctl(h->fd, request, (unsigned long)a->tid))
		tap_bail("%s: %s", h->place.function, strerror(errno));
}

/* Hold the next call of the thread; or only count its calls. */
static void hold_arm(struct hold *h, const struct actor *a)
{
	hold_do(h, RIG_HOLD_ARM, a);
}

static void hold_count(struct hold *h, const struct actor *a)
{
	hold_do(h, RIG_HOLD_COUNT, a);
}

static struct rig_hold_state hold_state(const struct hold *h)
{
	struct rig_hold_state state;

	if (ioctl(h->fd, RIG_HOLD_STATE, &state))
		tap_bail("%s: %s", h->place.function, strerror(errno));
	return state;
}

static unsigned int calls(const struct hold *h)
{
	return hold_state(h).calls;
}

/* Wait until the thread is held: false if it ended its job instead. */
static bool hold_wait(const struct hold *h, const struct actor *a)
{
	WAIT_FOR(hold_state(h).held || !a->busy);
	return hold_state(h).held;
}

/* Let it go; false if it was not held, or not as long as it should have been. */
static bool hold_go(const struct hold *h)
{
	return !ioctl(h->fd, RIG_HOLD_GO, 0);
}

static bool locked(const struct vm *vm)
{
	int ret = ioctl(zap_entry.fd, RIG_HOLD_LOCKED, vm->fd);

	if (ret < 0)
		tap_bail("RIG_HOLD_LOCKED: %s", strerror(errno));
	return ret;
}

/* ---- the memory, its user, and its owner ---- */

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
} places[] = {
	/* clang-format off */
	{ "refcounted page", { .kind = PFNMAP_SINGLE, .pages = PAGES }, 5 },
	{ "tail page", { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES }, 5 },
	/* clang-format on */
};

enum act { REVOKE, MOVE, FREE, NR_ACTS };
static const char *const act_names[NR_ACTS] = { "revoked", "moved", "freed" };

enum use { STORE, PREFAULT };

struct race {
	const struct place *place;
	struct vm *vm;
	struct vcpu *v;
	struct buf b;
	uint64_t at, gpa; /* of a word in the page: in the buffer, in the guest */
	bool usable;
	struct guest_cmd cmd;
	struct guest_outcome out;
	int ret;
	enum act act;
};

static void use_call(void *arg)
{
	struct race *r = arg;

	r->ret = guest_call(r->v, &r->cmd, &r->out);
}

static void use_prefault(void *arg)
{
	struct race *r = arg;
	struct kvm_pre_fault_memory range = { .gpa = r->gpa, .size = KIT_PAGE };

	r->ret = kit_prefault(r->v, &range);
}

static void use_clock(void *arg)
{
	struct race *r = arg;

	kit_update_clocks(r->vm);
	use_call(r);
}

static void act(void *arg)
{
	struct race *r = arg;

	if (r->act == REVOKE)
		buf_do(&r->b, PFNMAP_REVOKE, 0);
	else
		buf_do(&r->b, r->act == MOVE ? PFNMAP_MOVE : PFNMAP_FREE, PFNMAP_KEEP_OLD);
}

/* The vCPU has run, and has used the page if it can, but nothing maps the page now. */
static void race_begin(struct race *r, const struct place *p)
{
	*r = (struct race){ .place = p, .at = (uint64_t)p->page * KIT_PAGE };
	r->vm = vm_create(0);
	r->v = vcpu_create(r->vm, kit_mode());
	buf_open(&r->b, &p->spec);
	buf_map(&r->b, KIT_RW);
	r->gpa = KIT_GPA + r->at;
	r->usable = page_usable(&r->b.start[p->page]);
	VMM_MUST(vm_slot_set(r->vm, KIT_SLOT, KIT_GPA, r->b.size, r->b.map, 0));
	r->cmd = (struct guest_cmd){ .op = GUEST_NOP };
	actor_do(&vcpu_thread, use_call, r);
	actor_wait(&vcpu_thread);
	r->cmd = (struct guest_cmd){ .op = GUEST_FILL, .gpa = r->gpa, .len = 8, .value = 1 };
	actor_do(&vcpu_thread, use_call, r);
	actor_wait(&vcpu_thread);
	buf_do(&r->b, PFNMAP_REVOKE, 0);
	r->cmd.value = VALUE;
}

/* All counts are right when the VM is gone. */
static void race_end(struct race *r, const char *what)
{
	struct pfnmap_old old;

	vcpu_destroy(r->v);
	vm_destroy(r->vm);
	old = buf_check_old(&r->b);
	tap_ok(!old.bad_counts, "%s, %s: all counts are as allocated", r->place->name, what);
	buf_close(&r->b);
}

/* The memory that the owner took away has been left alone. */
static void check_old(const struct race *r, const char *what)
{
	tap_is(buf_check_old(&r->b).changed, 0, "%s, %s: the old page is left alone",
	       r->place->name, what);
}

/* ---- lookup to map ---- */

static void check_use(struct race *r, enum use use, const char *what)
{
	if (!r->usable || r->act == FREE) {
		tap_is(r->ret, -EFAULT, "%s, %s: it fails with EFAULT", r->place->name, what);
	} else {
		tap_is(r->ret, 0, "%s, %s: it works", r->place->name, what);
		if (use == PREFAULT) {
			actor_do(&vcpu_thread, use_call, r);
			actor_wait(&vcpu_thread);
		}
		tap_is(buf_word(&r->b, r->at), VALUE, "%s, %s: the word is in the present page",
		       r->place->name, what);
	}
	check_old(r, what);
}

static void test_stale(const struct place *p, enum use use, bool at_lock, enum act action)
{
	struct hold *at = &lookup_return;
	struct race r;
	char what[80];
	bool held;

	race_begin(&r, p);
	r.act = action;
	snprintf(what, sizeof(what), "%s when a %s %s", act_names[action],
		 use == STORE ? "fault" : "prefault",
		 at_lock ? "takes mmu_lock" : "has looked it up");
	hold_arm(at, &vcpu_thread);
	actor_do(&vcpu_thread, use == STORE ? use_call : use_prefault, &r);
	held = hold_wait(at, &vcpu_thread);
	if (held && at_lock) {
		hold_arm(&lock_entry, &vcpu_thread);
		held = hold_go(at);
		at = &lock_entry;
		held = hold_wait(at, &vcpu_thread) && held;
	}
	act(&r);
	held = hold_go(at) && held;
	actor_wait(&vcpu_thread);
	tap_is(held, r.usable || !at_lock, "%s, %s: the window %s", p->name, what,
	       r.usable || !at_lock ? "was open" : "is never reached");
	tap_is(calls(&lookup_return) > 1, r.usable, "%s, %s: the lookup is %srepeated", p->name,
	       what, r.usable ? "" : "not ");
	check_use(&r, use, what);
	race_end(&r, what);
}

/* The owner has raised mmu_invalidate_in_progress and zapped, but is not done. */
static void test_progress(const struct place *p, enum use use, bool at_lock)
{
	struct hold *at = &lookup_return;
	struct race r;
	char what[80];
	bool held, repeated;

	race_begin(&r, p);
	r.act = MOVE;
	snprintf(what, sizeof(what), "being moved when a %s %s",
		 use == STORE ? "fault" : "prefault",
		 at_lock ? "takes mmu_lock" : "has looked it up");
	hold_arm(at, &vcpu_thread);
	actor_do(&vcpu_thread, use == STORE ? use_call : use_prefault, &r);
	held = hold_wait(at, &vcpu_thread);
	if (held && at_lock) {
		hold_arm(&lock_entry, &vcpu_thread);
		held = hold_go(at);
		at = &lock_entry;
		held = hold_wait(at, &vcpu_thread) && held;
	}
	hold_arm(&zap_end, &owner_thread);
	actor_do(&owner_thread, act, &r);
	held = hold_wait(&zap_end, &owner_thread) && held;
	hold_count(&fault_entry, &vcpu_thread);
	held = hold_go(at) && held;
	/* It waits for the owner, in the driver's fault handler; 6.12 faults again and again. */
	repeated = WAIT_FOR(calls(&fault_entry) || !vcpu_thread.busy) && vcpu_thread.busy;
	held = hold_go(&zap_end) && held;
	actor_wait(&owner_thread);
	actor_wait(&vcpu_thread);
	tap_is(held, r.usable || !at_lock, "%s, %s: the window %s", p->name, what,
	       r.usable || !at_lock ? "was open" : "is never reached");
	tap_is(repeated, r.usable, "%s, %s: the fault is %srepeated", p->name, what,
	       r.usable ? "" : "not ");
	check_use(&r, use, what);
	race_end(&r, what);
}

/* The driver has made a page table entry, which is gone before KVM looks at it. */
static void test_fault_in(const struct place *p, enum act action)
{
	struct race r;
	char what[80];
	bool held;

	race_begin(&r, p);
	r.act = action;
	snprintf(what, sizeof(what), "%s when the driver has made an entry", act_names[action]);
	hold_arm(&fault_return, &vcpu_thread);
	hold_count(&lookup_entry, &vcpu_thread);
	actor_do(&vcpu_thread, use_call, &r);
	held = hold_wait(&fault_return, &vcpu_thread);
	act(&r);
	held = hold_go(&fault_return) && held;
	actor_wait(&vcpu_thread);
	tap_ok(held, "%s, %s: the window was open", p->name, what);
	/* Stock KVM takes this for a failure. */
	tap_is(calls(&lookup_entry) > 1, tap_kvm_patched(), "%s, %s: the lookup is %srepeated",
	       p->name, what, tap_kvm_patched() ? "" : "not ");
	if (tap_kvm_patched())
		check_use(&r, STORE, what);
	else
		tap_is(r.ret, -EFAULT, "%s, %s: it fails with EFAULT", p->name, what);
	race_end(&r, what);
}

static void delete_slot(void *arg)
{
	struct race *r = arg;

	VMM_MUST(vm_slot_delete(r->vm, KIT_SLOT));
}

/* The VMM deletes the memslot in which a fault has looked the page up. */
static void test_slot(const struct place *p)
{
	const char *what = "in a memslot that is deleted when a fault has looked it up";
	bool held, waits;
	struct race r;

	race_begin(&r, p);
	hold_arm(&lookup_return, &vcpu_thread);
	actor_do(&vcpu_thread, use_call, &r);
	held = hold_wait(&lookup_return, &vcpu_thread);
	hold_count(&srcu_entry, &owner_thread);
	actor_do(&owner_thread, delete_slot, &r);
	waits = WAIT_FOR(calls(&srcu_entry) || !owner_thread.busy);
	usleep(20000);
	waits = owner_thread.busy && waits;
	held = hold_go(&lookup_return) && held;
	actor_wait(&owner_thread);
	actor_wait(&vcpu_thread);
	tap_ok(held, "%s, %s: the window was open", p->name, what);
	tap_ok(waits, "%s, %s: the VMM waits for the fault", p->name, what);
	/* Whatever became of the fault, nothing may lead to the page now. */
	r.act = MOVE;
	act(&r);
	use_call(&r);
	tap_ok(r.out.end == GUEST_EXIT && r.out.exit_reason == KVM_EXIT_MMIO,
	       "%s, %s: then the guest finds no memory (%s)", p->name, what,
	       guest_describe(&r.out));
	check_old(&r, what);
	race_end(&r, what);
}

/* ---- zap to free ---- */

static void test_zap(const struct place *p)
{
	const char *what = "moved under a running guest";
	bool held, runs, stops;
	uint32_t passes;
	struct race r;

	race_begin(&r, p);
	if (!r.usable) {
		tap_is(r.ret, -EFAULT, "%s, %s: it fails with EFAULT", p->name, what);
		race_end(&r, what);
		return;
	}
	r.act = MOVE;
	buf_set_word(&r.b, r.at, 0);
	r.cmd = (struct guest_cmd){
		.op = GUEST_ADD,
		.flags = GUEST_LOOP,
		.gpa = r.gpa,
		.len = 8,
		.value = 1,
	};
	r.v->block->progress = 0;
	actor_do(&vcpu_thread, use_call, &r);
	VMM_MUST(guest_wait_progress(r.v, 3, PATIENCE_MS));

	hold_arm(&zap_entry, &owner_thread);
	hold_arm(&zap_end, &owner_thread);
	actor_do(&owner_thread, act, &r);
	held = hold_wait(&zap_entry, &owner_thread);
	tap_ok(locked(r.vm), "%s, %s: KVM zaps with mmu_lock", p->name, what);
	passes = guest_progress(r.v);
	runs = WAIT_FOR(guest_progress(r.v) - passes > 3);
	tap_ok(runs, "%s, %s: before it zaps, the guest goes on", p->name, what);

	hold_count(&fault_entry, &vcpu_thread);
	held = hold_go(&zap_entry) && held;
	held = hold_wait(&zap_end, &owner_thread) && held;
	/* A fault of the guest may hold it for a moment. */
	tap_ok(WAIT_FOR(!locked(r.vm)), "%s, %s: KVM releases mmu_lock before the owner goes on",
	       p->name, what);
	stops = WAIT_FOR(calls(&fault_entry));
	tap_ok(stops, "%s, %s: when it has zapped, the guest faults", p->name, what);
	passes = guest_progress(r.v);
	usleep(20000);
	tap_is(guest_progress(r.v), passes, "%s, %s: and waits for the owner", p->name, what);
	held = hold_go(&zap_end) && held;
	actor_wait(&owner_thread);
	VMM_MUST(guest_wait_progress(r.v, 3, PATIENCE_MS));
	guest_stop(r.v);
	actor_wait(&vcpu_thread);

	tap_ok(held, "%s, %s: the windows were open", p->name, what);
	passes = guest_progress(r.v);
	tap_is((uint32_t)buf_word(&r.b, r.at), passes, "%s, %s: no addition is lost", p->name,
	       what);
	check_old(&r, what);
	race_end(&r, what);
}

/* ---- marks ---- */

static void test_mark_fault(const struct place *p)
{
	const char *what = "marked in a fault";
	bool marked, held, lock = false;
	struct race r;

	race_begin(&r, p);
	marked = page_refcounted(&r.b.start[p->page]);
	hold_arm(&release_entry, &vcpu_thread);
	actor_do(&vcpu_thread, use_call, &r);
	held = hold_wait(&release_entry, &vcpu_thread);
	if (held)
		lock = locked(r.vm);
	/* The owner may then come in between. */
	r.act = MOVE;
	if (held && !lock)
		act(&r);
	held = hold_go(&release_entry) && held;
	actor_wait(&vcpu_thread);
	tap_is(held, marked, "%s, %s: KVM %s it", p->name, what,
	       marked ? "marks and releases" : "neither marks nor releases");
	if (marked)
		tap_is(lock, tap_kvm_patched(), "%s, %s: mmu_lock is %s", p->name, what,
		       tap_kvm_patched() ? "held" : "released before, a reference is held");
	race_end(&r, what);
}

static void test_mark_zap(const struct place *p)
{
	const char *what = "marked when zapped";
	bool marked, held, lock = false;
	struct race r;

	race_begin(&r, p);
	marked = page_refcounted(&r.b.start[p->page]);
	actor_do(&vcpu_thread, use_call, &r);
	actor_wait(&vcpu_thread);
	hold_arm(&dirty_entry, &owner_thread);
	r.act = REVOKE;
	actor_do(&owner_thread, act, &r);
	held = hold_wait(&dirty_entry, &owner_thread);
	if (held)
		lock = locked(r.vm);
	held = hold_go(&dirty_entry) && held;
	actor_wait(&owner_thread);
	tap_is(held, marked, "%s, %s: KVM %s it dirty", p->name, what,
	       marked ? "marks" : "does not mark");
	if (marked)
		tap_ok(lock, "%s, %s: mmu_lock is held", p->name, what);
	race_end(&r, what);
}

/* ---- KVM's own mappings ---- */

static void test_vmcb(const struct place *p, enum guest_op op)
{
	const char *what = op == GUEST_VMSAVE ? "moved during VMSAVE" : "moved during VMRUN";
	struct race r;
	bool maps, held;

	race_begin(&r, p);
	maps = !tap_kvm_patched() && page_refcounted(&r.b.start[p->page]);
	r.act = MOVE;
	r.cmd = (struct guest_cmd){ .op = op, .gpa = r.gpa };
	hold_arm(&map_return, &vcpu_thread);
	actor_do(&vcpu_thread, use_call, &r);
	held = hold_wait(&map_return, &vcpu_thread);
	act(&r);
	held = hold_go(&map_return) && held;
	actor_wait(&vcpu_thread);
	if (op == GUEST_VMRUN && !r.usable) {
		/* The guest itself writes the VMCB before. */
		tap_is(r.ret, -EFAULT, "%s, %s: the guest cannot write it", p->name, what);
	} else {
		tap_ok(held, "%s, %s: the window was open", p->name, what);
		tap_is(r.out.end == GUEST_EXCEPTION && r.out.vector == VECTOR_GP, !maps,
		       "%s, %s: KVM %s it (%s)", p->name, what, maps ? "maps" : "refuses",
		       guest_describe(&r.out));
	}
	tap_is(buf_check_old(&r.b).changed > 0, maps, "%s, %s: KVM %s the old page", p->name, what,
	       maps ? "writes to" : "leaves alone");
	race_end(&r, what);
}

/* ---- the kvmclock ---- */

/*
 * KVM writes a clock once more 100 ms after its address was set. Let that pass, lest it repeat the
 * lookup later. If it has passed already, nothing more comes.
 */
static void clock_settle(struct race *r)
{
	buf_do(&r->b, PFNMAP_REVOKE, 0);
	hold_count(&hva_return, &vcpu_thread);
	r->cmd = (struct guest_cmd){ .op = GUEST_NOP };
	WAIT_MS(({
			actor_do(&vcpu_thread, use_call, r);
			actor_wait(&vcpu_thread);
			calls(&hva_return);
		}),
		CLOCK_MS);
}

static void test_clock(const struct place *p, struct hold *at, enum act action)
{
	bool works, held;
	uint64_t before;
	struct race r;
	char what[80];

	race_begin(&r, p);
	works = tap_kvm_patched() || (at == &hva_return && page_refcounted(&r.b.start[p->page]));
	r.act = action;
	snprintf(what, sizeof(what), "%s when %s for a kvmclock", act_names[action],
		 at == &hva_return ? "KVM has looked it up" : "the driver has made an entry");
	r.cmd = (struct guest_cmd){ .op = GUEST_NOP };
	kit_set_clock(r.v, r.gpa | 1);
	actor_do(&vcpu_thread, use_clock, &r);
	actor_wait(&vcpu_thread);
	clock_settle(&r);
	buf_do(&r.b, PFNMAP_REVOKE, 0);
	before = buf_word(&r.b, r.at);

	hold_count(&hva_return, &vcpu_thread);
	hold_arm(at, &vcpu_thread);
	actor_do(&vcpu_thread, use_clock, &r);
	held = hold_wait(at, &vcpu_thread);
	act(&r);
	held = hold_go(at) && held;
	actor_wait(&vcpu_thread);
	tap_ok(held, "%s, %s: the window was open", p->name, what);
	tap_is(r.ret, 0, "%s, %s: the guest runs", p->name, what);
	tap_is(calls(&hva_return) > 1, works, "%s, %s: the lookup is %srepeated", p->name, what,
	       works ? "" : "not ");
	if (action != FREE)
		tap_is((uint32_t)buf_word(&r.b, r.at) != (uint32_t)before, works,
		       "%s, %s: the clock is %swritten in the present page", p->name, what,
		       works ? "" : "not ");
	check_old(&r, what);
	kit_set_clock(r.v, 0);
	actor_do(&vcpu_thread, use_call, &r);
	actor_wait(&vcpu_thread);
	race_end(&r, what);
}

/* ---- splits ---- */

static void take_away(void *arg)
{
	struct race *r = arg;

	if (r->place->spec.pages)
		act(r);
	else if (madvise(r->b.map, KIT_HUGE, MADV_DONTNEED))
		tap_bail("madvise: %s", strerror(errno));
}

static void log_dirty(void *arg)
{
	struct race *r = arg;

	VMM_MUST(vm_slot_flags(r->vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
}

/*
 * The thread holds mmu_lock at this place. Another one that takes the memory away must not zap
 * before it goes on.
 */
static bool excludes(struct hold *at, struct race *r)
{
	bool waits;

	hold_count(&write_lock_entry, &vcpu_thread);
	hold_count(&zap_entry, &vcpu_thread);
	actor_do(&vcpu_thread, take_away, r);
	waits = WAIT_FOR(calls(&write_lock_entry)) && locked(r->vm);
	usleep(20000);
	waits = !calls(&zap_entry) && waits;
	waits = hold_go(at) && waits;
	actor_wait(&vcpu_thread);
	return calls(&zap_entry) && waits;
}

/*
 * Dirty logging begins, and is about to split a huge page, or splits it with mmu_lock; meanwhile
 * its memory is taken away.
 */
static void test_split(const struct place *p, bool with_lock)
{
	const char *what = with_lock ? "taken away during a split" : "taken away before a split";
	struct hold *at = with_lock ? &tdp_split_entry : &split_entry;
	uint64_t log[PMD_PAGES / 64] = { 0 };
	struct race r = { .place = p, .gpa = KIT_GPA + 7 * KIT_PAGE, .at = 7 * KIT_PAGE };
	bool anon = !p->spec.pages;
	bool held;

	r.vm = vm_create(0);
	r.v = vcpu_create(r.vm, kit_mode());
	if (anon) {
		r.b.size = KIT_HUGE;
		r.b.map = vm_anon(KIT_HUGE, KIT_HUGE);
		if (madvise(r.b.map, KIT_HUGE, MADV_HUGEPAGE))
			tap_bail("madvise: %s", strerror(errno));
		memset(r.b.map, 1, KIT_HUGE);
	} else {
		buf_open(&r.b, &p->spec);
		buf_map(&r.b, KIT_RW);
	}
	VMM_MUST(vm_slot_set(r.vm, KIT_SLOT, KIT_GPA, r.b.size, r.b.map, 0));
	r.cmd = (struct guest_cmd){ .op = GUEST_FILL, .gpa = r.gpa, .len = 8, .value = 1 };
	use_call(&r);
	tap_is(r.ret, 0, "%s, %s: the guest writes", p->name, what);
	tap_is(vm_stat(r.vm, "pages_2m"), 1, "%s, %s: KVM maps one huge page", p->name, what);

	r.act = MOVE;
	hold_arm(at, &owner_thread);
	actor_do(&owner_thread, log_dirty, &r);
	held = hold_wait(at, &owner_thread);
	if (with_lock) {
		held = excludes(at, &r) && held;
	} else {
		take_away(&r);
		held = hold_go(at) && held;
	}
	actor_wait(&owner_thread);
	tap_ok(held, "%s, %s: the window was open%s", p->name, what,
	       with_lock ? ", and the owner waited" : "");
	tap_is(vm_stat(r.vm, "pages_2m"), 0, "%s, %s: no huge page is left", p->name, what);

	r.cmd.value = VALUE;
	use_call(&r);
	tap_is(r.ret, 0, "%s, %s: the guest writes again", p->name, what);
	if (anon)
		tap_is(*(volatile uint64_t *)(r.b.map + r.at), VALUE,
		       "%s, %s: the word is in the present page", p->name, what);
	else
		tap_is(buf_word(&r.b, r.at), VALUE, "%s, %s: the word is in the present page",
		       p->name, what);
	VMM_MUST(vm_dirty_get(r.vm, KIT_SLOT, log));
	tap_is(log[0], 1 << 7, "%s, %s: the write is logged", p->name, what);
	vcpu_destroy(r.v);
	vm_destroy(r.vm);
	if (anon) {
		munmap(r.b.map, KIT_HUGE);
		return;
	}
	check_old(&r, what);
	tap_is(buf_check_old(&r.b).bad_counts, 0, "%s, %s: all counts are as allocated", p->name,
	       what);
	buf_close(&r.b);
}

/* ---- ageing ---- */

#define FILE_SLOT  2u
#define FILE_GPA   (KIT_GPA + 16 * KIT_HUGE)
#define FILE_PAGES 256u
#define RECLAIM	   "131072" /* bytes: 32 pages, the fewest that Linux reclaims */

static atomic_bool aged;

static void age(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200 && !aged; i++)
		kit_cgroup_put("memory.reclaim", RECLAIM);
}

/* Reclaim asks KVM about a page of a file, and the owner of another page takes that away. */
static void test_ageing(const struct place *p, const char *path)
{
	const char *what = "moved while KVM ages another page";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct guest_cmd read = {
		.op = GUEST_READ,
		.gpa = FILE_GPA,
		.len = FILE_PAGES * KIT_PAGE,
		.stride = KIT_PAGE,
	};
	bool held, waits = false;
	struct race r;
	void *map;

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	map = mmap(NULL, FILE_PAGES * KIT_PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd < 0 || map == MAP_FAILED)
		tap_bail("%s: %s", path, strerror(errno));
	race_begin(&r, p);
	VMM_MUST(vm_slot_set(r.vm, FILE_SLOT, FILE_GPA, FILE_PAGES * KIT_PAGE, map,
			     KVM_MEM_READONLY));
	VMM_MUST(guest_call(r.v, &read, NULL));
	if (r.usable)
		VMM_MUST(guest_call(r.v, &r.cmd, NULL));
	r.act = MOVE;
	aged = false;
	hold_arm(&age_entry, &owner_thread);
	actor_do(&owner_thread, age, NULL);
	held = hold_wait(&age_entry, &owner_thread);
	aged = true;
	if (held)
		waits = excludes(&age_entry, &r);
	actor_wait(&owner_thread);
	tap_ok(held, "%s, %s: the window was open", p->name, what);
	tap_ok(waits, "%s, %s: the owner waits", p->name, what);
	use_call(&r);
	check_use(&r, STORE, what);
	race_end(&r, what);
	munmap(map, FILE_PAGES * KIT_PAGE);
	close(fd);
}

/* Only the TDP MMU splits with mmu_lock when logging begins. */
static void test_splits(const struct place *p)
{
	test_split(p, false);
	if (kit_tdp_mmu())
		test_split(p, true);
}

static const struct place thp = { "THP", { 0 }, 0 };

/* Linux 6.1 does not follow it. */
static const struct place pmd = {
	"huge page of a driver",
	{ .kind = PFNMAP_COMPOUND, .order = 9, .insert = PFNMAP_INSERT_PMD, .pages = PMD_PAGES },
	0,
};

int main(int argc, char **argv)
{
	if (argc != 2)
		tap_bail("usage: races FILE, some file of at least 1 MiB on a disk");
	kit_start();
	kit_bind_to(0);
	actor_begin(&vcpu_thread);
	actor_begin(&owner_thread);
	holds_begin();
	kit_cgroup();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const struct place *p = &places[i];

		for (int at_lock = 0; at_lock < 2; at_lock++) {
			for (enum use use = STORE; use <= (kit_prefaults() ? PREFAULT : STORE);
			     use++) {
				for (enum act action = 0; action < NR_ACTS; action++)
					test_stale(p, use, at_lock, action);
				test_progress(p, use, at_lock);
			}
		}
		test_slot(p);
		test_zap(p);
		test_mark_fault(p);
		test_mark_zap(p);
		test_ageing(p, argv[1]);
		test_vmcb(p, GUEST_VMSAVE);
		test_vmcb(p, GUEST_VMRUN);
		for (enum act action = 0; action < NR_ACTS; action++) {
			test_fault_in(p, action);
			test_clock(p, &hva_return, action);
			test_clock(p, &fault_return, action);
		}
	}
	test_splits(&thp);
	if (kit_kernel(6, 12) && kit_takes_all())
		test_splits(&pmd);
	holds_end();
	actor_end(&vcpu_thread);
	actor_end(&owner_thread);
	return kit_finish();
}
