// SPDX-License-Identifier: GPL-2.0-only
/*
 * poison - A driver fills its pages with poison and frees them under running guests: each guest's
 * KVM_RUN fails with EFAULT, no guest reads or executes poison, and no write lands in it.
 *
 * Contract: 3. Both variants pass, each on the pages that it can map.
 *
 * Seen to fail: an MMU notifier that does not zap; a fault that keeps its reference.
 */
#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = 64 },
	{ .kind = PFNMAP_COMPOUND, .order = 2, .pages = 64 },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 32 },
	{ .kind = PFNMAP_SINGLE, .pages = 32 },
	{ .kind = PFNMAP_SHMEM, .pages = 32 },
	{ .kind = PFNMAP_BAR, .pages = 32 },
	{ .kind = PFNMAP_MIXED, .pages = 32 },
};

static void free_pages(struct trio *t, const struct pfnmap_create *spec, bool keep)
{
	struct pfnmap_old old;
	const char *why;
	struct buf b;
	bool stalled;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	trio_start(t, &b);
	stalled = trio_pass(t);
	buf_do(&b, PFNMAP_FREE, keep ? PFNMAP_KEEP_OLD : 0);
	why = trio_fail(t);
	if (!tap_ok(!why && !stalled, "%s: guests end with EFAULT", buf_name(&b)))
		tap_diag("%s", why ? why : "a guest made no progress before that");
	old = buf_check_old(&b);
	tap_is(old.pages, keep ? spec->pages : 0,
	       "%s: the exporter keeps old pages only if told to", buf_name(&b));
	tap_is(old.changed, 0, "%s: no late write lands in the old pages", buf_name(&b));
	buf_unmap(&b);
	tap_is(buf_check_old(&b).bad_counts, 0, "%s: the old pages' counts are as allocated",
	       buf_name(&b));
	buf_close(&b);
}

static void test(struct trio *t, const struct pfnmap_create *spec)
{
	free_pages(t, spec, true);
	free_pages(t, spec, false); /* gives the pages back to the system */
}

int main(void)
{
	kit_start();
	trio_each(specs, ARRAY_SIZE(specs), test);
	return kit_finish();
}
