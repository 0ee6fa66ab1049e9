// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio - A guest uses the BAR of a device that vfio-pci has mapped into the VMM, while the device's
 * memory is switched off and on, and while the device is reset.
 *
 * Contract: 3, and 9 for memory that is off. The BAR has no struct pages, so stock KVM does the
 * same. While memory is off, the driver's fault handler fails, and so does KVM_RUN, with EFAULT; no
 * store of the guest is lost or repeated, as the device's side of the BAR shows. A reset takes all
 * entries away. Since Linux 6.12, vfio-pci maps BARs by entries of 2 MiB and 1 GiB, and KVM then
 * does the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/foreign.h"
#include "tests/lib/loop.h"

#define BAR 2
#define GIB 0x40000000ull

static struct vfio_region_info bar = { .argsz = sizeof(bar), .index = BAR };
static struct vfio_region_info config = {
	.argsz = sizeof(config),
	.index = VFIO_PCI_CONFIG_REGION_INDEX,
};

#define must_ioctl(fd, request, arg)                                   \
	do {                                                           \
		if (ioctl(fd, request, arg) < 0)                       \
			tap_bail("%s: %s", #request, strerror(errno)); \
	} while (0)

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* Give the device, by its address on the bus, to vfio-pci, and open its group. */
static int open_group(const char *address)
{
	char path[128], link[128], name[160];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", address);
	put(path, "vfio-pci");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", address);
	if (access(path, F_OK))
		put("/sys/bus/pci/drivers_probe", address);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		tap_bail("%s: %s", path, strerror(errno));
	link[n] = '\0';
	snprintf(name, sizeof(name), "/dev/vfio/%s", strrchr(link, '/') + 1);
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		tap_bail("%s: %s", name, strerror(errno));
	return fd;
}

static int open_device(const char *address, int *container, int *group)
{
	int dev;

	*container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (*container < 0)
		tap_bail("/dev/vfio/vfio: %s", strerror(errno));
	*group = open_group(address);
	must_ioctl(*group, VFIO_GROUP_SET_CONTAINER, container);
	must_ioctl(*container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
	dev = ioctl(*group, VFIO_GROUP_GET_DEVICE_FD, address);
	if (dev < 0)
		tap_bail("VFIO_GROUP_GET_DEVICE_FD: %s", strerror(errno));
	must_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &bar);
	must_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &config);
	return dev;
}

/* The command register, by which a guest's firmware would switch the device's memory. */
static void set_memory(int dev, bool on)
{
	off_t at = (off_t)config.offset + PCI_COMMAND;
	uint16_t command;

	if (pread(dev, &command, sizeof(command), at) != sizeof(command))
		tap_bail("read of the command register: %s", strerror(errno));
	command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
	if (pwrite(dev, &command, sizeof(command), at) != sizeof(command))
		tap_bail("write of the command register: %s", strerror(errno));
}

/* A word of the BAR, through the driver. */
static uint64_t bar_word(int dev, uint64_t offset)
{
	uint64_t word;

	if (pread(dev, &word, sizeof(word), (off_t)(bar.offset + offset)) != sizeof(word))
		tap_bail("read of the BAR: %s", strerror(errno));
	return word;
}

static void set_bar_word(int dev, uint64_t offset, uint64_t word)
{
	if (pwrite(dev, &word, sizeof(word), (off_t)(bar.offset + offset)) != sizeof(word))
		tap_bail("write of the BAR: %s", strerror(errno));
}

struct scene {
	int dev;
	uint64_t size, stride; /* of the mapping; between the words that are used */
	struct vcpu *v;
};

static int reset(int dev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	must_ioctl(dev, VFIO_DEVICE_GET_INFO, &info);
	return info.flags & VFIO_DEVICE_FLAGS_RESET ? ioctl(dev, VFIO_DEVICE_RESET) : -1;
}

/*
 * Both directions, and in which entries KVM maps the BAR: the reset takes these away, and leaves
 * those of the guest's program.
 */
static void test_access(struct scene *s, const char *name, const char *entries)
{
	int64_t count;
	struct guest_outcome out = { 0 };
	uint64_t right = 0, n = 0;

	for (uint64_t off = 0; off < s->size; off += s->stride, n++) {
		set_bar_word(s->dev, off, off + 1);
		kit_touch(s->v, KIT_READ, KIT_GPA + off, 0, &out);
		right += out.end == GUEST_DONE && out.result == off + 1;
		kit_touch(s->v, KIT_WRITE, KIT_GPA + off, ~off, &out);
		right += out.end == GUEST_DONE && bar_word(s->dev, off) == ~off;
	}
	tap_is(right, 2 * n, "%s: guest and device share %llu words: %s", name,
	       (unsigned long long)n, guest_describe(&out));
	if (!strcmp(entries, "pages_2m"))
		n = s->size / KIT_HUGE;
	else if (!strcmp(entries, "pages_1g"))
		n = s->size / GIB;
	count = VMM_MUST(vm_stat(s->v->vm, entries));
	tap_ok(!reset(s->dev), "%s: the device is reset", name);
	set_memory(s->dev, true);
	count -= VMM_MUST(vm_stat(s->v->vm, entries));
	if (kit_tdp())
		tap_is(count, n, "%s: that takes %llu of KVM's %s away", name,
		       (unsigned long long)n, entries);
}

/* The guest adds 1 to each word while memory is switched and the device is reset. */
static void test_events(struct scene *s, const char *name)
{
	struct guest_cmd add = {
		.op = GUEST_ADD,
		.gpa = KIT_GPA,
		.len = s->size,
		.stride = s->stride,
		.value = 1,
	};
	uint64_t wrong = 0;
	struct loop l;

	for (uint64_t off = 0; off < s->size; off += s->stride)
		set_bar_word(s->dev, off, 0);
	loop_start(&l, s->v, &add);
	for (int i = 0; i < 3; i++) {
		set_memory(s->dev, false);
		tap_ok(loop_wait_more(&l.efault), "%s: KVM_RUN fails with EFAULT without memory",
		       name);
		set_memory(s->dev, true);
		loop_wait(&l, 2);
	}
	tap_ok(!reset(s->dev), "%s: the device is reset while the guest runs", name);
	set_memory(s->dev, true);
	loop_wait(&l, 2);
	loop_end(&l);
	tap_ok(l.out.end == GUEST_DONE && !l.mmio, "%s: the guest goes on: %s", name,
	       guest_describe(&l.out));
	/* The sum is 4 bytes wide. */
	for (uint64_t off = 0; off < s->size; off += s->stride)
		wrong += (uint32_t)bar_word(s->dev, off) != guest_progress(s->v);
	tap_is(wrong, 0, "%s: no increment of %u is lost or repeated", name, guest_progress(s->v));
}

/* Map the start of the BAR, aligned for entries of this size. */
static void test(int dev, uint64_t size, uint64_t align, uint64_t stride, const char *name,
		 const char *entries)
{
	struct vm *vm = vm_create(0);
	struct scene s = {
		.dev = dev,
		.size = size,
		.stride = stride,
		.v = vcpu_create(vm, kit_mode()),
	};
	char *room = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = room + (-(uintptr_t)room & (align - 1));

	if (room == MAP_FAILED ||
	    mmap(at, size, KIT_RW, MAP_SHARED | MAP_FIXED, dev, (off_t)bar.offset) != at)
		tap_bail("mmap of the BAR: %s", strerror(errno));
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, size, at, 0));
	test_access(&s, name, entries);
	test_events(&s, name);
	munmap(room, size + align);
	vcpu_destroy(s.v);
	vm_destroy(vm);
}

int main(int argc, char **argv)
{
	bool huge = kit_kernel(6, 12);
	int container, group, dev;

	if (argc != 2)
		tap_bail("usage: vfio PCI-ADDRESS");
	dev = open_device(argv[1], &container, &group);
	tap_ok(bar.size == GIB && bar.flags & VFIO_REGION_INFO_FLAG_MMAP,
	       "BAR %d has 1 GiB and can be mapped", BAR);
	test(dev, 16 * KIT_PAGE, KIT_PAGE, KIT_PAGE, "64 KiB", "pages_4k");
	test(dev, 2 * KIT_HUGE, KIT_HUGE, KIT_HUGE / 2, "4 MiB", huge ? "pages_2m" : "pages_4k");
	if (huge)
		test(dev, GIB, GIB, GIB / 8, "1 GiB", "pages_1g");
	else
		tap_skip(1, "vfio-pci of Linux 6.1 fills 262144 entries at each fault on 1 GiB");
	close(dev);
	close(group);
	close(container);
	return tap_done();
}
