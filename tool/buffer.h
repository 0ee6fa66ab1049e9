/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buffer.h - memory to probe: a buffer of a DRM driver, a piece of a file or device, or anonymous
 * memory. It is freed when the process ends.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool/parse.h"

#define BUFFER_PAGE 4096u
#define BUFFER_SIZE (4u << 20) /* where nobody asks for another one */

struct buffer {
	void *map; /* shared, readable and writable */
	uint64_t size;
	bool keep;  /* the content is somebody's and has to be put back */
	bool video; /* may lie in video memory, which has no struct page: every KVM maps that */
	bool no_library; /* libgbm is needed and not installed */
	char what[96];	 /* "dumb buffer of bochs-drm" */
	char error[256];
};

enum buffer_status {
	BUFFER_OK,
	BUFFER_PERMISSION,
	BUFFER_NONE, /* not there, or not to be had or mapped */
};

/* With another status than BUFFER_OK there is a line in error; what is as far as it got. */
enum buffer_status buffer_drm(struct buffer *b, const char *path);
enum buffer_status buffer_file(struct buffer *b, const struct file_spec *spec);
enum buffer_status buffer_anonymous(struct buffer *b);

#endif
