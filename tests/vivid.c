// SPDX-License-Identifier: GPL-2.0-only
/*
 * vivid - A guest uses a video buffer that the kernel's virtual camera allocates as a device with
 * DMA does (module parameter allocators=1): as V4L2 maps it, and as the exported dma-buf maps it.
 * The driver writes a picture, and the guest reads it.
 *
 * Contract: 3. Both are VM_PFNMAP mappings of one chunk of dma_alloc_attrs(), of which only the
 * first page has a reference count. Stock KVM fails with EFAULT for all others.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/foreign.h"

#define MAX_NODES 64
#define WIDTH	  320
#define HEIGHT	  180

#define must_ioctl(fd, request, arg)                                   \
	do {                                                           \
		if (ioctl(fd, request, arg))                           \
			tap_bail("%s: %s", #request, strerror(errno)); \
	} while (0)

/* The first device of vivid that captures video. */
static int open_camera(void)
{
	char path[32];

	for (int i = 0; i < MAX_NODES; i++) {
		struct v4l2_capability cap = { 0 };
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &cap) && !strcmp((char *)cap.driver, "vivid") &&
		    cap.device_caps & V4L2_CAP_VIDEO_CAPTURE)
			return fd;
		close(fd);
	}
	tap_bail("no /dev/video* of vivid captures video");
}

/* Returns how many the driver gives. */
static uint32_t set_buffers(int fd, uint32_t count)
{
	struct v4l2_requestbuffers request = {
		.count = count,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_MMAP,
	};

	must_ioctl(fd, VIDIOC_REQBUFS, &request);
	return request.count;
}

/* The driver fills the first of its n buffers. */
static void take_picture(int fd, struct v4l2_buffer *buf, uint32_t n)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_buffer queued = *buf;

	/* It wants several before it starts. */
	for (queued.index = 0; queued.index < n; queued.index++)
		must_ioctl(fd, VIDIOC_QBUF, &queued);
	must_ioctl(fd, VIDIOC_STREAMON, &type);
	must_ioctl(fd, VIDIOC_DQBUF, buf);
	must_ioctl(fd, VIDIOC_STREAMOFF, &type);
}

/* The guest has one mapping of buffer 0, and the owner's view is the other. */
static void test(struct vcpu *v, const char *name, bool exported)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	struct v4l2_buffer buf = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_MMAP,
	};
	struct v4l2_exportbuffer export = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.flags = O_RDWR | O_CLOEXEC,
	};
	struct foreign f = { .name = name };
	struct guest_outcome out;
	int fd = open_camera();
	uint32_t buffers;
	uint64_t size;
	void *views[2];

	must_ioctl(fd, VIDIOC_G_FMT, &format);
	format.fmt.pix.width = WIDTH;
	format.fmt.pix.height = HEIGHT;
	format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
	must_ioctl(fd, VIDIOC_S_FMT, &format);
	buffers = set_buffers(fd, 3);
	must_ioctl(fd, VIDIOC_QUERYBUF, &buf);
	must_ioctl(fd, VIDIOC_EXPBUF, &export);
	f.pages = (buf.length + KIT_PAGE - 1) / KIT_PAGE;
	size = (uint64_t)f.pages * KIT_PAGE;
	views[0] = foreign_map(fd, buf.m.offset, f.pages);
	views[1] = foreign_map(export.fd, 0, f.pages);
	if (!views[0] || !views[1])
		tap_bail("mmap of %u pages: %s", f.pages, strerror(errno));
	f.map = views[exported];
	f.owner = views[!exported];
	foreign_look(&f);
	foreign_slot(v->vm, &f);
	foreign_use(v, &f, "mapped");

	memset(f.owner, 0, size);
	take_picture(fd, &buf, buffers);
	tap_ok(!buf.index && guest_sum(f.owner, size, 8), "%s: the driver has filled buffer %u",
	       name, buf.index);
	guest_call(v, &(struct guest_cmd){ .op = GUEST_READ, .gpa = KIT_GPA, .len = size }, &out);
	tap_ok(kit_takes_all() ?
		       out.end == GUEST_DONE && out.result == guest_sum(f.owner, size, 8) :
		       kit_efault(&out),
	       "%s: the guest reads the picture: %s", name, guest_describe(&out));

	/* The driver gives its buffers up; a process that has mapped one keeps it. */
	set_buffers(fd, 0);
	close(export.fd);
	close(fd);
	foreign_use(v, &f, "given up");
	foreign_gone(v, &f);
	munmap(f.owner, size);
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	test(v, "mmap of V4L2", false);
	test(v, "mmap of the dma-buf", true);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
