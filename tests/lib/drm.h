/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buffers of the real drivers: what a test needs of bochs-drm, qxl and vgem, on the raw DRM
 * ioctls.
 *
 * Every failure ends the test: these are calls that a test cannot do without.
 */
#ifndef DRM_H
#define DRM_H

#include <stdbool.h>
#include <stdint.h>

struct drm_mode_modeinfo; /* of the kernel's drm/drm_mode.h */

struct drm_dev {
	int fd;
	const char *driver; /* "bochs-drm", "qxl" or "vgem" */
	int minor;	    /* of /dev/dri/cardMINOR */
};

struct drm_buf {
	uint32_t handle;
	uint32_t fb;	/* framebuffer over it; 0: none */
	uint32_t pages; /* of 4096 bytes */
	void *map;	/* all of it, readable and writable */
};

/* Open the primary node of this driver's (first) device. Closing gives the display back. */
void drm_open(struct drm_dev *dev, const char *driver);
void drm_close(struct drm_dev *dev);

/*
 * Create a dumb buffer, 1024 pixels wide, 32 bits deep, a page a line, and map it. bochs-drm and
 * qxl place it in system memory of TTM's, vgem in shmem.
 */
void drm_create_dumb(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages);

/*
 * Create and map a buffer that drm_to_vram() can move: a dumb buffer with a framebuffer over it
 * for bochs-drm. For qxl one by its own ioctl, since it keeps dumb buffers in system memory; such
 * a buffer begins in video memory, with any content.
 */
void drm_create_movable(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages);

/*
 * Move it to video memory, which moves others to system memory when there is no room. bochs-drm:
 * by showing it, so that it stays until another is shown; the first call also sets the mode, at
 * which the device clears the beginning of its memory. qxl: it stays until room is needed.
 */
void drm_to_vram(struct drm_dev *dev, const struct drm_buf *buf);

/*
 * Is it in video memory? Told by its size, so that all buffers that are asked about have sizes of
 * their own.
 */
bool drm_in_vram(const struct drm_dev *dev, const struct drm_buf *buf);

/* Show a buffer that has a framebuffer, at its upper left corner, on the first display. */
void drm_show(const struct drm_dev *dev, const struct drm_buf *buf,
	      const struct drm_mode_modeinfo *mode);

/* Unmap and free it. */
void drm_destroy(struct drm_dev *dev, struct drm_buf *buf);

#endif
