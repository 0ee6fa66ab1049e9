// SPDX-License-Identifier: GPL-2.0-only
/* The vCPUs' threads: touch memory at random, and compare what happens with what is foreseen. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/torture/torture.h"

#define POISON_HALF 0xd6d6d6d6u

struct world world;
atomic_uint done_touches[NR_TOUCHES], outcomes[NR_OUTCOMES], unjudged;

void tick(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

uint64_t microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

/* Held by those who change the VM, so that a vCPU may not be there: then leave it. */
void touches_stop(void)
{
	if (pthread_mutex_trylock(&world.vm_lock))
		return;
	for (int i = 0; i < NR_VCPUS && !world.halt; i++)
		guest_stop(world.runners[i].v);
	pthread_mutex_unlock(&world.vm_lock);
}

void touches_note(unsigned int inside[NR_VCPUS])
{
	for (int i = 0; i < NR_VCPUS; i++)
		inside[i] = world.runners[i].inside;
}

bool touches_ended(const unsigned int inside[NR_VCPUS])
{
	for (int i = 0; i < NR_VCPUS; i++)
		if (inside[i] & 1 && world.runners[i].inside == inside[i])
			return false;
	return true;
}

/* A touch that is going on, or has ended. */
struct
try {
	struct runner *r;
	struct place *p;
	enum touch touch;
	uint32_t page;
	uint64_t value;	   /* what a store stores */
	uint32_t len;	   /* of a copy */
	bool loop;	   /* so that the vCPU stays in the guest, until touches_stop() */
	uint32_t passes;   /* ... or so many passes; 0: no limit */
	unsigned int fail; /* see kit_fail_allocation(); before the first exit only */
	unsigned int from, slot_from;
	unsigned int out;
	struct guest_outcome guest;
	int ret; /* of a prefault */
};

static unsigned int classify(const struct guest_outcome *out)
{
	if (out->end == GUEST_DONE)
		return OUT_DONE;
	if (kit_efault(out))
		return OUT_EFAULT;
	if (out->end == GUEST_RUN_FAILED && out->err == ENOMEM)
		return OUT_NOMEM;
	if (out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_MMIO)
		return OUT_MMIO;
	if (out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		return OUT_INTERNAL;
	return OUT_OTHER;
}

static void prefault(struct try *t)
{
	struct kvm_pre_fault_memory range = {
		.gpa = t->p->gpa + (uint64_t)t->page * KIT_PAGE,
		.size = KIT_PAGE,
	};

	do {
		t->ret = kit_prefault(t->r->v, &range);
	} while (t->ret == -EINTR);
	t->out = t->ret == 0	   ? OUT_DONE :
		 t->ret == -EFAULT ? OUT_EFAULT :
		 t->ret == -EAGAIN ? OUT_AGAIN :
		 t->ret == -ENOENT ? OUT_MMIO :
				     OUT_OTHER;
}

/* Let the vCPU run, until its outcome is that of the touch. */
static void run(struct try *t, const struct guest_cmd *cmd)
{
	struct guest_outcome *out = &t->guest;

	if (t->fail)
		kit_fail_allocation(t->fail);
	guest_call(t->r->v, cmd, out);
	if (t->fail)
		kit_fail_allocation(0);
	for (;;) {
		if (out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_DIRTY_RING_FULL)
			log_read();
		else if (out->end != GUEST_RUN_FAILED || out->err != EINTR)
			break;
		guest_resume(t->r->v, out);
	}
}

static void run_nested(struct try *t)
{
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = vcpu_can_nest_paging(t->r->v) ? GUEST_NPT : 0,
		.gpa = GUEST_SCRATCH + t->r->number * KIT_PAGE,
		.gpa2 = t->p->gpa + (uint64_t)t->page * KIT_PAGE,
		.value = t->value,
	};

	if (t->touch == TOUCH_L2_READ)
		cmd.flags |= GUEST_L2_LOAD;
	else
		cmd.gpa2 += PAGE_FILL(t->r->number);
	run(t, &cmd);
	t->out = classify(&t->guest);
	if (t->out == OUT_DONE && t->guest.result != GUEST_L2_DONE)
		t->out = OUT_OTHER;
	else
		t->guest.result = t->guest.result2;
	if (t->out != OUT_DONE)
		VMM_MUST(vcpu_reset(t->r->v));
}

static void run_touch(struct try *t)
{
	uint64_t gpa = t->p->gpa + (uint64_t)t->page * KIT_PAGE;
	unsigned int v = t->r->number;
	struct guest_cmd cmd = {
		.gpa = gpa,
		.len = 8,
		.value = t->value,
		.flags = t->loop ? GUEST_LOOP : 0,
		.passes = t->passes,
	};

	switch (t->touch) {
	case TOUCH_READ:
		cmd.op = GUEST_READ;
		break;
	case TOUCH_FILL:
		cmd.op = GUEST_FILL;
		cmd.gpa += PAGE_FILL(v);
		break;
	case TOUCH_ADD:
		cmd.op = GUEST_ADD;
		cmd.gpa += PAGE_ADD(v);
		cmd.value = 1;
		break;
	case TOUCH_FST:
		cmd.op = GUEST_FSTORE;
		cmd.gpa += PAGE_FST(v);
		break;
	case TOUCH_COPY:
		cmd.op = GUEST_COPY;
		cmd.gpa2 = gpa + PAGE_COPY(v);
		cmd.len = t->len;
		break;
	default:
		cmd.op = GUEST_EXEC;
		cmd.gpa += t->r->v->mode == VCPU_REAL ? PAGE_CODE16 : PAGE_CODE;
		break;
	}
	run(t, &cmd);
	t->out = classify(&t->guest);
	/* Finish the instruction now, not in the middle of the next touch. */
	if (t->out != OUT_DONE)
		VMM_MUST(vcpu_reset(t->r->v));
}

static const char *describe(const struct try *t)
{
	return t->touch == TOUCH_PREFAULT ? strerror(-t->ret) : guest_describe(&t->guest);
}

/* The memory that the VMM meant to be there, for a message. */
static const char *where(const struct view *view)
{
	const struct blob *bl = view->nr_blobs ? view->blobs[view->nr_blobs - 1] : NULL;

	if (!bl)
		return "a hole";
	return bl->backing == BACK_MEMFD ? "a file" : buf_name(&bl->b);
}

/* Is this half of a word, or of less, that of a canary which may have been there? */
static bool known(const struct try *t, const struct view *view, uint32_t half, unsigned int shift)
{
	for (int i = 0; i < view->nr_blobs; i++)
		if ((uint32_t)(blob_canary(view->blobs[i], t->page) >> shift) == half)
			return true;
	return false;
}

static void check_read(const struct try *t, const struct view *view)
{
	uint64_t got = t->guest.result;

	if (known(t, view, got, 0) && (t->touch == TOUCH_EXEC || known(t, view, got >> 32, 32)))
		return;
	violated(INV_READ, "%s of page %u of %s: %#llx%s", touch_names[t->touch], t->page,
		 where(view), (unsigned long long)got,
		 (uint32_t)got == POISON_HALF ? ", which the driver took back" : "");
}

/* Compare what a store left in memory, unless something changes meanwhile. */
static void check_stored(const struct try *t, const struct view *view, uint32_t off,
			 const void *want, uint32_t len)
{
	uint64_t got = 0;

	if (!view->stable || view->nr_blobs != 1)
		return;
	if (!blob_peek(view->blobs[0], t->p->at, t->page, off, &got, len) ||
	    t->p->history.now != t->from || !memcmp(&got, want, len))
		return;
	violated(INV_STORE, "%s to page %u of %s left %#llx", touch_names[t->touch], t->page,
		 where(view), (unsigned long long)got);
}

static void check_store(struct try *t, const struct view *view)
{
	unsigned int v = t->r->number;
	struct stored *s = view->nr_blobs ? &view->blobs[0]->stored[t->page][v] : NULL;
	uint64_t canary;

	if (view->nr_blobs != 1) {
		for (int i = 0; i < view->nr_blobs; i++)
			view->blobs[i]->stored[t->page][v].unknown = true;
		return;
	}
	/*
	 * KVM may have finished the instruction when the vCPU was reset; a loop has made passes;
	 * and half of a store is possible where a word takes two.
	 */
	if (t->out != OUT_DONE &&
	    (t->loop || t->fail || (t->touch == TOUCH_ADD && t->out == OUT_MMIO) ||
	     (t->touch == TOUCH_FILL && t->r->v->mode != VCPU_LONG)))
		s->unknown = true;
	if (t->out != OUT_DONE)
		return;
	if (view->stable)
		s->when = t->from;

	switch (t->touch) {
	case TOUCH_FILL:
	case TOUCH_L2_FILL:
		s->fill = t->value + (t->loop ? guest_progress(t->r->v) - 1 : 0);
		check_stored(t, view, PAGE_FILL(v), &s->fill, 8);
		break;
	case TOUCH_ADD:
		/* The last pass found what the others left. */
		if (t->loop)
			s->add += guest_progress(t->r->v) - 1;
		if (!s->unknown && t->guest.result != s->add)
			violated(INV_STORE, "lock xadd to page %u of %s found %llu, not %u",
				 t->page, where(view), (unsigned long long)t->guest.result, s->add);
		s->add = t->guest.result + 1;
		break;
	case TOUCH_COPY:
		canary = blob_canary(view->blobs[0], t->page);
		check_stored(t, view, PAGE_COPY(v), &canary, t->len);
		break;
	default:
		break;
	}
}

static void judge(struct try *t)
{
	struct history *slot = &world.slot;
	struct view view = foresee(t->p, t->from, t->p->history.now, slot, t->slot_from, slot->now,
				   t->touch, t->page);
	bool foreseen;

	outcomes[__builtin_ctz(t->out)]++;
	/* Changes that came while they were looked at may have replaced the first ones. */
	view.overrun |= t->p->history.now - t->from >= NR_CHANGES - 1 ||
			slot->now - t->slot_from >= NR_CHANGES - 1;
	if (view.overrun) {
		/* A read is still not poison. */
		unjudged++;
		if (t->out == OUT_DONE && t->touch == TOUCH_READ &&
		    (uint32_t)t->guest.result == POISON_HALF)
			violated(INV_READ, "read of page %u: poison", t->page);
		return;
	}
	if (t->fail)
		view.foreseen |= OUT_EFAULT | OUT_NOMEM | OUT_MMIO | OUT_INTERNAL;
	foreseen = t->out & view.foreseen;
	if (!foreseen)
		violated(INV_OUTCOME, "vCPU %u, %s of page %u of %s%s: %s, foreseen %#x",
			 t->r->number, touch_names[t->touch], t->page, where(&view),
			 view.stable ? "" : ", which changes", describe(t), view.foreseen);
	else if (t->out == OUT_DONE)
		done_touches[t->touch]++;
	if (t->touch == TOUCH_PREFAULT)
		return;
	if (!stores(t->touch)) {
		if (foreseen && t->out == OUT_DONE)
			check_read(t, &view);
	} else {
		/* Also after what was not foreseen, since a loop may have stored before that. */
		check_store(t, &view);
	}
}

static void touch_once(struct runner *r)
{
	uint64_t x = hash(world.seed ^ (r->number + 1), r->rng++);
	struct place *p = &world.places[x % NR_PLACES];
	struct try t = {
		.r = r,
		.p = p,
		.touch = (x >> 8) % NR_TOUCHES,
		.page = (x >> 16) % p->pages,
		.value = hash(x, 1),
		.len = 1 + (x >> 40) % 8,
		.loop = (x >> 52) % 4 == 0,
		.passes = (x >> 33) % 32 ? 1 << (x >> 33) % 12 : 0,
		.fail = fails_allocations && (x >> 54) % 8 == 0 ? 1 + (x >> 57) % 16 : 0,
	};
	unsigned int since;

	/* Half of the touches meet in few pages. */
	if (x >> 48 & 1)
		t.page %= 4;
	if (t.touch == TOUCH_PREFAULT && !(tap_kvm_patched() && kit_prefaults()))
		t.touch = TOUCH_READ;
	/* Only plain touches of the guest repeat themselves. */
	t.loop &= t.touch < TOUCH_PREFAULT;
	if (t.touch == TOUCH_L2_READ || t.touch == TOUCH_L2_FILL) {
		if (r->v->mode != VCPU_LONG || !vcpu_can_nest(r->v))
			t.touch -= TOUCH_L2_READ - TOUCH_READ;
	}

	r->touch = touch_names[t.touch];
	r->place = p;
	r->page = t.page;
	r->inside++;
	t.from = p->history.now;
	t.slot_from = world.slot.now;
	since = log_touch(p, t.page);
	if (t.touch == TOUCH_PREFAULT)
		prefault(&t);
	else if (t.touch == TOUCH_L2_READ || t.touch == TOUCH_L2_FILL)
		run_nested(&t);
	else
		run_touch(&t);
	if (stores(t.touch) && t.out == OUT_DONE)
		log_stored(p, t.page, since);
	judge(&t);
	r->inside++;
	world.touches++;
	world.passes += t.loop ? guest_progress(r->v) : 1;
}

static int touch_all(struct vcpu *v, void *arg)
{
	struct runner *r = arg;

	(void)v;
	while (!world.halt)
		touch_once(r);
	r->ended = true;
	return 0;
}

void vm_begin(void)
{
	static const enum vcpu_mode modes[] = { VCPU_LONG, VCPU_LONG, VCPU_LONG, VCPU_PAE,
						VCPU_REAL };
	uint64_t x = hash(world.seed, 0x766d);

	world.irqchip = x & 1;
	world.vm = vm_create(world.irqchip ? VM_IRQCHIP : 0);
	world.slot_flags = 0;
	log_begin(x & 2);
	VMM_MUST(vm_slot_set(world.vm, KIT_SLOT, KIT_GPA, WINDOW_SIZE, world.window, 0));
	history_add_slot(&world.slot, SLOT_RW);
	world.halt = false; /* with vm_lock held, or before other threads start */
	for (int i = 0; i < NR_VCPUS; i++) {
		struct runner *r = &world.runners[i];
		enum vcpu_mode mode = modes[i ? (x >> 8 * i) % ARRAY_SIZE(modes) : 0];

		r->number = i;
		r->ended = false;
		r->v = vcpu_create(world.vm, mode);
		log_begin_vcpu(r);
	}
	/* Nested guests see half of the memory in 2 MiB pages. The first vCPU is in long mode. */
	if (vcpu_can_nest_paging(world.runners[0].v))
		VMM_MUST(vm_map_nested(world.vm, KIT_GPA + KIT_HUGE, KIT_GPA + KIT_HUGE, KIT_HUGE,
				       KIT_PAGE, 0));
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_start(world.runners[i].v, touch_all, &world.runners[i]);
}

void vm_end(void)
{
	world.halt = true;
	for (int i = 0; i < NR_VCPUS; i++) {
		struct runner *r = &world.runners[i];

		vcpu_kick(r->v);
		while (!r->ended) {
			guest_stop(r->v);
			tick();
		}
		vcpu_join(r->v);
	}
	log_end();
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_destroy(world.runners[i].v);
	vm_destroy(world.vm);
}
