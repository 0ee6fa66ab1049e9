// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_modes - libvmm and its guest program work as documented, in every mode, on ordinary memory.
 *
 * Both variants must pass. Nothing here is about non-refcounted pages, so that when this test
 * passes, a failure elsewhere does not come from these tools.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/vmm.h"
#include "tests/lib/tap.h"

#define MIB   0x100000ull
#define BASE  (16 * MIB) /* guest address of the slot under test */
#define SIZE  (2 * MIB)
#define SLOT  1
#define PAGES (SIZE / 4096)

static uint64_t *mem;

/* A call that must succeed; returns its result. */
static uint64_t call(struct vcpu *v, struct guest_cmd cmd)
{
	struct guest_outcome out;

	VMM_MUST(guest_call(v, &cmd, &out));
	return out.result;
}

static uint64_t nop(struct vcpu *v)
{
	return call(v, (struct guest_cmd){ .op = GUEST_NOP });
}

static uint64_t fill(struct vcpu *v, uint64_t gpa, uint64_t value)
{
	struct guest_cmd cmd = { .op = GUEST_FILL, .gpa = gpa, .len = 8, .value = value };

	return call(v, cmd);
}

static uint64_t read_word(struct vcpu *v, uint64_t gpa)
{
	return call(v, (struct guest_cmd){ .op = GUEST_READ, .gpa = gpa, .len = 8 });
}

static bool host_sees_pattern(const void *p, uint64_t value)
{
	for (uint64_t i = 0; i < SIZE / 8; i++)
		if (((const uint64_t *)p)[i] != guest_pattern(value, i * 8))
			return false;
	return true;
}

static void test_memory(struct vcpu *v, const char *mode)
{
	struct guest_cmd range = { .gpa = BASE, .len = SIZE }, cmd = range;
	struct guest_outcome out;
	uint64_t bad;

	for (uint64_t i = 0; i < SIZE / 8; i++)
		mem[i] = i * 0x123456789;
	cmd.op = GUEST_READ;
	tap_ok(call(v, cmd) == guest_sum(mem, SIZE, 8), "%s: the guest reads the host's data",
	       mode);
	cmd.stride = 4096;
	tap_ok(call(v, cmd) == guest_sum(mem, SIZE, 4096), "%s: a stride skips words", mode);

	cmd = range;
	cmd.op = GUEST_PATTERN;
	cmd.value = 0xfedcba9876543210;
	tap_is(call(v, cmd), SIZE / 8, "%s: the guest writes a pattern", mode);
	tap_ok(host_sees_pattern(mem, cmd.value), "%s: the host sees the pattern", mode);
	cmd.op = GUEST_VERIFY;
	tap_is(call(v, cmd), 0, "%s: the guest verifies the pattern", mode);
	mem[77] ^= 1ull << 63;
	mem[99] ^= 1;
	VMM_MUST(guest_call(v, &cmd, &out));
	bad = out.result;
	tap_ok(bad == 2 && out.result2 == 77 * 8, "%s: verify finds two wrong words", mode);

	cmd = range;
	cmd.op = GUEST_FILL;
	cmd.value = 0x1111222233334444;
	cmd.stride = 8192;
	memset(mem, 0, SIZE);
	tap_is(call(v, cmd), PAGES / 2, "%s: fill counts its words", mode);
	tap_ok(mem[0] == cmd.value && mem[1] == 0 && mem[512] == 0 && mem[1024] == cmd.value,
	       "%s: fill stores at the right places", mode);

	cmd.op = GUEST_ADD;
	cmd.value = 5;
	tap_ok(call(v, cmd) == PAGES / 2 * 0x33334444ull && mem[1024] == 0x1111222233334449,
	       "%s: the guest adds atomically", mode);

	for (int i = 0; i < 512; i++)
		mem[i] = i + 1;
	cmd = (struct guest_cmd){ .op = GUEST_COPY, .gpa = BASE, .len = 4096 };
	cmd.gpa2 = BASE + SIZE - 4096;
	call(v, cmd);
	tap_ok(!memcmp(mem, mem + (SIZE - 4096) / 8, 4096), "%s: rep movsb copies", mode);

	cmd = (struct guest_cmd){ .op = GUEST_FSTORE, .gpa = BASE + 4096, .len = 8 };
	call(v, cmd);
	tap_ok(mem[512] == 0x3ff0000000000000, "%s: fstp stores 1.0", mode);
}

static void test_execute(struct vcpu *v, const char *mode)
{
	uint64_t code;

	vcpu_code(v, mem, 0xc0ffee01);
	tap_is(call(v, (struct guest_cmd){ .op = GUEST_EXEC, .gpa = BASE }), 0xc0ffee01,
	       "%s: the guest executes code that the host wrote", mode);
	vcpu_code(v, &code, 0x12345678);
	fill(v, BASE, code);
	tap_is(call(v, (struct guest_cmd){ .op = GUEST_EXEC, .gpa = BASE }), 0x12345678,
	       "%s: the guest executes code that it wrote itself", mode);
}

static void test_readonly(struct vcpu *v, const char *mode)
{
	struct guest_cmd store = { .op = GUEST_FILL, .gpa = BASE + 8192, .len = 8, .value = 7 };
	struct guest_outcome out;
	int ret, pieces = 0;

	mem[1024] = 42;
	VMM_MUST(vm_slot_delete(v->vm, SLOT));
	VMM_MUST(vm_slot_set(v->vm, SLOT, BASE, SIZE, mem, KVM_MEM_READONLY));
	tap_is(read_word(v, BASE + 8192), 42, "%s: the guest reads a read-only memslot", mode);
	ret = guest_call(v, &store, &out);
	tap_ok(ret == -EIO && out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_MMIO &&
		       out.mmio_write && out.mmio_addr == BASE + 8192,
	       "%s: a store to a read-only memslot exits with MMIO: %s", mode,
	       guest_describe(&out));
	while (out.end == GUEST_EXIT && pieces++ < 2)
		guest_resume(v, &out);
	tap_ok(out.end == GUEST_DONE && mem[1024] == 42,
	       "%s: the call completes and stores nothing", mode);
	guest_call(v, &store, &out);
	tap_is(read_word(v, BASE + 8192), 42, "%s: a new call drops the unfinished one", mode);
	VMM_MUST(vm_slot_delete(v->vm, SLOT));
	VMM_MUST(vm_slot_set(v->vm, SLOT, BASE, SIZE, mem, 0));
}

static void test_dirty(struct vcpu *v, const char *mode)
{
	uint64_t map[PAGES / 64];

	VMM_MUST(vm_slot_flags(v->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	/* A load may map its page writable, which counts as dirty, but only once. */
	call(v, (struct guest_cmd){ .op = GUEST_READ, .gpa = BASE, .len = SIZE });
	VMM_MUST(vm_dirty_get(v->vm, SLOT, map));
	call(v, (struct guest_cmd){ .op = GUEST_READ, .gpa = BASE, .len = SIZE });
	fill(v, BASE + 65 * 4096, 0);
	fill(v, BASE + SIZE - 8, 0);
	VMM_MUST(vm_dirty_get(v->vm, SLOT, map));
	tap_ok(map[0] == 0 && map[1] == 2 && map[PAGES / 64 - 1] == 1ull << 63,
	       "%s: the dirty log has the two written pages", mode);
	VMM_MUST(vm_dirty_get(v->vm, SLOT, map));
	tap_ok(map[1] == 0 && map[PAGES / 64 - 1] == 0, "%s: the dirty log is empty afterwards",
	       mode);
	fill(v, BASE + 65 * 4096, 0);
	VMM_MUST(vm_dirty_get(v->vm, SLOT, map));
	tap_ok(map[1] == 2 && map[PAGES / 64 - 1] == 0, "%s: the dirty log has a second write, too",
	       mode);
	VMM_MUST(vm_slot_flags(v->vm, SLOT, 0));
}

static void test_failed_run(struct vcpu *v, const char *mode)
{
	struct guest_cmd store = { .op = GUEST_FILL, .gpa = BASE + 4096, .len = 8, .value = 99 };
	struct guest_outcome out;

	mprotect(mem, SIZE, PROT_NONE);
	tap_is(guest_call(v, &store, &out), -EFAULT,
	       "%s: the guest has no more access than the host", mode);
	tap_ok(out.end == GUEST_RUN_FAILED && out.err == EFAULT &&
		       !strcmp(vmm_error(), "KVM_RUN: Bad address"),
	       "%s: vmm_error() says: %s", mode, vmm_error());
	mprotect(mem, SIZE, PROT_READ | PROT_WRITE);
	tap_ok(guest_resume(v, &out) == 0 && mem[512] == 99, "%s: the resumed store succeeds",
	       mode);

	mprotect(mem, SIZE, PROT_NONE);
	guest_call(v, &store, &out);
	mprotect(mem, SIZE, PROT_READ | PROT_WRITE);
	tap_is(nop(v), 0, "%s: a new call works after a failed one", mode);
}

static void test_exception(struct vcpu *v, const char *mode)
{
	struct guest_cmd touch = { .op = GUEST_FILL, .gpa = BASE, .len = SIZE, .stride = 4096 };
	struct guest_outcome out;

	guest_call(v, &(struct guest_cmd){ .op = 0xbad }, &out);
	tap_ok(out.end == GUEST_EXCEPTION && out.vector == 6, "%s: ud2 raises an exception: %s",
	       mode, guest_describe(&out));
	if (v->mode == VCPU_REAL) {
		tap_skip(1, "real mode has no page tables");
		return;
	}
	VMM_MUST(vm_map(v->vm, v->mode, BASE + 4096, BASE + 4096, 4096, 4096, VM_MAP_RO));
	guest_call(v, &touch, &out);
	tap_ok(out.end == GUEST_EXCEPTION && out.vector == 14 && out.fault_addr == BASE + 4096 &&
		       out.error_code == 3,
	       "%s: a store to a page that the guest maps read-only faults: %s", mode,
	       guest_describe(&out));
	VMM_MUST(vm_map(v->vm, v->mode, BASE, BASE, SIZE, SIZE, 0));
}

static int spin(struct vcpu *v, void *arg)
{
	struct guest_cmd cmd = { .op = GUEST_FILL, .flags = GUEST_LOOP, .gpa = BASE, .len = 4096 };

	return guest_call(v, &cmd, arg);
}

static void test_threads(struct vcpu *v, const char *mode)
{
	struct guest_cmd cmd = { .op = GUEST_FILL, .flags = GUEST_LOOP, .gpa = BASE, .len = 4096 };
	struct guest_outcome out;
	uint32_t passes;

	guest_start(v, &cmd);
	tap_is(guest_wait_progress(v, 3, 20000), 0, "%s: the guest loops in its thread", mode);
	VMM_MUST(vm_slot_move(v->vm, SLOT, 4 * BASE));
	guest_join(v, &out);
	tap_ok(out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_MMIO &&
		       out.mmio_addr - BASE < 4096,
	       "%s: the guest gets MMIO when its memslot moves away: %s", mode,
	       guest_describe(&out));
	VMM_MUST(vm_slot_move(v->vm, SLOT, BASE));

	guest_start(v, &cmd);
	VMM_MUST(guest_wait_progress(v, 2, 20000));
	guest_stop(v);
	tap_is(guest_join(v, &out), 0, "%s: the guest stops when told to", mode);
	passes = guest_progress(v);
	tap_is(mem[0], passes - 1, "%s: the guest stored value + pass, %u passes", mode, passes);

	vcpu_start(v, spin, &out);
	VMM_MUST(guest_wait_progress(v, 2, 20000));
	vcpu_kick(v);
	tap_is(vcpu_join(v), -EINTR, "%s: a kick ends KVM_RUN", mode);
	v->block->stop = 1;
	tap_is(guest_resume(v, &out), 0, "%s: the guest continues after the kick", mode);
}

static void test_shutdown(struct vcpu *v, const char *mode)
{
	struct kvm_sregs sregs;
	struct guest_outcome out;

	nop(v);
	VMM_MUST(vcpu_get_sregs(v, &sregs));
	sregs.idt.limit = 0;
	VMM_MUST(vcpu_set_sregs(v, &sregs));
	guest_call(v, &(struct guest_cmd){ .op = 0xbad }, &out);
	tap_ok(out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_SHUTDOWN,
	       "%s: a triple fault ends in a shutdown: %s", mode, guest_describe(&out));
	tap_is(nop(v), 0, "%s: the vCPU is usable after a shutdown", mode);
}

static void test_mode(enum vcpu_mode mode, const char *name)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, mode);

	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, mem, 0));
	test_memory(v, name);
	test_execute(v, name);
	test_readonly(v, name);
	test_dirty(v, name);
	test_failed_run(v, name);
	test_exception(v, name);
	test_threads(v, name);
	test_shutdown(v, name);
	vcpu_destroy(v);
	vm_destroy(vm);
}

/* vCPUs of all modes at once in one VM, all adding to the same words. */
static void test_together(void)
{
	struct guest_cmd cmd = {
		.op = GUEST_ADD,
		.flags = GUEST_LOOP,
		.gpa = BASE,
		.len = 4096,
		.value = 1,
	};
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct guest_outcome out;
	struct vcpu *v[3];
	uint32_t passes = 0;

	memset(mem, 0, SIZE);
	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, mem, 0));
	for (int i = 0; i < 3; i++)
		v[i] = vcpu_create(vm, (enum vcpu_mode)i);
	for (int i = 0; i < 3; i++)
		guest_start(v[i], &cmd);
	for (int i = 0; i < 3; i++) {
		VMM_MUST(guest_wait_progress(v[i], 10, 20000));
		guest_stop(v[i]);
		VMM_MUST(guest_join(v[i], &out));
		passes += guest_progress(v[i]);
	}
	tap_is(mem[511], passes, "three vCPUs in three modes add atomically");
	for (int i = 0; i < 3; i++)
		vcpu_destroy(v[i]);
	vm_destroy(vm);
}

static void test_misc(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	uint64_t map[PAGES / 64];

	tap_ok(vm_cap(vm, KVM_CAP_USER_MEMORY) > 0 && vm_cap(NULL, KVM_CAP_USER_MEMORY) > 0 &&
		       vm_cap(vm, 0xffff) == 0,
	       "capabilities can be queried");
	tap_ok(vm_slot_set(vm, SLOT, BASE + 1, SIZE, mem, 0) == -EINVAL &&
		       !strcmp(vmm_error(), "KVM_SET_USER_MEMORY_REGION: Invalid argument"),
	       "KVM refuses a bad memslot: %s", vmm_error());
	tap_is(vm_slot_move(vm, SLOT, BASE), -ENOENT, "a memslot that does not exist cannot move");
	tap_is(vm_stat(vm, "no such thing"), -ENOENT, "an unknown statistic is refused");

	VMM_MUST(vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1));
	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, mem, KVM_MEM_LOG_DIRTY_PAGES));
	fill(v, BASE, 0);
	VMM_MUST(vm_dirty_get(vm, SLOT, map));
	VMM_MUST(vm_dirty_get(vm, SLOT, map));
	tap_is(map[0], 1, "with manual protection the dirty log stays");
	VMM_MUST(vm_dirty_clear(vm, SLOT, 0, 64, map));
	VMM_MUST(vm_dirty_get(vm, SLOT, map));
	tap_is(map[0], 0, "clearing the dirty log empties it");
	tap_ok(vm_hva(vm, BASE + 5) == (char *)mem + 5 && !vm_hva(vm, BASE + SIZE),
	       "guest addresses translate to host addresses");

	VMM_MUST(vm_map(vm, VCPU_LONG, 1ull << 40, BASE, SIZE, 4096, 0));
	fill(v, (1ull << 40) + 4096, 3);
	tap_is(mem[512], 3, "a mapping above 4 GiB reaches its memory");
	vcpu_destroy(v);
	vm_destroy(vm);
}

/* A guest's first touch of fresh memory shows in statistic `name`. */
static void test_pages(int advice, const char *name)
{
	void *fresh = vm_anon(SIZE, SIZE);
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	int64_t pages, faults;

	if (madvise(fresh, SIZE, advice))
		tap_bail("madvise: %s", strerror(errno));
	memset(fresh, 1, SIZE);
	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, fresh, 0));
	nop(v);
	pages = vm_stat(vm, name);
	faults = vcpu_stat(v, "pf_fixed");
	if (pages == -EINVAL || pages == -ENOTTY) {
		tap_skip(2, "this kernel has no KVM_GET_STATS_FD");
	} else {
		read_word(v, BASE);
		/* the shadow MMU maps neighbours as well */
		tap_ok(vm_stat(vm, name) > pages, "%s counts the mapped page", name);
		tap_is(vcpu_stat(v, "pf_fixed"), faults + 1, "pf_fixed counts the fault");
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	munmap(fresh, SIZE);
}

/* Does kvm-amd use nested paging? -1: it is not loaded. */
static int amd_npt(void)
{
	FILE *f = fopen("/sys/module/kvm_amd/parameters/npt", "r");
	int c;

	if (!f)
		return -1;
	c = getc(f);
	fclose(f);
	return c == 'Y' || c == '1';
}

static void test_nested(unsigned int flags, const char *name)
{
	struct guest_cmd cmd = { .op = GUEST_VMRUN, .flags = flags, .gpa = BASE };
	struct guest_cmd save = { .op = GUEST_VMSAVE, .gpa = BASE + 4096 };
	struct guest_outcome out;
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);

	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, mem, 0));
	tap_is(call(v, cmd), GUEST_L2_DONE, "%s: a nested guest runs to its VMMCALL", name);
	cmd.gpa2 = BASE + 8192;
	cmd.value = 0x4c32;
	call(v, cmd);
	tap_is(mem[1024], 0x4c32, "%s: the nested guest stores a word", name);

	/* If KVM emulated the store, this would be an MMIO exit. */
	mprotect(mem, SIZE, PROT_NONE);
	cmd.gpa = GUEST_SCRATCH;
	cmd.value = 0x4c33;
	guest_call(v, &cmd, &out);
	tap_ok(out.end == GUEST_RUN_FAILED && out.err == EFAULT,
	       "%s: the nested guest has no more access than the host: %s", name,
	       guest_describe(&out));
	mprotect(mem, SIZE, PROT_READ | PROT_WRITE);
	tap_ok(guest_resume(v, &out) == 0 && out.result == GUEST_L2_DONE && mem[1024] == 0x4c33,
	       "%s: the resumed store succeeds", name);
	tap_is(call(v, save), 0, "%s: VMSAVE works", name);
	vcpu_destroy(v);
	vm_destroy(vm);
}

static void test_nested_refused(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	uint64_t nowhere = BASE + 2 * SIZE;
	struct guest_cmd cmd = { .op = GUEST_VMRUN, .gpa = nowhere };
	struct guest_outcome out;

	VMM_MUST(vm_slot_set(vm, SLOT, BASE, SIZE, mem, 0));
	guest_call(v, &cmd, &out);
	while (out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_MMIO)
		guest_resume(v, &out);
	tap_ok(out.end == GUEST_EXCEPTION && out.vector == 13,
	       "VMRUN of a VMCB outside of memory raises a GP fault: %s", guest_describe(&out));
	cmd.gpa = BASE;
	tap_is(call(v, cmd), GUEST_L2_DONE, "the same vCPU then runs a VMCB in memory");
	vcpu_destroy(v);
	vm_destroy(vm);
}

int main(void)
{
	mem = vm_anon(SIZE, SIZE);
	test_mode(VCPU_REAL, "real mode");
	test_mode(VCPU_PAE, "PAE");
	test_mode(VCPU_LONG, "long mode");
	test_together();
	test_misc();
	test_pages(MADV_NOHUGEPAGE, "pages_4k");
	test_pages(MADV_HUGEPAGE, "pages_2m");
	if (amd_npt() < 0) {
		tap_skip(12, "a nested guest needs kvm-amd");
	} else {
		test_nested(0, "without NPT");
		if (amd_npt())
			test_nested(GUEST_NPT, "with NPT");
		else
			tap_skip(5, "nested page tables need kvm-amd's npt=1");
		test_nested_refused();
	}
	return tap_done();
}
