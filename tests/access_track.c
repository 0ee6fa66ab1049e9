// SPDX-License-Identifier: GPL-2.0-only
/*
 * access_track - Page reclaim makes KVM forget that a guest used a page; when the guest uses the
 * page again through the same SPTE, KVM marks it accessed and dirty as before.
 *
 * The case that matters is eptad=0. SPTEs then have no accessed bit, so KVM ages a page by removing
 * all permissions from its SPTE (access tracking), and the fast page fault restores them. Both must
 * leave the other bits of the SPTE alone. With accessed bits, or with shadow paging, the second use
 * does not fault and ends in the same marks.
 *
 * The pages are anonymous. The test sets up swap space because without it Linux never checks
 * whether such pages are in use, but its control group may not swap, so that the pages only age.
 *
 * Contract: 5 (kept by access tracking), 6, 7. Both variants pass: stock marks every page.
 *
 * Seen to fail: mark_spte_for_access_track() clearing the bit for refcounted pages.
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
#define AGED	 12u		/* enough to test */
#define STEP	 (8 * KIT_PAGE) /* between pages: too far for the shadow MMU to map ahead */
#define SIZE	 (PAGES * STEP)
#define ROUNDS	 40
#define ROUND_US 100000
#define RECLAIM	 "131072"
#define SWAP	 "/dev/ram0"

enum use { WRITTEN, READ, LEFT, NR_USES };

static const struct {
	const char *name;
	const char *gone; /* flags once the SPTE is gone: dirty, referenced, active */
} uses[NR_USES] = {
	[WRITTEN] = { "pages written again", "DR-" },
	[READ] = { "pages read again", "DR-" },
	[LEFT] = { "pages left alone", "D--" },
};

/* Pages that do not age are active, and are marked once more. */
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

/* Have pages age until enough are inactive; returns how many are. */
static unsigned int age(const char *map, bool *aged)
{
	unsigned int n = 0;

	for (int round = 0; round < ROUNDS && n < AGED; round++) {
		/*
		 * The statistics that reclaim of a control group relies on are updated only every
		 * two seconds.
		 */
		if (round)
			usleep(ROUND_US);
		/* EAGAIN means that nothing was reclaimed. */
		kit_cgroup_put("memory.reclaim", RECLAIM);
		kit_settle();
		n = 0;
		for (unsigned int i = 0; i < PAGES; i++)
			n += aged[i] = kit_flags(map + i * STEP)[2] == '-';
	}
	return n;
}

/*
 * Check the flags of the pages with this use or, for NR_USES, of the pages that did not age.
 * Returns NULL, or a line about the first page with other flags.
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
		snprintf(text, sizeof(text), "page %u has %s", i, flags);
		return text;
	}
	return NULL;
}

static void check(const char *map, const bool *aged, enum use use, const char *name,
		  const char *want)
{
	const char *why = compare(map, aged, use, want);

	if (!tap_ok(!why, "%s have flags %s", name, want))
		tap_diag("%s", why);
}

/* Have the guest use those pages again that it should; returns how many. */
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
	/* Move the pages to the LRU, where a mark by any CPU makes them active. */
	kit_settle();
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, SIZE, map, 0));
	VMM_MUST(guest_call(v, &fill, NULL));
	kit_settle();
	check(map, aged, NR_USES, "all mapped pages", active);

	n = age(map, aged);
	tap_ok(n >= AGED, "%u of %u pages become inactive", n, PAGES);
	/* Without dirty bits, KVM marks a page dirty when it removes the write permission. */
	for (enum use use = 0; use < NR_USES; use++)
		check(map, aged, use, "aged pages", tracks ? "D--" : "---");

	/* The guest program and its page tables have aged, too: use them, through other pages. */
	VMM_MUST(kit_touch(v, KIT_WRITE, KIT_GPA + KIT_PAGE, 1, NULL));
	VMM_MUST(kit_touch(v, KIT_READ, KIT_GPA + KIT_PAGE, 0, NULL));
	fast = VMM_MUST(vcpu_stat(v, "pf_fast"));
	used = use_again(v, aged);
	fast = VMM_MUST(vcpu_stat(v, "pf_fast")) - fast;
	tap_is(fast, tracks ? used : 0,
	       "only access tracking takes a fast page fault for each of %u pages", used);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	kit_settle();
	for (enum use use = 0; use < NR_USES; use++)
		check(map, aged, use, uses[use].name, uses[use].gone);
	check(map, aged, NR_USES, "pages that did not age", active_gone);
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
