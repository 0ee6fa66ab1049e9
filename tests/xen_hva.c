// SPDX-License-Identifier: GPL-2.0-only
/*
 * xen_hva - A Xen guest's shared page that the VMM names by its address, which need not be in any
 * memslot, may lie in what stock KVM accepts there, and in nothing else. Linux 6.1 has no such
 * pages.
 *
 * Contract: 8 ("Places that keep a pfn"). KVM can miss an invalidation of memory outside of
 * memslots, and would then write to a page that belongs to somebody else. Stock KVM does the same.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "tests/lib/kit.h"

/* Missing from the headers of Debian 12; there, the union's member is only a gfn. */
#define SHARED_INFO_HVA	    6	     /* KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA */
#define CAP_SHARED_INFO_HVA (1 << 8) /* KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA */

#define WC_VERSION \
	0x900u /* in the page of a 32-bit guest: even and not 0 when KVM has written it */

static const struct place {
	struct pfnmap_create spec;
	uint32_t page;
	bool accepted;
} places[] = {
	{ { .kind = PFNMAP_SINGLE, .pages = 8 }, 5, true },
	{ { .kind = PFNMAP_MIXED, .pages = 8 }, 5, true },
	{ { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 }, 0, true },
	{ { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 }, 5, false },
	{ { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 }, 5, false },
	{ { .kind = PFNMAP_BAR, .pages = 8 }, 5, true },
};

/* Returns 0 or -errno. */
static int set_shared_page(struct vm *vm, uint64_t hva)
{
	struct kvm_xen_hvm_attr attr = { .type = SHARED_INFO_HVA, .u.shared_info.gfn = hva };

	return ioctl(vm->fd, KVM_XEN_HVM_SET_ATTR, &attr) ? -errno : 0;
}

static void test(struct vm *vm, const struct place *p)
{
	uint64_t at = (uint64_t)p->page * KIT_PAGE;
	uint32_t version;
	struct buf b;

	buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	tap_is(set_shared_page(vm, (uintptr_t)b.map + at), p->accepted ? 0 : -EFAULT,
	       "%s, page %u: KVM %s the shared page", buf_name(&b), p->page,
	       p->accepted ? "accepts" : "refuses");
	version = (uint32_t)buf_word(&b, at + WC_VERSION);
	tap_ok((version && !(version & 1)) == p->accepted, "%s, page %u: KVM writes %s: %u",
	       buf_name(&b), p->page, p->accepted ? "the time" : "nothing", version);
	tap_is(set_shared_page(vm, 0), 0, "%s, page %u: no page is shared any more", buf_name(&b),
	       p->page);
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	if (!(vm_cap(vm, KVM_CAP_XEN_HVM) & CAP_SHARED_INFO_HVA)) {
		tap_skip(1, "this KVM has no shared pages outside of memslots");
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(places); i++)
			test(vm, &places[i]);
	}
	vm_destroy(vm);
	return kit_finish();
}
