// SPDX-License-Identifier: GPL-2.0-only
/*
 * exporter_settle - An mmap() has inserted entries that revocation cannot find yet, and is held
 * there, while two other threads take the buffer's pages away: both wait for it, and nobody can
 * write to a page that was freed.
 *
 * Seen to fail: an exporter in which the second thread does not wait; the page is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig/module/rig_hold.h"
#include "tests/lib/kit.h"

#define LIMIT_MS 10000 /* less than RIG_HOLD_MAX_S; many times as long as anything here takes */

/* Another process, since the threads here could not run without mmap_lock. */
static pid_t start_mapper(const struct buf *b, int go)
{
	pid_t pid = fork();
	char byte;

	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		volatile uint32_t *map;

		signal(SIGBUS, SIG_DFL);
		kit_bind_to(1);
		if (read(go, &byte, 1) != 1)
			_exit(1);
		map = mmap(NULL, b->size, KIT_RW, MAP_SHARED, b->fd, 0);
		if (map == MAP_FAILED)
			_exit(1);
		map[0] = 1;
		_exit(0);
	}
	return pid;
}

struct call {
	pthread_t thread;
	int fd;
	unsigned long request;
	unsigned long arg;
	atomic_int tid;
	atomic_bool done;
	int ret;
};

static void *call_main(void *arg)
{
	struct call *c = arg;

	c->tid = gettid();
	c->ret = ioctl(c->fd, c->request, c->arg);
	c->done = true;
	return NULL;
}

/* Start the call; true if it waits, false if it ends. */
static bool call_waits(struct call *c)
{
	if (pthread_create(&c->thread, NULL, call_main, c))
		tap_bail("pthread_create: %s", strerror(errno));
	for (int ms = 0; ms < LIMIT_MS && !c->done; ms++) {
		if (c->tid && kit_sleeps_in(c->tid, "buffer_"))
			return true;
		usleep(1000);
	}
	return false;
}

static bool is_held(int hold)
{
	struct rig_hold_state state;

	for (int ms = 0; ms < LIMIT_MS; ms++) {
		if (ioctl(hold, RIG_HOLD_STATE, &state))
			tap_bail("RIG_HOLD_STATE: %s", strerror(errno));
		if (state.held)
			return true;
		usleep(1000);
	}
	return false;
}

int main(void)
{
	struct rig_hold_place place = { .function = "buffer_mmap", .at_return = 1 };
	int hold, go[2], status;
	struct buf b;
	pid_t pid;

	kit_start();
	kit_bind_to(0);
	buf_open(&b, &(struct pfnmap_create){
			     .insert = PFNMAP_INSERT_ALL,
			     .order = 3,
			     .pages = 8,
		     });
	struct call revoke = { .fd = b.fd, .request = PFNMAP_REVOKE };
	struct call take = { .fd = b.fd, .request = PFNMAP_FREE, .arg = PFNMAP_KEEP_OLD };

	hold = open(RIG_HOLD_PATH, O_RDWR | O_CLOEXEC);
	if (hold < 0 || ioctl(hold, RIG_HOLD_SET, &place))
		tap_bail("%s: no hold in %s: %s", RIG_HOLD_PATH, place.function, strerror(errno));
	if (pipe(go))
		tap_bail("pipe: %s", strerror(errno));
	pid = start_mapper(&b, go[0]);
	if (ioctl(hold, RIG_HOLD_ARM, (unsigned long)pid) || write(go[1], "", 1) != 1)
		tap_bail("cannot start the mapping: %s", strerror(errno));
	tap_ok(is_held(hold), "mmap() is held when it has inserted its entries");
	tap_ok(call_waits(&revoke), "a revocation waits for it");
	tap_ok(call_waits(&take), "what frees the pages meanwhile waits, too");
	tap_ok(!ioctl(hold, RIG_HOLD_GO, 0), "mmap() was held all the time");
	pthread_join(revoke.thread, NULL);
	pthread_join(take.thread, NULL);
	tap_ok(!revoke.ret && !take.ret, "both succeed then");
	waitpid(pid, &status, 0);
	tap_ok(WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : !WEXITSTATUS(status),
	       "the mapping works, or its pages are gone");
	tap_is(buf_check_old(&b).changed, 0, "no freed page is written");
	close(hold);
	buf_close(&b);
	return kit_finish();
}
