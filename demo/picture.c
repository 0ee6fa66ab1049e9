// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets a guest draw a picture into a buffer of bochs-drm. Meanwhile it shows the buffer on the
 * display, so that the driver moves it from system memory to video memory while the guest keeps
 * drawing.
 *
 * Prints "empty" when an empty buffer is shown, "moved MOVING MOVED" when the buffer has moved
 * while the guest was drawing between these two lines, and "drawn" when the picture is complete; it
 * stays on the display for a while.
 */
#include <libdrm/drm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "demo/scene.h"
#include "tests/lib/drm.h"
#include "tests/lib/kit.h"

/* drm_in_vram() identifies buffers by size, so this one has an additional hidden line. */
#define CANVAS_LINES  (SCENE_HEIGHT + 1)
#define MOVE_AT	      (SCENE_HEIGHT * 2 / 5)
#define STALL_MS      10000 /* a guest that draws no line for this long has failed */
#define SHOW_EMPTY_MS 300
#define SHOW_MS	      2000

extern const char scene_code[], scene_code_end[];

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* 1024x768 at 60 Hz: VESA's timing. */
static const struct drm_mode_modeinfo mode = {
	.clock = 65000,
	.vrefresh = 60,
	.hdisplay = SCENE_WIDTH,
	.hsync_start = 1048,
	.hsync_end = 1184,
	.htotal = 1344,
	.vdisplay = SCENE_HEIGHT,
	.vsync_start = 771,
	.vsync_end = 777,
	.vtotal = 806,
	.flags = DRM_MODE_FLAG_NHSYNC | DRM_MODE_FLAG_NVSYNC,
};

static void wait_for_line(struct vcpu *v, const struct scene_args *args, uint32_t line)
{
	struct guest_outcome out;
	uint32_t last = 0;

	for (unsigned int ms = 0; args->done < line; ms++) {
		if (ms > STALL_MS) {
			vcpu_kick(v);
			guest_join(v, &out);
			vmm_die("the guest stopped drawing at line %u: %s", args->done,
				guest_describe(&out));
		}
		if (args->done != last)
			ms = 0;
		last = args->done;
		sleep_ms(1);
	}
}

/* Let the guest draw the lines from <= line < to, and wait for it. */
static void draw(struct vcpu *v, struct scene_args *args, uint32_t from, uint32_t to)
{
	args->from = from;
	args->to = to;
	VMM_MUST(guest_call(v, &(struct guest_cmd){ .op = GUEST_EXEC, .gpa = SCENE_CODE }, NULL));
}

int main(void)
{
	struct drm_buf empty, canvas;
	struct guest_outcome out;
	struct scene_args *args;
	uint32_t moving, moved;
	struct drm_dev dev;
	bool in_vram;
	struct vcpu *v;
	struct vm *vm;

	setvbuf(stdout, NULL, _IOLBF, 0);
	drm_open(&dev, "bochs-drm");
	drm_create_movable(&dev, &empty, SCENE_HEIGHT);
	drm_create_movable(&dev, &canvas, CANVAS_LINES);
	/* Set the mode before the canvas is there: it clears the start of video memory. */
	drm_show(&dev, &empty, &mode);
	puts("empty");
	sleep_ms(SHOW_EMPTY_MS);

	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	args = vm_anon(SCENE_MEM, KIT_PAGE);
	memcpy((char *)args + (SCENE_CODE - SCENE_ARGS), scene_code,
	       (uintptr_t)scene_code_end - (uintptr_t)scene_code);
	VMM_MUST(vm_slot_set(vm, 1, SCENE_ARGS, SCENE_MEM, args, 0));
	VMM_MUST(vm_slot_set(vm, 2, SCENE_BUFFER, SCENE_HEIGHT * SCENE_PITCH, canvas.map, 0));

	args->to = SCENE_HEIGHT;
	guest_start(v, &(struct guest_cmd){ .op = GUEST_EXEC, .gpa = SCENE_CODE });
	wait_for_line(v, args, MOVE_AT);
	in_vram = drm_in_vram(&dev, &canvas);
	moving = args->done;
	drm_show(&dev, &canvas, &mode);
	moved = args->done;
	if (in_vram || !drm_in_vram(&dev, &canvas))
		vmm_die("the buffer did not move from system memory to video memory");
	VMM_MUST(guest_join(v, &out));
	if (moved > SCENE_HEIGHT - 2 * SCENE_LABEL)
		vmm_die("the guest was already at line %u when the buffer had moved", moved);
	printf("moved %u %u\n", moving, moved);

	args->moving = moving;
	args->moved = moved;
	draw(v, args, 0, SCENE_TITLE);
	draw(v, args, moving - SCENE_LABEL, moved + SCENE_LABEL + 1);
	puts("drawn");
	sleep_ms(SHOW_MS);
	return 0;
}
