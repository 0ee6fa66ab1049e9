// SPDX-License-Identifier: GPL-2.0-only
/*
 * nomem - Allocations that a call makes fail, one at a time: the first, a later one, and so on,
 * until the call makes no more. Meanwhile the call succeeds or ends with ENOMEM or EFAULT; it
 * succeeds the next time; and no page keeps a reference or a flag. The calls create a memslot,
 * begin dirty logging, touch the memory as a guest and as a nested guest, and prefault it. Page
 * faults make many allocations, most of them for the same caches, and each one that fails takes a
 * new VM. So every fourth of theirs fails: other ones for refcounted pages than for the rest. This
 * needs a kernel with CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC.
 *
 * Contract: 7, 9. Stock passes with the pages that it maps.
 *
 * Seen to fail: calls that allocated nothing, because KVM's caches were full.
 */
#include <errno.h>
#include <sys/mman.h>

#include "tests/lib/kit.h"

#define PAGES 64u
#define MANY  500u /* no call makes so many allocations */

struct place {
	struct vm *vm;
	struct vcpu *v;
	const struct buf *b;
	unsigned int first; /* of every fourth allocation that fails */
};

/* ---- the calls: 0 or -errno ---- */

static int set_slot(struct place *p)
{
	return vm_slot_set(p->vm, KIT_SLOT, KIT_GPA, p->b->size, p->b->map, 0);
}

static int log_dirty(struct place *p)
{
	return vm_slot_flags(p->vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES);
}

/* KVM_RUN's error, or EPROTO if the guest ended otherwise. */
static int ran(struct place *p, const struct guest_outcome *out)
{
	if (out->end == GUEST_DONE)
		return 0;
	VMM_MUST(vcpu_reset(p->v));
	if (out->end == GUEST_RUN_FAILED)
		return -out->err;
	tap_diag("%s", guest_describe(out));
	return -EPROTO;
}

static int store(struct place *p)
{
	struct guest_outcome out;

	kit_touch(p->v, KIT_WRITE, KIT_GPA, 7, &out);
	return ran(p, &out);
}

static int nested_load(struct place *p)
{
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = GUEST_L2_LOAD,
		.gpa = GUEST_SCRATCH,
		.gpa2 = KIT_GPA,
	};
	struct guest_outcome out;

	guest_call(p->v, &cmd, &out);
	return ran(p, &out);
}

static int prefault(struct place *p)
{
	struct kvm_pre_fault_memory range = { .gpa = KIT_GPA, .size = p->b->size };

	return kit_prefault(p->v, &range);
}

/* ---- what comes before ---- */

static void add_slot(struct place *p)
{
	VMM_MUST(set_slot(p));
}

static void use_slot(struct place *p)
{
	add_slot(p);
	VMM_MUST(store(p));
}

static const struct step {
	const char *name;
	int (*call)(struct place *p);
	void (*before)(struct place *p);
} steps[] = {
	{ "set a memslot", set_slot, NULL },	{ "begin dirty logging", log_dirty, use_slot },
	{ "a guest's store", store, add_slot }, { "a nested guest's load", nested_load, add_slot },
	{ "prefault", prefault, add_slot },
};

/* A new VM, with empty caches, and no page table entries, neither KVM's nor the driver's. */
static void begin(struct place *p)
{
	buf_do(p->b, PFNMAP_REVOKE, 0);
	p->vm = vm_create(0);
	p->v = vcpu_create(p->vm, kit_mode());
}

static void end(struct place *p)
{
	vcpu_destroy(p->v);
	vm_destroy(p->vm);
}

static bool possible(struct place *p, const struct step *s)
{
	bool nests;

	if (s->call == prefault)
		return kit_prefaults();
	if (s->call != nested_load)
		return true;
	begin(p);
	nests = p->v->mode == VCPU_LONG && vcpu_can_nest(p->v);
	end(p);
	return nests;
}

static void test(struct place *p, const struct step *s)
{
	bool many = s->call != set_slot && s->call != log_dirty;
	unsigned int step = many ? 4 : 1, nth = many ? p->first : 1, failures = 0;
	int err, wrong = 0, again = 0;
	bool hit;

	do {
		begin(p);
		if (s->before)
			s->before(p);
		kit_fail_allocation(nth);
		err = s->call(p);
		hit = kit_fail_allocation(0);
		failures += hit && err;
		if (err && (!hit || (err != -ENOMEM && err != -EFAULT)))
			wrong = err;
		if (err && !again)
			again = s->call(p);
		end(p);
		nth += step;
	} while (hit && nth < MANY);

	tap_ok(failures && !hit, "%s, %s: its allocations fail", buf_name(p->b), s->name);
	tap_is(wrong, 0, "%s, %s: it ends with ENOMEM or EFAULT, if at all", buf_name(p->b),
	       s->name);
	tap_is(again, 0, "%s, %s: it succeeds the next time", buf_name(p->b), s->name);
	tap_diag("about %u allocations; %u calls failed for lack of one", nth - step, failures);
}

/* What a failed mmap() keeps is found by kmemleak, in the test leaks. */
static void test_mmap(void)
{
	unsigned int nth = 0, failures = 0;
	int wrong = 0;
	bool hit;

	do {
		struct buf b;
		void *map;
		int err;

		buf_open(&b, &(struct pfnmap_create){
				     .insert = PFNMAP_INSERT_ALL,
				     .order = 3,
				     .pages = 2 * KIT_HUGE / KIT_PAGE,
			     });
		kit_fail_allocation(++nth);
		map = mmap(NULL, b.size, PROT_READ, MAP_SHARED, b.fd, 0);
		err = errno;
		hit = kit_fail_allocation(0);
		if (map != MAP_FAILED) {
			munmap(map, b.size);
		} else {
			failures++;
			if (!hit || err != ENOMEM)
				wrong = err;
		}
		if (buf_stats(&b).mappings)
			wrong = EBUSY;
		buf_close(&b);
	} while (hit && nth < MANY);
	tap_ok(failures > 1 && !hit, "mmap(): each of its allocations fails once");
	tap_is(wrong, 0, "mmap(): it ends with ENOMEM, if at all, and maps nothing");
	tap_diag("%u allocations, without which %u calls failed", nth - 1, failures);
}

int main(void)
{
	static const struct {
		struct pfnmap_create spec;
		unsigned int first;
	} buffers[] = {
		{ { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES }, 1 },
		{ { .kind = PFNMAP_SHMEM, .pages = PAGES }, 3 },
	};

	kit_start();
	if (!kit_enable_failures())
		tap_bail("this kernel has no CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC");
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		struct buf b;
		struct place p = { .b = &b, .first = buffers[i].first };

		buf_open(&b, &buffers[i].spec);
		buf_map(&b, KIT_RW);
		for (size_t j = 0; j < ARRAY_SIZE(steps); j++)
			if (possible(&p, &steps[j]))
				test(&p, &steps[j]);
		buf_end(&b, "counts and flags are as they were");
	}
	test_mmap();
	return kit_finish();
}
