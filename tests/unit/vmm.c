// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests the parts of libvmm that do not need KVM: page tables, slots, checksums, descriptions,
 * programs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/internal.h"
#include "tests/lib/tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Bits of a page table entry. */
#define P  0x1ull
#define W  0x2ull
#define PS 0x80ull
#define NX (1ull << 63)

/* Bits of an EPT entry. */
#define EPT_R	0x1ull
#define EPT_RWX 0x7ull
#define EPT_WB	0x330ull /* with the accessed and dirty bits */

/* A VM without a kernel; ASan guards the end of its low memory. */
static struct vm *new_vm(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		tap_bail("out of memory");
	vm->low = aligned_alloc(4 * KIB, GUEST_LOW_SIZE);
	if (!vm->low)
		tap_bail("out of memory");
	memset(vm->low, 0, GUEST_LOW_SIZE);
	vm->kvm = vm->fd = vm->stats_fd = -1;
	vm->next_table = GUEST_TABLES;
	return vm;
}

static void free_vm(struct vm *vm)
{
	free(vm->low);
	free(vm);
}

/*
 * Walk the tables as the processor does: return the entry that maps gva, and its size, or 0.
 */
static uint64_t walk(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t *size)
{
	uint64_t table = vm_page_root(vm, mode), entry = 0;
	int shift;

	for (shift = mode == VCPU_PAE ? 30 : 39; shift >= 12; shift -= 9) {
		if (table % 4096 || table < GUEST_TABLES || table + 4096 > GUEST_LOW_SIZE)
			return 0;
		memcpy(&entry, (char *)vm->low + table + (gva >> shift & 511) * 8, 8);
		if (!(entry & P))
			return 0;
		if (shift == 12 || entry & PS)
			break;
		table = entry & 0x000ffffffffff000ull;
	}
	*size = 1ull << shift;
	return entry;
}

/* Is gva mapped to gpa by a page of this size, with exactly these of the bits W and NX? */
static bool maps(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t gpa, uint64_t size,
		 uint64_t bits)
{
	uint64_t got_size = 0, entry = walk(vm, mode, gva, &got_size);

	return entry && got_size == size && (entry & (W | NX)) == bits &&
	       (entry & 0x000ffffffffff000ull & -size) + gva % size == gpa;
}

static void identity(void)
{
	static const enum vcpu_mode modes[] = { VCPU_PAE, VCPU_LONG };
	struct vm *vm = new_vm();

	for (int i = 0; i < 2; i++) {
		uint64_t bad = 0;

		for (uint64_t gva = 0; gva < 4 * GIB; gva += 2 * MIB)
			bad += !maps(vm, modes[i], gva + 0x123456, gva + 0x123456, 2 * MIB, W);
		tap_is(bad, 0, "mode %d: the first 4 GiB are mapped to themselves", modes[i]);
	}
	tap_ok(!maps(vm, VCPU_LONG, 4 * GIB, 4 * GIB, 2 * MIB, W), "the rest is not");
	free_vm(vm);
}

static void split(void)
{
	struct vm *vm = new_vm();
	uint64_t entry, size;

	tap_is(vm_map(vm, VCPU_LONG, 2 * MIB + 8 * KIB, GIB, 4 * KIB, 4 * KIB, VM_MAP_RO), 0,
	       "4 KiB in the middle of 2 MiB");
	tap_ok(maps(vm, VCPU_LONG, 2 * MIB + 8 * KIB, GIB, 4 * KIB, 0), "are mapped read-only");
	tap_ok(maps(vm, VCPU_LONG, 2 * MIB + 4 * KIB, 2 * MIB + 4 * KIB, 4 * KIB, W) &&
		       maps(vm, VCPU_LONG, 2 * MIB + 12 * KIB, 2 * MIB + 12 * KIB, 4 * KIB, W) &&
		       maps(vm, VCPU_LONG, 4 * MIB - 4 * KIB, 4 * MIB - 4 * KIB, 4 * KIB, W),
	       "their neighbours are as before");
	tap_ok(maps(vm, VCPU_LONG, 4 * MIB, 4 * MIB, 2 * MIB, W), "so are the next 2 MiB");
	entry = walk(vm, VCPU_LONG, 2 * MIB + 4 * KIB, &size);
	tap_ok(!(entry & PS), "bit 7 of a 4 KiB entry is PAT, not set");

	tap_is(vm_map(vm, VCPU_LONG, 8 * GIB, 5 * GIB, GIB, GIB, VM_MAP_NX), 0, "1 GiB");
	tap_ok(maps(vm, VCPU_LONG, 8 * GIB + 5 * MIB, 5 * GIB + 5 * MIB, GIB, W | NX), "is mapped");
	tap_is(vm_map(vm, VCPU_LONG, 8 * GIB + 2 * MIB, 0, 2 * MIB, 2 * MIB, 0), 0, "2 MiB of it");
	tap_ok(maps(vm, VCPU_LONG, 8 * GIB + 3 * MIB, MIB, 2 * MIB, W) &&
		       maps(vm, VCPU_LONG, 8 * GIB + 5 * MIB, 5 * GIB + 5 * MIB, 2 * MIB, W | NX),
	       "are changed, and the rest stays");

	tap_is(vm_map(vm, VCPU_PAE, 3 * GIB, 64 * GIB, 2 * MIB, 4 * KIB, VM_MAP_RO | VM_MAP_NX), 0,
	       "PAE reaches memory above 4 GiB");
	tap_ok(maps(vm, VCPU_PAE, 3 * GIB + MIB, 64 * GIB + MIB, 4 * KIB, NX), "with 4 KiB pages");
	tap_ok(maps(vm, VCPU_LONG, 3 * GIB, 3 * GIB, 2 * MIB, W), "long mode has its own tables");
	free_vm(vm);
}

/* Walk the tables as Intel's processors do: the entry that maps gpa2, or 0 if it is invalid. */
static uint64_t walk_ept(struct vm *vm, uint64_t gpa2, uint64_t *size)
{
	uint64_t table = vm_nested_root(vm), entry;

	for (int shift = 39;; shift -= 9) {
		memcpy(&entry, (char *)vm->low + table + (gpa2 >> shift & 511) * 8, 8);
		if (!(entry & EPT_R))
			return 0;
		*size = 1ull << shift;
		if (shift == 12 || entry & PS)
			return entry;
		/* Bits 3 to 7 of an entry that has a table below it are reserved. */
		if (entry & 0xf8 || (entry & EPT_RWX) != EPT_RWX)
			return 0;
		table = entry & 0x000ffffffffff000ull;
	}
}

static void nested(void)
{
	struct vm *vm = new_vm();
	uint64_t bad = 0, size = 0, entry;
	int64_t at;

	vm->nesting = GUEST_VMX;
	for (uint64_t gpa = 0; gpa < 4 * GIB; gpa += 2 * MIB)
		bad += walk_ept(vm, gpa, &size) != (gpa | EPT_WB | EPT_RWX | PS) || size != 2 * MIB;
	tap_is(bad, 0, "EPT maps the first 4 GiB to themselves, write-back");
	tap_is(vm_map_nested(vm, GIB + 4 * KIB, 64 * GIB, 4 * KIB, 4 * KIB, VM_MAP_RO | VM_MAP_NX),
	       0, "4 KiB in EPT");
	tap_is(walk_ept(vm, GIB + 4 * KIB, &size), 64 * GIB | EPT_WB | EPT_R,
	       "are mapped to be read only");
	tap_is(walk_ept(vm, GIB + 8 * KIB, &size), (GIB + 8 * KIB) | EPT_WB | EPT_RWX,
	       "their neighbours are as before, but not a large page");
	at = vm_nested_entry(vm, GIB + 4 * KIB);
	memcpy(&entry, (char *)vm->low + at, 8);
	tap_is(entry, 64 * GIB | EPT_WB | EPT_R, "vm_nested_entry() finds the entry");
	tap_ok(maps(vm, VCPU_LONG, GIB + 4 * KIB, GIB + 4 * KIB, 2 * MIB, W),
	       "the guest's own tables are separate");
	free_vm(vm);

	vm = new_vm();
	vm->nesting = GUEST_SVM;
	memcpy(&entry, (char *)vm->low + vm_nested_entry(vm, GIB), 8);
	tap_is(entry, GIB | 0x67, "NPT entries are those of long mode");
	memcpy(&entry, (char *)vm->low + vm_entry(vm, VCPU_LONG, GIB + 4 * KIB), 8);
	tap_is(entry, (GIB + 4 * KIB) | 0x67, "vm_entry() splits a large page");
	tap_is(vm_entry(vm, VCPU_REAL, 0), -EINVAL, "there is none in real mode");
	free_vm(vm);
}

static void limits(void)
{
	struct vm *vm = new_vm();
	uint64_t gva;
	int ret = 0;

	tap_is(vm_map(vm, VCPU_REAL, 0, 0, 4 * KIB, 4 * KIB, 0), -EINVAL, "no paging in real mode");
	tap_is(vm_map(vm, VCPU_PAE, 0, 0, GIB, GIB, 0), -EINVAL, "no 1 GiB pages in PAE");
	tap_is(vm_map(vm, VCPU_PAE, 4 * GIB - 4 * KIB, 0, 8 * KIB, 4 * KIB, 0), -EINVAL,
	       "nothing above 4 GiB in PAE");
	tap_is(vm_map(vm, VCPU_LONG, 0 - 4 * KIB, 0, 8 * KIB, 4 * KIB, 0), -EINVAL, "no overflow");
	tap_is(vm_map(vm, VCPU_LONG, 0, 0, 4 * KIB, 8 * KIB, 0), -EINVAL, "no 8 KiB pages");
	tap_is(vm_map(vm, VCPU_LONG, 4 * KIB, 0, 2 * MIB, 2 * MIB, 0), -EINVAL, "gva is aligned");
	tap_is(vm_map(vm, VCPU_LONG, 0, 512, 4 * KIB, 4 * KIB, 0), -EINVAL, "gpa is aligned");
	tap_is(vm_map(vm, VCPU_LONG, 0, 0, 5 * KIB, 4 * KIB, 0), -EINVAL, "len is aligned");
	tap_is(vm_map(vm, VCPU_LONG, 0, 1ull << 52, 4 * KIB, 4 * KIB, 0), -EINVAL,
	       "gpa has 52 bits");

	for (gva = 0; !ret && gva < 4 * GIB; gva += 2 * MIB)
		ret = vm_map(vm, VCPU_LONG, gva, gva, 4 * KIB, 4 * KIB, 0);
	tap_is(ret, -ENOSPC, "the room for tables ends at %llu MiB",
	       (unsigned long long)(gva / MIB));
	tap_ok(gva / (2 * MIB) > 190, "after about 200 tables");
	tap_is(vm->next_table, GUEST_LOW_SIZE, "all memory was used");
	tap_ok(strstr(vmm_error(), "no room for page tables: No space"), "it says: %s",
	       vmm_error());
	free_vm(vm);
}

static void slots(void)
{
	struct vm *vm = new_vm();
	char a[16], b[16];

	vm->slots[3] = (struct vm_slot){ .gpa = 0x1000, .size = 0x1000, .hva = a };
	vm->slots[5] = (struct vm_slot){ .gpa = 0x4000, .size = 0x1000, .hva = b };
	tap_ok(vm_hva(vm, 0x1008) == a + 8 && vm_hva(vm, 0x4000) == b, "addresses in slots");
	tap_ok(!vm_hva(vm, 0xfff) && !vm_hva(vm, 0x2000) && !vm_hva(vm, 0x5000), "and outside");
	tap_is(vm_slot_move(vm, 4, 0), -ENOENT, "a slot that does not exist");
	tap_is(vm_slot_delete(vm, VM_MAX_SLOTS), -ENOENT, "a slot that cannot exist");
	tap_is(vm_slot_set(vm, VM_MAX_SLOTS, 0, 4096, a, 0), -EINVAL, "nor be created");
	tap_is(vm_slot_set(vm, 6, 0x8000, 4096, a, 0), -EBADF, "the kernel's refusal");
	tap_ok(!strcmp(vmm_error(), "KVM_SET_USER_MEMORY_REGION: Bad file descriptor") &&
		       !vm_hva(vm, 0x8000),
	       "is passed on and changes nothing: %s", vmm_error());
	free_vm(vm);
}

static void sums(void)
{
	const uint64_t words[] = { 1, 2, 3, 4 };
	uint64_t sum = 0;

	for (int i = 0; i < 4; i++)
		sum = (sum << 7 | sum >> 57) ^ words[i];
	tap_ok(guest_sum(words, 32, 0) == sum && guest_sum(words, 32, 8) == sum, "every word");
	tap_ok(guest_sum(words, 31, 8) != sum && guest_sum(words, 31, 8) == guest_sum(words, 24, 8),
	       "half a word at the end does not count");
	tap_is(guest_sum(words, 32, 16), 1 << 7 ^ 3, "every other word");
	tap_is(guest_sum((char *)words + 4, 8, 8), 2ll << 32, "at any address");
	tap_is(guest_sum(words, 7, 8), 0, "nothing");
}

static void descriptions(void)
{
	static const struct {
		struct guest_outcome out;
		const char *text;
	} rows[] = {
		{ { .end = GUEST_DONE, .result = 16 }, "done, result 0x10" },
		{ { .end = GUEST_RUN_FAILED, .err = EFAULT }, "KVM_RUN: Bad address" },
		{ { .end = GUEST_EXCEPTION, .vector = 14, .error_code = 2, .fault_addr = 1 },
		  "exception 14, error code 0x2, at 0x0, CR2 0x1" },
		{ { .end = GUEST_EXIT, .exit_reason = KVM_EXIT_MMIO, .mmio_len = 8 },
		  "KVM_EXIT_MMIO, load of 8 bytes at 0x0" },
		{ { .end = GUEST_EXIT, .exit_reason = 99, .suberror = 1 },
		  "KVM_RUN exit (99), suberror 1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		tap_ok(!strcmp(guest_describe(&rows[i].out), rows[i].text), "%s: %s", rows[i].text,
		       guest_describe(&rows[i].out));
}

typedef uint32_t code_fn(void);

/* The machine code for long mode runs here, too. */
static void code(void)
{
	static const uint8_t real[VCPU_CODE_SIZE] = { 0x66, 0xb8, 1, 2, 3, 4, 0x66, 0xc3 };
	struct vcpu v = { .mode = VCPU_LONG };
	uint8_t bytes[VCPU_CODE_SIZE];
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		tap_bail("mmap of code: %s", strerror(errno));
	vcpu_code(&v, page, 0xabcd1234);
	tap_is(((code_fn *)page)(), 0xabcd1234, "code for GUEST_EXEC returns its number");
	munmap(page, 4096);
	v.mode = VCPU_REAL;
	vcpu_code(&v, bytes, 0x04030201);
	tap_ok(!memcmp(bytes, real, sizeof(real)), "in real mode with its prefixes");
}

static void programs(void)
{
	static const struct {
		const char *name, *start, *end;
	} images[] = {
		{ "real mode", vmm_guest16, vmm_guest16_end },
		{ "PAE", vmm_guest32, vmm_guest32_end },
		{ "long mode", vmm_guest64, vmm_guest64_end },
	};

	for (int i = 0; i < 3; i++) {
		uintptr_t size = (uintptr_t)images[i].end - (uintptr_t)images[i].start;

		tap_ok(size > GUEST_ENTRY && size <= GUEST_TEXT_SIZE,
		       "the guest program for %s has %lu bytes, and fits", images[i].name, size);
	}
}

int main(void)
{
	identity();
	split();
	nested();
	limits();
	slots();
	sums();
	descriptions();
	code();
	programs();
	return tap_done();
}
