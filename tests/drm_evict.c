// SPDX-License-Identifier: GPL-2.0-only
/*
 * drm_evict - Buffers of bochs-drm and qxl compete for video memory: the driver moves them between
 * video and system memory while two vCPUs count in words all over them, and no increment is lost.
 *
 * Contract: 3 (the driver calls the MMU notifier before each copy). Stock KVM can use a buffer only
 * while it is in video memory, which has no struct pages. In system memory its pages are TTM's, and
 * KVM_RUN fails with EFAULT.
 *
 * Seen to fail: an MMU notifier that does not zap.
 */
#include <stdio.h>
#include <string.h>

#include "tests/lib/drm.h"
#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define MAX_BUFS 6
#define ROUNDS	 2

/*
 * bochs-drm has 16 MiB of video memory and keeps two buffers in it while it switches from one to
 * the next; qxl has nearly 64 MiB. Each buffer is a page larger than the one before it (see
 * drm_in_vram()).
 */
static const struct driver {
	const char *name;
	unsigned int bufs;
	uint32_t pages;
	uint64_t stride; /* between the words that the guest counts in */
} drivers[] = {
	{ "bochs-drm", 4, 1300, KIT_PAGE },
	{ "qxl", 6, 3600, 8 * KIT_PAGE },
};

struct scene {
	const struct driver *driver;
	struct drm_dev dev;
	struct drm_buf buf[MAX_BUFS];
	struct vm *vm;
	struct vcpu *v[2];
	uint64_t len; /* of all buffers, back to back from KIT_GPA */
};

static const struct driver *find_driver(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(drivers[i].name, name))
			return &drivers[i];
	tap_bail("usage: drm_evict bochs-drm|qxl");
}

static uint64_t size_of(const struct drm_buf *buf)
{
	return (uint64_t)buf->pages * KIT_PAGE;
}

static void set_up(struct scene *s)
{
	drm_open(&s->dev, s->driver->name);
	s->vm = vm_create(0);
	for (int i = 0; i < 2; i++)
		s->v[i] = vcpu_create(s->vm, kit_mode());
	for (unsigned int i = 0; i < s->driver->bufs; i++)
		drm_create_movable(&s->dev, &s->buf[i], s->driver->pages + i);
	/* Showing the first buffer sets the mode, and the device clears the memory it is in. */
	drm_to_vram(&s->dev, &s->buf[0]);
	for (unsigned int i = 0; i < s->driver->bufs; i++) {
		struct drm_buf *buf = &s->buf[i];

		memset(buf->map, 0, size_of(buf));
		VMM_MUST(vm_slot_set(s->vm, KIT_SLOT + i, KIT_GPA + s->len, size_of(buf), buf->map,
				     0));
		s->len += size_of(buf);
	}
}

static void tear_down(struct scene *s)
{
	for (int i = 0; i < 2; i++)
		vcpu_destroy(s->v[i]);
	vm_destroy(s->vm);
	for (unsigned int i = 0; i < s->driver->bufs; i++)
		drm_destroy(&s->dev, &s->buf[i]);
	drm_close(&s->dev);
}

static unsigned int count_in_vram(const struct scene *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->driver->bufs; i++)
		n += drm_in_vram(&s->dev, &s->buf[i]);
	return n;
}

/* The number of counted words that are not `sum`, as the host sees them. */
static unsigned int wrong_words(const struct scene *s, uint64_t sum)
{
	uint64_t gpa = KIT_GPA;
	unsigned int wrong = 0;

	for (uint64_t off = 0; off < s->len; off += s->driver->stride)
		wrong += *(uint64_t *)vm_hva(s->vm, gpa + off) != sum;
	return wrong;
}

static void test_works(struct scene *s)
{
	struct guest_cmd add = {
		.op = GUEST_ADD,
		.gpa = KIT_GPA,
		.len = s->len,
		.stride = s->driver->stride,
		.value = 1,
	};
	unsigned int moved_in = 0, moved = 0, in_vram;
	const char *name = s->driver->name;
	struct loop l[2];
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++)
		loop_start(&l[i], s->v[i], &add);
	for (unsigned int i = 0; i < ROUNDS * s->driver->bufs; i++) {
		struct drm_buf *buf = &s->buf[i % s->driver->bufs];

		moved += !drm_in_vram(&s->dev, buf);
		drm_to_vram(&s->dev, buf);
		moved_in += drm_in_vram(&s->dev, buf);
		if (i % 2)
			loop_wait(&l[i / 2 % 2], 1);
	}
	in_vram = count_in_vram(s);
	for (int i = 0; i < 2; i++) {
		loop_wait(&l[i], 1);
		loop_end(&l[i]);
		tap_ok(l[i].out.end == GUEST_DONE && !l[i].mmio && !l[i].efault,
		       "%s: vCPU %d keeps running, %u passes: %s", name, i, guest_progress(s->v[i]),
		       guest_describe(&l[i].out));
		sum += guest_progress(s->v[i]);
	}
	tap_is(moved_in, ROUNDS * s->driver->bufs, "%s: every buffer moves into video memory",
	       name);
	tap_ok(moved > s->driver->bufs,
	       "%s: buffers also move out: %u times one came from system memory", name, moved);
	tap_ok(in_vram < s->driver->bufs, "%s: video memory has room for only %u of %u", name,
	       in_vram, s->driver->bufs);
	tap_is(wrong_words(s, sum), 0, "%s: no increment is lost or repeated", name);
}

static void test_refused(struct scene *s)
{
	const char *name = s->driver->name;
	struct drm_buf *first = &s->buf[0];
	struct guest_outcome out;
	struct guest_cmd fill = {
		.op = GUEST_PATTERN, .gpa = KIT_GPA, .len = size_of(first), .value = 5,
		.stride = s->driver->stride,
	}, verify = fill;

	verify.op = GUEST_VERIFY;
	drm_to_vram(&s->dev, first);
	guest_call(s->v[0], &fill, &out);
	tap_ok(drm_in_vram(&s->dev, first) && out.end == GUEST_DONE,
	       "%s: a buffer in video memory works: %s", name, guest_describe(&out));

	for (unsigned int i = 1; i < s->driver->bufs; i++)
		drm_to_vram(&s->dev, &s->buf[i]);
	guest_call(s->v[0], &verify, &out);
	tap_ok(!drm_in_vram(&s->dev, first) && kit_efault(&out),
	       "%s: the buffer fails with EFAULT once moved to system memory: %s", name,
	       guest_describe(&out));

	drm_to_vram(&s->dev, first);
	guest_call(s->v[0], &verify, &out);
	tap_ok(drm_in_vram(&s->dev, first) && out.end == GUEST_DONE && !out.result,
	       "%s: the buffer works again once back in video memory: %s", name,
	       guest_describe(&out));
}

int main(int argc, char **argv)
{
	struct scene s = { .driver = find_driver(argc > 1 ? argv[1] : "") };

	set_up(&s);
	if (kit_takes_all())
		test_works(&s);
	else
		test_refused(&s);
	tear_down(&s);
	return tap_done();
}
