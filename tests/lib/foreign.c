// SPDX-License-Identifier: GPL-2.0-only
/* Buffers of other drivers, shared with a guest; foreign.h describes the functions. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/foreign.h"

static size_t size_of(const struct foreign *f)
{
	return (size_t)f->pages * KIT_PAGE;
}

static volatile uint64_t *word(char *map, uint32_t page)
{
	return (volatile uint64_t *)(map + (size_t)page * KIT_PAGE);
}

void *foreign_map(int fd, uint64_t offset, uint32_t pages)
{
	void *p = mmap(NULL, (size_t)pages * KIT_PAGE, KIT_RW, MAP_SHARED, fd, (off_t)offset);

	return p == MAP_FAILED ? NULL : p;
}

static struct pfnmap_page *look(const struct foreign *f)
{
	int fd = open(PFNMAP_EXPORTER_PATH, O_RDWR | O_CLOEXEC);
	struct pfnmap_page *pages;

	if (!f->pages)
		tap_bail("%s has no pages", f->name);
	pages = calloc(f->pages, sizeof(*pages));
	if (!pages || fd < 0)
		tap_bail("%s: %s", PFNMAP_EXPORTER_PATH, strerror(errno));
	/* A page that waits in a batch of the LRU code has one more reference. */
	kit_settle();
	for (uint32_t i = 0; i < f->pages; i++) {
		struct pfnmap_look look = { .address = (uintptr_t)word(f->map, i) };

		(void)*word(f->owner, i);
		(void)*word(f->map, i);
		if (ioctl(fd, PFNMAP_LOOK, &look))
			tap_bail("%s: PFNMAP_LOOK at page %u: %s", f->name, i, strerror(errno));
		pages[i] = look.page;
	}
	close(fd);
	return pages;
}

void foreign_look(struct foreign *f)
{
	free(f->start);
	f->start = look(f);
}

void foreign_slot(struct vm *vm, const struct foreign *f)
{
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, size_of(f), f->map, 0));
}

/* Does this page work, or fail, as it should? */
static bool page_works(struct vcpu *v, const struct foreign *f, uint32_t i, bool usable)
{
	uint64_t gpa = KIT_GPA + (uint64_t)i * KIT_PAGE, value = 0x1000000 + i;
	struct guest_outcome read, write;
	bool shared;

	*word(f->owner, i) = value;
	kit_touch(v, KIT_READ, gpa, 0, &read);
	kit_touch(v, KIT_WRITE, gpa, ~value, &write);
	shared = read.end == GUEST_DONE && read.result == value && write.end == GUEST_DONE &&
		 *word(f->owner, i) == ~value;
	if (usable ? shared : kit_efault(&read) && kit_efault(&write))
		return true;
	tap_diag("page %u, count %d, flags %#x, read: %s", i, f->start[i].count, f->start[i].flags,
		 guest_describe(&read));
	tap_diag("page %u, write: %s", i, guest_describe(&write));
	return false;
}

static void check_counts(struct vcpu *v, const struct foreign *f, const char *when)
{
	const char *difference;
	struct pfnmap_page *now;

	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	now = look(f);
	difference = pages_differ(f->start, now, f->pages);
	if (!tap_ok(!difference, "%s, %s: counts and flags are what they were", f->name, when))
		tap_diag("%s", difference);
	free(now);
	foreign_slot(v->vm, f);
}

void foreign_use(struct vcpu *v, struct foreign *f, const char *when)
{
	uint32_t refused = 0, uncounted = 0, right = 0;

	for (uint32_t i = 0; i < f->pages; i++) {
		bool usable = page_usable(&f->start[i]);

		right += page_works(v, f, i, usable);
		refused += !usable;
		uncounted += f->start[i].flags & PFNMAP_PAGE_STRUCT && !f->start[i].count;
	}
	tap_is(right, f->pages, "%s, %s: guest and owner share %u pages, KVM refuses %u", f->name,
	       when, f->pages - refused, refused);
	tap_ok(f->counted ? !uncounted : uncounted && (kit_takes_all() || refused == uncounted),
	       "%s, %s: %u pages have no reference count", f->name, when, uncounted);
	check_counts(v, f, when);
}

void foreign_warm(struct vcpu *v, const struct foreign *f)
{
	struct guest_outcome out;

	for (uint32_t i = 0; i < f->pages; i++) {
		if (!page_usable(&f->start[i]))
			continue;
		kit_touch(v, KIT_WRITE, KIT_GPA + (uint64_t)i * KIT_PAGE, i, &out);
		if (out.end != GUEST_DONE)
			tap_bail("%s: page %u: %s", f->name, i, guest_describe(&out));
	}
}

void foreign_gone(struct vcpu *v, struct foreign *f)
{
	uint32_t gone = 0, new = 0;
	struct guest_outcome out;

	foreign_warm(v, f);
	for (uint32_t i = 0; i < f->pages; i++)
		*word(f->owner, i) = i;
	if (munmap(f->map, size_of(f)))
		tap_bail("munmap of %s: %s", f->name, strerror(errno));
	for (uint32_t i = 0; i < f->pages; i++) {
		kit_touch(v, KIT_READ, KIT_GPA + (uint64_t)i * KIT_PAGE, 0, &out);
		gone += kit_efault(&out);
	}
	tap_is(gone, f->pages, "%s: once unmapped, every page fails with EFAULT", f->name);

	if (mmap(f->map, size_of(f), KIT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    f->map)
		tap_bail("mmap: %s", strerror(errno));
	for (uint32_t i = 0; i < f->pages; i++) {
		*word(f->map, i) = ~(uint64_t)i;
		kit_touch(v, KIT_READ, KIT_GPA + (uint64_t)i * KIT_PAGE, 0, &out);
		if (out.end != GUEST_DONE || out.result != ~(uint64_t)i)
			continue;
		kit_touch(v, KIT_WRITE, KIT_GPA + (uint64_t)i * KIT_PAGE, 1, &out);
		new += *word(f->map, i) == 1 && *word(f->owner, i) == i;
	}
	tap_is(new, f->pages, "%s: the guest uses what is mapped in its place, and only that",
	       f->name);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	munmap(f->map, size_of(f));
	free(f->start);
	f->start = NULL;
}
