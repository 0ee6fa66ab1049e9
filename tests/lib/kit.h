/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of guest memory share: exporter buffers as memslots, their pages before and after,
 * what KVM of the running kind must do with a page, and single accesses of a guest.
 *
 * Calls that cannot fail in a healthy host bail out with a line; the others return what came of
 * them. A typical test:
 *
 *	struct buf b;
 *
 *	kit_start();
 *	buf_open(&b, &(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = 64 });
 *	buf_map(&b, PROT_READ | PROT_WRITE);
 *	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
 *	...
 *	buf_unmap(&b);
 *	tap_ok(!buf_changes(&b), "...");
 *	buf_close(&b);
 *	return kit_finish();
 */
#ifndef KIT_H
#define KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "exporter/pfnmap_exporter.h"
#include "vmm/vmm.h"
#include "tests/lib/tap.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define KIT_PAGE 4096u
#define KIT_HUGE 0x200000u
#define KIT_SLOT 1u
#define KIT_GPA	 0x40000000ull /* a multiple of 1 GiB that every mode reaches */

#define KIT_RW (PROT_READ | PROT_WRITE)

/* ---- where the test runs ---- */

/* To be called first: notes what has leaked so far and has the program killed after 5 minutes. */
void kit_start(void);

/* One more check, that the exporter had no page to leak since kit_start(), then tap_done(). */
int kit_finish(void);

/*
 * A parameter of kvm, kvm_amd or kvm_intel as the loaded module has it: kit_param("kvm_amd",
 * "npt"). Bails when there is no such parameter.
 */
bool kit_param(const char *module, const char *name);

/*
 * Two-dimensional paging is in use (AMD's NPT, Intel's EPT), that is not npt=0 or ept=0 (shadow
 * paging).
 */
bool kit_tdp(void);

/* The mode for guests that may have any: VCPU_LONG, or VCPU_PAE where KVM has no 64-bit guests. */
enum vcpu_mode kit_mode(void);

/*
 * The KVM that is loaded maps pages that have a struct page but no reference count: patched KVM
 * does with nested paging on a 64-bit host, nothing else does. What the heads of the tests say of
 * stock KVM goes for patched KVM with shadow paging and on a 32-bit host, too.
 */
bool kit_takes_all(void);

/* The TDP MMU is in use, which a 32-bit KVM does not have. */
bool kit_tdp_mmu(void);

/* The host's kernel is of this version or newer: kit_kernel(6, 12). */
bool kit_kernel(unsigned int major, unsigned int minor);

/*
 * Until the program ends, have the kernel count in PG_referenced and PG_active how often a page was
 * marked accessed. With the multi-generational LRU, which Debian's 6.12 uses and its 6.1 does not,
 * it counts elsewhere and leaves PG_referenced set.
 */
void kit_count_marks(void);

/*
 * Have pages put where they wait in batches to be: on the LRU, or elsewhere on it. Not to be used
 * while page cache is looked at (which PFNMAP_REPORT settles).
 */
void kit_settle(void);

/*
 * For races on a host with one processor, where nothing else happens while the kernel is at work:
 * have it preempt itself at any moment, and let this thread go on as soon as it can, or no longer.
 * On more processors, which the emulator has take turns, flushes of the TLB make them take turns at
 * the wrong moment. Preemption is as before when the program ends.
 */
void kit_preempt(void);
void kit_go_first(bool first);

/*
 * "DRA", or '-' instead, of a page of anonymous memory: dirty, referenced, active. A static buffer.
 */
const char *kit_flags(const void *page);

/*
 * Have all memory that this program uses from now on in a control group of its own, until it ends.
 * Write one of the group's files; returns 0 or -errno of the write.
 */
void kit_cgroup(void);
int kit_cgroup_put(const char *file, const char *text);

/* ---- exporter buffers ---- */

struct buf {
	struct pfnmap_create spec;
	int fd;
	size_t size;		   /* bytes */
	char *map;		   /* NULL: not mapped */
	struct pfnmap_page *start; /* the pages as buf_open() left them */
};

/*
 * Create a buffer. Bails, except for the errors that PFNMAP_CREATE has for a machine without room
 * or device: ENODEV, ENOSPC and ENOMEM return false, with nothing to close.
 */
bool buf_try_open(struct buf *b, const struct pfnmap_create *spec);

/* The same without an exception. */
void buf_open(struct buf *b, const struct pfnmap_create *spec);

/* The buffer with the name, PFNMAP_BUFFER_PATH, for programs that take a path. Bails. */
void buf_open_named(struct buf *b, const struct pfnmap_create *spec);

/*
 * Anonymous memory in the place of a buffer, for comparison; it is mapped from the start. Its words
 * can be read and written, buf_changes() has nothing to say about it, and it has no driver to call.
 */
void buf_open_anon(struct buf *b, uint32_t pages);

/*
 * Can this host not have such a buffer, because there is no device with memory? Then a check is
 * counted as skipped, which says so.
 */
bool buf_missing(const struct pfnmap_create *spec);

/* Map all of it, anywhere, with PROT_* flags; b->map. Take it away again. */
void buf_map(struct buf *b, int prot);
void buf_unmap(struct buf *b);

/* Give everything back; unmaps first what is mapped. */
void buf_close(struct buf *b);

/*
 * At the end of a test: unmap it, one check that buf_changes() has nothing to say, named by the
 * buffer and a printf-style text, then buf_close().
 */
void buf_end(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Describe all pages as they are now; the caller frees the array. */
struct pfnmap_page *buf_report(const struct buf *b);

/* Take the present state as the one that buf_changes() compares with. */
void buf_mark(struct buf *b);

/*
 * Compare with the state that buf_open() or buf_mark() left: pfn, count and mapcount of every page
 * are equal, so are the flags, except for dirty, referenced and active of refcounted pages, which
 * KVM sets. Returns NULL or a line, in a static buffer, about the first difference.
 */
const char *buf_changes(const struct buf *b);

/* An ioctl without argument structure: PFNMAP_REVOKE, PFNMAP_MOVE, PFNMAP_FREE, PFNMAP_REFUSE. */
void buf_do(const struct buf *b, unsigned long request, unsigned long arg);

struct pfnmap_old buf_check_old(const struct buf *b);
struct pfnmap_stats buf_stats(const struct buf *b);

/* The word at `offset` bytes, by the driver's side and not by a mapping. */
uint64_t buf_word(const struct buf *b, uint64_t offset);
void buf_set_word(const struct buf *b, uint64_t offset, uint64_t value);

/* "noncompound order 3, one, read-only first", in a buffer of the calling thread. */
const char *buf_name(const struct buf *b);

/* ---- expectations ---- */

/* Does KVM, whichever, get a reference to this page through a page table entry of the buffer? */
bool page_refcounted(const struct pfnmap_page *page);

/* Can a guest use this page under the KVM that is loaded (unless inserted by a huge entry)? */
bool page_usable(const struct pfnmap_page *page);

/*
 * The distance in bytes from one page that the guest can use to the next, counted from the start
 * of the buffer: KIT_PAGE, or the size of a chunk where only its first page is refcounted.
 */
uint64_t buf_stride(const struct buf *b);

/* ---- accesses ---- */

enum kit_access { KIT_READ, KIT_WRITE, KIT_EXEC, KIT_NR_ACCESSES };
extern const char *const kit_access_names[KIT_NR_ACCESSES];

/*
 * One access by the guest to the page at gpa. KIT_READ: loads a word, out->result. KIT_WRITE:
 * stores value in a word. KIT_EXEC: calls the code there, out->result. Returns as guest_call().
 */
int kit_touch(struct vcpu *v, enum kit_access access, uint64_t gpa, uint64_t value,
	      struct guest_outcome *out);

/* Did KVM_RUN fail with EFAULT? */
bool kit_efault(const struct guest_outcome *out);

/* ---- faults ahead of the guest ---- */

/* Newer than the headers of Debian 12. */
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#define KVM_PRE_FAULT_MEMORY	 _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
struct kvm_pre_fault_memory {
	__u64 gpa;
	__u64 size;
	__u64 flags;
	__u64 padding[5];
};
#endif

/* Does the host's KVM have the call? Linux 6.1 has not, and shadow paging neither. */
bool kit_prefaults(void);

/* KVM_PRE_FAULT_MEMORY: 0 or -errno; *range then tells what is left. */
int kit_prefault(struct vcpu *v, struct kvm_pre_fault_memory *range);

/* ---- the kvmclock ---- */

/* Write MSR_KVM_SYSTEM_TIME_NEW: the place of the vCPU's clock, gpa | 1, or 0 for none. Bails. */
void kit_set_clock(struct vcpu *v, uint64_t value);

/* Have KVM write the clocks of all vCPUs, each before its guest runs on. */
void kit_update_clocks(struct vm *vm);

/* ---- calls that may not come back ---- */

/*
 * The processor time of a vCPU's thread in milliseconds, between vcpu_start() and vcpu_join(); -1
 * if it has ended.
 */
int64_t kit_cpu_ms(const struct vcpu *v);

#endif
