// SPDX-License-Identifier: GPL-2.0-only
/*
 * sigkill - A VMM that is killed while its guest is using a buffer leaves no trace in the pages:
 * counts, mapcounts and the flags of non-refcounted pages are unchanged.
 *
 * Contract: 3, 7. Both variants pass, each on the pages that it can map.
 *
 * Seen to fail: a fault that keeps its reference.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define VCPUS 2

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 64 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 9, .pages = 512, .insert = PFNMAP_INSERT_AROUND },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 64, .insert = PFNMAP_INSERT_ALL },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 64 },
	{ .kind = PFNMAP_SINGLE, .pages = 64, .insert = PFNMAP_INSERT_AROUND },
	{ .kind = PFNMAP_SHMEM, .pages = 64, .insert = PFNMAP_INSERT_ALL },
	{ .kind = PFNMAP_BAR, .pages = 64 },
	{ .kind = PFNMAP_MIXED, .pages = 64, .insert = PFNMAP_INSERT_AROUND },
};

/* Run guests that write to the buffer forever, and say so on the pipe. Never returns. */
static void vmm(struct buf *b, int tell)
{
	struct guest_cmd cmd = {
		.op = GUEST_PATTERN,
		.flags = GUEST_LOOP,
		.gpa = KIT_GPA,
		.len = b->size,
		.stride = buf_stride(b),
	};
	struct vcpu *v[VCPUS];
	struct vm *vm;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	buf_map(b, KIT_RW);
	vm = vm_create(0);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	for (int i = 0; i < VCPUS; i++) {
		v[i] = vcpu_create(vm, kit_mode());
		guest_start(v[i], &cmd);
	}
	for (int i = 0; i < VCPUS; i++)
		VMM_MUST(guest_wait_progress(v[i], 2, 20000));
	if (write(tell, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void test(const struct pfnmap_create *spec)
{
	int fds[2], status;
	struct buf b;
	pid_t pid;
	char c;

	buf_open(&b, spec);
	if (pipe(fds))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		close(fds[0]);
		vmm(&b, fds[1]);
	}
	close(fds[1]);
	tap_is(read(fds[0], &c, 1), 1, "%s: the guests write to the buffer", buf_name(&b));
	close(fds[0]);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("waitpid: %s", strerror(errno));
	tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: the VMM is killed",
	       buf_name(&b));
	tap_is(buf_stats(&b).mappings, 0, "%s: no mapping is left", buf_name(&b));
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		test(&specs[i]);
	return kit_finish();
}
