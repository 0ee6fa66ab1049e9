// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmcb_moved - A driver revokes and moves the buffer that a VMCB is in, over and over, while the
 * guest executes VMRUN or VMSAVE with it: KVM does not write to a page that the driver took back,
 * and where allow_unsafe_mappings lets it map such pages, no instruction of the guest fails because
 * a lookup lost a race.
 *
 * Contract: 4, 3. KVM maps a VMCB while it emulates VMRUN, #VMEXIT or VMSAVE, without a notifier.
 *
 *	patched	 never maps the page: each instruction raises #GP, no old page is ever written
 *	unsafe	 every instruction works. Old pages may be written, which is why this is unsafe; the
 *		 guest then misses the exit code that was written there
 *	stock	 old pages are written, dozens of times. VMRUN and VMSAVE raise #GP, and KVM_RUN
 *		 fails with EFAULT or, without the VMCB of a #VMEXIT, ends with a shutdown
 *
 * The test reports how often, but does not judge that. The page has a reference count, so that
 * stock KVM maps it as well; if unsafe, any page will do. The host has one processor (cpus=1 in the
 * table), and the driver interrupts KVM at any moment (see kit_preempt()).
 *
 * Seen to fail: a KVM that maps every page with a count for itself, in all of the tests, with 1000
 * to 6400 bytes of old pages written in each (6.12); a lookup that is not repeated (unsafe): of
 * 1500 times that the pages were taken away, 41 to 61 made VMSAVE and up to 4 made VMRUN raise #GP.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define TIMES	     1500u /* that the pages are taken away, per test */
#define MIN_TRIES    100u  /* by the guest */
#define MAX_US	     500   /* between two of these times */
#define PAGES	     8u
#define SCRATCH_SLOT 2u
#define SCRATCH_GPA  0x10000000ull
#define VECTOR_GP    13u

_Static_assert(TIMES / 2 * PAGES <= PFNMAP_MAX_PAGES, "all old pages are kept");

enum kvm_kind { STOCK, PATCHED, UNSAFE };

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	bool unsafe_only, tail;
} places[] = {
	/* clang-format off */
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = PAGES }, 5, false, false },
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES }, 0, false, false },
	{ "head of a compound page",
	  { .kind = PFNMAP_COMPOUND, .order = 3, .pages = PAGES }, 0, false, false },
	{ "tail page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES }, 5, true, true },
	{ "reserved page", { .kind = PFNMAP_RESERVED, .pages = PAGES }, 5, true, false },
	/* clang-format on */
};

/* The guest's side: one instruction after the other, and the results. */
struct work {
	struct guest_cmd cmd;
	atomic_bool stop;
	atomic_uint tried;
	unsigned int worked, lost, gp, efault, other;
};

static int run(struct vcpu *v, void *arg)
{
	struct work *w = arg;
	struct guest_outcome out;

	while (!w->stop) {
		w->cmd.value = w->tried;
		guest_call(v, &w->cmd, &out);
		if (out.end == GUEST_DONE && w->cmd.op == GUEST_VMRUN &&
		    out.result != GUEST_L2_DONE) {
			w->lost++;
		} else if (out.end == GUEST_DONE) {
			w->worked++;
		} else if (out.end == GUEST_EXCEPTION && out.vector == VECTOR_GP) {
			w->gp++;
		} else if (kit_efault(&out)) {
			w->efault++;
		} else {
			w->other++;
		}
		w->tried++;
	}
	return 0;
}

/*
 * Take the pages away at random moments: alternately revoke all mappings and move the pages
 * themselves.
 */
static void take_away(const struct buf *b, const struct work *w)
{
	kit_go_first(true);
	for (unsigned int i = 0; i < TIMES || w->tried < MIN_TRIES; i++) {
		usleep(1 + rand() % MAX_US);
		if (i % 2 || i >= TIMES)
			buf_do(b, PFNMAP_REVOKE, 0);
		else
			buf_do(b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
	}
	kit_go_first(false);
}

static void test(const struct place *p, enum guest_op op, enum kvm_kind kind)
{
	const char *name = op == GUEST_VMRUN ? "VMRUN" : "VMSAVE";
	struct work w = {
      .cmd =
          {
              .op = op,
              .gpa = KIT_GPA + (uint64_t)p->page * KIT_PAGE,
              .gpa2 = SCRATCH_GPA,
          },
  };
	void *scratch = vm_anon(KIT_PAGE, KIT_PAGE);
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct pfnmap_old old;
	struct buf b;

	buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	VMM_MUST(vm_slot_set(vm, SCRATCH_SLOT, SCRATCH_GPA, KIT_PAGE, scratch, 0));
	vcpu_start(v, run, &w);
	take_away(&b, &w);
	w.stop = true;
	vcpu_join(v);
	vcpu_destroy(v);
	vm_destroy(vm);

	old = buf_check_old(&b);
	tap_diag("%s, %s: of %u, %u worked, %u missed their exit code, %u GP faults, "
		 "%u EFAULT, %u other; %llu bytes of old pages written",
		 p->name, name, w.tried, w.worked, w.lost, w.gp, w.efault, w.other,
		 (unsigned long long)old.changed);
	if (kind == PATCHED) {
		tap_is(w.gp, w.tried, "%s, %s: KVM refuses all %u", p->name, name, w.tried);
		tap_is(old.changed, 0, "%s, %s: no old page is written", p->name, name);
	} else if (kind == UNSAFE) {
		tap_is(w.worked + w.lost, w.tried, "%s, %s: all %u work", p->name, name, w.tried);
	} else {
		tap_ok(old.changed, "%s, %s: old pages are written", p->name, name);
	}
	tap_is(old.bad_counts, 0, "%s, %s: all counts are as allocated", p->name, name);
	buf_close(&b);
	munmap(scratch, KIT_PAGE);
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");
	enum kvm_kind kind = !tap_kvm_patched() ? STOCK : param && *param == '1' ? UNSAFE : PATCHED;

	if (!access("/sys/module/kvm_intel", F_OK))
		tap_skip_all("VMCBs exist on AMD only; vapic_moved is the test for Intel");
	kit_start();
	kit_preempt();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (places[i].unsafe_only && kind != UNSAFE)
			continue;
		/* Before VMRUN the guest itself writes to the VMCB; in a tail that needs npt=1. */
		if (kit_takes_all() || !places[i].tail)
			test(&places[i], GUEST_VMRUN, kind);
		test(&places[i], GUEST_VMSAVE, kind);
	}
	return kit_finish();
}
