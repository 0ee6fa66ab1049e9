// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the VMM's threads do to the memory, the memslot and the VM. Each operation follows from the
 * seed and its number alone; what it finds in its place does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/torture/torture.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PAUSE_TOUCHES 12
#define PAUSE_TICKS   8
#define MAX_KEPT      2048u /* pages of a buffer */
#define MAX_LOST      3
#define MAX_HOLD_MS   4

const char *const op_names[NR_OPS] = {
	[OP_MAP] = "map",	  [OP_UNMAP] = "unmap",	  [OP_REVOKE] = "revoke",
	[OP_MOVE] = "move",	  [OP_FREE] = "free",	  [OP_REFUSE] = "refuse",
	[OP_HOLD] = "hold",	  [OP_LOSE] = "lose",	  [OP_PROTECT] = "protect",
	[OP_REMAP] = "remap",	  [OP_MUNMAP] = "munmap", [OP_ADVISE] = "advise",
	[OP_PEEK] = "peek",	  [OP_CHECK] = "check",	  [OP_KICK] = "kick",
	[OP_FORK] = "fork",	  [OP_LOG] = "log",	  [OP_SLOT] = "slot",
	[OP_RECLAIM] = "reclaim", [OP_REBOOT] = "reboot",
};

static const unsigned int weights[NR_OPS] = {
	[OP_MAP] = 24,	 [OP_UNMAP] = 3,  [OP_REVOKE] = 12, [OP_MOVE] = 14,   [OP_FREE] = 3,
	[OP_REFUSE] = 5, [OP_HOLD] = 4,	  [OP_LOSE] = 12,   [OP_PROTECT] = 8, [OP_REMAP] = 5,
	[OP_MUNMAP] = 5, [OP_ADVISE] = 8, [OP_PEEK] = 4,    [OP_CHECK] = 4,   [OP_KICK] = 5,
	[OP_FORK] = 3,	 [OP_LOG] = 6,	  [OP_SLOT] = 6,    [OP_RECLAIM] = 1, [OP_REBOOT] = 2,
};

atomic_uint done_ops[NR_OPS];
atomic_ulong spent_ops[NR_OPS];

/* Of those who leave addresses unmapped for a moment, which nothing else may take. */
static pthread_mutex_t mm_lock = PTHREAD_MUTEX_INITIALIZER;

enum op_kind op_kind(uint64_t seed, uint32_t i)
{
	unsigned int sum = 0, at;
	enum op_kind kind = 0;

	for (int k = 0; k < NR_OPS; k++)
		sum += weights[k];
	at = hash(seed, i) % sum;
	while (at >= weights[kind])
		at -= weights[kind++];
	return kind;
}

/* Let the guests run: until they have touched some memory, or for a few milliseconds. */
static void pause_a_while(void)
{
	unsigned int start = world.touches;

	for (int i = 0; i < PAUSE_TICKS && world.touches - start < PAUSE_TOUCHES; i++)
		tick();
}

/* ---- what a place has ---- */

static void change(struct place *p, const struct state *to, unsigned int extra)
{
	history_add(&p->history, &(struct change){ *place_state(p), *to, extra });
}

static void changed(struct place *p, const struct state *to)
{
	history_add(&p->history, &(struct change){ *to, *to, 0 });
}

/* Outcomes while the driver removes entries: stock does not repeat a lookup that lost a race. */
static unsigned int racing(const struct state *s)
{
	return s->blob && s->blob->pfnmap && !tap_kvm_patched() ? OUT_EFAULT : 0;
}

static void reserve(char *at, size_t size, int flags)
{
	if (mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0) !=
	    at)
		tap_bail("mmap of a reservation: %s", strerror(errno));
}

static void move(char *from, char *to, size_t size)
{
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		tap_bail("mremap: %s", strerror(errno));
}

static char *grave(const struct vmm *m, unsigned int i)
{
	return m->graves + i % NR_RETIRED * KIT_HUGE;
}

static void retire_first(struct vmm *m)
{
	struct retired *first = &m->retired[m->first_retired % NR_RETIRED];
	size_t size = (size_t)first->blob->pages * KIT_PAGE;
	bool anon = first->blob->backing == BACK_ANON;
	char *at = grave(m, m->first_retired);

	if (anon && mprotect(at, size, PROT_READ))
		tap_bail("mprotect: %s", strerror(errno));
	blob_retire(first->blob, at, first->freed);
	if (anon)
		reserve(at, size, MAP_FIXED);
	m->first_retired++;
	m->nr_retired--;
}

void retire(struct vmm *m, unsigned int left)
{
	for (;;) {
		while (m->nr_retired &&
		       touches_ended(m->retired[m->first_retired % NR_RETIRED].inside))
			retire_first(m);
		if (m->nr_retired <= left)
			break;
		touches_stop();
		tick();
	}
}

/* Put new memory, or a hole, in place of the old, which must come out right in the end. */
void place_set(struct vmm *m, struct place *p, struct blob *new)
{
	const struct state old = *place_state(p);
	const struct state next = { .blob = new, .prot = KIT_RW };
	size_t size = (size_t)p->pages * KIT_PAGE;
	bool anon = old.blob && old.blob->backing == BACK_ANON;
	unsigned int last;

	retire(m, NR_RETIRED - 1);
	last = m->first_retired + m->nr_retired;
	change(p, &next, racing(&old) | racing(&next) | (anon ? OUT_EFAULT : 0));
	pthread_mutex_lock(&mm_lock);
	/* What the guest stored in anonymous memory can only be seen where that is mapped. */
	if (anon)
		move(p->at, grave(m, last), size);
	if (new)
		blob_map(new, p->at, KIT_RW);
	else
		reserve(p->at, size, MAP_FIXED);
	pthread_mutex_unlock(&mm_lock);
	changed(p, &next);
	if (!old.blob)
		return;
	m->retired[last % NR_RETIRED] = (struct retired){ .blob = old.blob, .freed = old.freed };
	touches_note(m->retired[last % NR_RETIRED].inside);
	m->nr_retired++;
}

/* ---- the driver ---- */

static bool driver_has(const struct state *s)
{
	return s->blob && s->blob->backing == BACK_DRIVER && !s->freed;
}

static void revoke_pages(struct place *p)
{
	const struct state s = *place_state(p);

	change(p, &s, racing(&s));
	buf_do(&s.blob->b, PFNMAP_REVOKE, 0);
	changed(p, &s);
}

static void replace_pages(struct place *p, bool free, uint64_t r)
{
	struct state s = *place_state(p), next = s;
	bool keep = r % 4 && s.blob->kept + p->pages <= MAX_KEPT;

	next.freed = free;
	change(p, &next, racing(&s));
	if (ioctl(s.blob->b.fd, free ? PFNMAP_FREE : PFNMAP_MOVE, keep ? PFNMAP_KEEP_OLD : 0)) {
		/* There is no other room in the BAR. */
		if (free || (errno != ENOMEM && errno != ENOSPC))
			tap_bail("PFNMAP_MOVE or PFNMAP_FREE of %s: %s", buf_name(&s.blob->b),
				 strerror(errno));
		next = s;
	} else if (keep) {
		s.blob->kept += p->pages;
	}
	changed(p, &next);
	s.blob->moved = p->history.now;
}

static void refuse(struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);

	change(p, &s, OUT_EFAULT);
	buf_do(&s.blob->b, PFNMAP_REFUSE, 1 + r % (PFNMAP_NR_REFUSES - 1));
	if (r & 256)
		buf_do(&s.blob->b, PFNMAP_REVOKE, 0);
	pause_a_while();
	buf_do(&s.blob->b, PFNMAP_REFUSE, PFNMAP_REFUSE_OFF);
	changed(p, &s);
}

static void hold(struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);
	unsigned long how = 1 + r % (PFNMAP_NR_HOLDS - 1);

	/* A handler that makes no progress, and one that a signal interrupts on stock. */
	change(p, &s, how == PFNMAP_HOLD_BUSY ? OUT_EFAULT : racing(&s));
	buf_do(&s.blob->b, PFNMAP_REVOKE, 0);
	buf_do(&s.blob->b, PFNMAP_HOLD, how | PFNMAP_HOLD_MS(1 + (r >> 8) % MAX_HOLD_MS));
	pause_a_while();
	buf_do(&s.blob->b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
	changed(p, &s);
}

static void lose(struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);

	change(p, &s, racing(&s));
	for (unsigned int i = 0; i <= (r >> 8) % MAX_LOST; i++) {
		buf_do(&s.blob->b, PFNMAP_LOSE, 1 + r % MAX_LOST);
		buf_do(&s.blob->b, PFNMAP_REVOKE, 0);
		pause_a_while();
	}
	buf_do(&s.blob->b, PFNMAP_LOSE, 0);
	changed(p, &s);
}

/* ---- the VMM's mapping ---- */

static void protect(struct place *p, uint64_t r)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ, KIT_RW, KIT_RW, KIT_RW };
	struct state s = *place_state(p);

	s.prot = prots[r % ARRAY_SIZE(prots)];
	change(p, &s, racing(&s));
	if (mprotect(p->at, (size_t)p->pages * KIT_PAGE, s.prot))
		tap_bail("mprotect: %s", strerror(errno));
	changed(p, &s);
}

static void remap(struct vmm *m, struct place *p)
{
	const struct state s = *place_state(p);
	size_t size = (size_t)p->pages * KIT_PAGE;

	change(p, &s, OUT_EFAULT);
	pthread_mutex_lock(&mm_lock);
	move(p->at, m->parking, size);
	reserve(p->at, size, MAP_FIXED_NOREPLACE);
	pause_a_while();
	move(m->parking, p->at, size);
	reserve(m->parking, size, MAP_FIXED_NOREPLACE);
	pthread_mutex_unlock(&mm_lock);
	changed(p, &s);
}

static void unmap(struct place *p)
{
	const struct state s = *place_state(p);
	size_t size = (size_t)p->pages * KIT_PAGE;

	change(p, &s, OUT_EFAULT);
	pthread_mutex_lock(&mm_lock);
	munmap(p->at, size);
	pause_a_while();
	if (mmap(p->at, size, s.prot, MAP_SHARED | MAP_FIXED_NOREPLACE, s.blob->b.fd, 0) != p->at)
		tap_bail("mmap of a blob: %s", strerror(errno));
	pthread_mutex_unlock(&mm_lock);
	changed(p, &s);
}

/* Some of it makes no sense for some memory, and fails. */
static void advise(struct place *p, uint64_t r)
{
	static const int anon[] = { MADV_PAGEOUT,    MADV_COLD,	     MADV_HUGEPAGE,
				    MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_UNMERGEABLE,
				    MADV_COLLAPSE,   MADV_PAGEOUT,   MADV_COLLAPSE };
	static const int other[] = { MADV_PAGEOUT, MADV_COLD, MADV_DONTNEED, MADV_COLLAPSE };
	const struct state s = *place_state(p);
	bool is_anon = s.blob->backing == BACK_ANON;

	madvise(p->at, (size_t)p->pages * KIT_PAGE,
		is_anon ? anon[r % ARRAY_SIZE(anon)] : other[r % ARRAY_SIZE(other)]);
}

static bool readable(const struct state *s)
{
	return s->blob && !s->freed && s->prot != PROT_NONE;
}

/* The VMM itself reads the page. */
static void peek(struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);
	uint32_t page = r % p->pages;
	uint64_t word = *(volatile uint64_t *)(p->at + (size_t)page * KIT_PAGE);

	if (word != blob_canary(s.blob, page))
		violated(INV_READ, "the VMM reads %#llx in page %u of %s", (unsigned long long)word,
			 page, buf_name(&s.blob->b));
}

/* The child has copies of all page tables for a moment, and of what it stores to. */
static void fork_vmm(struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);
	pid_t pid = fork();

	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		volatile char *byte = p->at + (size_t)(r % p->pages) * KIT_PAGE + PAGE_USED;

		if (readable(&s))
			(void)*byte;
		if (readable(&s) && s.blob->backing == BACK_ANON && s.prot & PROT_WRITE)
			*byte = 1;
		pause_a_while();
		_exit(0);
	}
	pause_a_while();
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- the VM ---- */

static void log_set(uint32_t flag)
{
	log_stop();
	world.slot_flags = (world.slot_flags & ~KVM_MEM_LOG_DIRTY_PAGES) | flag;
	VMM_MUST(vm_slot_flags(world.vm, KIT_SLOT, world.slot_flags));
	if (flag)
		log_start();
}

static void log_dirty(uint64_t r)
{
	if (r % 4 == 0)
		log_set(~world.slot_flags & KVM_MEM_LOG_DIRTY_PAGES);
	else
		log_read();
	if (world.slot_flags & KVM_MEM_LOG_DIRTY_PAGES) {
		pause_a_while();
		log_read();
	}
}

static void change_slot(uint64_t r)
{
	unsigned int now = world.slot_flags & KVM_MEM_READONLY ? SLOT_RO : SLOT_RW;
	uint32_t flags = r % 4 ? 0 : KVM_MEM_READONLY;
	unsigned int next = flags ? SLOT_RO : SLOT_RW;

	log_stop();
	if (r & 256) {
		history_add_slot(&world.slot, now | SLOT_ABSENT);
		VMM_MUST(vm_slot_move(world.vm, KIT_SLOT, OTHER_GPA));
		pause_a_while();
		VMM_MUST(vm_slot_move(world.vm, KIT_SLOT, KIT_GPA));
		history_add_slot(&world.slot, now);
		log_set(world.slot_flags & KVM_MEM_LOG_DIRTY_PAGES);
		return;
	}
	history_add_slot(&world.slot, now | next | SLOT_ABSENT);
	VMM_MUST(vm_slot_delete(world.vm, KIT_SLOT));
	if (r & 512)
		pause_a_while();
	VMM_MUST(vm_slot_set(world.vm, KIT_SLOT, KIT_GPA, WINDOW_SIZE, world.window, flags));
	world.slot_flags = flags;
	history_add_slot(&world.slot, next);
}

static void reclaim(uint64_t r)
{
	if (r % 3 == 0) {
		/* 4: no line in the kernel log; 3: do it */
		kit_put("/proc/sys/vm/drop_caches", "4");
		kit_put("/proc/sys/vm/drop_caches", "3");
	} else if (r % 3 == 1) {
		kit_put("/proc/sys/vm/compact_memory", "1");
	} else {
		/* EAGAIN: there was less to reclaim. */
		kit_cgroup_put("memory.reclaim", "1048576");
	}
}

static void do_vm(enum op_kind kind, uint64_t r)
{
	pthread_mutex_lock(&world.vm_lock);
	switch (kind) {
	case OP_KICK:
		vcpu_kick(world.runners[r % NR_VCPUS].v);
		break;
	case OP_LOG:
		log_dirty(r);
		break;
	case OP_SLOT:
		change_slot(r);
		break;
	default:
		vm_end();
		pthread_mutex_lock(&mm_lock);
		vm_begin();
		pthread_mutex_unlock(&mm_lock);
	}
	pthread_mutex_unlock(&world.vm_lock);
}

static void do_place(struct vmm *m, enum op_kind kind, struct place *p, uint64_t r)
{
	const struct state s = *place_state(p);
	struct blob *new;

	switch (kind) {
	case OP_MAP:
		new = blob_create(p->pages, r);
		if (new)
			place_set(m, p, new);
		return;
	case OP_FORK:
		fork_vmm(p, r);
		return;
	case OP_UNMAP:
		place_set(m, p, NULL);
		return;
	case OP_PROTECT:
		if (s.blob)
			protect(p, r);
		return;
	case OP_REMAP:
		if (s.blob)
			remap(m, p);
		return;
	case OP_MUNMAP:
		if (s.blob && s.blob->backing != BACK_ANON && !s.freed)
			unmap(p);
		return;
	case OP_ADVISE:
		if (s.blob)
			advise(p, r);
		return;
	case OP_PEEK:
		if (readable(&s))
			peek(p, r);
		return;
	case OP_CHECK:
		if (s.blob)
			blob_check_old(s.blob);
		return;
	default:
		break;
	}
	if (!driver_has(&s))
		return;
	switch (kind) {
	case OP_REVOKE:
		revoke_pages(p);
		break;
	case OP_MOVE:
		replace_pages(p, false, r);
		break;
	case OP_FREE:
		/*
		 * KVM, stock as well, looks ordinary memory up in the background if the VM has an
		 * interrupt controller. It forgets there that the lookup failed, and the guest
		 * repeats the access as long as the pages are gone.
		 */
		if (s.blob->pfnmap || !world.irqchip)
			replace_pages(p, true, r);
		break;
	case OP_REFUSE:
		refuse(p, r);
		break;
	case OP_HOLD:
		hold(p, r);
		break;
	default:
		lose(p, r);
	}
}

void op_do(struct vmm *m, uint64_t seed, uint32_t i)
{
	enum op_kind kind = op_kind(seed, i);
	uint64_t r = hash(~seed, i), start = microseconds();
	struct place *p = &world.places[r % NR_PLACES];

	r >>= 8;
	switch (kind) {
	case OP_KICK:
	case OP_LOG:
	case OP_SLOT:
	case OP_REBOOT:
		do_vm(kind, r);
		break;
	case OP_RECLAIM:
		reclaim(r);
		break;
	default:
		pthread_mutex_lock(&p->lock);
		do_place(m, kind, p, r);
		pthread_mutex_unlock(&p->lock);
	}
	done_ops[kind]++;
	spent_ops[kind] += microseconds() - start;
}
