/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmm.h - libvmm, a small library on the raw KVM ioctls: VMs, vCPUs, memslots, and calls into a
 * bare-metal guest.
 *
 * Errors. Functions that return int or int64_t give 0 (or the value asked for) or -errno, and
 * leave a line for vmm_error() that names the ioctl and the error. Functions that are said to
 * die are for set-up that a program cannot do without: they print such a line on standard error
 * and exit with status 2. VMM_MUST() makes the first kind die as well.
 *
 * Threads. A VM may be used by several threads at once, but calls that change its memslots or
 * its page tables are for one thread at a time. A vCPU belongs to one thread at a time: between
 * vcpu_start() or guest_start() and vcpu_join() or guest_join() that is the vCPU's own thread,
 * and other threads may only call vcpu_kick(), guest_progress() and guest_stop(). vmm_error()
 * is per thread.
 *
 * Units. Addresses, lengths and offsets are in bytes unless a name or a comment says pages
 * (4096 bytes).
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/guest.h"

#define VM_MAX_SLOTS 128u /* slot numbers 0 .. VM_MAX_SLOTS - 1; 0 is libvmm's own */

struct vm_slot {
	uint64_t gpa;
	uint64_t size; /* 0: no such slot */
	void *hva;
	uint32_t flags;
};

/* Fields are for reading. */
struct vm {
	int kvm;		      /* /dev/kvm */
	int fd;			      /* the VM */
	int stats_fd;		      /* -1: not opened yet; in struct vcpu likewise */
	void *low;		      /* memory of slot 0, GUEST_LOW_SIZE bytes */
	uint64_t next_table;	      /* next free page-table page in it */
	uint64_t root_pae, root_long; /* page tables; 0: not built yet */
	uint64_t root_nested;
	enum guest_nesting nesting; /* valid once there is a vCPU */
	unsigned int nr_vcpus;
	struct vm_slot slots[VM_MAX_SLOTS];
};

enum vcpu_mode {
	VCPU_REAL, /* 16 bit, segments with base 0 and limit 4 GiB: reaches the first 4 GiB */
	VCPU_PAE,  /* 32 bit protected mode with PAE paging: reaches 4 GiB */
	VCPU_LONG, /* 64 bit */
};

struct vcpu;

enum guest_end {
	GUEST_DONE,	  /* the guest finished: result and result2 are valid */
	GUEST_RUN_FAILED, /* KVM_RUN failed: err */
	GUEST_EXCEPTION,  /* the guest took one: vector, error_code, guest_rip, fault_addr */
	GUEST_EXIT,	  /* KVM_RUN returned otherwise: exit_reason and what belongs to it */
};

struct guest_outcome {
	enum guest_end end;
	uint64_t result; /* see enum guest_op */
	uint64_t result2;
	int err;	      /* GUEST_RUN_FAILED: positive errno; EINTR after vcpu_kick() */
	uint32_t exit_reason; /* GUEST_EXIT: KVM_EXIT_* */
	uint32_t suberror;    /* KVM_EXIT_INTERNAL_ERROR: KVM_INTERNAL_ERROR_* */
	uint64_t mmio_addr;   /* KVM_EXIT_MMIO: guest-physical address */
	uint32_t mmio_len;    /* KVM_EXIT_MMIO: bytes */
	bool mmio_write;      /* KVM_EXIT_MMIO */
	uint32_t vector;      /* GUEST_EXCEPTION */
	uint32_t error_code;  /* GUEST_EXCEPTION: 0 where the vector or the mode has none */
	uint64_t guest_rip;   /* GUEST_EXCEPTION: where it happened */
	uint64_t fault_addr;  /* GUEST_EXCEPTION with vector 14: CR2 */
};

/* Fields are for reading, except what KVM lets user space write in *run. */
struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	int stats_fd;
	struct kvm_run *run;
	size_t run_size;
	enum vcpu_mode mode;
	struct guest_block *block; /* this vCPU's command block in low guest memory */
	bool nested_paging;	   /* see vcpu_can_nest_paging() */
	bool idle;		   /* the guest waits for a command */
	bool active;		   /* it has a thread that is not joined yet */
	pthread_t thread;
	int (*fn)(struct vcpu *v, void *arg);
	void *arg;
	int ret;
	struct guest_outcome outcome; /* of guest_start() */
	struct kvm_sregs sregs;	      /* as KVM created it */
};

/* ---- errors ---- */

/* The line for the last libvmm call of this thread that failed; never NULL. */
const char *vmm_error(void);

/* Print a printf-style line on standard error and exit with status 2. */
void vmm_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Call a function of libvmm and die of its failure; the value is the function's. */
#define VMM_MUST(call)                                                         \
	({                                                                     \
		int64_t vmm_ret_ = (call);                                     \
		if (vmm_ret_ < 0)                                              \
			vmm_die("%s:%d: %s", __FILE__, __LINE__, vmm_error()); \
		vmm_ret_;                                                      \
	})

/*
 * Any other ioctl, with its name in the error: vmm_ioctl(v->fd, KVM_GET_XSAVE, &xsave). Returns
 * what the ioctl returns (>= 0) or -errno.
 */
#define vmm_ioctl(fd, request, arg) vmm_ioctl_named(fd, request, #request, (void *)(uintptr_t)(arg))
int vmm_ioctl_named(int fd, unsigned long request, const char *name, void *arg);

/* ---- VMs ---- */

/* vm_create() flags */
#define VM_IRQCHIP 1u /* KVM_CREATE_IRQCHIP; async page faults need it */

/*
 * Open /dev/kvm, create a VM, give it slot 0 with the guest program, descriptor tables and
 * stacks. Dies.
 */
struct vm *vm_create(unsigned int flags);

/*
 * Free everything; its vCPUs must be destroyed before. Memory behind slots other than 0 stays
 * the caller's.
 */
void vm_destroy(struct vm *vm);

/*
 * KVM_CHECK_EXTENSION: 0 means not there, more means there, negative is -errno. vm may be NULL:
 * asks /dev/kvm.
 */
int vm_cap(struct vm *vm, unsigned int cap);

/* KVM_ENABLE_CAP on the VM with one argument. */
int vm_enable_cap(struct vm *vm, unsigned int cap, uint64_t arg);

/*
 * One number from KVM's binary statistics (KVM_GET_STATS_FD, Linux 5.14) by its name: of the
 * VM, say "pages_2m", or of one vCPU, say "pf_fixed" or "exits". -ENOENT: no such name. -EINVAL
 * or -ENOTTY: the kernel has no such interface.
 */
int64_t vm_stat(struct vm *vm, const char *name);
int64_t vcpu_stat(struct vcpu *v, const char *name);

/*
 * Anonymous private memory, zeroed on touch. size: bytes, a multiple of 4096; align: a power of
 * two, at least 4096 (2 MiB makes transparent huge pages possible). Dies. Give it back with
 * munmap(p, size).
 */
void *vm_anon(size_t size, size_t align);

/* ---- memslots ---- */

/*
 * Create, move, change the flags of, or (size 0) delete slot `slot`: KVM_SET_USER_MEMORY_REGION
 * as it is. gpa, size, hva: multiples of 4096. flags: KVM_MEM_READONLY,
 * KVM_MEM_LOG_DIRTY_PAGES. Every error of the ioctl, and -EINVAL for slot >= VM_MAX_SLOTS.
 */
int vm_slot_set(struct vm *vm, unsigned int slot, uint64_t gpa, uint64_t size, void *hva,
		uint32_t flags);

/* The same for an existing slot, changing one thing. -ENOENT: there is no such slot. */
int vm_slot_delete(struct vm *vm, unsigned int slot);
int vm_slot_move(struct vm *vm, unsigned int slot, uint64_t gpa);
int vm_slot_flags(struct vm *vm, unsigned int slot, uint32_t flags);

/* The host address of guest-physical address gpa, or NULL where no slot is. */
void *vm_hva(struct vm *vm, uint64_t gpa);

/*
 * KVM_GET_DIRTY_LOG: one bit per page of the slot, lowest address in bit 0 of bitmap[0]; the
 * bitmap has (pages + 63) / 64 elements. Also clears the log, unless
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled.
 */
int vm_dirty_get(struct vm *vm, unsigned int slot, uint64_t *bitmap);

/*
 * KVM_CLEAR_DIRTY_LOG for pages [first, first + pages) of the slot where the bitmap (bit 0 is
 * page `first`) has a 1. first: a multiple of 64; pages: likewise, or up to the end of the
 * slot. Needs vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1).
 */
int vm_dirty_clear(struct vm *vm, unsigned int slot, uint64_t first, uint32_t pages,
		   uint64_t *bitmap);

/* ---- the guest's page tables ---- */

#define VM_MAP_RO 1u /* not writable (CR0.WP is set) */
#define VM_MAP_NX 2u /* not executable */

/*
 * Map guest-virtual [gva, gva + len) to gpa in the tables of `mode` (VCPU_PAE or VCPU_LONG),
 * with pages of `page` bytes: 4096, 2 MiB or, in long mode, 1 GiB; gva, gpa and len are
 * multiples of it. Replaces what was there; a large page in the way is split. Both kinds of
 * tables start with the first 4 GiB mapped to themselves, writable and executable, with 2 MiB
 * pages, which is all that PAE can have. A vCPU takes notice with its next command. -ENOSPC: no
 * room for another table (one per 2 MiB of 4 KiB pages, about 200 in all). -EINVAL: bad
 * arguments.
 */
int vm_map(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t gpa, uint64_t len,
	   uint64_t page, uint32_t flags);

/*
 * The guest-physical address of the entry of 4 KiB that maps gva in these tables, for a test that
 * has the guest change it; a large page is split. -ENOSPC, -EINVAL: as above.
 */
int64_t vm_entry(struct vm *vm, enum vcpu_mode mode, uint64_t gva);

/*
 * The same for the tables of GUEST_NPT, NPT or EPT as the processor has it, by which nested
 * guests see guest-physical memory at their own physical addresses, gpa2. The VM needs a vCPU
 * before. In all formats bit 1 of an entry is that for writing.
 */
int vm_map_nested(struct vm *vm, uint64_t gpa2, uint64_t gpa, uint64_t len, uint64_t page,
		  uint32_t flags);
int64_t vm_nested_entry(struct vm *vm, uint64_t gpa2);

/* ---- vCPUs ---- */

/*
 * Create a vCPU with all the CPUID bits KVM supports and put it into `mode`, at the start of
 * the guest program. Up to GUEST_MAX_VCPUS in a VM, in any mix of modes. Dies.
 */
struct vcpu *vcpu_create(struct vm *vm, enum vcpu_mode mode);

/*
 * Can the guest run nested guests (GUEST_VMRUN), and with nested paging (GUEST_NPT)? KVM offers
 * that by CPUID and MSRs. Commands that need what is not there fail with -EOPNOTSUPP, unrun.
 */
bool vcpu_can_nest(const struct vcpu *v);
bool vcpu_can_nest_paging(const struct vcpu *v);

/* Free it; its thread must be joined. The kernel keeps the vCPU until the VM goes. */
void vcpu_destroy(struct vcpu *v);

/*
 * Put the vCPU back at the start of the guest program in its mode, whatever happened to it (a
 * failed KVM_RUN, an exception, SHUTDOWN, an unfinished MMIO, a nested guest). guest_call() and
 * guest_start() do it by themselves when the last call did not end with GUEST_DONE.
 */
int vcpu_reset(struct vcpu *v);

/* KVM_GET/SET_REGS and KVM_GET/SET_SREGS. */
int vcpu_get_regs(struct vcpu *v, struct kvm_regs *regs);
int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *regs);
int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *sregs);
int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *sregs);

/*
 * KVM_RUN once. 0: see v->run->exit_reason. -EINTR: kicked (the request is used up) or another
 * signal. -EFAULT and others: the guest's instruction pointer stands where it was, a further
 * vcpu_run() tries again.
 */
int vcpu_run(struct vcpu *v);

/* Run fn(v, arg) in a thread of its own, which owns the vCPU until vcpu_join(). Dies. */
void vcpu_start(struct vcpu *v, int (*fn)(struct vcpu *v, void *arg), void *arg);

/* Wait for that thread; returns what fn returned. */
int vcpu_join(struct vcpu *v);

/*
 * Make the vCPU's running or next vcpu_run() return -EINTR (immediate_exit and SIGUSR1, for
 * which libvmm has an empty handler). To be called between vcpu_start() and vcpu_join().
 */
void vcpu_kick(struct vcpu *v);

/* ---- calls into the guest ---- */

/*
 * Let the guest carry out *cmd and wait for the end. 0: GUEST_DONE. -errno of KVM_RUN:
 * GUEST_RUN_FAILED. -EIO: GUEST_EXCEPTION or GUEST_EXIT. *out (may be NULL) is always filled
 * in. A command that the vCPU's mode cannot reach ends with GUEST_RUN_FAILED, EINVAL, unrun.
 *
 *	guest_call(v, &(struct guest_cmd){ .op = GUEST_FILL, .gpa = gpa, .len = len, .value = 7 },
 *		   &out);
 */
int guest_call(struct vcpu *v, const struct guest_cmd *cmd, struct guest_outcome *out);

/*
 * Go on with a call that ended with GUEST_RUN_FAILED (same instruction again) or GUEST_EXIT
 * (for KVM_EXIT_MMIO the access is done: a store is gone, a load gets v->run->mmio.data).
 * Returns as guest_call().
 */
int guest_resume(struct vcpu *v, struct guest_outcome *out);

/* guest_call() in the vCPU's own thread. Dies of a command that the mode cannot reach. */
void guest_start(struct vcpu *v, const struct guest_cmd *cmd);

/* Finished passes of a GUEST_LOOP so far, modulo 2^32. */
uint32_t guest_progress(struct vcpu *v);

/* Wait until `passes` more passes are finished; -ETIMEDOUT after `ms` milliseconds. */
int guest_wait_progress(struct vcpu *v, uint32_t passes, unsigned int ms);

/*
 * End a GUEST_LOOP after its present pass. A call that begins takes an earlier stop back: where
 * the thread is one of vcpu_start() that calls guest_call(), wait for progress first.
 */
void guest_stop(struct vcpu *v);

/* Wait for the end of guest_start(); returns as guest_call(). */
int guest_join(struct vcpu *v, struct guest_outcome *out);

/*
 * Say an outcome in words, in a buffer of the calling thread: "KVM_RUN: Bad address",
 * "KVM_EXIT_MMIO write of 8 at 0x...".
 */
const char *guest_describe(const struct guest_outcome *out);

/* The checksum that GUEST_READ computes, of host memory. */
uint64_t guest_sum(const void *mem, uint64_t len, uint64_t stride);

/*
 * Machine code for GUEST_EXEC in the vCPU's mode: return imm in eax. Writes it to code
 * (VCPU_CODE_SIZE bytes).
 */
#define VCPU_CODE_SIZE 8u
void vcpu_code(const struct vcpu *v, void *code, uint32_t imm);

#endif
