/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of guest memory: exporter buffers as memslots, the state of their pages
 * before and after, what the loaded KVM must do with a page, and single accesses by a guest.
 *
 * Calls that cannot fail in a healthy host bail out; the others return their outcome. A typical
 * test:
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
#include "rig/module/rig_lookup.h"
#include "vmm/vmm.h"
#include "tests/lib/tap.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define KIT_PAGE 4096u
#define KIT_HUGE 0x200000u
#define KIT_SLOT 1u
#define KIT_GPA	 0x40000000ull /* a multiple of 1 GiB that every mode reaches */

#define KIT_RW (PROT_READ | PROT_WRITE)

/* ---- the host ---- */

/*
 * Call this first: it notes how many pages have leaked so far, and limits the program to 5 minutes.
 */
void kit_start(void);

/* One more check, that the exporter had no page to leak since kit_start(), then tap_done(). */
int kit_finish(void);

/*
 * A parameter of kvm, kvm_amd or kvm_intel as the loaded module has it: kit_param("kvm_amd",
 * "npt"). Bails when there is no such parameter.
 */
bool kit_param(const char *module, const char *name);

/*
 * Nested paging is in use (AMD's NPT, Intel's EPT), and not shadow paging (npt=0, ept=0).
 */
bool kit_tdp(void);

/* The mode for guests that may have any: VCPU_LONG, or VCPU_PAE where KVM has no 64-bit guests. */
enum vcpu_mode kit_mode(void);

/*
 * The loaded KVM maps non-refcounted pages that have a struct page: only patched KVM with nested
 * paging on a 64-bit host does. Where a test describes the behavior of stock KVM, it also means
 * patched KVM with shadow paging or on a 32-bit host.
 */
bool kit_takes_all(void);

/* The TDP MMU is in use; 32-bit KVM has none. */
bool kit_tdp_mmu(void);

/* The host's kernel has at least this version: kit_kernel(6, 12). */
bool kit_kernel(unsigned int major, unsigned int minor);

/*
 * Let the host have this number of hugetlb pages, of 2 MiB each. Bails if the kernel does not find
 * the memory.
 */
void kit_huge_pages(unsigned int pages);

/* Write one of the kernel's settings, a file in /proc or /sys. Bails. */
void kit_put(const char *path, const char *text);

/* Have KVM look a page of a VM up, with the module rig_lookup. Bails. */
struct rig_lookup kit_look_up(const struct vm *vm, enum rig_lookup_call call, uint64_t gpa);

/* Mount debugfs until the program ends, unless it is mounted. Bails. */
#define KIT_DEBUGFS "/sys/kernel/debug"
void kit_mount_debugfs(void);

/*
 * Until the program ends, make the kernel count in PG_referenced and PG_active how often a page was
 * marked accessed. With the multi-generational LRU, which Debian's 6.12 uses and its 6.1 does not,
 * it counts elsewhere and leaves PG_referenced set.
 */
void kit_count_marks(void);

/*
 * Empty the batches in which pages wait to be put on the LRU, or moved on it. Not for tests of page
 * cache, which this drops and PFNMAP_REPORT settles.
 */
void kit_settle(void);

/*
 * For races on a host with one processor, where nothing else runs while the kernel does: let the
 * kernel preempt itself at any moment, and let this thread run before all others, or no longer.
 * With several processors, the emulator runs one at a time, and TLB flushes make it switch at the
 * wrong moment. Preemption is restored when the program ends.
 */
void kit_preempt(void);
void kit_go_first(bool first);

/*
 * Does a thread of this program sleep in a function of the kernel whose name contains `name`? The
 * locks themselves do not count, but what waits for them does.
 */
bool kit_sleeps_in(pid_t tid, const char *name);

/* Let this thread run on one CPU only. Bails if the host does not have it. */
void kit_bind_to(int cpu);

/*
 * Until the program ends, let kit_fail_allocation() make allocations of all sizes fail, also those
 * that may sleep. Returns false if the kernel cannot (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC).
 */
bool kit_enable_failures(void);

/*
 * Make the nth allocation from now on fail that this thread makes in the kernel; 0: none. Returns
 * false if the thread has made fewer since the last call.
 */
bool kit_fail_allocation(unsigned int nth);

/*
 * Describe a page of anonymous memory as dirty, referenced, active, "DRA", with '-' for what it is
 * not. The buffer is static.
 */
const char *kit_flags(const void *page);

/*
 * Move this program to a new control group, which accounts its memory from now on until it ends.
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
 * Create a buffer. Returns false, with nothing to close, if PFNMAP_CREATE finds no device or no
 * room (ENODEV, ENOSPC, ENOMEM); bails on other errors.
 */
bool buf_try_open(struct buf *b, const struct pfnmap_create *spec);

/* The same, but bails on all errors. */
void buf_open(struct buf *b, const struct pfnmap_create *spec);

/* The buffer with the path PFNMAP_BUFFER_PATH, for programs that need one. Bails. */
void buf_open_named(struct buf *b, const struct pfnmap_create *spec);

/*
 * Anonymous memory instead of a buffer, for comparison. It is mapped from the start, and its words
 * can be read and written. buf_changes() finds no changes, and there is no driver to call.
 */
void buf_open_anon(struct buf *b, uint32_t pages);

/*
 * Does this host lack the device for such a buffer? If so, this counts as a skipped check.
 */
bool buf_missing(const struct pfnmap_create *spec);

/* Map all of it at b->map, with PROT_* flags; unmap it. */
void buf_map(struct buf *b, int prot);
void buf_unmap(struct buf *b);

/* Unmap and free it. */
void buf_close(struct buf *b);

/*
 * At the end of a test: unmap it, check that buf_changes() finds none, and close it. The name of
 * the check is that of the buffer and a printf-style text.
 */
void buf_end(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Return the present state of all pages, an array that the caller frees. */
struct pfnmap_page *buf_report(const struct buf *b);

/* Make the present state the one that buf_changes() compares with. */
void buf_mark(struct buf *b);

/*
 * Compare two states of nr pages: the pfn, count, mapcount and flags of every page must be equal,
 * except for the flags dirty, referenced and active of refcounted pages, which KVM sets. Returns
 * NULL, or a line about the first difference, in a static buffer.
 */
const char *pages_differ(const struct pfnmap_page *before, const struct pfnmap_page *now,
			 uint32_t nr);

/* The same for the state at buf_open() or buf_mark() and the present one. */
const char *buf_changes(const struct buf *b);

/* An ioctl without argument structure: PFNMAP_REVOKE, PFNMAP_MOVE, PFNMAP_FREE, PFNMAP_REFUSE. */
void buf_do(const struct buf *b, unsigned long request, unsigned long arg);

struct pfnmap_old buf_check_old(const struct buf *b);
struct pfnmap_stats buf_stats(const struct buf *b);

/* Read and write the word at `offset` bytes through the driver, not through a mapping. */
uint64_t buf_word(const struct buf *b, uint64_t offset);
void buf_set_word(const struct buf *b, uint64_t offset, uint64_t value);

/* Read `len` bytes through the driver. Not for a buffer of buf_open_anon(). Bails. */
void buf_read(const struct buf *b, uint64_t offset, void *to, size_t len);

/* "noncompound order 3, one, read-only first", in a buffer of the calling thread. */
const char *buf_name(const struct buf *b);

/* ---- expectations ---- */

/* Does any KVM get a reference to this page through a page table entry of the buffer? */
bool page_refcounted(const struct pfnmap_page *page);

/* Can a guest use this page under the loaded KVM (unless a huge entry maps it)? */
bool page_usable(const struct pfnmap_page *page);

/*
 * The distance in bytes between pages that the guest can use, starting with the first one:
 * KIT_PAGE, or the size of a chunk if only its first page is refcounted.
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

/* Missing from the headers of Debian 12. */
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

/* Does the host's KVM support the call? Not on Linux 6.1, nor with shadow paging. */
bool kit_prefaults(void);

/* KVM_PRE_FAULT_MEMORY: 0 or -errno; *range becomes what is left to do. */
int kit_prefault(struct vcpu *v, struct kvm_pre_fault_memory *range);

/* ---- MSRs, the kvmclock ---- */

/* KVM_SET_MSRS for one MSR. Bails. */
void kit_set_msr(struct vcpu *v, uint32_t index, uint64_t value);

/* Write MSR_KVM_SYSTEM_TIME_NEW: the address of the vCPU's clock, gpa | 1, or 0: none. Bails. */
void kit_set_clock(struct vcpu *v, uint64_t value);

/* Make KVM write the clock of each vCPU before its guest continues. */
void kit_update_clocks(struct vm *vm);

/* ---- calls that may not return ---- */

/*
 * The processor time of a vCPU's thread in milliseconds, between vcpu_start() and vcpu_join(); -1
 * if the thread has ended.
 */
int64_t kit_cpu_ms(const struct vcpu *v);

#endif
