/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buffers of the real drivers bochs-drm, qxl and vgem, by raw DRM ioctls.
 *
 * Every failure ends the test.
 */
#ifndef DRM_H
#define DRM_H

#include <stdbool.h>
#include <stdint.h>

struct drm_mode_modeinfo; /* from the kernel's drm/drm_mode.h */

struct drm_dev {
	int fd;
	const char *driver; /* "bochs-drm", "qxl" or "vgem" */
	int minor;	    /* of /dev/dri/cardMINOR */
};

struct drm_buf {
	uint32_t handle;
	uint32_t fb;	/* its framebuffer; 0: none */
	uint32_t pages; /* of 4096 bytes */
	void *map;	/* all of it, readable and writable */
};

/* Open the primary node of this driver's (first) device. Closing gives the display back. */
void drm_open(struct drm_dev *dev, const char *driver);
void drm_close(struct drm_dev *dev);

/*
 * Create a dumb buffer, 1024 pixels wide and 32 bits deep, so that a line is a page, and map it.
 * bochs-drm and qxl place it in TTM's system memory, vgem in shmem.
 */
void drm_create_dumb(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages);

/*
 * Create and map a buffer that drm_to_vram() can move. For bochs-drm it is a dumb buffer with a
 * framebuffer. qxl keeps dumb buffers in system memory; there it is a buffer of qxl's own ioctl,
 * which begins in video memory, with arbitrary content.
 */
void drm_create_movable(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages);

/*
 * Move it to video memory, which moves other buffers to system memory if there is no room.
 * bochs-drm: the buffer is displayed, and stays until another one is; the first call also sets the
 * mode, and the device then clears the beginning of its memory. qxl: it stays until room is needed.
 */
void drm_to_vram(struct drm_dev *dev, const struct drm_buf *buf);

/*
 * Is it in video memory? Buffers are recognized by their size, which must therefore be unique.
 */
bool drm_in_vram(const struct drm_dev *dev, const struct drm_buf *buf);

/* Display a buffer that has a framebuffer on the first display. */
void drm_show(const struct drm_dev *dev, const struct drm_buf *buf,
	      const struct drm_mode_modeinfo *mode);

/*
 * Export the buffer as a dma-buf; returns its file. -1 with errno if the driver does not export
 * buffers, as bochs-drm of Linux 6.1.
 */
int drm_export(const struct drm_dev *dev, const struct drm_buf *buf);

/* Unmap and free it. */
void drm_destroy(struct drm_dev *dev, struct drm_buf *buf);

#endif
