// SPDX-License-Identifier: GPL-2.0-only
/* The test of the test: each invariant is violated on purpose, behind the model's back. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/torture/torture.h"

#define PAGES	   4u
#define TOUCHES	   400u	 /* in which a violation must be noticed */
#define IMPATIENCE 4000u /* ticks */

static struct place *place;
static struct blob *blob;
static int held[2]; /* a pipe that holds a page */

static void wait_touches(unsigned int n)
{
	unsigned int start = world.touches;

	while (world.touches - start < n && !stopping) {
		touches_stop();
		tick();
	}
}

static void refuse_faults(void)
{
	buf_do(&blob->b, PFNMAP_REFUSE, PFNMAP_REFUSE_FAIL);
	buf_do(&blob->b, PFNMAP_REVOKE, 0);
}

static void change_canaries(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		buf_set_word(&blob->b, (uint64_t)i * KIT_PAGE, 0x1122334455667788);
}

static void poison_pages(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		buf_set_word(&blob->b, (uint64_t)i * KIT_PAGE, 0xd6d6d6d6d6d6d6d6);
}

static void lose_stores(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		for (int v = 0; v < NR_VCPUS; v++)
			buf_set_word(&blob->b, (uint64_t)i * KIT_PAGE + PAGE_ADD(v), 77777);
}

static void write_old(void)
{
	buf_do(&blob->b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
	blob->kept += PAGES;
	buf_do(&blob->b, PFNMAP_STRAY, PAGES - 1);
}

/* Logging begins, and a store is claimed that nobody made, until no guest happens to make it. */
static void forget_store(void)
{
	world.slot_flags |= KVM_MEM_LOG_DIRTY_PAGES;
	VMM_MUST(vm_slot_flags(world.vm, KIT_SLOT, world.slot_flags));
	log_start();
	while (!stopping) {
		log_read();
		log_stored(place, PAGES - 1, log_touch(place, PAGES - 1));
		log_read();
	}
}

static void hold_page(void)
{
	struct iovec one = { .iov_base = place->at, .iov_len = KIT_PAGE };

	if (pipe(held) || vmsplice(held[1], &one, 1, 0) != KIT_PAGE)
		tap_bail("vmsplice: %s", strerror(errno));
}

/* Once no guest is there, claim a store to new pages. */
static void clean_pages(void)
{
	buf_do(&blob->b, PFNMAP_MOVE, 0);
	blob->stored[0][0].when = blob->moved + 1;
}

static void hold_faults(void)
{
	struct watched vcpus[NR_VCPUS] = { 0 };

	patience = IMPATIENCE;
	buf_do(&blob->b, PFNMAP_HOLD, PFNMAP_HOLD_NOPAGE);
	buf_do(&blob->b, PFNMAP_REVOKE, 0);
	while (!stopping) {
		watch_vcpus(vcpus);
		touches_stop();
		tick();
	}
	buf_do(&blob->b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
}

static const struct {
	const char *name;
	void (*violate)(void);
	void (*late)(void); /* the same, after the VM's end */
	enum invariant inv; /* NR_INVARIANTS: none */
	struct pfnmap_create spec;
} cases[] = {
	{ "nothing", NULL, NULL, NR_INVARIANTS, { .pages = PAGES } },
	{ "faults that fail", refuse_faults, NULL, INV_OUTCOME, { .pages = PAGES } },
	{ "other canaries", change_canaries, NULL, INV_READ, { .pages = PAGES } },
	{ "poison", poison_pages, NULL, INV_READ, { .pages = PAGES } },
	{ "stores that are gone", lose_stores, NULL, INV_STORE, { .pages = PAGES } },
	{ "a store to an old page", write_old, NULL, INV_OLD, { .pages = PAGES } },
	{ "a store that is not logged", forget_store, NULL, INV_LOG, { .pages = PAGES } },
	{ "clean pages", NULL, clean_pages, INV_DIRTY, { .pages = PAGES } },
	{ "a reference", hold_page, NULL, INV_COUNT, { .kind = PFNMAP_MIXED, .pages = PAGES } },
	{ "a fault that does not end", hold_faults, NULL, INV_STUCK, { .pages = PAGES } },
};

void self_test(void)
{
	struct vmm *m = &world.vmms[0];
	uint64_t leaked = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum invariant inv = cases[i].inv;
		bool right = true;

		violations_clear();
		world.seed = 1;
		vm_begin();
		/* A place of as many pages. */
		place = &world.places[3];
		blob = blob_driver(&cases[i].spec);
		if (!blob || place->pages != PAGES)
			tap_bail("no buffer for '%s'", cases[i].name);
		place_set(m, place, blob);
		if (!i)
			leaked = buf_stats(&blob->b).leaked;
		else if (i + 1 == ARRAY_SIZE(cases))
			tap_is(buf_stats(&blob->b).leaked, leaked + 1, "the held page has leaked");
		wait_touches(TOUCHES);
		if (cases[i].violate)
			cases[i].violate();
		wait_touches(TOUCHES);
		vm_end();
		if (cases[i].late)
			cases[i].late();
		place_set(m, place, NULL);
		retire(m, 0);
		for (int k = 0; k < NR_INVARIANTS; k++) {
			if (!!violation(k)[0] == (k == (int)inv))
				continue;
			/* A copy of a wrong canary is a wrong copy, too. */
			if (inv == INV_READ && k == INV_STORE)
				continue;
			right = false;
			tap_diag("%s", violation(k));
		}
		tap_ok(right, "%s: %s", cases[i].name,
		       inv == NR_INVARIANTS ? "no violation" : violation(inv));
		if (held[0]) {
			close(held[0]);
			close(held[1]);
			held[0] = 0;
		}
	}
}
