// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu_unplug - In Debian's QEMU the device with the buffer is unplugged from a running guest that
 * uses it, which leaves no mapping and unchanged pages, and is plugged in again. QEMU's migration,
 * to a file, refuses the device in its first role and takes it in its second, as it always did.
 *
 * Contract: 3, and 7 for migration. Both variants pass, each on the pages that it can map: stock
 * KVM on the first page of each chunk. At the end the guest writes all pages, and stock KVM stops
 * it at the first page whose reference count is 0.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse; a KVM that takes
 * references to non-refcounted pages; a backend that is not deleted; a page that changes between
 * the stream and the check.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/qemu.h"

#define CHUNK_ORDER 3u

/* What the guest writes, and when. */
enum { SEED_FIRST = 1, SEED_AGAIN, SEED_ALL };

/* Have the guest write every stride-th page; guest and exporter must agree on the content. */
static void use(struct qemu *q, const struct buf *b, unsigned int stride, unsigned long seed)
{
	struct did did;

	qemu_ask(q, &did, "write %u %lu", stride, seed);
	tap_is(did.done, b->size / stride, "the guest writes %u pages", QEMU_PAGES / stride);
	tap_is(did.wrong, 0, "the guest reads back what it wrote");
	tap_is(qemu_written(b, stride, seed), QEMU_PAGES / stride,
	       "the buffer holds what the guest wrote");
}

static void unplug(struct qemu *q, const struct buf *b)
{
	struct did did = { .size = 1 };
	char reply[256];
	const char *why;

	tap_ok(buf_stats(b).mappings > 0, "QEMU maps the buffer");
	tap_ok(qemu_monitor(q, reply, sizeof(reply),
			    "{\"execute\": \"device_del\", \"arguments\": "
			    "{\"id\": \"" QEMU_DEVICE "\"}}") &&
		       qemu_event(q, "DEVICE_DELETED"),
	       "the guest releases the device: %s", reply);
	tap_ok(qemu_monitor(q, reply, sizeof(reply),
			    "{\"execute\": \"object-del\", \"arguments\": "
			    "{\"id\": \"" QEMU_BACKEND "\"}}"),
	       "QEMU deletes its memory backend: %s", reply);
	/* QEMU unmaps the memory when none of its threads can use it any more. */
	for (int i = 0; i < 250 && buf_stats(b).mappings; i++)
		usleep(20000);
	tap_is(buf_stats(b).mappings, 0, "no mapping is left after the unplug");
	why = buf_changes(b);
	tap_ok(!why, "counts and flags are unchanged after the unplug: %s", why ? why : "yes");
	tap_ok(qemu_ask(q, &did, "find") && !did.size, "the guest runs and does not find a device");
}

/* Plug the device in again, in the role that can be migrated. */
static void plug(struct qemu *q, const struct buf *b)
{
	struct did did = { 0 };
	char reply[256];

	tap_ok(qemu_monitor(q, reply, sizeof(reply),
			    "{\"execute\": \"object-add\", \"arguments\": "
			    "{\"qom-type\": \"memory-backend-file\", \"id\": \"" QEMU_BACKEND "\", "
			    "\"size\": 2097152, \"share\": true, "
			    "\"mem-path\": \"" PFNMAP_BUFFER_PATH "\"}}") &&
		       qemu_monitor(q, reply, sizeof(reply),
				    "{\"execute\": \"device_add\", \"arguments\": "
				    "{\"driver\": \"ivshmem-plain\", \"id\": \"" QEMU_DEVICE "\", "
				    "\"memdev\": \"" QEMU_BACKEND "\", \"master\": \"on\"}}"),
	       "QEMU plugs in a device with the buffer again: %s", reply);
	for (int i = 0; i < 25 && qemu_ask(q, &did, "find") && !did.size; i++)
		usleep(200000);
	tap_is(did.size, b->size, "the guest finds the device");
}

/* Begin a migration to the file; false, with QEMU's message, if it does not begin. */
static bool migrate(struct qemu *q, int fd, char *reply, size_t size)
{
	if (!qemu_monitor_fd(q, fd,
			     "{\"execute\": \"getfd\", \"arguments\": "
			     "{\"fdname\": \"stream\"}}\n"))
		tap_bail("the monitor does not take a file descriptor");
	return qemu_monitor(q, reply, size,
			    "{\"execute\": \"migrate\", \"arguments\": "
			    "{\"uri\": \"fd:stream\"}}");
}

static void migrate_peer(struct qemu *q)
{
	char reply[256];
	int fd = memfd_create("stream", MFD_CLOEXEC);

	tap_ok(!migrate(q, fd, reply, sizeof(reply)) && strstr(reply, "peer mode"),
	       "QEMU refuses to migrate a peer: %s", reply);
	close(fd);
}

/* Count how many of every stride-th page of the buffer the file has, in order. */
static unsigned int pages_in(int fd, const struct buf *b, unsigned int stride)
{
	char *stream, *at, page[KIT_PAGE];
	unsigned int n = 0;
	struct stat st;

	if (fstat(fd, &st) || !st.st_size)
		return 0;
	stream = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (stream == MAP_FAILED)
		return 0;
	at = stream;
	for (uint64_t off = 0; off < b->size; off += (uint64_t)stride * KIT_PAGE) {
		if (pread(b->fd, page, KIT_PAGE, off) != KIT_PAGE)
			break;
		at = memmem(at, stream + st.st_size - at, page, KIT_PAGE);
		if (!at)
			break;
		n++;
	}
	munmap(stream, st.st_size);
	return n;
}

static void migrate_master(struct qemu *q, const struct buf *b, unsigned int stride)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);
	char reply[1024];
	struct did did;

	tap_ok(migrate(q, fd, reply, sizeof(reply)), "QEMU begins to migrate a master: %s", reply);
	for (int i = 0; i < 200; i++) {
		qemu_monitor(q, reply, sizeof(reply), "{\"execute\": \"query-migrate\"}");
		if (strstr(reply, "\"completed\"") || strstr(reply, "\"failed\""))
			break;
		usleep(100000);
	}
	if (!tap_ok(strstr(reply, "\"completed\""), "the migration completes"))
		tap_diag("%s", reply);
	tap_is(pages_in(fd, b, stride), QEMU_PAGES / stride, "the file holds what the guest wrote");
	close(fd);
	tap_ok(qemu_monitor(q, reply, sizeof(reply), "{\"execute\": \"cont\"}"),
	       "the guest continues here: %s", reply);
	qemu_ask(q, &did, "check %u %d", stride, SEED_AGAIN);
	tap_ok(did.done == b->size / stride && !did.wrong, "the guest still reads what it wrote");
}

static void write_all(struct qemu *q, const struct buf *b)
{
	struct did did;

	if (kit_takes_all()) {
		use(q, b, 1, SEED_ALL);
		return;
	}
	tap_ok(!qemu_ask(q, &did, "write 1 %d", SEED_ALL) &&
		       !strcmp(q->error, "error: kvm run failed Bad address"),
	       "QEMU reports: kvm run failed Bad address");
	tap_is(qemu_written(b, 1, SEED_ALL), 1, "the guest wrote only the page before");
}

int main(void)
{
	unsigned int stride;
	const char *why;
	struct qemu q;
	struct buf b;

	kit_start();
	qemu_buf(&b, CHUNK_ORDER);
	stride = buf_stride(&b) / KIT_PAGE;
	if (tap_ok(qemu_boot(&q), "a guest with Debian's kernel boots in Debian's QEMU")) {
		use(&q, &b, stride, SEED_FIRST);
		migrate_peer(&q);
		unplug(&q, &b);
		plug(&q, &b);
		use(&q, &b, stride, SEED_AGAIN);
		migrate_master(&q, &b, stride);
		write_all(&q, &b);
	}
	qemu_kill(&q);
	why = buf_changes(&b);
	tap_ok(!why, "counts and flags are unchanged at the end: %s", why ? why : "yes");
	buf_close(&b);
	return kit_finish();
}
