// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu_ivshmem - A real VMM and a real guest use non-refcounted memory: Debian's QEMU puts the
 * exporter's buffer into an ivshmem device, and a guest with Debian's kernel writes all of it.
 *
 * Contract: 3. Stock KVM stops the guest at the first page whose reference count is 0, which is the
 * buffer's second page.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse.
 */
#include <string.h>
#include <unistd.h>

#include "tests/lib/qemu.h"

#define SEED 0ul

int main(void)
{
	struct did found = { 0 }, did = { 0 };
	bool works = kit_takes_all();
	unsigned int written;
	const char *change;
	char state[256] = "";
	struct qemu q;
	struct buf b;
	bool up, ended;

	kit_start();
	qemu_buf(&b, 9);
	up = qemu_boot(&q);
	if (up && qemu_ask(&q, &found, "find"))
		qemu_ask(&q, &did, "write 1 %lu", SEED);
	if (did.done)
		qemu_tell(&q, "poweroff");
	ended = qemu_end(&q);
	/* QEMU reports the failure first, and then stops the guest. */
	for (int i = 0; q.error[0] && i < 100 && !strstr(state, "\"internal-error\""); i++) {
		usleep(50000);
		qemu_monitor(&q, state, sizeof(state), "{\"execute\": \"query-status\"}");
	}
	qemu_kill(&q);
	change = buf_changes(&b);
	written = qemu_written(&b, 1, SEED);

	tap_ok(up, "a guest with Debian's kernel boots in Debian's QEMU");
	tap_is(found.size, b.size, "the guest finds the buffer as an ivshmem device");
	if (works) {
		tap_ok(!q.error[0], "QEMU reports no failed KVM_RUN");
		tap_ok(did.done == b.size && !did.wrong, "the guest reads back all that it wrote");
		tap_is(written, QEMU_PAGES, "the buffer holds what the guest wrote, in every page");
		tap_ok(ended, "the guest powers off and QEMU exits with status 0");
	} else {
		tap_ok(!strcmp(q.error, "error: kvm run failed Bad address"),
		       "QEMU reports: kvm run failed Bad address");
		tap_is(did.done, 0, "the guest does not finish writing");
		tap_is(written, 1, "the guest wrote only the first page, which has a count");
		tap_ok(strstr(state, "\"internal-error\""),
		       "QEMU keeps running, with the guest stopped");
	}
	tap_ok(!change, "counts and flags are unchanged: %s", change ? change : "yes");
	tap_diag("outcome: %s, %u of %u pages",
		 q.error[0]			  ? q.error + strlen("error: ") :
		 did.done == b.size && !did.wrong ? "works" :
		 up				  ? "the guest does not finish" :
						    "the guest does not boot",
		 written, QEMU_PAGES);
	buf_close(&b);
	return kit_finish();
}
