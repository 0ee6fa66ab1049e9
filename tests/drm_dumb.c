// SPDX-License-Identifier: GPL-2.0-only
/*
 * drm_dumb - A guest reads, writes and executes every page of a real driver's dumb buffer: of
 * bochs-drm and qxl, whose pages TTM allocates in chunks with non-refcounted tails, and of vgem,
 * whose pages belong to shmem.
 *
 * Contract: 3, and 7 for vgem. Stock KVM fails with EFAULT after the first page of TTM's first
 * chunk, and can use only the first page of each chunk; it can use all pages of vgem. The data is
 * checked from the other side each time, through the VMM's mapping. The test cannot see the pages'
 * counts; a wrong one shows as a "Bad page" in the kernel log when the driver frees the pages.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse.
 */
#include <string.h>

#include "tests/lib/drm.h"
#include "tests/lib/kit.h"

/* Not a power of two, so that TTM takes several chunks, of decreasing size. */
#define PAGES 600u
#define SIZE  ((uint64_t)PAGES * KIT_PAGE)
/* With more chunks than this, memory is so fragmented that the test proves little. */
#define MAX_CHUNKS (PAGES / 8)

static const struct driver {
	const char *name;
	bool refcounted;
} drivers[] = {
	{ "bochs-drm", false },
	{ "qxl", false },
	{ "vgem", true },
};

static const struct driver *find_driver(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(drivers[i].name, name))
			return &drivers[i];
	tap_bail("usage: drm_dumb bochs-drm|qxl|vgem");
}

static struct guest_cmd whole(uint32_t op, uint64_t value)
{
	return (struct guest_cmd){ .op = op, .gpa = KIT_GPA, .len = SIZE, .value = value };
}

/* The number of words, from the start, that hold the guest's pattern. */
static uint64_t written(const uint64_t *map, uint64_t value)
{
	uint64_t n = 0;

	while (n < SIZE / 8 && map[n] == guest_pattern(value, n * 8))
		n++;
	return n;
}

static void test_all(struct vcpu *v, uint64_t *map, const char *name)
{
	struct guest_cmd cmd = whole(GUEST_PATTERN, 1);
	struct guest_outcome out;
	uint32_t ok = 0;

	/* Nobody has touched the buffer, so the guest's accesses make the driver insert entries. */
	guest_call(v, &cmd, &out);
	tap_ok(out.end == GUEST_DONE && written(map, 1) == SIZE / 8,
	       "%s: the guest writes the whole buffer: %s", name, guest_describe(&out));

	for (uint64_t i = 0; i < SIZE / 8; i++)
		map[i] = i * 0x2545f4914f6cdd1dull;
	cmd = whole(GUEST_READ, 0);
	guest_call(v, &cmd, &out);
	tap_ok(out.end == GUEST_DONE && out.result == guest_sum(map, SIZE, 8),
	       "%s: the guest reads all that the VMM wrote: %s", name, guest_describe(&out));

	for (uint32_t i = 0; i < PAGES; i++)
		vcpu_code(v, (char *)map + i * KIT_PAGE, 0xc0de0000 + i);
	for (uint32_t i = 0; i < PAGES; i++) {
		kit_touch(v, KIT_EXEC, KIT_GPA + (uint64_t)i * KIT_PAGE, 0, &out);
		ok += out.end == GUEST_DONE && out.result == 0xc0de0000 + i;
	}
	tap_is(ok, PAGES, "%s: the guest executes every page: %s", name, guest_describe(&out));
}

static void test_refused(struct vcpu *v, uint64_t *map, const char *name)
{
	struct guest_cmd cmd = whole(GUEST_PATTERN, 1);
	uint32_t heads = 0, consistent = 0;
	struct guest_outcome out;

	guest_call(v, &cmd, &out);
	tap_ok(kit_efault(&out), "%s: writing the whole buffer fails with EFAULT: %s", name,
	       guest_describe(&out));
	tap_is(written(map, 1), KIT_PAGE / 8, "%s: one page is written before that", name);
	guest_resume(v, &out);
	tap_ok(kit_efault(&out), "%s: the resumed write fails again: %s", name,
	       guest_describe(&out));

	memset(map, 0, SIZE);
	for (uint32_t i = 0; i < PAGES; i++) {
		struct guest_outcome write, read, exec;
		uint64_t gpa = KIT_GPA + (uint64_t)i * KIT_PAGE;
		uint64_t *page = &map[i * KIT_PAGE / 8];
		bool head;

		kit_touch(v, KIT_WRITE, gpa, i + 1, &write);
		head = write.end == GUEST_DONE && *page == i + 1;
		kit_touch(v, KIT_READ, gpa, 0, &read);
		vcpu_code(v, page, i);
		kit_touch(v, KIT_EXEC, gpa, 0, &exec);
		heads += head;
		if (head)
			consistent += read.result == i + 1 && exec.result == i;
		else
			consistent += kit_efault(&write) && kit_efault(&read) && kit_efault(&exec);
	}
	tap_is(consistent, PAGES, "%s: each page works, or fails with EFAULT, for every access",
	       name);
	tap_ok(heads >= 1 && heads <= MAX_CHUNKS, "%s: %u of %u pages work, one per chunk", name,
	       heads, PAGES);
}

int main(int argc, char **argv)
{
	const struct driver *driver = find_driver(argc > 1 ? argv[1] : "");
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	struct drm_dev dev;
	struct drm_buf buf;

	drm_open(&dev, driver->name);
	drm_create_dumb(&dev, &buf, PAGES);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, SIZE, buf.map, 0));
	if (driver->refcounted || kit_takes_all())
		test_all(v, buf.map, driver->name);
	else
		test_refused(v, buf.map, driver->name);
	vcpu_destroy(v);
	vm_destroy(vm);
	drm_destroy(&dev, &buf);
	drm_close(&dev);
	return tap_done();
}
