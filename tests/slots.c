// SPDX-License-Identifier: GPL-2.0-only
/*
 * slots - Memslots over a driver's memory are deleted, moved and created again while vCPUs use
 * them: no access goes to the old place once the ioctl has returned, and none is lost in the new
 * one.
 *
 * Contract: 3, and 7 for the refcounted kinds. Page counts are equal at the end. On stock KVM a
 * guest cannot use the tails of chunks, so the loops use only the first page of each.
 *
 * Seen to fail: a KVM that does not zap the SPTEs of a deleted memslot.
 */
#include <string.h>

#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define OTHER_GPA (KIT_GPA + 0x10000000ull)
#define ROUNDS	  8
#define BASE	  0x1000000ull /* first value of vCPU 0's passes; vCPU 1's is twice that */

static const struct pfnmap_create kinds[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 4, .insert = PFNMAP_INSERT_AROUND, .pages = 64 },
	{ .kind = PFNMAP_COMPOUND, .order = 4, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
	{ .kind = PFNMAP_BAR, .insert = PFNMAP_INSERT_ALL, .pages = 64 },
	{ .kind = PFNMAP_SHMEM, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
};

/* The loop of vCPU `number`: its word of every usable page, with values per vCPU and pass. */
static struct guest_cmd fill(const struct buf *b, uint64_t gpa, unsigned int number)
{
	return (struct guest_cmd){
		.op = GUEST_FILL,
		.gpa = gpa + 8 * number,
		.len = b->size - 8 * number,
		.stride = buf_stride(b),
		.value = BASE * (number + 1),
	};
}

/* Do all words of this vCPU have the value of its last pass? */
static bool complete(const struct buf *b, const struct loop *l, unsigned int number)
{
	uint64_t last = BASE * (number + 1) + guest_progress(l->v) - 1;

	for (uint64_t off = 8 * number; off < b->size; off += buf_stride(b))
		if (buf_word(b, off) != last)
			return false;
	return true;
}

/* Is a buffer without a memslot left alone? */
static bool still(const struct buf *b, struct loop *l)
{
	char *before = vm_anon(b->size, KIT_PAGE);
	bool same;

	memcpy(before, b->map, b->size);
	if (!loop_wait_more(&l->mmio))
		tap_bail("no access to the missing memslot");
	same = !memcmp(before, b->map, b->size);
	munmap(before, b->size);
	return same;
}

/* Delete the memslot and create it over the other buffer, over and over. */
static void test_recreate(struct vm *vm, struct vcpu *v, struct buf *b)
{
	bool left_alone = true, filled = true;
	struct guest_cmd cmd = fill(&b[0], KIT_GPA, 0);
	struct loop l;

	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b[0].size, b[0].map, 0));
	loop_start(&l, v, &cmd);
	for (int i = 0; i < ROUNDS; i++) {
		const struct buf *old = &b[i % 2], *new = &b[1 - i % 2];

		loop_wait(&l, 2);
		VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
		left_alone &= still(old, &l);
		VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, new->size, new->map, 0));
		loop_wait(&l, 2);
		left_alone &= buf_word(old, 0) < buf_word(new, 0);
	}
	tap_is(loop_end(&l), 0, "%s: the guest survives %d deletions and creations", buf_name(b),
	       ROUNDS);
	filled = complete(&b[ROUNDS % 2], &l, 0);
	tap_ok(left_alone, "%s: no store reaches the buffer of a deleted memslot", buf_name(b));
	tap_ok(filled, "%s: every store reaches the buffer of the new memslot", buf_name(b));
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
}

/* Move the memslot back and forth between two places, each of which one vCPU uses. */
static void test_move(struct vm *vm, struct vcpu **v, const struct buf *b)
{
	struct guest_cmd cmd[2] = { fill(b, KIT_GPA, 0), fill(b, OTHER_GPA, 1) };
	bool here = true, filled = true;
	struct loop l[2];

	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	for (int i = 0; i < 2; i++)
		loop_start(&l[i], v[i], &cmd[i]);
	for (int i = 0; i < ROUNDS; i++) {
		int from = i % 2, to = 1 - from;
		uint64_t word;

		loop_wait(&l[from], 2);
		VMM_MUST(vm_slot_move(vm, KIT_SLOT, cmd[to].gpa & ~(KIT_PAGE - 1ull)));
		word = buf_word(b, 8 * from);
		loop_wait(&l[to], 2);
		here &= loop_wait_more(&l[from].mmio) && buf_word(b, 8 * from) == word;
	}
	for (int i = 0; i < 2; i++) {
		bool slot_here = i == ROUNDS % 2;

		tap_is(loop_end(&l[i]), 0, "%s: vCPU %d survives %d moves", buf_name(b), i, ROUNDS);
		filled &= complete(b, &l[i], i) == slot_here;
	}
	tap_ok(here, "%s: no store goes through the place that the memslot left", buf_name(b));
	tap_ok(filled, "%s: every store goes through the place that it moved to", buf_name(b));
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
}

static void test_kind(const struct pfnmap_create *spec)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v[2];
	struct buf b[2];

	for (int i = 0; i < 2; i++) {
		v[i] = vcpu_create(vm, kit_mode());
		buf_open(&b[i], spec);
		buf_map(&b[i], KIT_RW);
	}
	test_recreate(vm, v[0], b);
	test_move(vm, v, &b[0]);
	for (int i = 0; i < 2; i++)
		vcpu_destroy(v[i]);
	vm_destroy(vm);
	for (int i = 0; i < 2; i++) {
		const char *changes = buf_changes(&b[i]);

		tap_ok(!changes, "%s: counts and flags are unchanged: %s", buf_name(&b[i]),
		       changes ?: "yes");
		buf_close(&b[i]);
	}
}

/* What only patched KVM can do: use a tail page in such a memslot. */
static void test_tail(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	struct guest_outcome out;
	struct buf b;
	int ok = 0;

	buf_open(&b, &kinds[0]);
	buf_map(&b, KIT_RW);
	for (int i = 1; i <= ROUNDS; i++) {
		VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
		kit_touch(v, KIT_WRITE, KIT_GPA + KIT_PAGE, i, &out);
		if (kit_takes_all())
			ok += out.end == GUEST_DONE && buf_word(&b, KIT_PAGE) == (uint64_t)i;
		else
			ok += kit_efault(&out) && !buf_word(&b, KIT_PAGE);
		VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	}
	tap_is(ok, ROUNDS, "a tail page has the same result each time the memslot is created: %s",
	       guest_describe(&out));
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_close(&b);
}

int main(void)
{
	kit_start();
	test_tail();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		test_kind(&kinds[i]);
	return kit_finish();
}
