// SPDX-License-Identifier: GPL-2.0-only
/* The table of foreseen outcomes: what a touch may end with, given what was mapped meanwhile. */
#include "tests/torture/torture.h"

const char *const touch_names[NR_TOUCHES] = {
	[TOUCH_READ] = "read",
	[TOUCH_FILL] = "store",
	[TOUCH_ADD] = "lock xadd",
	[TOUCH_FST] = "fstp",
	[TOUCH_COPY] = "movsb",
	[TOUCH_EXEC] = "execute",
	[TOUCH_PREFAULT] = "prefault",
	[TOUCH_L2_READ] = "nested read",
	[TOUCH_L2_FILL] = "nested store",
};

void history_add(struct history *h, const struct change *change)
{
	unsigned int next = h->now + 1;

	h->changes[next % NR_CHANGES] = *change;
	h->now = next;
}

void history_add_slot(struct history *h, unsigned int slots)
{
	unsigned int next = h->now + 1;

	h->slots[next % NR_CHANGES] = slots;
	h->now = next;
}

const struct state *place_state(const struct place *p)
{
	return &p->history.changes[p->history.now % NR_CHANGES].to;
}

bool stores(enum touch touch)
{
	return touch == TOUCH_FILL || touch == TOUCH_ADD || touch == TOUCH_FST ||
	       touch == TOUCH_COPY || touch == TOUCH_L2_FILL;
}

/* How a store ends that KVM emulates, and finds no memory for. */
static unsigned int emulated(enum touch touch)
{
	return touch == TOUCH_ADD || touch == TOUCH_FST ? OUT_INTERNAL : OUT_MMIO;
}

/* The same if what the instruction loads first may be missing, too. */
static unsigned int interrupted(enum touch touch)
{
	return emulated(touch) | (touch == TOUCH_ADD ? OUT_MMIO : 0);
}

/* KVM may have to emulate a store, because it cannot make the page writable. */
static bool emulates(const struct state *s, enum touch touch)
{
	if (!s->blob || !s->blob->pfnmap || !stores(touch))
		return false;
	return s->blob->b.spec.flags & PFNMAP_CREATE_MKWRITE || !(s->prot & PROT_WRITE);
}

/* Where a memslot is. */
static unsigned int foresee_memory(const struct state *s, enum touch touch, uint32_t page)
{
	const struct blob *bl = s->blob;
	unsigned int out = OUT_DONE;

	if (!bl || s->freed)
		return OUT_EFAULT;
	/* KVM, stock as well, finds the driver's entry in spite of PROT_NONE, as read-only. */
	if (s->prot == PROT_NONE)
		return !bl->pfnmap   ? OUT_EFAULT :
		       stores(touch) ? OUT_EFAULT | interrupted(touch) :
				       OUT_EFAULT | OUT_DONE;
	if (bl->backing == BACK_DRIVER && bl->pfnmap) {
		if (!page_usable(&bl->b.start[page])) {
			/* Unless KVM emulates the store before it looks at the page. */
			out = OUT_EFAULT;
			if (emulates(s, touch) && s->prot & PROT_WRITE)
				out |= touch == TOUCH_FST ? OUT_INTERNAL : OUT_DONE;
		}
		/* Linux 6.1 does not follow 2 MiB entries, and stock does not like the tails. */
		if (bl->b.spec.insert == PFNMAP_INSERT_PMD &&
		    !(kit_takes_all() && kit_kernel(6, 12)))
			out |= OUT_DONE | OUT_EFAULT;
	}
	if (!stores(touch))
		return out;
	if (!(s->prot & PROT_WRITE)) {
		/* With an entry, the store is emulated; without one, the VMA refuses it. */
		return bl->pfnmap ? OUT_EFAULT | emulated(touch) : OUT_EFAULT;
	}
	/* Read-only first: KVM cannot emulate fstp. */
	if (touch == TOUCH_FST && emulates(s, touch))
		out |= OUT_INTERNAL;
	return out;
}

static unsigned int foresee_slot(unsigned int slot, const struct state *s, enum touch touch,
				 uint32_t page)
{
	switch (slot) {
	case SLOT_ABSENT:
		if (touch == TOUCH_EXEC || touch == TOUCH_FST)
			return OUT_INTERNAL;
		return OUT_MMIO;
	case SLOT_RO:
		/* These load first, or so the emulator tells KVM. */
		if (touch == TOUCH_COPY || touch == TOUCH_ADD)
			return OUT_MMIO | (touch == TOUCH_ADD ? OUT_INTERNAL : 0) |
			       (foresee_memory(s, TOUCH_READ, page) & OUT_EFAULT);
		if (stores(touch))
			return emulated(touch);
		return foresee_memory(s, touch, page);
	default:
		return foresee_memory(s, touch, page);
	}
}

static void add_blob(struct view *view, struct blob *bl)
{
	if (!bl)
		return;
	for (int i = 0; i < view->nr_blobs; i++)
		if (view->blobs[i] == bl)
			return;
	if (view->nr_blobs == (int)ARRAY_SIZE(view->blobs))
		view->overrun = true;
	else
		view->blobs[view->nr_blobs++] = bl;
}

struct view foresee(const struct place *p, unsigned int from, unsigned int to,
		    const struct history *slot, unsigned int slot_from, unsigned int slot_to,
		    enum touch touch, uint32_t page)
{
	struct view view = { .stable = from == to && slot_from == slot_to };
	bool emulation = false, memory = false;
	unsigned int slots = 0;

	/* The next change may be about to replace the oldest one. */
	if (to - from >= NR_CHANGES - 1 || slot_to - slot_from >= NR_CHANGES - 1) {
		view.overrun = true;
		return view;
	}
	for (unsigned int i = slot_from; i != slot_to + 1; i++)
		slots |= slot->slots[i % NR_CHANGES];
	if (slots & (slots - 1))
		view.stable = false;

	for (unsigned int i = from; i != to + 1; i++) {
		const struct change *c = &p->history.changes[i % NR_CHANGES];
		const struct state *states[] = { &c->from, &c->to };

		view.foreseen |= c->extra;
		for (size_t k = 0; k < ARRAY_SIZE(states); k++) {
			const struct state *s = states[k];

			for (unsigned int slot = SLOT_RW; slot <= SLOT_ABSENT; slot <<= 1)
				if (slots & slot)
					view.foreseen |= foresee_slot(slot, s, touch, page);
			emulation |= emulates(s, touch);
			memory |= s->blob && !s->freed && s->prot != PROT_NONE;
			add_blob(&view, s->blob);
			if (s->blob != c->from.blob || c->extra)
				view.stable = false;
		}
	}
	/* An emulated store finds that the memory has gone since the guest tried. */
	if (emulation && view.foreseen & ~OUT_DONE)
		view.foreseen |= interrupted(touch);
	/* KVM emulates what finds no memslot, and may then find one, with pages that it refuses. */
	if (slots & SLOT_ABSENT && slots != SLOT_ABSENT && memory && touch != TOUCH_FST &&
	    touch != TOUCH_PREFAULT)
		view.foreseen |= OUT_DONE;
	/* It loses a race, or its memslot is away, between a load and a store. */
	if (slots & SLOT_ABSENT && stores(touch) && slots != SLOT_ABSENT)
		view.foreseen |= OUT_MMIO | OUT_INTERNAL;
	if (slots & SLOT_ABSENT && slots != SLOT_ABSENT && touch == TOUCH_PREFAULT)
		view.foreseen |= OUT_AGAIN;
	return view;
}
