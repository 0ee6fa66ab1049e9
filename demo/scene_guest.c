// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's part of the demo: draws lines of the picture into the buffer. Runs without an
 * operating system, in long mode, called by GUEST_EXEC.
 */
#include "demo/scene.h"

/* The caller may keep values in any register. */
__attribute__((section(".stubs"), no_caller_saved_registers)) uint32_t _start(void);

uint32_t _start(void)
{
	volatile struct scene_args *args = (void *)SCENE_ARGS;
	volatile uint32_t *buffer = (void *)SCENE_BUFFER;
	uint32_t x, y;

	for (y = args->from; y < args->to; y++) {
		for (x = 0; x < SCENE_WIDTH; x++)
			buffer[y * SCENE_WIDTH + x] = scene_pixel(x, y, args->moving, args->moved);
		args->done = y + 1;
	}
	return y;
}
