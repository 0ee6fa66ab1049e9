// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock - The kvmclock page of a guest lies in memory of every kind, and KVM, which writes the
 * clock through its own mapping, never writes to a page that was taken away, nor changes its count.
 *
 * Contract: 8, 7. The MMU notifier invalidates gfn_to_pfn_cache, which puts a reference only if its
 * lookup took one. So patched KVM writes a clock to every kind of page, with nested paging, with
 * shadow paging and on a 32-bit host, and allow_unsafe_mappings makes no difference. Stock KVM
 * judges by the struct page: of non-refcounted memory it takes only reserved pages and memory
 * without a struct page. A page that KVM must not write stays as it was, byte for byte.
 *
 * Contract: 9. A lookup that finds no entry, although nobody took one away, ends.
 *
 * Seen to fail: refcounted_page_only in the cache's lookup (no clock in tails); putting a reference
 * because the struct page suggests that there is one.
 */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define FILLER	 0x5a5a5a5a5a5a5a5aull
#define CALM	 10    /* this many calls of the driver are not a loop */
#define MANY	 100   /* calls of one lookup that never ends */
#define LIMIT_MS 30000 /* for what should take no time */

/* The clock of one vCPU, as Documentation/virt/kvm/x86/msr.rst describes it. */
struct clock {
	uint32_t version; /* odd while KVM writes */
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	bool on_stock; /* stock KVM writes a clock there; patched KVM always does */
	bool patched_only;
} places[] = {
	/* clang-format off */
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  0, .on_stock = true },
	/* Judging by the struct page, the cache would put a reference that it does not have. */
	{ "tail page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  5, .on_stock = false },
	{ "head of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
	  0, .on_stock = true },
	{ "tail of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
	  5, .on_stock = false },
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = 8 }, 5, .on_stock = true },
	{ "page of shmem", { .kind = PFNMAP_SHMEM, .pages = 8 }, 5, .on_stock = true },
	{ "page in a VM_MIXEDMAP mapping", { .kind = PFNMAP_MIXED, .pages = 8 },
	  5, .on_stock = true },
	{ "reserved page", { .kind = PFNMAP_RESERVED, .pages = 8 }, 5, .on_stock = true },
	/* Stock KVM warns about it. */
	{ "reserved page with a count of 0", { .kind = PFNMAP_RESERVED, .order = 3, .pages = 8 },
	  5, .on_stock = true, .patched_only = true },
	{ "head of device memory", { .kind = PFNMAP_DEVICE, .order = 9, .pages = 512 },
	  0, .on_stock = true },
	/* Putting a reference to it would put one of the head's. */
	{ "tail of device memory", { .kind = PFNMAP_DEVICE, .order = 9, .pages = 512 },
	  5, .on_stock = false },
	{ "memory without struct page", { .kind = PFNMAP_BAR, .pages = 8 },
	  5, .on_stock = true },
	/* clang-format on */
};

/* Have KVM write all clocks before the guest runs on, and run it. */
static void update(struct vcpu *v)
{
	kit_update_clocks(v->vm);
	VMM_MUST(guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, NULL));
}

static struct clock read_clock(const struct buf *b, uint64_t at)
{
	uint64_t words[sizeof(struct clock) / 8] = { 0 };
	struct clock clock;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = buf_word(b, at + i * 8);
	memcpy(&clock, words, sizeof(clock));
	return clock;
}

static bool clock_sane(const struct clock *c)
{
	return c->version != (uint32_t)FILLER && c->version && !(c->version & 1) &&
	       c->tsc_to_system_mul && c->system_time;
}

/* The number of words outside of [from, from + len) that are not FILLER. */
static unsigned int strays(const struct buf *b, uint64_t from, uint64_t len)
{
	static uint64_t page[KIT_PAGE / 8];
	unsigned int n = 0;

	for (uint64_t at = 0; at < b->size; at += 8) {
		if (at % KIT_PAGE == 0)
			buf_read(b, at, page, KIT_PAGE);
		if (at - from >= len && page[at % KIT_PAGE / 8] != FILLER)
			n++;
	}
	return n;
}

static void test_written(struct vcpu *v, const struct place *p, const struct buf *b, uint64_t at)
{
	struct clock first = read_clock(b, at), second;

	tap_ok(clock_sane(&first), "%s: KVM writes the clock, version %u, %llu ns", p->name,
	       first.version, (unsigned long long)first.system_time);
	update(v);
	second = read_clock(b, at);
	tap_ok(clock_sane(&second) && second.version != first.version,
	       "%s: KVM writes the clock again", p->name);
	tap_is(strays(b, at, sizeof(struct clock)), 0, "%s: KVM writes nothing else", p->name);
	tap_ok(!buf_changes(b), "%s: counts and flags are unchanged: %s", p->name,
	       buf_changes(b) ?: "yes");
}

/* The driver moves the page while the clock is on. */
static void test_moved(struct vcpu *v, const struct place *p, struct buf *b, uint64_t at)
{
	struct pfnmap_old old;
	struct clock clock;

	buf_set_word(b, at, FILLER);
	buf_do(b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
	for (int i = 0; i < 3; i++)
		update(v);
	clock = read_clock(b, at);
	old = buf_check_old(b);
	tap_ok(clock_sane(&clock), "%s: the clock follows to the new page", p->name);
	tap_ok(!old.changed && !old.bad_counts, "%s: KVM leaves the old page and its count alone",
	       p->name);
}

static void test_place(const struct place *p)
{
	uint64_t at = (uint64_t)p->page * KIT_PAGE + 64;
	struct vcpu *v;
	struct vm *vm;
	struct buf b;

	if (p->spec.kind == PFNMAP_DEVICE && buf_missing(&p->spec))
		return;
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	for (uint64_t off = 0; off < b.size; off += 8)
		*(volatile uint64_t *)(b.map + off) = FILLER;
	buf_mark(&b);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));

	kit_set_clock(v, (KIT_GPA + at) | 1);
	update(v);
	if (tap_kvm_patched() || p->on_stock) {
		test_written(v, p, &b, at);
		/* A new PFNMAP_MIXED page also counts its mappings, so its count is not known. */
		if (p->spec.kind != PFNMAP_MIXED)
			test_moved(v, p, &b, at);
	} else {
		tap_is(strays(&b, 0, 0), 0, "%s: KVM writes no clock", p->name);
		tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged: %s", p->name,
		       buf_changes(&b) ?: "yes");
		buf_do(&b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
		update(v);
		tap_ok(!strays(&b, 0, 0) && !buf_check_old(&b).changed,
		       "%s: KVM writes no clock after the page has moved", p->name);
	}

	buf_mark(&b);
	kit_set_clock(v, 0);
	VMM_MUST(guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, NULL));
	vcpu_destroy(v);
	vm_destroy(vm);
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged without the VM: %s", p->name,
	       buf_changes(&b) ?: "yes");
	tap_is(buf_check_old(&b).bad_counts, 0, "%s: the old pages have the right counts", p->name);
	buf_close(&b);
}

/* An update in the vCPU's thread; others can see when it ends. */
struct call {
	struct guest_outcome out;
	atomic_bool done;
};

static int run_update(struct vcpu *v, void *arg)
{
	struct call *c = arg;

	kit_update_clocks(v->vm);
	guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, &c->out);
	c->done = true;
	return 0;
}

/*
 * The driver releases mmap_lock and then succeeds without making an entry. Nobody took one away, so
 * the lookup has failed for good: the guest goes on without a new clock, until the driver serves.
 * Stock KVM calls the driver again and again.
 */
static void test_no_entry(void)
{
	struct pfnmap_create spec = { .kind = PFNMAP_SINGLE, .pages = 8 };
	uint64_t at = 5 * KIT_PAGE + 64, faults;
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	struct call c = { .done = false };
	struct clock clock;
	struct buf b;

	buf_open(&b, &spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	kit_set_clock(v, (KIT_GPA + at) | 1);
	update(v);
	buf_set_word(&b, at, FILLER);
	buf_do(&b, PFNMAP_REVOKE, 0);
	buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_BUSY);
	faults = buf_stats(&b).faults;
	vcpu_start(v, run_update, &c);
	for (int i = 0; i < LIMIT_MS && !c.done && buf_stats(&b).faults - faults < MANY; i++)
		usleep(1000);
	faults = buf_stats(&b).faults - faults;
	tap_ok(tap_kvm_patched() ? c.done && faults && faults <= CALM : !c.done && faults >= MANY,
	       "no entry: KVM %s, after %llu calls of the driver",
	       tap_kvm_patched() ? "gives up" : "keeps trying", (unsigned long long)faults);
	tap_ok(buf_word(&b, at) == FILLER, "no entry: the clock is not written");
	if (!c.done)
		vcpu_kick(v);
	buf_do(&b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
	vcpu_join(v);
	/* Drop a kick that did not end KVM_RUN. */
	v->run->immediate_exit = 0;
	if (c.out.end == GUEST_RUN_FAILED)
		VMM_MUST(guest_resume(v, NULL));

	update(v);
	clock = read_clock(&b, at);
	tap_ok(clock_sane(&clock), "no entry: the clock is written once the driver serves");
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (tap_kvm_patched() || !places[i].patched_only)
			test_place(&places[i]);
	test_no_entry();
	return kit_finish();
}
