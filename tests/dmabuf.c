// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf - A guest uses the mmap of a real driver's dma-buf: of udmabuf over huge pages and over
 * ordinary ones, of the heap "system", and of the exports of bochs-drm, qxl and vgem; the first two
 * of these then move the buffer to video memory and out of it.
 *
 * Contract: 3. All of them are VM_PFNMAP mappings. Stock KVM fails with EFAULT for each page whose
 * own reference count is 0: all but the first of a huge page of udmabuf, of a compound page of the
 * heap, and of a chunk of TTM.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/drm.h"
#include "tests/lib/foreign.h"

#define MAX_PRESSURE 5

/* Open a device that the kernel may have been built without. */
static int open_device(const char *path, const char *config)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !kit_kernel(6, 12))
		tap_skip_all("Debian's 6.1 is built without %s", config);
	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	return fd;
}

/* The driver lets go of nothing by itself; its files are closed before the mapping goes. */
static void test_static(struct vcpu *v, struct foreign *f, const int *fds, size_t n)
{
	foreign_look(f);
	foreign_slot(v->vm, f);
	foreign_use(v, f, "mapped");
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	foreign_use(v, f, "its files closed");
	foreign_gone(v, f);
}

/* The owner's view is the memfd. */
static void test_udmabuf(struct vcpu *v, const char *name, bool huge)
{
	struct foreign f = { .name = name, .pages = huge ? 512 : 64, .counted = !huge };
	int dev = open_device("/dev/udmabuf", "CONFIG_UDMABUF");
	struct udmabuf_create create = { .size = (uint64_t)f.pages * KIT_PAGE };
	int fds[2];

	if (huge)
		kit_huge_pages(1);
	fds[0] = memfd_create("dmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0));
	if (fds[0] < 0 || ftruncate(fds[0], (off_t)create.size) ||
	    fcntl(fds[0], F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("memfd: %s", strerror(errno));
	/* The huge pages are allocated here, for a mapping that has reserved them. */
	f.owner = foreign_map(fds[0], 0, f.pages);
	if (!f.owner)
		tap_bail("mmap of the memfd: %s", strerror(errno));
	memset(f.owner, 0, create.size);
	create.memfd = fds[0];
	fds[1] = ioctl(dev, UDMABUF_CREATE, &create);
	if (fds[1] < 0)
		tap_bail("UDMABUF_CREATE: %s", strerror(errno));
	close(dev);
	f.map = foreign_map(fds[1], 0, f.pages);
	if (!f.map)
		tap_bail("mmap of %s: %s", name, strerror(errno));
	test_static(v, &f, fds, ARRAY_SIZE(fds));
	munmap(f.owner, create.size);
	if (huge)
		kit_huge_pages(0);
}

static void test_heap(struct vcpu *v, const char *name)
{
	/* An odd number, so that the heap needs several chunks. */
	struct foreign f = { .name = name, .pages = 256 + 16 + 3 };
	struct dma_heap_allocation_data alloc = {
		.len = (uint64_t)f.pages * KIT_PAGE,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap = open_device("/dev/dma_heap/system", "CONFIG_DMABUF_HEAPS"), fd;

	if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &alloc))
		tap_bail("DMA_HEAP_IOCTL_ALLOC: %s", strerror(errno));
	close(heap);
	fd = (int)alloc.fd;
	f.map = foreign_map(fd, 0, f.pages);
	f.owner = foreign_map(fd, 0, f.pages);
	if (!f.map || !f.owner)
		tap_bail("mmap of %s: %s", name, strerror(errno));
	test_static(v, &f, &fd, 1);
	munmap(f.owner, alloc.len);
}

/* Map the export of a buffer, or skip the test. */
static int map_export(struct foreign *f, const struct drm_dev *dev, const struct drm_buf *buf)
{
	int fd = drm_export(dev, buf);

	f->owner = buf->map;
	f->map = fd < 0 ? NULL : foreign_map(fd, 0, f->pages);
	if (!f->map && errno == ENOSYS && !kit_kernel(6, 12))
		tap_skip_all("%s of Linux 6.1 %s", f->name,
			     fd < 0 ? "exports no buffers" : "does not map what it exports");
	if (!f->map)
		tap_bail("%s of %s: %s", fd < 0 ? "export" : "mmap", f->name, strerror(errno));
	return fd;
}

static void test_vgem(struct vcpu *v, const char *name)
{
	struct foreign f = { .name = name, .pages = 64, .counted = true };
	struct drm_dev dev;
	struct drm_buf buf;
	int fd;

	drm_open(&dev, name);
	drm_create_dumb(&dev, &buf, f.pages);
	fd = map_export(&f, &dev, &buf);
	test_static(v, &f, &fd, 1);
	drm_destroy(&dev, &buf);
	drm_close(&dev);
}

/* The driver has moved the buffer: is it there, and does the guest use its new memory? */
static void test_moved(struct vcpu *v, struct foreign *f, const struct drm_dev *dev,
		       const struct drm_buf *buf, bool vram)
{
	const char *when = vram ? "in video memory" : "in system memory";
	/* All that the guest can use, or the first page, which is always one. */
	uint32_t n = vram || kit_takes_all() ? f->pages : 1, right = 0;
	struct guest_outcome out;

	tap_is(drm_in_vram(dev, buf), vram, "%s: the buffer is %s", f->name, when);
	/*
	 * Only the owner's view has been used since, so the guest finds the new memory by itself.
	 */
	for (uint32_t i = 0; i < n; i++) {
		uint64_t gpa = KIT_GPA + (uint64_t)i * KIT_PAGE;

		*(volatile uint64_t *)(f->owner + (size_t)i * KIT_PAGE) = ~gpa;
		kit_touch(v, KIT_READ, gpa, 0, &out);
		right += out.end == GUEST_DONE && out.result == ~gpa;
	}
	tap_is(right, n, "%s, %s: the guest reads what the owner writes, in %u pages", f->name,
	       when, n);
	f->counted = vram;
	foreign_look(f);
	foreign_use(v, f, when);
	foreign_warm(v, f);
}

/*
 * bochs-drm has 16 MiB of video memory, qxl nearly 64; see drm_evict.c. A displayed buffer has at
 * least 480 lines, each of them a page.
 */
static void test_ttm(struct vcpu *v, const char *name)
{
	bool qxl = !strcmp(name, "qxl");
	struct foreign f = { .name = name, .pages = qxl ? 300 : 500, .counted = qxl };
	struct drm_buf buf, pressure[MAX_PRESSURE];
	unsigned int n = qxl ? 5 : 3;
	struct drm_dev dev;
	int fd;

	drm_open(&dev, name);
	drm_create_movable(&dev, &buf, f.pages);
	fd = map_export(&f, &dev, &buf);
	foreign_look(&f);
	foreign_slot(v->vm, &f);
	if (!qxl)
		foreign_use(v, &f, "as created");
	foreign_warm(v, &f);
	drm_to_vram(&dev, &buf);
	test_moved(v, &f, &dev, &buf, true);
	for (unsigned int i = 0; i < n; i++) {
		drm_create_movable(&dev, &pressure[i], (qxl ? 3600 : 1300) + i);
		drm_to_vram(&dev, &pressure[i]);
	}
	test_moved(v, &f, &dev, &buf, false);
	close(fd);
	foreign_gone(v, &f);
	for (unsigned int i = 0; i < n; i++)
		drm_destroy(&dev, &pressure[i]);
	drm_destroy(&dev, &buf);
	drm_close(&dev);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	if (!strcmp(name, "udmabuf") || !strcmp(name, "udmabuf-huge"))
		test_udmabuf(v, name, name[7]);
	else if (!strcmp(name, "heap"))
		test_heap(v, name);
	else if (!strcmp(name, "vgem"))
		test_vgem(v, name);
	else if (!strcmp(name, "bochs-drm") || !strcmp(name, "qxl"))
		test_ttm(v, name);
	else
		tap_bail("usage: dmabuf udmabuf|udmabuf-huge|heap|vgem|bochs-drm|qxl");
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
