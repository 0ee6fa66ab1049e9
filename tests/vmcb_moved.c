// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver revokes and moves the buffer that a VMCB is in, again and again, while the guest
 * executes VMRUN or VMSAVE with it: KVM writes no page that the driver took back, and where
 * allow_unsafe_mappings lets it map such pages, no instruction of the guest fails because the
 * lookup lost a race.
 *
 * Contract: 4, 3. KVM maps a VMCB while it emulates VMRUN, #VMEXIT or VMSAVE, without a notifier.
 *
 *	patched	 never maps the page: each instruction raises #GP, no old page is ever written
 *	unsafe	 every instruction works. Old pages may be written, that is what is unsafe about it,
 *		 and then the guest misses the exit code that was written there
 *	stock	 old pages are written, dozens of times. VMRUN and VMSAVE raise #GP, KVM_RUN fails
 *		 with EFAULT or, for want of the VMCB of a #VMEXIT, ends with a shutdown
 *
 * How often is said, and not judged. The page is one that has a reference count, so that stock KVM
 * maps it as well, or, if unsafe, any. The host has one processor, cpus=1 in the table, and the
 * driver comes at any moment, see kit_preempt().
 *
 * Seen to fail: KVM mapping for itself what has a count, in all of the tests, with 1000 to 6400
 * bytes of old pages written in each (6.12); without a lookup that is repeated (unsafe), where of
 * 1500 times that the pages were taken away 41 to 61 had VMSAVE, and up to 4 had VMRUN raise #GP.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define TIMES	     1500u /* that the pages are taken away, for each test */
#define MIN_TRIES    100u  /* of the guest */
#define MAX_US	     500   /* from one time to the next */
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

/* The guest's side: one instruction after the other, and what came of them. */
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
 * Take the pages away, at any moment of what the guest does: by turns all mappings, and the pages
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
		tap_is(w.gp, w.tried, "%s, %s: each of %u is refused", p->name, name, w.tried);
		tap_is(old.changed, 0, "%s, %s: no old page is written", p->name, name);
	} else if (kind == UNSAFE) {
		tap_is(w.worked + w.lost, w.tried, "%s, %s: each of %u works", p->name, name,
		       w.tried);
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
		tap_skip_all("VMCBs are AMD's, see vapic_moved");
	kit_start();
	kit_preempt();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (places[i].unsafe_only && kind != UNSAFE)
			continue;
		/* Before a VMRUN the guest itself writes the VMCB, which takes npt=1 for a tail. */
		if (kit_takes_all() || !places[i].tail)
			test(&places[i], GUEST_VMRUN, kind);
		test(&places[i], GUEST_VMSAVE, kind);
	}
	return kit_finish();
}
