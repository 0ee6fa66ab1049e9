// SPDX-License-Identifier: GPL-2.0-only
/*
 * interrupted_direct - A signal interrupts the driver's fault handler, as in interrupted.c, but
 * while KVM looks up a page for its own use: KVM_RUN soon ends with EINTR, and when the driver
 * serves faults again, the next KVM_RUN does what the first one was about to do.
 *
 * Contract: 9, 4, 8. The page has a kvmclock, or is the VMCB of a VMSAVE, of a VMRUN or of a nested
 * guest's #VMEXIT. Nobody has touched the page in the mapping through which KVM finds it; the guest
 * itself writes the VMCB through another memslot of the same buffer.
 *
 *	patched	 the clock works. KVM refuses a VMCB in a driver's buffer without calling the driver
 *	unsafe	 all of them work
 *	stock	 if the driver gives up on the first attempt, KVM silently drops the update of the
 *		 clock, and the guest gets #GP for a correct VMRUN or VMSAVE. If the driver gives up
 *		 on the second attempt, KVM tries again and again until the driver serves
 *
 * What stock does on a #VMEXIT without its VMCB is not tested.
 *
 * Seen to fail: lookups of kvm_vcpu_map() and gfn_to_pfn_cache that take an interrupted fault for a
 * failed one (#GP, a nested guest that ends in a shutdown, no clock), or that repeat it, 1.5
 * million times in 3 s.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define SOON_MS	   3000 /* a KVM that gives up must be back by then */
#define SPIN_MS	   100	/* one that keeps trying must not be */
#define SETTLE_MS  1000
#define CALM	   10 /* this many attempts at a fault are not a loop */
#define FILLER	   0x5a5a5a5a5a5a5a5aull
#define ALIAS_SLOT 2u
#define ALIAS_GPA  0x50000000ull
#define HOLE	   0x30000000ull /* no memslot */
#define VECTOR_GP  13u

enum kvm_kind { STOCK, PATCHED, UNSAFE };
enum role { CLOCK, VMSAVE, VMRUN, VMEXIT, NR_ROLES };

/* The outcome. */
enum fate {
	UNTRIED,
	EINTR_AND_DONE, /* the next KVM_RUN does it */
	DROPPED,	/* the clock is never written */
	RAISES_GP,	/* the instruction fails */
	SPINS,		/* until the driver serves, then it is done */
	REFUSED,	/* without calling the driver */
};

static const char *const role_names[] = {
	[CLOCK] = "kvmclock",
	[VMSAVE] = "VMSAVE",
	[VMRUN] = "VMRUN",
	[VMEXIT] = "#VMEXIT",
};

/* By role and kind of KVM, for the first and the second attempt at a fault. */
/* clang-format off */
static const enum fate fates[NR_ROLES][UNSAFE + 1][2] = {
	[CLOCK] = {
		[STOCK]	  = { DROPPED, SPINS },
		[PATCHED] = { EINTR_AND_DONE, EINTR_AND_DONE },
		[UNSAFE]  = { EINTR_AND_DONE, EINTR_AND_DONE },
	},
	[VMSAVE] = {
		[STOCK]	  = { RAISES_GP, SPINS },
		[PATCHED] = { REFUSED, REFUSED },
		[UNSAFE]  = { EINTR_AND_DONE, EINTR_AND_DONE },
	},
	[VMRUN] = {
		[STOCK]	  = { RAISES_GP, SPINS },
		[PATCHED] = { REFUSED, REFUSED },
		[UNSAFE]  = { EINTR_AND_DONE, EINTR_AND_DONE },
	},
	[VMEXIT] = {
		[STOCK]	  = { UNTRIED, SPINS },
		[PATCHED] = { UNTRIED, UNTRIED },
		[UNSAFE]  = { EINTR_AND_DONE, EINTR_AND_DONE },
	},
};
/* clang-format on */

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_SINGLE, .pages = 8 },
	{ .kind = PFNMAP_BAR, .pages = 8 },
};

#define PAGE 5u
#define AT   ((uint64_t)PAGE * KIT_PAGE) /* of the VMCB or the clock in the buffer */

/* A call of the guest, or its continuation, in the vCPU's thread; others can see when it ends. */
struct call {
	const struct guest_cmd *cmd; /* NULL: resume */
	struct guest_outcome out;
	atomic_bool done;
};

static int run_call(struct vcpu *v, void *arg)
{
	struct call *c = arg;

	/* KVM may update the clock of a vCPU that moves to another processor. */
	kit_bind_to(0);
	if (c->cmd)
		guest_call(v, c->cmd, &c->out);
	else
		guest_resume(v, &c->out);
	c->done = true;
	return 0;
}

static struct guest_outcome call(struct vcpu *v, const struct guest_cmd *cmd)
{
	struct call c = { .cmd = cmd };

	vcpu_start(v, run_call, &c);
	vcpu_join(v);
	return c.out;
}

static bool done_within(struct call *c, unsigned int ms)
{
	while (ms-- && !c->done)
		usleep(1000);
	return c->done;
}

static bool gp(const struct guest_outcome *out)
{
	return out->end == GUEST_EXCEPTION && out->vector == VECTOR_GP;
}

static bool done(const struct guest_outcome *out, enum role role)
{
	return out->end == GUEST_DONE &&
	       (role == CLOCK || role == VMSAVE || out->result == GUEST_L2_DONE);
}

/*
 * KVM updates a new clock once more after some 100 ms. Wait for that, so that it is not mistaken
 * for the update that KVM is expected to drop.
 */
static void settle_clock(struct vcpu *v, const struct buf *b)
{
	static const struct guest_cmd nop = { .op = GUEST_NOP };

	call(v, &nop);
	buf_set_word(b, AT, FILLER);
	for (int ms = 0; ms < SETTLE_MS && buf_word(b, AT) == FILLER; ms += 10) {
		usleep(10000);
		call(v, &nop);
	}
}

/* Replace the mapping by a new one, without entries; other mappings keep theirs. */
static void map_anew(const struct buf *b)
{
	if (mmap(b->map, b->size, KIT_RW, MAP_SHARED | MAP_FIXED, b->fd, 0) != b->map)
		tap_bail("mmap of %s: cannot map it again", buf_name(b));
}

/* Wait for a call of the driver; false if the guest call ends instead. */
static bool asked(const struct buf *b, uint64_t faults, struct call *c)
{
	for (int i = 0; i < SOON_MS && buf_stats(b).faults == faults && !c->done; i++)
		usleep(1000);
	usleep(2000);
	return buf_stats(b).faults == faults + 1 && !c->done;
}

static void judge(struct vcpu *v, const struct buf *b, enum role role, enum fate want,
		  struct call *c, const char *name)
{
	uint64_t faults = buf_stats(b).faults;
	struct guest_outcome out;

	vcpu_kick(v);
	done_within(c, want == SPINS ? SPIN_MS : SOON_MS);
	faults = buf_stats(b).faults - faults;
	if (want == SPINS)
		tap_ok(!c->done && faults > CALM, "%s: KVM keeps trying, %llu times", name,
		       (unsigned long long)faults);
	else
		tap_ok(c->done && faults <= CALM, "%s: KVM gives up after %llu more", name,
		       (unsigned long long)faults);
	if (role == CLOCK)
		tap_ok(buf_word(b, AT) == FILLER, "%s: the clock is not written", name);
	buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
	vcpu_join(v);
	out = c->out;
	tap_ok(out.end == GUEST_RUN_FAILED && out.err == EINTR, "%s: KVM_RUN fails with EINTR: %s",
	       name, guest_describe(&out));
	if (role == CLOCK && want != SPINS)
		tap_ok(buf_word(b, AT) == FILLER,
		       "%s: the clock is still not written once the driver serves", name);

	out = call(v, NULL);
	if (want == RAISES_GP)
		tap_ok(gp(&out), "%s: the guest gets a GP fault: %s", name, guest_describe(&out));
	else
		tap_ok(done(&out, role), "%s: the next KVM_RUN completes the call: %s", name,
		       guest_describe(&out));
	if (role == CLOCK)
		tap_ok((buf_word(b, AT) == FILLER) == (want == DROPPED), "%s: the clock is %s",
		       name, want == DROPPED ? "never written" : "written");
}

static void test(const struct pfnmap_create *spec, enum role role, enum pfnmap_hold hold,
		 enum fate want)
{
	struct guest_cmd nop = { .op = GUEST_NOP }, nested = {
		.op = role == VMSAVE ? GUEST_VMSAVE : GUEST_VMRUN,
		.gpa = KIT_GPA + AT,
		.gpa2 = role == VMEXIT ? HOLE : 0,
	};
	struct call c = { .cmd = role == CLOCK ? &nop : role == VMEXIT ? NULL : &nested };
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	struct guest_outcome out;
	char name[96], *alias;
	uint64_t faults;
	struct buf b;

	buf_open(&b, spec);
	snprintf(name, sizeof(name), "%s: %s, %s attempt", buf_name(&b), role_names[role],
		 hold == PFNMAP_HOLD_RETRY ? "second" : "first");
	buf_map(&b, KIT_RW);
	alias = mmap(NULL, b.size, KIT_RW, MAP_SHARED, b.fd, 0);
	if (alias == MAP_FAILED)
		tap_bail("mmap of %s: cannot map it twice", buf_name(&b));
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	VMM_MUST(vm_slot_set(vm, ALIAS_SLOT, ALIAS_GPA, b.size, alias, 0));
	if (role == CLOCK)
		kit_set_clock(v, (KIT_GPA + AT) | 1);
	else
		VMM_MUST(
			vm_map(vm, VCPU_LONG, KIT_GPA + AT, ALIAS_GPA + AT, KIT_PAGE, KIT_PAGE, 0));

	/* Do it once before the driver waits, so that the guest has touched its own pages. */
	out = call(v, role == CLOCK ? &nop : &nested);
	if (want == REFUSED)
		tap_ok(gp(&out), "%s: KVM refuses the page: %s", name, guest_describe(&out));
	else if (role == VMEXIT)
		tap_ok(out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_MMIO,
		       "%s: the nested guest runs: %s", name, guest_describe(&out));
	else
		tap_ok(done(&out, role), "%s: the guest's call works: %s", name,
		       guest_describe(&out));

	if (role == CLOCK) {
		settle_clock(v, &b);
		buf_set_word(&b, AT, FILLER);
	}
	map_anew(&b);
	buf_do(&b, PFNMAP_HOLD, hold);
	if (role == CLOCK)
		kit_update_clocks(v->vm);
	faults = buf_stats(&b).faults;
	vcpu_start(v, run_call, &c);
	if (want == REFUSED) {
		done_within(&c, SOON_MS);
		buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
		vcpu_join(v);
		tap_ok(gp(&c.out) && buf_stats(&b).faults == faults,
		       "%s: KVM refuses the page without calling the driver: %s", name,
		       guest_describe(&c.out));
	} else {
		tap_ok(asked(&b, faults, &c), "%s: KVM waits for the driver", name);
		judge(v, &b, role, want, &c, name);
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	munmap(alias, b.size);
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");
	enum kvm_kind kind = !tap_kvm_patched() ? STOCK : param && *param == '1' ? UNSAFE : PATCHED;
	bool amd = access("/sys/module/kvm_intel", F_OK) && kit_mode() == VCPU_LONG;

	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		for (enum role role = 0; role < (amd ? NR_ROLES : VMSAVE); role++) {
			for (int second = 0; second < 2; second++) {
				enum fate want = fates[role][kind][second];

				if (want != UNTRIED)
					test(&specs[i], role,
					     second ? PFNMAP_HOLD_RETRY : PFNMAP_HOLD_NOPAGE, want);
			}
		}
	}
	return kit_finish();
}
