// SPDX-License-Identifier: GPL-2.0-only
/*
 * sharing - Two VMs, and two memslots of one VM, share a buffer: each sees the other's stores, the
 * driver takes the pages away from both at once, and what one gives up the other keeps.
 *
 * Contract: 3, and 7 for the refcounted kinds. Page counts are equal at the end. On stock KVM a
 * guest cannot use the tails of chunks, so all checks but one use only the first page of each.
 *
 * Seen to fail: an MMU notifier that does not zap.
 */
#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define OTHER_SLOT (KIT_SLOT + 1)
#define OTHER_GPA  (KIT_GPA + 0x10000000ull)
#define MOVES	   4

static const struct pfnmap_create kinds[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 4, .insert = PFNMAP_INSERT_AROUND, .pages = 64 },
	{ .kind = PFNMAP_COMPOUND, .order = 4, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
	{ .kind = PFNMAP_BAR, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
	{ .kind = PFNMAP_SHMEM, .insert = PFNMAP_INSERT_ALL, .pages = 64 },
};

static uint64_t call(struct vcpu *v, uint32_t op, const struct buf *b, uint64_t gpa, uint64_t value)
{
	struct guest_cmd cmd = {
		.op = op,
		.gpa = gpa,
		.len = b->size,
		.stride = buf_stride(b),
		.value = value,
	};
	struct guest_outcome out;

	if (guest_call(v, &cmd, &out))
		tap_bail("%s: %s", buf_name(b), guest_describe(&out));
	return out.result;
}

/* The guests of v[0] and v[1] have the buffer at gpa[0] and gpa[1]. */
static void test_both(struct vcpu **v, const uint64_t *gpa, const struct buf *b, const char *who)
{
	uint32_t sum = 0, words = 0, wrong = 0;
	struct pfnmap_old old;
	struct loop l[2];

	for (int i = 0; i < 2; i++) {
		call(v[i], GUEST_PATTERN, b, gpa[i], 77 + i);
		tap_is(call(v[1 - i], GUEST_VERIFY, b, gpa[1 - i], 77 + i), 0,
		       "%s, %s: guest %d sees what guest %d wrote", buf_name(b), who, 1 - i, i);
	}

	/* Both count in the same words while the driver replaces the pages. */
	call(v[0], GUEST_FILL, b, gpa[0], 0);
	for (int i = 0; i < 2; i++)
		loop_start(&l[i], v[i],
			   &(struct guest_cmd){
				   .op = GUEST_ADD,
				   .gpa = gpa[i],
				   .len = b->size,
				   .stride = buf_stride(b),
				   .value = 1,
			   });
	for (int i = 0; i < MOVES; i++) {
		loop_wait(&l[i % 2], 2);
		if (b->spec.kind == PFNMAP_BAR)
			buf_do(b, PFNMAP_REVOKE, 0);
		else
			buf_do(b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
	}
	for (int i = 0; i < 2; i++) {
		loop_wait(&l[i], 2);
		loop_end(&l[i]);
		tap_ok(l[i].out.end == GUEST_DONE && !l[i].mmio && !l[i].efault,
		       "%s, %s: guest %d counts while the pages move: %s", buf_name(b), who, i,
		       guest_describe(&l[i].out));
		sum += guest_progress(v[i]);
	}
	for (uint64_t off = 0; off < b->size; off += buf_stride(b), words++)
		wrong += (uint32_t)buf_word(b, off) != sum;
	tap_ok(!wrong, "%s, %s: no increment is lost: %u of %u words are not %u", buf_name(b), who,
	       wrong, words, sum);
	old = buf_check_old(b);
	tap_ok(!old.changed && !old.bad_counts,
	       "%s, %s: KVM leaves the old pages and their counts alone", buf_name(b), who);
}

/* v keeps running while remove() takes its peer away. */
static void test_survivor(struct vcpu *v, uint64_t gpa, const struct buf *b, const char *who,
			  void (*remove)(void *arg), void *arg)
{
	uint32_t wrong = 0;
	struct loop l;

	call(v, GUEST_FILL, b, gpa, 0);
	loop_start(&l, v,
		   &(struct guest_cmd){
			   .op = GUEST_ADD,
			   .gpa = gpa,
			   .len = b->size,
			   .stride = buf_stride(b),
			   .value = 1,
		   });
	loop_wait(&l, 2);
	remove(arg);
	loop_wait(&l, 2);
	loop_end(&l);
	for (uint64_t off = 0; off < b->size; off += buf_stride(b))
		wrong += (uint32_t)buf_word(b, off) != guest_progress(v);
	tap_ok(l.out.end == GUEST_DONE && !l.mmio && !l.efault && !wrong,
	       "%s: the guest keeps running when the other %s is gone: %s", buf_name(b), who,
	       guest_describe(&l.out));
}

static void open_shared(struct buf *b, const struct pfnmap_create *spec)
{
	buf_open(b, spec);
	buf_map(b, KIT_RW);
}

/* Check that the pages are as buf_mark() found them after they moved, and close the buffer. */
static void close_shared(struct buf *b)
{
	const char *changes = buf_changes(b);

	tap_ok(!changes, "%s: counts and flags are unchanged: %s", buf_name(b), changes ?: "yes");
	buf_close(b);
}

struct machine {
	struct vm *vm;
	struct vcpu *v;
};

static void remove_machine(void *arg)
{
	struct machine *m = arg;

	vcpu_destroy(m->v);
	vm_destroy(m->vm);
}

static void test_vms(const struct pfnmap_create *spec)
{
	const uint64_t gpa[2] = { KIT_GPA, OTHER_GPA };
	struct machine m[2];
	struct buf b;

	open_shared(&b, spec);
	for (int i = 0; i < 2; i++) {
		m[i].vm = vm_create(0);
		m[i].v = vcpu_create(m[i].vm, kit_mode());
		VMM_MUST(vm_slot_set(m[i].vm, KIT_SLOT, gpa[i], b.size, b.map, 0));
	}
	test_both((struct vcpu *[]){ m[0].v, m[1].v }, gpa, &b, "two VMs");
	buf_mark(&b);
	test_survivor(m[1].v, gpa[1], &b, "VM", remove_machine, &m[0]);
	remove_machine(&m[1]);
	close_shared(&b);
}

static void remove_slot(void *arg)
{
	VMM_MUST(vm_slot_delete(arg, KIT_SLOT));
}

static void test_slots(const struct pfnmap_create *spec)
{
	const uint64_t gpa[2] = { KIT_GPA, OTHER_GPA };
	struct vm *vm = vm_create(0);
	struct vcpu *v[2];
	struct buf b;

	open_shared(&b, spec);
	for (int i = 0; i < 2; i++) {
		v[i] = vcpu_create(vm, kit_mode());
		VMM_MUST(vm_slot_set(vm, KIT_SLOT + i, gpa[i], b.size, b.map, 0));
	}
	test_both(v, gpa, &b, "two memslots");
	buf_mark(&b);
	test_survivor(v[1], gpa[1], &b, "memslot", remove_slot, vm);
	for (int i = 0; i < 2; i++)
		vcpu_destroy(v[i]);
	vm_destroy(vm);
	close_shared(&b);
}

/* What only patched KVM can do: use a tail page through two memslots. */
static void test_tail(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	struct guest_outcome write, read;
	struct buf b;

	open_shared(&b, &kinds[0]);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	VMM_MUST(vm_slot_set(vm, OTHER_SLOT, OTHER_GPA, b.size, b.map, 0));
	kit_touch(v, KIT_WRITE, KIT_GPA + KIT_PAGE, 42, &write);
	kit_touch(v, KIT_READ, OTHER_GPA + KIT_PAGE, 0, &read);
	if (kit_takes_all())
		tap_ok(write.end == GUEST_DONE && read.end == GUEST_DONE && read.result == 42,
		       "a tail page in two memslots works: %s", guest_describe(&read));
	else
		tap_ok(kit_efault(&write) && kit_efault(&read),
		       "a tail page in two memslots is refused in both: %s", guest_describe(&read));
	vcpu_destroy(v);
	vm_destroy(vm);
	close_shared(&b);
}

int main(void)
{
	kit_start();
	test_tail();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		test_vms(&kinds[i]);
		test_slots(&kinds[i]);
	}
	return kit_finish();
}
