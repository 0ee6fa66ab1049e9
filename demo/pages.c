// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gives a driver's buffer to a guest, which writes to every page of it, and prints the outcome:
 * pages bochs-drm|qxl|vgem|exporter
 */
#include <stdio.h>
#include <string.h>

#include "tests/lib/drm.h"
#include "tests/lib/kit.h"

#define PAGES 1024u
#define SIZE  ((uint64_t)PAGES * KIT_PAGE)

/* Map a new buffer of this driver. It exists until the program ends. */
static void *map_buffer(const char *driver)
{
	struct pfnmap_create spec = {
		.kind = PFNMAP_NONCOMPOUND,
		.insert = PFNMAP_INSERT_AROUND,
		.order = 9,
		.pages = PAGES,
	};
	struct drm_dev dev;
	struct drm_buf dumb;
	struct buf b;

	if (!strcmp(driver, "exporter")) {
		buf_open(&b, &spec);
		buf_map(&b, KIT_RW);
		return b.map;
	}
	drm_open(&dev, driver);
	drm_create_dumb(&dev, &dumb, PAGES);
	return dumb.map;
}

int main(int argc, char **argv)
{
	struct guest_cmd cmd = {
		.op = GUEST_PATTERN,
		.gpa = KIT_GPA,
		.len = SIZE,
		.stride = KIT_PAGE,
		.value = 1,
	};
	struct guest_outcome out;
	const uint64_t *map;
	uint32_t written = 0;
	struct vcpu *v;
	struct vm *vm;

	if (argc != 2)
		vmm_die("usage: pages bochs-drm|qxl|vgem|exporter");
	map = map_buffer(argv[1]);
	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, SIZE, (void *)map, 0));
	guest_call(v, &cmd, &out);

	/* Check the VMM's own view of the buffer, independently of the guest. */
	for (uint64_t off = 0; off < SIZE; off += KIT_PAGE)
		written += map[off / 8] == guest_pattern(cmd.value, off);
	printf("outcome: %s, %u of %u pages\n",
	       out.end == GUEST_DONE	   ? "works" :
	       out.end == GUEST_RUN_FAILED ? strerror(out.err) :
					     guest_describe(&out),
	       written, PAGES);
	return 0;
}
