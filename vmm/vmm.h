/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmm.h - libvmm, a small library on the raw KVM ioctls: VMs, vCPUs, memslots, and calls into a
 * bare-metal guest.
 *
 * Errors. Functions that return int or int64_t return 0 (or the requested value) or -errno. On
 * failure, vmm_error() returns a line that names the ioctl and the error. Functions whose comment
 * says "dies" perform set-up that a program needs in any case: on failure they print such a line on
 * standard error and exit with status 2. VMM_MUST() makes the first kind die, too.
 *
 * Threads. Several threads may use a VM at once, but only one thread at a time may change its
 * memslots or page tables. A vCPU belongs to one thread at a time. From vcpu_start() or
 * guest_start() until vcpu_join() or guest_join(), that is the vCPU's own thread; other threads may
 * then only call vcpu_kick(), guest_progress() and guest_stop(). vmm_error() is per thread.
 *
 * Units. Addresses, lengths and offsets are in bytes unless a name or comment says pages (4096
 * bytes).
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/guest.h"

#define VM_MAX_SLOTS 128u /* slots 0 to VM_MAX_SLOTS - 1; slot 0 is libvmm's own */

struct vm_slot {
	uint64_t gpa;
	uint64_t size; /* 0: no such slot */
	void *hva;
	uint32_t flags;
};

/* Read-only for users. */
struct vm {
	int kvm;		      /* /dev/kvm */
	int fd;			      /* the VM */
	int stats_fd;		      /* -1: not opened yet; the same in struct vcpu */
	void *low;		      /* memory of slot 0, GUEST_LOW_SIZE bytes */
	uint64_t next_table;	      /* next free page in it for page tables */
	uint64_t root_pae, root_long; /* page tables; 0: not built yet */
	uint64_t root_nested;
	enum guest_nesting nesting; /* valid once there is a vCPU */
	unsigned int nr_vcpus;
	struct vm_slot slots[VM_MAX_SLOTS];
};

enum vcpu_mode {
	VCPU_REAL, /* 16-bit, segments with base 0 and limit 4 GiB: reaches the first 4 GiB */
	VCPU_PAE,  /* 32-bit protected mode with PAE paging: reaches 4 GiB */
	VCPU_LONG, /* 64-bit */
};

struct vcpu;

enum guest_end {
	GUEST_DONE,	  /* the guest finished: result and result2 are valid */
	GUEST_RUN_FAILED, /* KVM_RUN failed: err */
	GUEST_EXCEPTION,  /* exception in the guest: vector, error_code, guest_rip, fault_addr */
	GUEST_EXIT,	  /* any other exit: exit_reason and its details */
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
	uint32_t error_code;  /* GUEST_EXCEPTION: 0 if the vector or the mode has none */
	uint64_t guest_rip;   /* GUEST_EXCEPTION: where it happened */
	uint64_t fault_addr;  /* GUEST_EXCEPTION with vector 14: CR2 */
};

/* Read-only for users, except for the fields of *run that user space may write. */
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
	bool idle;		   /* the guest is waiting for a command */
	bool active;		   /* its thread has not been joined yet */
	pthread_t thread;
	int (*fn)(struct vcpu *v, void *arg);
	void *arg;
	int ret;
	struct guest_outcome outcome; /* of guest_start() */
	struct kvm_sregs sregs;	      /* as created by KVM */
};

/* ---- errors ---- */

/* The error line of this thread's last libvmm call that failed; never NULL. */
const char *vmm_error(void);

/* Print a line on standard error, printf-style, and exit with status 2. */
void vmm_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Call a function of libvmm and die if it fails; evaluates to its return value. */
#define VMM_MUST(call)                                                         \
	({                                                                     \
		int64_t vmm_ret_ = (call);                                     \
		if (vmm_ret_ < 0)                                              \
			vmm_die("%s:%d: %s", __FILE__, __LINE__, vmm_error()); \
		vmm_ret_;                                                      \
	})

/*
 * Call any other ioctl, such as vmm_ioctl(v->fd, KVM_GET_XSAVE, &xsave). Errors name it. Returns
 * its return value (>= 0) or -errno.
 */
#define vmm_ioctl(fd, request, arg) vmm_ioctl_named(fd, request, #request, (void *)(uintptr_t)(arg))
int vmm_ioctl_named(int fd, unsigned long request, const char *name, void *arg);

/* ---- VMs ---- */

/* vm_create() flags */
#define VM_IRQCHIP   1u /* KVM_CREATE_IRQCHIP; async page faults need it */
#define VM_PROTECTED 2u /* KVM_X86_SW_PROTECTED_VM, with private memory, if the kernel has that */

/*
 * Open /dev/kvm and create a VM whose slot 0 contains the guest program, descriptor tables and
 * stacks. Dies.
 */
struct vm *vm_create(unsigned int flags);

/*
 * Free the VM; its vCPUs must be destroyed first. Memory behind slots other than 0 remains the
 * caller's.
 */
void vm_destroy(struct vm *vm);

/*
 * KVM_CHECK_EXTENSION: 0 if the capability is missing, positive if it exists, or -errno. If vm is
 * NULL, it asks /dev/kvm.
 */
int vm_cap(struct vm *vm, unsigned int cap);

/* KVM_ENABLE_CAP on the VM with one argument. */
int vm_enable_cap(struct vm *vm, unsigned int cap, uint64_t arg);

/*
 * One value from KVM's binary statistics (KVM_GET_STATS_FD, Linux 5.14), by name: of the VM, such
 * as "pages_2m", or of one vCPU, such as "pf_fixed" or "exits". -ENOENT: no such name. -EINVAL or
 * -ENOTTY: the kernel lacks the interface.
 */
int64_t vm_stat(struct vm *vm, const char *name);
int64_t vcpu_stat(struct vcpu *v, const char *name);

/*
 * Map anonymous private memory. size: a multiple of 4096; align: a power of two, at least 4096 (2
 * MiB makes transparent huge pages possible). Dies. Free it with munmap(p, size).
 */
void *vm_anon(size_t size, size_t align);

/* ---- memslots ---- */

/*
 * KVM_SET_USER_MEMORY_REGION: create or move slot `slot`, change its flags, or delete it (size 0).
 * gpa, size, hva: multiples of 4096. flags: KVM_MEM_READONLY, KVM_MEM_LOG_DIRTY_PAGES. Returns the
 * ioctl's errors, and -EINVAL for slot >= VM_MAX_SLOTS.
 */
int vm_slot_set(struct vm *vm, unsigned int slot, uint64_t gpa, uint64_t size, void *hva,
		uint32_t flags);

/* The same for an existing slot, with one change. -ENOENT: no such slot. */
int vm_slot_delete(struct vm *vm, unsigned int slot);
int vm_slot_move(struct vm *vm, unsigned int slot, uint64_t gpa);
int vm_slot_flags(struct vm *vm, unsigned int slot, uint32_t flags);

/* The host address of guest-physical address gpa, or NULL if no slot contains it. */
void *vm_hva(struct vm *vm, uint64_t gpa);

/*
 * KVM_GET_DIRTY_LOG: one bit per page of the slot, with the lowest address in bit 0 of bitmap[0];
 * the bitmap has (pages + 63) / 64 elements. Also clears the log unless
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled.
 */
int vm_dirty_get(struct vm *vm, unsigned int slot, uint64_t *bitmap);

/*
 * KVM_CLEAR_DIRTY_LOG for those pages of [first, first + pages) in the slot whose bit is set in the
 * bitmap (bit 0 is page `first`). first: a multiple of 64; pages: the same, or up to the end of the
 * slot. Needs vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1).
 */
int vm_dirty_clear(struct vm *vm, unsigned int slot, uint64_t first, uint32_t pages,
		   uint64_t *bitmap);

/* ---- the guest's page tables ---- */

#define VM_MAP_RO 1u /* not writable (CR0.WP is set) */
#define VM_MAP_NX 2u /* not executable */

/*
 * Map guest-virtual [gva, gva + len) to gpa in the tables of `mode` (VCPU_PAE or VCPU_LONG), with
 * pages of `page` bytes: 4096, 2 MiB or, in long mode, 1 GiB. gva, gpa and len are multiples of it.
 * Replaces existing mappings and splits large pages where necessary. Initially, both kinds of
 * tables map the first 4 GiB (all that PAE can reach) to themselves, writable and executable, with
 * 2 MiB pages. A vCPU sees the change when it runs its next command. -ENOSPC: no room for another
 * table (one per 2 MiB of 4 KiB pages, about 200 in all). -EINVAL: bad arguments.
 */
int vm_map(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t gpa, uint64_t len,
	   uint64_t page, uint32_t flags);

/*
 * The guest-physical address of the 4 KiB entry that maps gva in these tables, so that the guest
 * can change it. Splits a large page. -ENOSPC, -EINVAL: as above.
 */
int64_t vm_entry(struct vm *vm, enum vcpu_mode mode, uint64_t gva);

/*
 * The same for the tables of GUEST_NPT (NPT or EPT, depending on the processor), which map a nested
 * guest's physical addresses, gpa2, to guest-physical memory. The VM must have a vCPU. In all
 * formats, bit 1 of an entry allows writing.
 */
int vm_map_nested(struct vm *vm, uint64_t gpa2, uint64_t gpa, uint64_t len, uint64_t page,
		  uint32_t flags);
int64_t vm_nested_entry(struct vm *vm, uint64_t gpa2);

/* ---- vCPUs ---- */

/*
 * Create a vCPU with all CPUID bits that KVM supports, in mode `mode`, at the start of the guest
 * program. A VM can have up to GUEST_MAX_VCPUS of them, in any mix of modes. Dies.
 */
struct vcpu *vcpu_create(struct vm *vm, enum vcpu_mode mode);

/*
 * Can the guest run nested guests (GUEST_VMRUN), and with nested paging (GUEST_NPT)? This depends
 * on CPUID and MSRs. Commands that need a missing feature fail with -EOPNOTSUPP and are not run.
 */
bool vcpu_can_nest(const struct vcpu *v);
bool vcpu_can_nest_paging(const struct vcpu *v);

/* Free the vCPU; its thread must be joined. The kernel keeps it until the VM is destroyed. */
void vcpu_destroy(struct vcpu *v);

/*
 * Reset the vCPU to the start of the guest program in its mode, whatever its state (a failed
 * KVM_RUN, an exception, SHUTDOWN, an unfinished MMIO access, a nested guest). guest_call() and
 * guest_start() do this if the previous call did not end with GUEST_DONE.
 */
int vcpu_reset(struct vcpu *v);

/* KVM_GET/SET_REGS and KVM_GET/SET_SREGS. */
int vcpu_get_regs(struct vcpu *v, struct kvm_regs *regs);
int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *regs);
int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *sregs);
int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *sregs);

/*
 * Call KVM_RUN once. 0: see v->run->exit_reason. -EINTR: a kick, which is then used up, or another
 * signal. -EFAULT and others: the guest's instruction pointer has not moved; another vcpu_run()
 * tries again.
 */
int vcpu_run(struct vcpu *v);

/* Run fn(v, arg) in a new thread, which owns the vCPU until vcpu_join(). Dies. */
void vcpu_start(struct vcpu *v, int (*fn)(struct vcpu *v, void *arg), void *arg);

/* Wait for that thread. Returns the return value of fn. */
int vcpu_join(struct vcpu *v);

/*
 * Make the vCPU's current or next vcpu_run() return -EINTR, by immediate_exit and SIGUSR1, for
 * which libvmm installs an empty handler. Call it between vcpu_start() and vcpu_join().
 */
void vcpu_kick(struct vcpu *v);

/* ---- calls into the guest ---- */

/*
 * Let the guest carry out *cmd, and wait for it. 0: GUEST_DONE. -errno of KVM_RUN:
 * GUEST_RUN_FAILED. -EIO: GUEST_EXCEPTION or GUEST_EXIT. *out, unless out is NULL, is always filled
 * in. A command with addresses beyond the reach of the vCPU's mode is not run: GUEST_RUN_FAILED,
 * EINVAL.
 *
 *	guest_call(v, &(struct guest_cmd){ .op = GUEST_FILL, .gpa = gpa, .len = len, .value = 7 },
 *		   &out);
 */
int guest_call(struct vcpu *v, const struct guest_cmd *cmd, struct guest_outcome *out);

/*
 * Continue a call that ended with GUEST_RUN_FAILED, at the same instruction, or with GUEST_EXIT.
 * After KVM_EXIT_MMIO the access counts as done: a store is dropped, a load gets v->run->mmio.data.
 * Returns the same as guest_call().
 */
int guest_resume(struct vcpu *v, struct guest_outcome *out);

/* guest_call() in the vCPU's own thread. Dies if the mode cannot reach the addresses. */
void guest_start(struct vcpu *v, const struct guest_cmd *cmd);

/* Number of finished passes of a GUEST_LOOP, modulo 2^32. */
uint32_t guest_progress(struct vcpu *v);

/* Wait for `passes` more passes; -ETIMEDOUT after `ms` milliseconds. */
int guest_wait_progress(struct vcpu *v, uint32_t passes, unsigned int ms);

/*
 * End a GUEST_LOOP after its current pass. A new call cancels earlier stops: if a thread of
 * vcpu_start() calls guest_call(), wait for progress first.
 */
void guest_stop(struct vcpu *v);

/* Wait for the call of guest_start() to end. Returns the same as guest_call(). */
int guest_join(struct vcpu *v, struct guest_outcome *out);

/*
 * Describe an outcome, in a buffer of the calling thread: "KVM_RUN: Bad address", "KVM_EXIT_MMIO,
 * store of 8 bytes at 0x...".
 */
const char *guest_describe(const struct guest_outcome *out);

/* The checksum of GUEST_READ, computed over host memory. */
uint64_t guest_sum(const void *mem, uint64_t len, uint64_t stride);

/*
 * Write machine code for GUEST_EXEC in the vCPU's mode to code (VCPU_CODE_SIZE bytes): it returns
 * imm in eax.
 */
#define VCPU_CODE_SIZE 8u
void vcpu_code(const struct vcpu *v, void *code, uint32_t imm);

#endif
