// SPDX-License-Identifier: GPL-2.0-only
/*
 * ageing - Page reclaim asks KVM which pages a guest has used: pages that the guest keeps reading
 * stay, others go, and non-refcounted memory in the same VM is left alone.
 *
 * Only the guest touches the pages, so nothing but the accessed bits in KVM's page tables tells hot
 * pages from cold ones. The pages are page cache of a file, which can be reclaimed without swap.
 *
 * Contract: 5, 7. Both variants pass: refcounted memory ages as it always did.
 *
 * Seen to fail: a clear_flush_young() notifier that always says no; a guest that does not read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES	256u /* of the file; the first half is hot */
#define HOT	(PAGES / 2)
#define ROUNDS	50	 /* at most; about 10 are enough */
#define RECLAIM "131072" /* bytes per round: 32 pages, the fewest that Linux reclaims */

#define FILE_SLOT 2u
#define FILE_GPA  (KIT_GPA + 16 * KIT_HUGE)

static unsigned int resident(void *map, uint32_t first, uint32_t pages)
{
	unsigned char in[PAGES];
	unsigned int n = 0;

	if (mincore((char *)map + first * KIT_PAGE, pages * KIT_PAGE, in))
		tap_bail("mincore: %s", strerror(errno));
	for (uint32_t i = 0; i < pages; i++)
		n += in[i] & 1;
	return n;
}

static void read_pages(struct vcpu *v, uint64_t gpa, uint64_t pages, uint64_t stride)
{
	struct guest_cmd cmd = {
		.op = GUEST_READ,
		.gpa = gpa,
		.len = pages * KIT_PAGE,
		.stride = stride,
	};

	VMM_MUST(guest_call(v, &cmd, NULL));
}

static void test(struct vcpu *v, void *map)
{
	struct pfnmap_create spec = { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 64 };
	unsigned int hot = 0, cold = PAGES;
	struct buf b;

	buf_open(&b, &spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	VMM_MUST(vm_slot_set(v->vm, FILE_SLOT, FILE_GPA, PAGES * KIT_PAGE, map, 0));
	read_pages(v, FILE_GPA, PAGES, KIT_PAGE);
	tap_is(resident(map, 0, PAGES), PAGES, "the guest reads the whole file");

	for (int round = 0; round < ROUNDS && cold > HOT / 4; round++) {
		read_pages(v, FILE_GPA, HOT, KIT_PAGE);
		read_pages(v, KIT_GPA, spec.pages, buf_stride(&b));
		/* EAGAIN means that less was reclaimed, which is fine. */
		kit_cgroup_put("memory.reclaim", RECLAIM);
		hot = resident(map, 0, HOT);
		cold = resident(map, HOT, PAGES - HOT);
	}
	/* A busy machine reclaims some hot pages, too. Without ageing both halves fare alike. */
	tap_ok(hot >= HOT / 2, "%u of %u pages that the guest keeps reading stay", hot, HOT);
	tap_ok(cold <= HOT / 4, "%u of %u other pages stay", cold, PAGES - HOT);
	VMM_MUST(vm_slot_delete(v->vm, FILE_SLOT));
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_end(&b, "counts and flags are unchanged");
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct vcpu *v;
	struct vm *vm;
	void *map;

	if (fd < 0)
		tap_bail("usage: ageing FILE, of at least %u KiB: %s", PAGES * 4, strerror(errno));
	kit_start();
	kit_cgroup();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	/* Pages that are already cached are charged to another control group. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	map = mmap(NULL, PAGES * KIT_PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		tap_bail("mmap of %s: %s", argv[1], strerror(errno));
	test(v, map);
	munmap(map, PAGES * KIT_PAGE);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
