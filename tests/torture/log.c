// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log, a bitmap or rings: it names every page where a store has ended since it was read
 * the last time, and no page that no guest has touched.
 *
 * A store that meets a change of the log is not judged.
 */
#include <errno.h>
#include <string.h>

#include "tests/torture/torture.h"

/* Of a vCPU; small enough to become full now and then. */
#define RING_ENTRIES 1024u
#define RING_SIZE    (RING_ENTRIES * sizeof(struct kvm_dirty_gfn))

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int generation; /* of a log that goes on */
static bool on;
static bool owed[WINDOW_PAGES];		  /* a store ended here */
static atomic_bool touched[WINDOW_PAGES]; /* by a guest of this VM */
static struct {
	struct kvm_dirty_gfn *gfns;
	uint32_t next;
} rings[NR_VCPUS];
static bool has_rings;

void log_begin(bool want_rings)
{
	int size = vm_cap(world.vm, KVM_CAP_DIRTY_LOG_RING);

	memset(touched, 0, sizeof(touched));
	memset(rings, 0, sizeof(rings));
	has_rings = want_rings && size >= (int)RING_SIZE;
	if (has_rings)
		VMM_MUST(vm_enable_cap(world.vm, KVM_CAP_DIRTY_LOG_RING, RING_SIZE));
}

void log_begin_vcpu(const struct runner *r)
{
	void *map;

	if (!has_rings)
		return;
	map = mmap(NULL, RING_SIZE, KIT_RW, MAP_SHARED, r->v->fd,
		   (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * KIT_PAGE);
	if (map == MAP_FAILED)
		tap_bail("mmap of a dirty ring: %s", strerror(errno));
	rings[r->number].gfns = map;
}

void log_end(void)
{
	for (int i = 0; i < NR_VCPUS; i++)
		if (rings[i].gfns)
			munmap(rings[i].gfns, RING_SIZE);
	memset(rings, 0, sizeof(rings));
	log_stop();
}

static void note(uint64_t page, bool *dirty)
{
	if (page >= WINDOW_PAGES)
		violated(INV_LOG, "the dirty log has page %#llx", (unsigned long long)page);
	else
		dirty[page] = true;
}

/* Take what is in the rings, and give the entries back, which protects the pages again. */
static void read_rings(bool *dirty)
{
	for (int i = 0; i < NR_VCPUS; i++) {
		struct kvm_dirty_gfn *gfn = &rings[i].gfns[rings[i].next % RING_ENTRIES];

		while (__atomic_load_n(&gfn->flags, __ATOMIC_ACQUIRE) == KVM_DIRTY_GFN_F_DIRTY) {
			if (gfn->slot == KIT_SLOT)
				note(gfn->offset, dirty);
			__atomic_store_n(&gfn->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			gfn = &rings[i].gfns[++rings[i].next % RING_ENTRIES];
		}
	}
	VMM_MUST(vmm_ioctl(world.vm->fd, KVM_RESET_DIRTY_RINGS, 0));
}

static void read_bitmap(bool *dirty)
{
	uint64_t bitmap[WINDOW_PAGES / 64];

	VMM_MUST(vm_dirty_get(world.vm, KIT_SLOT, bitmap));
	for (uint32_t i = 0; i < WINDOW_PAGES; i++)
		dirty[i] = bitmap[i / 64] >> i % 64 & 1;
}

static void compare(const bool *dirty)
{
	for (uint32_t i = 0; i < WINDOW_PAGES; i++) {
		if (owed[i] && !dirty[i])
			violated(INV_LOG, "a store to page %u of the memslot is not logged", i);
		if (dirty[i] && !touched[i])
			violated(INV_LOG,
				 "page %u of the memslot is logged, which no guest has "
				 "touched",
				 i);
	}
}

void log_read(void)
{
	bool dirty[WINDOW_PAGES] = { false };

	pthread_mutex_lock(&log_lock);
	if (has_rings)
		read_rings(dirty);
	else if (on)
		read_bitmap(dirty);
	if (on)
		compare(dirty);
	memset(owed, 0, sizeof(owed));
	generation++;
	pthread_mutex_unlock(&log_lock);
}

void log_start(void)
{
	pthread_mutex_lock(&log_lock);
	on = true;
	generation++;
	pthread_mutex_unlock(&log_lock);
}

void log_stop(void)
{
	pthread_mutex_lock(&log_lock);
	on = false;
	generation++;
	memset(owed, 0, sizeof(owed));
	pthread_mutex_unlock(&log_lock);
}

static uint64_t window_page(const struct place *p, uint32_t page)
{
	return (p->gpa - KIT_GPA) / KIT_PAGE + page;
}

unsigned int log_touch(const struct place *p, uint32_t page)
{
	unsigned int now;

	touched[window_page(p, page)] = true;
	pthread_mutex_lock(&log_lock);
	now = generation;
	pthread_mutex_unlock(&log_lock);
	return now;
}

void log_stored(const struct place *p, uint32_t page, unsigned int since)
{
	pthread_mutex_lock(&log_lock);
	if (on && generation == since)
		owed[window_page(p, page)] = true;
	pthread_mutex_unlock(&log_lock);
}
