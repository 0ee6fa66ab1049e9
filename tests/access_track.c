// SPDX-License-Identifier: GPL-2.0-only
/*
 * access_track - page reclaim makes KVM forget that a guest used a page; when the guest uses it
 * again, in the same SPTE, KVM marks the page accessed and dirty as before.
 *
 * It is eptad=0 that this is about: where SPTEs have no accessed bit, KVM takes all permissions
 * away (access tracking), and the fast page fault puts them back, which has to leave the other bits
 * alone.
 * With accessed bits, or with shadow paging, nothing faults and the outcome is the same.
 *
 * The pages are anonymous, and there is swap space, for without it Linux does not look who uses
 * such pages; but the test's control group may not have any, so that they only age.
 *
 * Contract: 5 (kept by access tracking), 6, 7. Both variants pass: stock marks every page.
 *
 * Seen to fail: mark_spte_for_access_track() that clears the bit for refcounted pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES	 96u
#define AGED	 12u		/* that many will do */
#define STEP	 (8 * KIT_PAGE) /* to the next page: so far the shadow MMU does not map ahead */
#define SIZE	 (PAGES * STEP)
#define ROUNDS	 40
#define ROUND_US 100000
#define RECLAIM	 "131072"
#define SWAP	 "/dev/ram0"

enum use { WRITTEN, READ, LEFT, NR_USES };

static const struct {
	const char *name;
	const char *gone; /* the page when the SPTE is gone: dirty, referenced, active */
} uses[NR_USES] = {
	[WRITTEN] = { "written again", "DR-" },
	[READ] = { "read again", "DR-" },
	[LEFT] = { "left alone", "D--" },
};

/* What is not aged: it was active, and is marked once more. */
static const char active[] = "--A", active_gone[] = "DRA";

static void remove_swap(void)
{
	swapoff(SWAP);
}

static void add_swap(void)
{
	static const uint32_t head[] = { 1, 63 }; /* version, last page */
	static const char magic[10] = "SWAPSPACE2";
	static char page[KIT_PAGE];
	int fd = open(SWAP, O_RDWR | O_CLOEXEC);

	memcpy(page + 1024, head, sizeof(head));
	memcpy(page + KIT_PAGE - sizeof(magic), magic, sizeof(magic));
	if (fd < 0 || write(fd, page, sizeof(page)) != sizeof(page) || fsync(fd) || swapon(SWAP, 0))
		tap_bail(SWAP ": %s", strerror(errno));
	close(fd);
	atexit(remove_swap);
}

/* Age until enough pages are inactive; returns their number. */
static unsigned int age(const char *map, bool *aged)
{
	unsigned int n = 0;

	for (int round = 0; round < ROUNDS && n < AGED; round++) {
		/*
		 * What reclaim of a control group goes by is brought up to date every two seconds
		 * only.
		 */
		if (round)
			usleep(ROUND_US);
		/* EAGAIN: nothing was reclaimed. */
		kit_cgroup_put("memory.reclaim", RECLAIM);
		kit_settle();
		n = 0;
		for (unsigned int i = 0; i < PAGES; i++)
			n += aged[i] = kit_flags(map + i * STEP)[2] == '-';
	}
	return n;
}

/*
 * Do the pages of this use, or those not aged for NR_USES, have these flags? Returns NULL or which
 * has not.
 */
static const char *compare(const char *map, const bool *aged, enum use use, const char *want)
{
	static char text[64];
	unsigned int n = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		enum use is = aged[i] ? n++ % NR_USES : NR_USES;
		const char *flags = kit_flags(map + i * STEP);

		if (is != use || !strcmp(flags, want))
			continue;
		snprintf(text, sizeof(text), "page %u is %s", i, flags);
		return text;
	}
	return NULL;
}

static void check(const char *map, const bool *aged, enum use use, const char *name,
		  const char *want)
{
	const char *why = compare(map, aged, use, want);

	if (!tap_ok(!why, "%s: %s", name, want))
		tap_diag("%s", why);
}

/* Use what is to be used; returns the number of pages. */
static unsigned int use_again(struct vcpu *v, const bool *aged)
{
	unsigned int n = 0, used = 0;
	struct guest_outcome out;

	for (unsigned int i = 0; i < PAGES; i++) {
		enum use use = aged[i] ? n++ % NR_USES : LEFT;

		if (use == LEFT)
			continue;
		VMM_MUST(kit_touch(v, use == WRITTEN ? KIT_WRITE : KIT_READ, KIT_GPA + i * STEP, 2,
				   &out));
		used++;
	}
	return used;
}

static void test(struct vcpu *v, bool tracks)
{
	struct guest_cmd fill = { .op = GUEST_FILL, .gpa = KIT_GPA, .len = SIZE, .stride = STEP };
	char *map = vm_anon(SIZE, KIT_PAGE);
	bool aged[PAGES] = { 0 };
	unsigned int n, used;
	int64_t fast;

	if (madvise(map, SIZE, MADV_NOHUGEPAGE))
		tap_bail("madvise: %s", strerror(errno));
	for (unsigned int i = 0; i < PAGES; i++)
		map[i * STEP] = 1;
	/* On the LRU, where a page becomes active whichever CPU marks it. */
	kit_settle();
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, SIZE, map, 0));
	VMM_MUST(guest_call(v, &fill, NULL));
	kit_settle();
	check(map, aged, NR_USES, "all pages, mapped", active);

	n = age(map, aged);
	tap_ok(n >= AGED, "%u of %u pages age", n, PAGES);
	/* Without dirty bits, KVM has to pass on what the permission to write has said. */
	for (enum use use = 0; use < NR_USES; use++)
		check(map, aged, use, "aged pages", tracks ? "D--" : "---");

	/* The guest program and its page tables have aged, too: use them, by pages in between. */
	VMM_MUST(kit_touch(v, KIT_WRITE, KIT_GPA + KIT_PAGE, 1, NULL));
	VMM_MUST(kit_touch(v, KIT_READ, KIT_GPA + KIT_PAGE, 0, NULL));
	fast = VMM_MUST(vcpu_stat(v, "pf_fast"));
	used = use_again(v, aged);
	fast = VMM_MUST(vcpu_stat(v, "pf_fast")) - fast;
	tap_is(fast, tracks ? used : 0, "fast page faults for %u pages", used);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	kit_settle();
	for (enum use use = 0; use < NR_USES; use++)
		check(map, aged, use, uses[use].name, uses[use].gone);
	check(map, aged, NR_USES, "not aged", active_gone);
	munmap(map, SIZE);
}

int main(void)
{
	bool intel = !access("/sys/module/kvm_intel", F_OK);
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	kit_count_marks();
	add_swap();
	kit_cgroup();
	if (kit_cgroup_put("memory.swap.max", "0"))
		tap_bail("memory.swap.max cannot be set");
	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	test(v, intel && kit_tdp() && !kit_param("kvm_intel", "eptad"));
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
