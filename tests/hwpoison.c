// SPDX-License-Identifier: GPL-2.0-only
/*
 * hwpoison - When a guest touches a page that the host knows to be broken, KVM_RUN does not fail
 * but ends with a SIGBUS that names the page; the guest can use the other pages.
 *
 * Contract: 7, 9. Both variants pass: the lookup still tells poisoned pages from missing ones.
 *
 * Seen to fail: the mutant poison_is_fault.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tests/lib/kit.h"

#define PAGES	 8u
#define POISONED 5u

static volatile sig_atomic_t code; /* of the last SIGBUS */
static char *volatile address;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	code = info->si_code;
	address = info->si_addr;
}

static void test(struct vcpu *v, char *mem, enum kit_access access)
{
	const char *name = kit_access_names[access];
	struct guest_outcome out;

	code = 0;
	address = NULL;
	kit_touch(v, access, KIT_GPA + POISONED * KIT_PAGE, 1, &out);
	if (!tap_ok(out.end == GUEST_RUN_FAILED && out.err == EINTR, "%s: KVM_RUN ends with EINTR",
		    name))
		tap_diag("%s", guest_describe(&out));
	tap_is(code, BUS_MCEERR_AR, "%s: SIGBUS says that the vCPU needs the page", name);
	tap_ok(address == mem + POISONED * KIT_PAGE, "%s: it has the address of the page", name);
	VMM_MUST(vcpu_reset(v));
	kit_touch(v, access, KIT_GPA + (POISONED + 1) * KIT_PAGE, 1, &out);
	if (!tap_ok(out.end == GUEST_DONE, "%s: the next page works", name))
		tap_diag("%s", guest_describe(&out));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	struct vcpu *v;
	struct vm *vm;
	char *mem;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	mem = vm_anon(PAGES * KIT_PAGE, KIT_PAGE);
	madvise(mem, PAGES * KIT_PAGE, MADV_NOHUGEPAGE);
	memset(mem, 1, PAGES * KIT_PAGE);
	/* The kernel also signals the process that poisons a page. */
	sigaction(SIGBUS, &action, NULL);
	if (madvise(mem + POISONED * KIT_PAGE, KIT_PAGE, MADV_HWPOISON))
		tap_bail("MADV_HWPOISON: %s", strerror(errno));
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, PAGES * KIT_PAGE, mem, 0));
	test(v, mem, KIT_READ);
	test(v, mem, KIT_WRITE);
	vcpu_destroy(v);
	vm_destroy(vm);
	munmap(mem, PAGES * KIT_PAGE);
	return kit_finish();
}
