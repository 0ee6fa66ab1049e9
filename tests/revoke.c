// SPDX-License-Identifier: GPL-2.0-only
/*
 * revoke - A driver takes all its page table entries away under running guests, over and over: the
 * guests keep reading, adding and executing, no update is lost, and each revocation makes them
 * fault again.
 *
 * Contract: 3. Both variants pass, each on the pages that it can map; the storm is for patched KVM,
 * which repeats a lookup that raced.
 *
 * Seen to fail: an MMU notifier that does not zap; KVM marking all pages (by warnings); a lookup
 * that raced and is not repeated.
 */
#include <unistd.h>

#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define ROUNDS 6
#define STORM  1000

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
	const char *why = NULL;
	uint64_t faults;
	struct buf b;
	bool stalled;
	int round;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	trio_start(t, &b);
	stalled = trio_pass(t);
	for (round = 0; round < ROUNDS && !stalled; round++) {
		faults = buf_stats(&b).faults;
		buf_do(&b, PFNMAP_REVOKE, 0);
		stalled = trio_pass(t) || buf_stats(&b).faults == faults;
	}
	why = trio_stop(t);
	if (!tap_ok(!why && !stalled, "%s: guests survive %d revocations", buf_name(&b), ROUNDS))
		tap_diag("round %d: %s", round, why ? why : "no progress, or no fault followed");
	buf_end(&b, "counts and flags are unchanged");
}

/*
 * The driver does not wait for the guests: now and then it takes an entry away after its fault
 * handler inserted it and before KVM looks at it. Stock then fails KVM_RUN with EFAULT, by chance.
 */
static void test_storm(void)
{
	const char *why;
	struct trio t;
	struct buf b;

	trio_init(&t);
	buf_open(&b, &specs[0]);
	buf_map(&b, KIT_RW);
	trio_start(&t, &b);
	for (int i = 0; i < STORM; i++) {
		buf_do(&b, PFNMAP_REVOKE, 0);
		usleep(50);
	}
	why = trio_stop(&t);
	if (!tap_ok(!why, "%s: guests survive %d revocations in a row", buf_name(&b), STORM))
		tap_diag("%s", why);
	buf_end(&b, "counts and flags are unchanged");
	trio_exit(&t);
}

int main(void)
{
	kit_start();
	trio_each(specs, ARRAY_SIZE(specs), test);
	if (tap_kvm_patched())
		test_storm();
	return kit_finish();
}
