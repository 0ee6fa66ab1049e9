/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the torture test: what is mapped where and was a moment ago (model.c), the memory
 * (blob.c), the guests' touches (touch.c), the dirty log (log.c), the VMM's operations (ops.c), and
 * the runs (torture.c).
 *
 * Any thread may report a violation at any time; the first one ends the run.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/kit.h"

#define NR_VCPUS   3
#define NR_VMMS	   2 /* threads that change memory */
#define NR_PLACES  12
#define NR_CHANGES 64 /* that a place remembers */

#define WINDOW_PAGES 2048u
#define WINDOW_SIZE  ((size_t)WINDOW_PAGES * KIT_PAGE)
#define OTHER_GPA    (KIT_GPA + 0x10000000ull) /* where the memslot moves to */

/* ---- violations ---- */

enum invariant {
	INV_OUTCOME, /* every touch ends as foreseen */
	INV_READ,    /* no guest or host reads another page's bytes */
	INV_STORE,   /* no store is lost, or done twice */
	INV_OLD,     /* nothing writes to a page that the driver took back */
	INV_LOG,     /* the dirty log has what was stored */
	INV_DIRTY,   /* pages that were stored to are dirty */
	INV_COUNT,   /* counts and flags are as they were */
	INV_STUCK,   /* every thread goes on */
	NR_INVARIANTS,
};

/* Note a violation, printf-style, and have the run end. */
void violated(enum invariant inv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- randomness ---- */

/* A number that depends on the two arguments alone. */
static inline uint64_t hash(uint64_t a, uint64_t b)
{
	uint64_t x = a * 0x9e3779b97f4a7c15ull + b + 1;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---- memory ---- */

enum backing { BACK_DRIVER, BACK_ANON, BACK_MEMFD };

/* A page's words: a canary at 0, code, and the words of each vCPU. */
#define PAGE_CODE    64u  /* for protected and long mode */
#define PAGE_CODE16  128u /* for real mode */
#define PAGE_FILL(v) (256u + 8 * (v))
#define PAGE_ADD(v)  (320u + 8 * (v))
#define PAGE_FST(v)  (384u + 8 * (v))
#define PAGE_COPY(v) (448u + 16 * (v))
#define PAGE_USED    512u

/* What vCPU v last stored in a page; written by its thread alone. */
struct stored {
	uint64_t fill;
	uint32_t add;
	bool unknown;  /* something may have gone to this page, or to another one */
	uint32_t when; /* index in the place's history: a guest stored in the page that was mapped */
};

struct blob {
	uint32_t id;
	enum backing backing;
	struct buf b; /* its fd is that of the memfd, or -1 */
	uint32_t pages;
	uint32_t moved; /* index in the place's history: the pages are new since */
	uint32_t kept;	/* pages that the driver keeps after it took them back */
	bool pfnmap;	/* VM_PFNMAP, so that KVM takes its pfns from page table entries */
	bool twins;	/* two pages at a time have the same content, for KSM */
	struct stored (*stored)[NR_VCPUS]; /* per page */
};

/* The word that identifies a page. */
uint64_t blob_canary(const struct blob *bl, uint32_t page);

/* Create memory of `pages` pages, with content, as the bits of r say. NULL: there was no room. */
struct blob *blob_create(uint32_t pages, uint64_t r);

/* The same, of the driver's pages. */
struct blob *blob_driver(const struct pfnmap_create *spec);

/* Map it at `at`, in place of what is there. Anonymous memory can be mapped once. */
void blob_map(struct blob *bl, char *at, int prot);

/*
 * Read bytes of a page through the driver or the file, or, for anonymous memory, where it is
 * mapped. False if they cannot be read.
 */
bool blob_peek(const struct blob *bl, const char *at, uint32_t page, uint32_t off, void *to,
	       uint32_t len);

/*
 * The end of a blob that no guest uses any more: check the content, unless it was freed, the kept
 * pages, counts and flags, and free it. Anonymous memory is still mapped, at `at`.
 */
void blob_retire(struct blob *bl, const char *at, bool freed);

/*
 * Has a page of the driver been written after it was taken back? Returns how many of those that the
 * driver keeps have a wrong count.
 */
uint64_t blob_check_old(const struct blob *bl);

/* ---- the model ---- */

/* What a place has; prot is that of the VMM's mapping. */
struct state {
	struct blob *blob; /* NULL: a hole */
	int prot;
	bool freed;
};

/* One change of a place: from `from` to `to`, which are equal once it is complete. */
struct change {
	struct state from, to;
	unsigned int extra; /* outcomes that are possible meanwhile */
};

/* A memslot that is there, read-only, or not there: a set, while it changes. */
#define SLOT_RW	    1u
#define SLOT_RO	    2u
#define SLOT_ABSENT 4u

struct history {
	atomic_uint now; /* index of the last change, modulo NR_CHANGES */
	struct change changes[NR_CHANGES];
	unsigned int slots[NR_CHANGES]; /* instead of changes, for the memslot */
};

/* Outcomes of a touch: a set. */
#define OUT_DONE     1u
#define OUT_EFAULT   2u
#define OUT_MMIO     4u
#define OUT_INTERNAL 8u	 /* KVM_EXIT_INTERNAL_ERROR */
#define OUT_AGAIN    16u /* KVM_PRE_FAULT_MEMORY: EAGAIN */
#define OUT_NOMEM    32u /* ENOMEM: an allocation was made to fail */
#define OUT_OTHER    64u /* never foreseen */
#define NR_OUTCOMES  7

enum touch {
	TOUCH_READ,
	TOUCH_FILL,
	TOUCH_ADD,
	TOUCH_FST,
	TOUCH_COPY,
	TOUCH_EXEC,
	TOUCH_PREFAULT,
	TOUCH_L2_READ, /* by a nested guest */
	TOUCH_L2_FILL,
	NR_TOUCHES,
};

extern const char *const touch_names[NR_TOUCHES];

/* Does it store something? */
bool stores(enum touch touch);

struct place {
	char *at;
	uint64_t gpa;
	uint32_t pages;
	pthread_mutex_t lock; /* of those who change it */
	struct history history;
};

/* Record a change; by the one thread that may change the place or the memslot. */
void history_add(struct history *h, const struct change *change);
void history_add_slot(struct history *h, unsigned int slots);
const struct state *place_state(const struct place *p);

/* What may have been in a place while a touch went on. */
struct view {
	unsigned int foreseen; /* outcomes */
	bool overrun;	       /* there were too many changes: nothing is known */
	bool stable;	       /* nothing changed */
	int nr_blobs;
	struct blob *blobs[8];
};

/*
 * The outcomes of a touch of a page between two readings of history.now, of the place and of the
 * memslot.
 */
struct view foresee(const struct place *p, unsigned int from, unsigned int to,
		    const struct history *slot, unsigned int slot_from, unsigned int slot_to,
		    enum touch touch, uint32_t page);

/* ---- the world ---- */

struct runner {
	struct vcpu *v;
	unsigned int number;
	uint64_t rng;
	atomic_uint inside; /* odd: in a touch */
	atomic_bool ended;  /* its thread can be joined */
	const char *touch;  /* for messages: the present one, and where it is */
	struct place *place;
	uint32_t page;
};

#define STEPS_ALL  UINT32_MAX
#define NR_RETIRED 8u

/* Memory that no touch finds any more; those that had begun may still use it. */
struct retired {
	struct blob *blob;
	bool freed;
	unsigned int inside[NR_VCPUS]; /* of the runners, at that moment */
};

struct vmm {
	pthread_t thread;
	unsigned int number;
	char *parking; /* reserved addresses for memory that is moved away for a while */
	char *graves;  /* the same, 2 MiB for each of the retired blobs */
	struct retired retired[NR_RETIRED]; /* a ring, from first_retired on */
	unsigned int first_retired, nr_retired;
	atomic_uint steps; /* operations begun; STEPS_ALL: its thread does nothing more */
	uint32_t op;	   /* the present one */
	const char *doing; /* its name */
};

struct world {
	uint64_t seed; /* of this world */
	char *window;  /* the memslot's memory: a reservation with places in it */
	struct place places[NR_PLACES];
	struct history slot;
	pthread_mutex_t vm_lock; /* of those who change the VM, its memslots or its vCPUs */
	struct vm *vm;
	uint32_t slot_flags;
	bool irqchip; /* in the kernel, as the VM has it; the same in all VMs of this world */
	struct runner runners[NR_VCPUS];
	struct vmm vmms[NR_VMMS];
	atomic_bool halt; /* vCPUs stop touching */
	atomic_uint touches;
	atomic_ulong passes; /* of all touches; those of a loop have several */
};

extern struct world world;
extern atomic_bool stopping; /* something was violated */

/* Counters of all runs. */
extern atomic_uint done_touches[NR_TOUCHES], outcomes[NR_OUTCOMES], unjudged;

/* The VM and the vCPUs' threads; with vm_lock held. */
void vm_begin(void);
void vm_end(void);

/* End the touches that repeat themselves until they are told; for threads without vm_lock. */
void touches_stop(void);

/* Note which touches are going on; tell whether these have ended. */
void touches_note(unsigned int inside[NR_VCPUS]);
bool touches_ended(const unsigned int inside[NR_VCPUS]);

/* Sleep for a millisecond or less, the unit of patience. */
void tick(void);

extern unsigned int patience; /* ticks */

/* The kernel can make allocations fail (CONFIG_FAULT_INJECTION); it does so where vCPUs run. */
extern bool fails_allocations;

/* The host's clock. */
uint64_t microseconds(void);

/* ---- the dirty log ---- */

/* For a new VM, before and after a vCPU is created, and at its end. */
void log_begin(bool want_rings);
void log_begin_vcpu(const struct runner *r);
void log_end(void);

/* Logging has begun; it is about to end, or may lose what it has. */
void log_start(void);
void log_stop(void);

/* Read and clear the log, and compare it with what the guests have stored. Any thread. */
void log_read(void);

/* A touch begins; a store has ended that began when log_touch() returned `since`. */
unsigned int log_touch(const struct place *p, uint32_t page);
void log_stored(const struct place *p, uint32_t page, unsigned int since);

/* ---- operations ---- */

enum op_kind {
	OP_MAP,	  /* put new memory in place of what is there */
	OP_UNMAP, /* leave a hole */
	OP_REVOKE,
	OP_MOVE,
	OP_FREE,
	OP_REFUSE, /* fail faults for a while */
	OP_HOLD,   /* delay them */
	OP_LOSE,   /* have them lose races */
	OP_PROTECT,
	OP_REMAP,  /* move the mapping away and back */
	OP_MUNMAP, /* leave no VMA for a while */
	OP_ADVISE,
	OP_PEEK,
	OP_CHECK,
	OP_KICK,
	OP_FORK,
	OP_LOG,	 /* dirty logging on, off, read */
	OP_SLOT, /* delete, create or move the memslot */
	OP_RECLAIM,
	OP_REBOOT, /* destroy the VM and create another one */
	NR_OPS,
};

extern const char *const op_names[NR_OPS];
extern atomic_uint done_ops[NR_OPS];
extern atomic_ulong spent_ops[NR_OPS]; /* microseconds, waits for locks included */

/* Operation number i of a seed. */
enum op_kind op_kind(uint64_t seed, uint32_t i);
void op_do(struct vmm *m, uint64_t seed, uint32_t i);

/* Put new memory in place of what is there, or leave a hole (NULL). The place's lock is held. */
void place_set(struct vmm *m, struct place *p, struct blob *new);

/*
 * Check and free what place_set() has replaced and no touch uses any more. Wait until no more than
 * `left` are left.
 */
void retire(struct vmm *m, unsigned int left);

/* ---- the test of the test ---- */

/* Forget violations. */
void violations_clear(void);

/* The violation of an invariant, or "". */
const char *violation(enum invariant inv);

/* Has this thread, which was at `seen` the last time, made no step for too long? */
struct watched {
	unsigned int seen, idle;
};
bool stands_still(struct watched *w, unsigned int now);

/* Note the vCPUs that stand still. */
void watch_vcpus(struct watched *vcpus);

/* Violate each invariant, and check that it is noticed. */
void self_test(void);

#endif
