// SPDX-License-Identifier: GPL-2.0-only
/*
 * vma_games - The VMM forks, moves its mapping, unmaps it in part or in whole and puts other memory
 * in its place while the guest runs: the guest always uses what the host address maps at that
 * moment, or gets EFAULT.
 *
 * Contract: 3, and 7 for the refcounted kinds. Page counts are equal while the VM lives on without
 * the mapping. On stock KVM a guest cannot use the tails of chunks, so all checks but one use only
 * the first page of each.
 *
 * Seen to fail: an MMU notifier that does not zap.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define FORKS 3

static const struct pfnmap_create kinds[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 4, .insert = PFNMAP_INSERT_AROUND, .pages = 64 },
	{ .kind = PFNMAP_COMPOUND, .order = 4, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
	{ .kind = PFNMAP_BAR, .insert = PFNMAP_INSERT_ALL, .pages = 64 },
	{ .kind = PFNMAP_SHMEM, .insert = PFNMAP_INSERT_ONE, .pages = 64 },
};

/* One VM with one vCPU and the whole buffer as its memslot. */
struct game {
	struct buf b;
	struct vm *vm;
	struct vcpu *v;
	struct loop l;
};

/* The guest counts in the first word of every usable page, from 0. */
static void start(struct game *g)
{
	for (uint64_t off = 0; off < g->b.size; off += buf_stride(&g->b))
		buf_set_word(&g->b, off, 0);
	loop_start(&g->l, g->v,
		   &(struct guest_cmd){
			   .op = GUEST_ADD,
			   .gpa = KIT_GPA,
			   .len = g->b.size,
			   .stride = buf_stride(&g->b),
			   .value = 1,
		   });
	loop_wait(&g->l, 2);
}

/* Has every word counted every pass? */
static bool end(struct game *g)
{
	bool right = true;

	loop_wait(&g->l, 2);
	loop_end(&g->l);
	for (uint64_t off = 0; off < g->b.size; off += buf_stride(&g->b))
		right &= buf_word(&g->b, off) == guest_progress(g->v);
	if (g->l.out.end != GUEST_DONE || g->l.mmio)
		tap_diag("%s, %u MMIO exits", guest_describe(&g->l.out), g->l.mmio);
	return right && g->l.out.end == GUEST_DONE && !g->l.mmio;
}

/* In the child: see the guest count in the inherited mapping, store a word, unmap a page. */
static int child(const struct buf *b, int number)
{
	volatile uint64_t *count = (void *)b->map;
	uint64_t seen = *count;

	while (*count == seen)
		usleep(1000);
	count[1] = number + 1;
	if (munmap(b->map + b->size / 2, KIT_PAGE))
		return 1;
	return *count > seen ? 0 : 2;
}

static void test_fork(struct game *g)
{
	int ok = 0, status;

	start(g);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(child(&g->b, i));
		if (waitpid(pid, &status, 0) != pid)
			tap_bail("waitpid: %s", strerror(errno));
		ok += !status && buf_word(&g->b, 8) == (uint64_t)i + 1;
	}
	tap_is(ok, FORKS, "%s: children share the memory with the guest", buf_name(&g->b));
	tap_ok(end(g) && !g->l.efault, "%s: the guest keeps counting as children come and go",
	       buf_name(&g->b));
}

/* Wait until the guest gets EFAULT; true if the VM holds on to no page meanwhile. */
static bool misses(struct game *g)
{
	const char *changes;
	bool efault = loop_wait_more(&g->l.efault);

	changes = buf_changes(&g->b);
	if (changes)
		tap_diag("%s: %s", buf_name(&g->b), changes);
	return efault && !changes;
}

static void *reserve(const struct game *g)
{
	void *p = mmap(NULL, g->b.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	return p;
}

static void move_to(struct game *g, void *to)
{
	if (mremap(g->b.map, g->b.size, g->b.size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		tap_bail("mremap of %s: %s", buf_name(&g->b), strerror(errno));
	g->b.map = to;
}

static void test_mremap(struct game *g)
{
	char *home = g->b.map, *away = reserve(g);
	bool missed;

	start(g);
	move_to(g, away);
	missed = misses(g);
	move_to(g, home);
	tap_ok(missed && end(g),
	       "%s: mremap away gives EFAULT, and the guest keeps counting after mremap back",
	       buf_name(&g->b));

	away = reserve(g);
	start(g);
	move_to(g, away);
	missed = misses(g);
	VMM_MUST(vm_slot_delete(g->vm, KIT_SLOT));
	VMM_MUST(vm_slot_set(g->vm, KIT_SLOT, KIT_GPA, g->b.size, g->b.map, 0));
	loop_wait(&g->l, 2);
	loop_end(&g->l);
	/* In between there was no memslot, so increments may have ended in MMIO exits. */
	tap_ok(missed && g->l.out.end == GUEST_DONE && buf_word(&g->b, 0) > 2,
	       "%s: the memslot can follow the mapping: %s", buf_name(&g->b),
	       guest_describe(&g->l.out));
}

static void map_back(struct game *g, uint64_t offset, uint64_t len)
{
	void *at = g->b.map + offset;

	if (mmap(at, len, KIT_RW, MAP_SHARED | MAP_FIXED, g->b.fd, offset) != at)
		tap_bail("mmap of %s: %s", buf_name(&g->b), strerror(errno));
}

static void test_munmap(struct game *g)
{
	uint64_t stride = buf_stride(&g->b), hole = 2 * stride;
	struct guest_outcome before, in, after;
	bool missed;

	start(g);
	munmap(g->b.map, g->b.size);
	missed = misses(g) && !buf_stats(&g->b).mappings;
	map_back(g, 0, g->b.size);
	tap_ok(missed && end(g),
	       "%s: munmap gives EFAULT, and the guest keeps counting after a new mmap",
	       buf_name(&g->b));

	munmap(g->b.map + hole, stride);
	kit_touch(g->v, KIT_WRITE, KIT_GPA + hole - stride, 101, &before);
	kit_touch(g->v, KIT_WRITE, KIT_GPA + hole + stride, 102, &after);
	kit_touch(g->v, KIT_WRITE, KIT_GPA + hole, 103, &in);
	tap_ok(before.end == GUEST_DONE && after.end == GUEST_DONE && kit_efault(&in) &&
		       buf_word(&g->b, hole - stride) == 101 &&
		       buf_word(&g->b, hole + stride) == 102 && buf_word(&g->b, hole) != 103,
	       "%s: a hole in the mapping is a hole for the guest: %s", buf_name(&g->b),
	       guest_describe(&in));
	map_back(g, hole, stride);
	guest_resume(g->v, &in);
	tap_ok(in.end == GUEST_DONE && buf_word(&g->b, hole) == 103,
	       "%s: the store succeeds once the hole is filled: %s", buf_name(&g->b),
	       guest_describe(&in));
}

/* Ordinary memory replaces the buffer at the same host address. */
static void test_replace(struct game *g)
{
	uint64_t *map = (void *)g->b.map;
	uint64_t stopped;

	start(g);
	if (mmap(map, g->b.size, KIT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != map)
		tap_bail("mmap: %s", strerror(errno));
	stopped = buf_word(&g->b, 0);
	loop_wait(&g->l, 2);
	tap_ok(buf_word(&g->b, 0) == stopped && *(volatile uint64_t *)map,
	       "%s: the guest uses the other memory at the address", buf_name(&g->b));
	tap_ok(!buf_changes(&g->b), "%s: counts and flags are unchanged meanwhile: %s",
	       buf_name(&g->b), buf_changes(&g->b) ?: "yes");
	loop_end(&g->l);
	map_back(g, 0, g->b.size);
	start(g);
	tap_ok(end(g), "%s: the guest uses the buffer once it is mapped back", buf_name(&g->b));
}

static void test_kind(const struct pfnmap_create *spec)
{
	struct game g = { .vm = vm_create(0) };
	const char *changes;

	g.v = vcpu_create(g.vm, kit_mode());
	buf_open(&g.b, spec);
	buf_map(&g.b, KIT_RW);
	VMM_MUST(vm_slot_set(g.vm, KIT_SLOT, KIT_GPA, g.b.size, g.b.map, 0));
	test_fork(&g);
	test_mremap(&g);
	test_munmap(&g);
	test_replace(&g);

	/* The VM remains, with nothing mapped behind its memslot. */
	buf_unmap(&g.b);
	changes = buf_changes(&g.b);
	tap_ok(!changes, "%s: counts and flags are unchanged after munmap under the VM: %s",
	       buf_name(&g.b), changes ?: "yes");
	buf_close(&g.b);
	vcpu_destroy(g.v);
	vm_destroy(g.vm);
}

/* What only patched KVM can do: use a tail page after the mapping moved. */
static void test_tail(void)
{
	struct game g = { .vm = vm_create(0) };
	struct guest_outcome out;

	g.v = vcpu_create(g.vm, kit_mode());
	buf_open(&g.b, &kinds[0]);
	buf_map(&g.b, KIT_RW);
	move_to(&g, reserve(&g));
	VMM_MUST(vm_slot_set(g.vm, KIT_SLOT, KIT_GPA, g.b.size, g.b.map, 0));
	kit_touch(g.v, KIT_WRITE, KIT_GPA + KIT_PAGE, 7, &out);
	if (kit_takes_all())
		tap_ok(out.end == GUEST_DONE && buf_word(&g.b, KIT_PAGE) == 7,
		       "a tail page in a moved mapping works: %s", guest_describe(&out));
	else
		tap_ok(kit_efault(&out), "a tail page in a moved mapping is refused: %s",
		       guest_describe(&out));
	vcpu_destroy(g.v);
	vm_destroy(g.vm);
	buf_close(&g.b);
}

int main(void)
{
	kit_start();
	test_tail();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		test_kind(&kinds[i]);
	return kit_finish();
}
