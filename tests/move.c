// SPDX-License-Identifier: GPL-2.0-only
/*
 * move - A driver moves its buffer to other pages under running guests: the guests never see an old
 * page, no late write lands in one, and no write is lost.
 *
 * The old pages are kept and filled with poison, which a late access would read or spoil.
 *
 * Contract: 3. Both variants pass, each on the pages that it can map.
 *
 * Seen to fail: an MMU notifier that does not zap; a fault that keeps its reference.
 */
#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define ROUNDS 7

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = 64 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = 64, .flags = PFNMAP_CREATE_MKWRITE },
	{ .kind = PFNMAP_COMPOUND, .order = 2, .pages = 64 },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 32 },
	{ .kind = PFNMAP_SINGLE, .pages = 32 },
	{ .kind = PFNMAP_SHMEM, .pages = 32 },
	{ .kind = PFNMAP_BAR, .pages = 32 },
	{ .kind = PFNMAP_MIXED, .pages = 32 },
};

static void test(struct trio *t, const struct pfnmap_create *spec)
{
	struct pfnmap_old old;
	const char *why;
	struct buf b;
	bool stalled;
	int round;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	trio_start(t, &b);
	stalled = trio_pass(t);
	for (round = 0; round < ROUNDS && !stalled; round++) {
		buf_do(&b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
		stalled = trio_pass(t);
	}
	why = trio_stop(t);
	if (!tap_ok(!why && !stalled, "%s: guests survive %d moves", buf_name(&b), ROUNDS))
		tap_diag("round %d: %s", round, why ? why : "no progress");
	buf_unmap(&b);
	old = buf_check_old(&b);
	tap_is(old.pages, ROUNDS * spec->pages, "%s: the exporter keeps the old pages",
	       buf_name(&b));
	tap_is(old.changed, 0, "%s: no late write lands in the old pages", buf_name(&b));
	tap_is(old.bad_counts, 0, "%s: the old pages' counts are as allocated", buf_name(&b));
	buf_close(&b);
}

int main(void)
{
	kit_start();
	trio_each(specs, ARRAY_SIZE(specs), test);
	return kit_finish();
}
