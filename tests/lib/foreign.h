/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buffers of drivers that know nothing of our tests, shared by a guest and their owner, page by
 * page. The module pfnmap_exporter must be loaded, because PFNMAP_LOOK describes their pages.
 *
 * Calls that cannot fail in a healthy host end the test if they do. A typical test:
 *
 *	f.map = foreign_map(fd, 0, f.pages);
 *	foreign_look(&f);
 *	foreign_slot(vm, &f);
 *	foreign_use(v, &f, "mapped");
 *	foreign_gone(v, &f);
 */
#ifndef FOREIGN_H
#define FOREIGN_H

#include "tests/lib/kit.h"

struct foreign {
	const char *name;
	uint32_t pages; /* of 4096 bytes */
	char *map;	/* what the guest gets: a VM_PFNMAP mapping of all pages */
	char *owner;	/* the owner's view of the same memory, which must be another mapping */
	bool counted;	/* every page has a reference count, so that stock KVM can map it */
	struct pfnmap_page *start; /* the pages as foreign_look() found them; NULL: not yet */
};

/* Map all pages of a file from offset, readable, writable and shared; NULL with errno. */
void *foreign_map(int fd, uint64_t offset, uint32_t pages);

/* Touch every page in both views and note its state. Call it again when the pages have changed. */
void foreign_look(struct foreign *f);

/* Make it the memslot KIT_SLOT at KIT_GPA. */
void foreign_slot(struct vm *vm, const struct foreign *f);

/*
 * Three checks, named after the buffer and `when`: each page that the loaded KVM can map is shared
 * by the guest and the owner in both directions, and for each other one KVM_RUN fails with EFAULT;
 * there are such pages exactly where there should be; their counts and flags have not changed when
 * the memslot is gone, which then comes back.
 */
void foreign_use(struct vcpu *v, struct foreign *f, const char *when);

/* The guest touches every page that it can use, so that KVM maps them all. */
void foreign_warm(struct vcpu *v, const struct foreign *f);

/*
 * Two checks: after munmap() of its mapping, which the guest has been using, KVM_RUN fails with
 * EFAULT for every page; once other memory is mapped there, the guest uses that, and the owner's
 * view keeps its content. The caller may close its files before. Frees what foreign_look()
 * allocated, but not the owner's view.
 */
void foreign_gone(struct vcpu *v, struct foreign *f);

#endif
