// SPDX-License-Identifier: GPL-2.0-only
/*
 * Obtains the memory to probe; see buffer.h.
 *
 * With amdgpu, radeon and nouveau it must be system memory (GTT). By default their buffers are in
 * video memory, which has no struct page: any KVM maps that, so probing it would prove nothing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <amdgpu_drm.h>
#include <nouveau_drm.h>
#include <radeon_drm.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#if !defined(NO_GBM) && __has_include(<gbm.h>)
#include <gbm.h>
#define HAVE_GBM
#endif

#include "tool/buffer.h"
#include "tool/tool.h"
#include "vmm/vmm.h"

#define WIDTH  1024u /* 4 bytes per pixel: one page per line */
#define HEIGHT (BUFFER_SIZE / BUFFER_PAGE)

#define HUGE_PAGE (2u << 20)

/* Drivers whose dumb buffers are in system memory unless a display shows them. */
static const char *const in_system_memory[] = { "bochs-drm", "qxl", "vgem", "virtio_gpu" };

static enum buffer_status __attribute__((format(printf, 3, 4)))
fail(struct buffer *b, enum buffer_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->error, sizeof(b->error), fmt, ap);
	va_end(ap);
	return status;
}

/* The same, with errno's description. */
static enum buffer_status fail_errno(struct buffer *b, const char *what)
{
	enum buffer_status status = errno == EACCES || errno == EPERM ? BUFFER_PERMISSION :
									BUFFER_NONE;

	return fail(b, status, "%s: %s", what, strerror(errno));
}

static enum buffer_status map(struct buffer *b, int fd, uint64_t offset, uint64_t size)
{
	b->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (b->map == MAP_FAILED)
		return fail(b, BUFFER_NONE, "mmap: %s", strerror(errno));
	b->size = size;
	return BUFFER_OK;
}

static enum buffer_status dumb(struct buffer *b, int fd)
{
	struct drm_mode_create_dumb create = { .width = WIDTH, .height = HEIGHT, .bpp = 32 };
	struct drm_mode_map_dumb where = { 0 };

	/* Do not check DRM_CAP_DUMB_BUFFER: vgem lacks it, because it has no display. */
	if (drmIoctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		return fail_errno(b, "DRM_IOCTL_MODE_CREATE_DUMB");
	where.handle = create.handle;
	if (drmIoctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &where))
		return fail_errno(b, "DRM_IOCTL_MODE_MAP_DUMB");
	return map(b, fd, where.offset, create.size);
}

static enum buffer_status amdgpu(struct buffer *b, int fd)
{
	union drm_amdgpu_gem_create create = { .in = {
						       .bo_size = BUFFER_SIZE,
						       .alignment = BUFFER_PAGE,
						       .domains = AMDGPU_GEM_DOMAIN_GTT,
						       .domain_flags =
							       AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED,
					       } };
	union drm_amdgpu_gem_mmap where;

	if (drmIoctl(fd, DRM_IOCTL_AMDGPU_GEM_CREATE, &create))
		return fail_errno(b, "DRM_IOCTL_AMDGPU_GEM_CREATE");
	where = (union drm_amdgpu_gem_mmap){ .in.handle = create.out.handle };
	if (drmIoctl(fd, DRM_IOCTL_AMDGPU_GEM_MMAP, &where))
		return fail_errno(b, "DRM_IOCTL_AMDGPU_GEM_MMAP");
	return map(b, fd, where.out.addr_ptr, BUFFER_SIZE);
}

static enum buffer_status radeon(struct buffer *b, int fd)
{
	struct drm_radeon_gem_create create = {
		.size = BUFFER_SIZE,
		.alignment = BUFFER_PAGE,
		.initial_domain = RADEON_GEM_DOMAIN_GTT,
	};
	struct drm_radeon_gem_mmap where = { .size = BUFFER_SIZE };

	if (drmIoctl(fd, DRM_IOCTL_RADEON_GEM_CREATE, &create))
		return fail_errno(b, "DRM_IOCTL_RADEON_GEM_CREATE");
	where.handle = create.handle;
	if (drmIoctl(fd, DRM_IOCTL_RADEON_GEM_MMAP, &where))
		return fail_errno(b, "DRM_IOCTL_RADEON_GEM_MMAP");
	return map(b, fd, where.addr_ptr, BUFFER_SIZE);
}

static enum buffer_status nouveau(struct buffer *b, int fd)
{
	struct drm_nouveau_gem_new create = {
		.info = {
			.size = BUFFER_SIZE,
			.domain = NOUVEAU_GEM_DOMAIN_GART | NOUVEAU_GEM_DOMAIN_MAPPABLE,
		},
		.align = BUFFER_PAGE,
	};

	if (drmCommandWriteRead(fd, DRM_NOUVEAU_GEM_NEW, &create, sizeof(create)))
		return fail_errno(b, "DRM_NOUVEAU_GEM_NEW");
	return map(b, fd, create.info.map_handle, BUFFER_SIZE);
}

#ifdef HAVE_GBM
/* A linear GBM buffer, mapped through its dma-buf, as a VMM does it. */
static enum buffer_status gbm(struct buffer *b, int fd)
{
	void *lib = dlopen("libgbm.so.1", RTLD_NOW | RTLD_LOCAL);
	__typeof__(gbm_create_device) *create_device;
	__typeof__(gbm_bo_create) *create;
	__typeof__(gbm_bo_get_handle) *get_handle;
	struct gbm_device *device;
	struct gbm_bo *bo;
	int buf;

	/* Otherwise root leaves a shader cache in the home directory of the user of sudo. */
	setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
	b->no_library = !lib;
	if (!lib)
		return fail(b, BUFFER_NONE,
			    "a render node needs libgbm.so.1 (package libgbm1), which is missing");
	create_device = (__typeof__(create_device))dlsym(lib, "gbm_create_device");
	create = (__typeof__(create))dlsym(lib, "gbm_bo_create");
	get_handle = (__typeof__(get_handle))dlsym(lib, "gbm_bo_get_handle");
	if (!create_device || !create || !get_handle)
		return fail(b, BUFFER_NONE, "libgbm.so.1 lacks functions that the probe needs");
	device = create_device(fd);
	if (!device)
		return fail(b, BUFFER_NONE, "GBM has no driver for this device");
	bo = create(device, WIDTH, HEIGHT, GBM_FORMAT_XRGB8888, GBM_BO_USE_LINEAR);
	if (!bo)
		return fail(b, BUFFER_NONE, "GBM cannot create a linear buffer: %s",
			    strerror(errno));
	/* Not gbm_bo_get_fd(): what it returns cannot be mapped writable with some drivers. */
	if (drmPrimeHandleToFD(fd, get_handle(bo).u32, DRM_CLOEXEC | DRM_RDWR, &buf))
		return fail_errno(b, "DRM_IOCTL_PRIME_HANDLE_TO_FD");
	b->video = true;
	return map(b, buf, 0, BUFFER_SIZE);
}
#else
static enum buffer_status gbm(struct buffer *b, int fd)
{
	(void)fd;
	return fail(b, BUFFER_NONE,
		    "a render node needs GBM, but this kvm-pfnmap was built without it");
}
#endif

/* Drivers that have an ioctl of their own for this. */
static const struct {
	const char *name;
	enum buffer_status (*make)(struct buffer *b, int fd);
} own_calls[] = { { "amdgpu", amdgpu }, { "radeon", radeon }, { "nouveau", nouveau } };

static enum buffer_status own(struct buffer *b, int fd,
			      enum buffer_status (*make)(struct buffer *b, int fd))
{
	enum buffer_status status = make(b, fd);
	char *render;

	if (status != BUFFER_PERMISSION || drmGetNodeTypeFromFd(fd) == DRM_NODE_RENDER)
		return status;
	/* While a display server is master, this node provides only dumb buffers. */
	render = drmGetRenderDeviceNameFromFd(fd);
	if (render)
		status = fail(b, BUFFER_NONE, "a display server uses this node: probe %s", render);
	free(render);
	return status;
}

static bool is_in_system_memory(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(in_system_memory); i++)
		if (!strcmp(name, in_system_memory[i]))
			return true;
	return false;
}

enum buffer_status buffer_drm(struct buffer *b, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	drmVersionPtr version;
	char name[40];

	if (fd < 0)
		return fail_errno(b, path);
	version = drmGetVersion(fd);
	if (!version)
		return fail(b, BUFFER_NONE, "%s is not a DRM device", path);
	/* The first to open a display becomes its master and would keep others out. */
	drmDropMaster(fd);
	snprintf(name, sizeof(name), "%.*s", version->name_len, version->name);
	drmFreeVersion(version);

	for (size_t i = 0; i < ARRAY_SIZE(own_calls); i++) {
		if (strcmp(name, own_calls[i].name))
			continue;
		snprintf(b->what, sizeof(b->what), "GTT buffer of %s", name);
		return own(b, fd, own_calls[i].make);
	}
	if (drmGetNodeTypeFromFd(fd) == DRM_NODE_RENDER) {
		snprintf(b->what, sizeof(b->what), "GBM buffer of %s", name);
		return gbm(b, fd);
	}
	snprintf(b->what, sizeof(b->what), "dumb buffer of %s", name);
	b->video = !is_in_system_memory(name);
	return dumb(b, fd);
}

enum buffer_status buffer_file(struct buffer *b, const struct file_spec *spec)
{
	uint64_t size = spec->size, offset = spec->offset;
	struct stat st;
	off_t end;
	int fd;

	b->keep = true;
	snprintf(b->what, sizeof(b->what), "file");
	fd = open(spec->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == EISDIR)
		return fail(b, BUFFER_NONE, "%s is a directory", spec->path);
	if (fd < 0)
		return fail_errno(b, spec->path);
	if (fstat(fd, &st))
		return fail_errno(b, spec->path);
	if (S_ISBLK(st.st_mode))
		return fail(b, BUFFER_NONE, "%s is a disk: a probe might damage its content",
			    spec->path);
	if (S_ISCHR(st.st_mode))
		snprintf(b->what, sizeof(b->what), "device");
	else if (!S_ISREG(st.st_mode))
		return fail(b, BUFFER_NONE, "%s is neither a file nor a device", spec->path);

	/* Devices that do not know their size return 0 or an error. */
	end = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (end <= 0 && !S_ISREG(st.st_mode)) {
		if (spec->whole)
			return fail(b, BUFFER_NONE,
				    "%s does not report its size: use PATH:OFFSET:SIZE",
				    spec->path);
	} else if (spec->whole) {
		size = end & ~(uint64_t)(BUFFER_PAGE - 1);
		if (size > BUFFER_SIZE)
			size = BUFFER_SIZE;
		if (!size)
			return fail(b, BUFFER_NONE, "%s has only %lld bytes, less than a page",
				    spec->path, (long long)end);
	} else if (offset + size > (uint64_t)end) {
		return fail(b, BUFFER_NONE, "%s has only %lld bytes", spec->path, (long long)end);
	}
	return map(b, fd, offset, size);
}

enum buffer_status buffer_anonymous(struct buffer *b)
{
	snprintf(b->what, sizeof(b->what), "anonymous memory");
	b->map = vm_anon(BUFFER_SIZE, HUGE_PAGE);
	b->size = BUFFER_SIZE;
	return BUFFER_OK;
}
