// SPDX-License-Identifier: GPL-2.0-only
/* Buffers of the real drivers; drm.h describes the functions. */
#include <libdrm/drm.h>
#include <libdrm/qxl_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "drm.h"
#include "tests/lib/tap.h"

#define PAGE	   4096ull
#define MAX_MINORS 16

/* 640x480 at 60 Hz, from VESA's table of display timings. */
static const struct drm_mode_modeinfo vga_mode = {
	.clock = 25175,
	.vrefresh = 60,
	.hdisplay = 640,
	.hsync_start = 656,
	.hsync_end = 752,
	.htotal = 800,
	.vdisplay = 480,
	.vsync_start = 490,
	.vsync_end = 492,
	.vtotal = 525,
	.flags = DRM_MODE_FLAG_NHSYNC | DRM_MODE_FLAG_NVSYNC,
};

#define must_ioctl(fd, request, arg)                                   \
	do {                                                           \
		if (ioctl(fd, request, arg))                           \
			tap_bail("%s: %s", #request, strerror(errno)); \
	} while (0)

static bool is_qxl(const struct drm_dev *dev)
{
	return !strcmp(dev->driver, "qxl");
}

void drm_open(struct drm_dev *dev, const char *driver)
{
	char path[32], name[32];
	int minor, fd;

	for (minor = 0; minor < MAX_MINORS; minor++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

		snprintf(path, sizeof(path), "/dev/dri/card%d", minor);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		must_ioctl(fd, DRM_IOCTL_VERSION, &version);
		name[version.name_len < sizeof(name) ? version.name_len : sizeof(name) - 1] = '\0';
		if (!strcmp(name, driver)) {
			*dev = (struct drm_dev){ .fd = fd, .driver = driver, .minor = minor };
			return;
		}
		close(fd);
	}
	tap_bail("no /dev/dri/card* belongs to %s", driver);
}

void drm_close(struct drm_dev *dev)
{
	close(dev->fd);
}

static void map_at(struct drm_dev *dev, struct drm_buf *buf, uint64_t offset)
{
	buf->map =
		mmap(NULL, buf->pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd, offset);
	if (buf->map == MAP_FAILED)
		tap_bail("mmap of a buffer of %s: %s", dev->driver, strerror(errno));
}

void drm_create_dumb(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages)
{
	struct drm_mode_create_dumb create = { .width = 1024, .height = pages, .bpp = 32 };
	struct drm_mode_map_dumb map = { 0 };

	must_ioctl(dev->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create);
	if (create.size != pages * PAGE)
		tap_bail("%s made a dumb buffer of %llu bytes, not %llu", dev->driver,
			 (unsigned long long)create.size, pages * PAGE);
	*buf = (struct drm_buf){ .handle = create.handle, .pages = pages };
	map.handle = create.handle;
	must_ioctl(dev->fd, DRM_IOCTL_MODE_MAP_DUMB, &map);
	map_at(dev, buf, map.offset);
}

static void create_qxl(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages)
{
	struct drm_qxl_alloc alloc = { .size = pages * PAGE };
	struct drm_qxl_map map = { 0 };

	must_ioctl(dev->fd, DRM_IOCTL_QXL_ALLOC, &alloc);
	*buf = (struct drm_buf){ .handle = alloc.handle, .pages = pages };
	map.handle = alloc.handle;
	must_ioctl(dev->fd, DRM_IOCTL_QXL_MAP, &map);
	map_at(dev, buf, map.offset);
}

void drm_create_movable(struct drm_dev *dev, struct drm_buf *buf, uint32_t pages)
{
	struct drm_mode_fb_cmd fb = {
		.width = 1024,
		.height = pages,
		.pitch = PAGE,
		.bpp = 32,
		.depth = 24,
	};

	if (is_qxl(dev)) {
		create_qxl(dev, buf, pages);
		return;
	}
	drm_create_dumb(dev, buf, pages);
	fb.handle = buf->handle;
	must_ioctl(dev->fd, DRM_IOCTL_MODE_ADDFB, &fb);
	buf->fb = fb.fb_id;
}

void drm_show(const struct drm_dev *dev, const struct drm_buf *buf,
	      const struct drm_mode_modeinfo *mode)
{
	uint32_t crtc = 0, connector = 0;
	struct drm_mode_card_res res = {
		.crtc_id_ptr = (uintptr_t)&crtc,
		.count_crtcs = 1,
		.connector_id_ptr = (uintptr_t)&connector,
		.count_connectors = 1,
	};
	struct drm_mode_crtc set = {
		.set_connectors_ptr = (uintptr_t)&connector,
		.count_connectors = 1,
		.fb_id = buf->fb,
		.mode_valid = 1,
		.mode = *mode,
	};

	must_ioctl(dev->fd, DRM_IOCTL_MODE_GETRESOURCES, &res);
	set.crtc_id = crtc;
	must_ioctl(dev->fd, DRM_IOCTL_MODE_SETCRTC, &set);
}

void drm_to_vram(struct drm_dev *dev, const struct drm_buf *buf)
{
	struct drm_qxl_update_area update = { .handle = buf->handle, .bottom = 1, .right = 1 };

	if (!is_qxl(dev)) {
		drm_show(dev, buf, &vga_mode);
		return;
	}
	/* Moves the buffer to video memory, then fails because it is not a surface. */
	if (!ioctl(dev->fd, DRM_IOCTL_QXL_UPDATE_AREA, &update) || errno != EINVAL)
		tap_bail("DRM_IOCTL_QXL_UPDATE_AREA: %s, expected EINVAL", strerror(errno));
}

/* Mount debugfs in a private mount namespace, which vanishes with this program. */
static void mount_debugfs(void)
{
	static bool mounted;

	if (mounted)
		return;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL))
		tap_bail("cannot mount debugfs: %s", strerror(errno));
	mounted = true;
}

bool drm_in_vram(const struct drm_dev *dev, const struct drm_buf *buf)
{
	char path[64], line[128];
	unsigned long long pages;
	bool found = false;
	FILE *f;

	mount_debugfs();
	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%d/%s", dev->minor,
		 is_qxl(dev) ? "qxl_mem_mm" : "vram-mm");
	f = fopen(path, "re");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		/* One allocation: "START-END: PAGES: used". */
		if (sscanf(line, "%*x-%*x: %llu: used", &pages) == 1 && strstr(line, "used"))
			found |= pages == buf->pages;
	}
	fclose(f);
	return found;
}

int drm_export(const struct drm_dev *dev, const struct drm_buf *buf)
{
	struct drm_prime_handle prime = { .handle = buf->handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	return ioctl(dev->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) ? -1 : prime.fd;
}

void drm_destroy(struct drm_dev *dev, struct drm_buf *buf)
{
	struct drm_gem_close close = { .handle = buf->handle };

	munmap(buf->map, buf->pages * PAGE);
	if (buf->fb)
		must_ioctl(dev->fd, DRM_IOCTL_MODE_RMFB, &buf->fb);
	must_ioctl(dev->fd, DRM_IOCTL_GEM_CLOSE, &close);
}
