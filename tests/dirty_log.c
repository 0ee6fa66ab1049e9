// SPDX-License-Identifier: GPL-2.0-only
/*
 * dirty_log - The dirty log of a memslot on exporter memory names every page that the guest wrote,
 * and no others except pages that a read made KVM map writable. That holds for pages mapped before
 * logging began and after, with and without manual protection, and while logging is harvested or
 * toggled under a running guest.
 *
 * Contract: 3, 5 (write protection), 7. Both variants pass, each on the pages that it can map.
 *
 * Seen to fail: no write protection when logging begins; KVM marking all pages (by warnings).
 */
#include <string.h>

#include "tests/lib/kit.h"

#define PAGES	128u
#define WORDS	(PAGES / 64)
#define TOGGLES 6

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = PAGES },
	{ .kind = PFNMAP_COMPOUND, .order = 2, .pages = PAGES, .insert = PFNMAP_INSERT_AROUND },
	{ .kind = PFNMAP_SHMEM, .pages = PAGES, .insert = PFNMAP_INSERT_ALL },
	{ .kind = PFNMAP_BAR, .pages = PAGES },
};

struct log {
	uint64_t bits[WORDS];
};

static struct log harvest(struct vm *vm)
{
	struct log log = { 0 };

	VMM_MUST(vm_dirty_get(vm, KIT_SLOT, log.bits));
	return log;
}

static void clear(struct vm *vm, uint32_t first, uint32_t pages, struct log log)
{
	VMM_MUST(vm_dirty_clear(vm, KIT_SLOT, first, pages, &log.bits[first / 64]));
}

static bool is_dirty(const struct log *log, uint32_t page)
{
	return log->bits[page / 64] >> page % 64 & 1;
}

/* The pages that a command with this range and stride touches. */
static struct log range(uint32_t first, uint32_t pages, uint32_t step)
{
	struct log log = { 0 };

	for (uint32_t i = first; i < first + pages; i += step)
		log.bits[i / 64] |= 1ull << i % 64;
	return log;
}

static bool same(struct log a, struct log b)
{
	return !memcmp(&a, &b, sizeof(a));
}

static struct guest_cmd command(const struct buf *b, uint32_t op, uint32_t first, uint32_t pages,
				uint32_t step)
{
	static uint64_t value = 1;

	value += 1000000;
	return (struct guest_cmd){
		.op = op,
		.gpa = KIT_GPA + (uint64_t)first * KIT_PAGE,
		.len = (uint64_t)pages * KIT_PAGE,
		.stride = (uint64_t)step * KIT_PAGE,
		.value = value,
		.gpa2 = b->size,
	};
}

static void run(struct vcpu *v, const struct buf *b, uint32_t op, uint32_t first, uint32_t pages,
		uint32_t step)
{
	struct guest_cmd cmd = command(b, op, first, pages, step);

	VMM_MUST(guest_call(v, &cmd, NULL));
}

/* The guest does not run between the calls. */
static void test_exact(struct vcpu *v, struct buf *b, bool manual)
{
	uint32_t step = buf_stride(b) / KIT_PAGE, half = PAGES / 2;
	const char *how = manual ? "manual" : "simple";
	const struct log none = { 0 }, all = range(0, PAGES, step);
	struct vm *vm = v->vm;
	struct log log;

	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	run(v, b, GUEST_FILL, 0, half, step);
	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	tap_ok(same(harvest(vm), none), "%s, %s: the log starts empty", buf_name(b), how);

	run(v, b, GUEST_READ, 0, half, step);
	tap_ok(same(harvest(vm), none), "%s, %s: reads of mapped pages are not logged", buf_name(b),
	       how);
	/* For a read KVM maps a new page writable if it can, and logs it at once. */
	run(v, b, GUEST_READ, half, half, step);
	tap_ok(same(harvest(vm), range(half, half, step)),
	       "%s, %s: reads of other pages are logged", buf_name(b), how);
	if (manual)
		clear(vm, 0, PAGES, all);
	run(v, b, GUEST_FILL, half / 2 + step, half, 2 * step);
	log = harvest(vm);
	tap_ok(same(log, range(half / 2 + step, half, 2 * step)),
	       "%s, %s: the log has exactly the written pages", buf_name(b), how);

	if (manual) {
		tap_ok(same(harvest(vm), log), "%s: the log stays until it is cleared",
		       buf_name(b));
		clear(vm, 0, 64, log);
		log.bits[0] = 0;
		tap_ok(same(harvest(vm), log), "%s: part of the log is cleared", buf_name(b));
		clear(vm, 0, PAGES, range(0, PAGES, 1));
	}
	tap_ok(same(harvest(vm), none), "%s, %s: the log is empty afterwards", buf_name(b), how);
	run(v, b, GUEST_FILL, 0, PAGES, step);
	tap_ok(same(harvest(vm), all), "%s, %s: pages written again are logged again", buf_name(b),
	       how);
	if (manual)
		clear(vm, 0, PAGES, all);

	/* Entries that come back after a revocation must be logged, too. */
	buf_do(b, PFNMAP_REVOKE, 0);
	run(v, b, GUEST_FILL, 0, half, step);
	tap_ok(same(harvest(vm), range(0, half, step)),
	       "%s, %s: writes after a revocation are logged", buf_name(b), how);
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
}

/*
 * The guest keeps filling the second half. A page that changed between two looks is in the harvest
 * just before or just after the second look. Pages of the first half are in neither.
 */
static const char *harvest_running(struct vcpu *v, struct buf *b)
{
	uint32_t step = buf_stride(b) / KIT_PAGE, half = PAGES / 2;
	struct guest_cmd cmd = command(b, GUEST_FILL, half, half, step);
	uint64_t seen[PAGES], now[PAGES], changes = 0;
	struct log before, after;
	const char *why = NULL;

	cmd.flags = GUEST_LOOP;
	VMM_MUST(vm_slot_flags(v->vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	for (uint32_t i = half; i < PAGES; i += step)
		seen[i] = buf_word(b, (uint64_t)i * KIT_PAGE);
	guest_start(v, &cmd);
	for (int round = 0; round < TOGGLES && !why; round++) {
		if (guest_wait_progress(v, 2, 10000))
			why = "no progress";
		before = harvest(v->vm);
		for (uint32_t i = half; i < PAGES; i += step)
			now[i] = buf_word(b, (uint64_t)i * KIT_PAGE);
		after = harvest(v->vm);
		for (uint32_t i = 0; i < PAGES && !why; i++) {
			bool dirty = is_dirty(&before, i) || is_dirty(&after, i);

			if (i < half || i % step) {
				if (dirty)
					why = "a page that nobody writes is in the log";
			} else if (now[i] != seen[i]) {
				changes++;
				if (!dirty)
					why = "a page that changed is not in the log";
				seen[i] = now[i];
			}
		}
	}
	guest_stop(v);
	if (guest_join(v, &(struct guest_outcome){ 0 }))
		return vmm_error();
	return why ? why : changes ? NULL : "the guest changed nothing";
}

/* Logging goes on and off under the guest: the log has each whole pass, and no write is lost. */
static const char *toggle_running(struct vcpu *v, struct buf *b)
{
	uint32_t step = buf_stride(b) / KIT_PAGE;
	struct guest_cmd cmd = command(b, GUEST_ADD, 0, PAGES, step);
	struct guest_outcome out;
	const char *why = NULL;

	for (uint32_t i = 0; i < PAGES; i += step)
		buf_set_word(b, (uint64_t)i * KIT_PAGE, 0);
	cmd.flags = GUEST_LOOP;
	cmd.value = 1;
	guest_start(v, &cmd);
	for (int round = 0; round < 2 * TOGGLES && !why; round++) {
		VMM_MUST(vm_slot_flags(v->vm, KIT_SLOT, round % 2 ? 0 : KVM_MEM_LOG_DIRTY_PAGES));
		if (guest_wait_progress(v, 2, 10000))
			why = "no progress";
		else if (round % 2 == 0 && !same(harvest(v->vm), range(0, PAGES, step)))
			why = "the log of a whole pass is incomplete";
	}
	guest_stop(v);
	if (guest_join(v, &out))
		return vmm_error();
	for (uint32_t i = 0; i < PAGES && !why; i += step)
		if (buf_word(b, (uint64_t)i * KIT_PAGE) != guest_progress(v))
			why = "a write is lost";
	return why;
}

static void test_running(struct vcpu *v, struct buf *b)
{
	const char *why;

	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	why = harvest_running(v, b);
	if (!tap_ok(!why, "%s: the log is right when harvested while the guest writes",
		    buf_name(b)))
		tap_diag("%s", why);
	why = toggle_running(v, b);
	if (!tap_ok(!why, "%s: logging can be toggled while the guest writes", buf_name(b)))
		tap_diag("%s", why);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
}

static void test(const struct pfnmap_create *spec, struct vcpu *v, bool manual)
{
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	test_exact(v, &b, manual);
	if (!manual)
		test_running(v, &b);
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	kit_start();
	for (int manual = 0; manual < 2; manual++) {
		struct vm *vm = vm_create(0);
		struct vcpu *v = vcpu_create(vm, kit_mode());

		if (manual)
			VMM_MUST(vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					       KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE));
		for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
			test(&specs[i], v, manual);
		vcpu_destroy(v);
		vm_destroy(vm);
	}
	return kit_finish();
}
