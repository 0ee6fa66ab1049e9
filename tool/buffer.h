/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buffer.h - memory to probe: a DRM driver's buffer, part of a file or device, or anonymous memory.
 * It is freed when the process ends.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool/parse.h"

#define BUFFER_PAGE 4096u
#define BUFFER_SIZE (4u << 20) /* unless the user asks for another size */

struct buffer {
	void *map; /* shared, readable and writable */
	uint64_t size;
	bool keep;	 /* the content belongs to someone and must be restored */
	bool video;	 /* may be in video memory, which has no struct page: any KVM maps it */
	bool no_library; /* libgbm is needed but not installed */
	char what[96];	 /* "dumb buffer of bochs-drm" */
	char error[256];
};

enum buffer_status {
	BUFFER_OK,
	BUFFER_PERMISSION,
	BUFFER_NONE, /* no such device, no buffer, or not mappable */
};

/* On failure, b->error has one line, and b->what says what was attempted. */
enum buffer_status buffer_drm(struct buffer *b, const char *path);
enum buffer_status buffer_file(struct buffer *b, const struct file_spec *spec);
enum buffer_status buffer_anonymous(struct buffer *b);

#endif
