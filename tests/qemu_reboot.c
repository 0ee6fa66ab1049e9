// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu_reboot - In Debian's QEMU the guest reboots and continues to use the buffer, whose content
 * stays; then QEMU is killed while the guest keeps writing, and leaves no trace in the pages.
 *
 * Contract: 3. Both variants pass, each on the pages that it can map: patched KVM on all of them,
 * stock KVM on the first page of each chunk. qemu_unplug and qemu_ivshmem show that stock stops the
 * guest at other pages.
 *
 * Seen to fail: stock KVM with the expectations of patched; a KVM that takes references to
 * non-refcounted pages; a QEMU that exits at the reboot; a QEMU that is not killed.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/qemu.h"

#define CHUNK_ORDER 3u
#define PASSES	    3u
#define WAIT_MS	    40000

/* What the guest writes: before the reboot, after it, and until the end. */
enum { SEED_BEFORE = 1, SEED_AFTER, SEED_LOOP };

/* Boot, write and reboot; false if the guest hangs in the reboot, as qemu_boot() explains. */
static bool boot_twice(struct qemu *q, unsigned int stride, struct did *did)
{
	if (!qemu_boot(q) || !qemu_ask(q, did, "write %u %d", stride, SEED_BEFORE) ||
	    !qemu_monitor(q, NULL, 0,
			  "{\"execute\": \"set-action\", \"arguments\": "
			  "{\"reboot\": \"reset\"}}"))
		return true;
	qemu_tell(q, "reboot");
	return qemu_up(q) || q->error[0];
}

static void reboot_guest(struct qemu *q, const struct buf *b, unsigned int stride)
{
	struct did did = { 0 };

	if (!boot_twice(q, stride, &did)) {
		tap_diag("the guest does not come back; trying once more");
		qemu_kill(q);
		boot_twice(q, stride, &did);
	}
	tap_ok(did.done == b->size / stride && !did.wrong, "the guest writes %u pages",
	       QEMU_PAGES / stride);
	qemu_ask(q, &did, "check %u %d", stride, SEED_BEFORE);
	tap_ok(did.done == b->size / stride && !did.wrong, "the guest reads them after its reboot");
	qemu_ask(q, &did, "write %u %d", stride, SEED_AFTER);
	tap_ok(did.done == b->size / stride && !did.wrong,
	       "the guest writes them after its reboot");
	tap_is(qemu_written(b, stride, SEED_AFTER), QEMU_PAGES / stride,
	       "the buffer holds what the guest wrote");
	tap_ok(!q->error[0], "QEMU reports no failed KVM_RUN");
}

static void kill_qemu(struct qemu *q, struct buf *b, unsigned int stride)
{
	int64_t passes = 0;
	const char *why;

	qemu_tell(q, "loop %u %d", stride, SEED_LOOP);
	for (int ms = 0; ms < WAIT_MS && passes < PASSES; ms += 20) {
		usleep(20000);
		passes = buf_word(b, 0) - ivshmem_pattern(0, SEED_LOOP);
	}
	tap_ok(passes >= PASSES, "the guest keeps writing");
	tap_ok(buf_stats(b).mappings > 0, "QEMU maps the buffer");
	qemu_kill(q);
	tap_is(buf_stats(b).mappings, 0, "no mapping is left once QEMU is killed");
	why = buf_changes(b);
	tap_ok(!why, "counts and flags are unchanged once QEMU is killed: %s", why ? why : "yes");
	tap_ok(!ioctl(b->fd, PFNMAP_CREATE, &b->spec), "the buffer can be created again: %s",
	       strerror(errno));
}

int main(void)
{
	unsigned int stride;
	struct qemu q;
	struct buf b;

	kit_start();
	qemu_buf(&b, CHUNK_ORDER);
	stride = buf_stride(&b) / KIT_PAGE;
	reboot_guest(&q, &b, stride);
	kill_qemu(&q, &b, stride);
	buf_close(&b);
	return kit_finish();
}
