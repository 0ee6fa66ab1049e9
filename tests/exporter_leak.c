// SPDX-License-Identifier: GPL-2.0-only
/*
 * exporter_leak - The exporter notices a reference to one of its pages that somebody else holds,
 * reports it, and keeps that page from the allocator. Every test that asks the exporter about leaks
 * relies on that.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/kit.h"

int main(void)
{
	struct pfnmap_page *pages;
	uint64_t leaked;
	int fds[2][2];
	struct buf b;
	uint8_t c;

	buf_open(&b, &(struct pfnmap_create){ .kind = PFNMAP_MIXED, .pages = 4 });
	buf_map(&b, KIT_RW);
	leaked = buf_stats(&b).leaked;
	for (int i = 0; i < 2; i++) {
		struct iovec iov = { .iov_base = b.map + (i + 1) * KIT_PAGE, .iov_len = KIT_PAGE };

		if (pipe(fds[i]))
			tap_bail("pipe: %s", strerror(errno));
		tap_is(vmsplice(fds[i][1], &iov, 1, 0), KIT_PAGE,
		       "a pipe holds a reference to page %d", i + 1);
	}
	pages = buf_report(&b);
	/* Page 0 is not mapped yet. */
	tap_is(pages[1].count, pages[0].count + 2,
	       "the count of page 1 includes the pipe's reference");
	tap_is(pages[2].count, pages[1].count, "the count of page 2 is the same");

	buf_do(&b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
	tap_is(buf_check_old(&b).bad_counts, 2, "two old pages have a bad count");
	close(fds[0][0]);
	close(fds[0][1]);
	tap_is(buf_check_old(&b).bad_counts, 1,
	       "one old page has, once the other's pipe is closed");

	buf_unmap(&b);
	tap_ok(!ioctl(b.fd, PFNMAP_CREATE, &b.spec), "a new buffer replaces the old pages");
	tap_is(buf_stats(&b).leaked, leaked + 1, "the page in a pipe counts as leaked");
	tap_ok(read(fds[1][0], &c, 1) == 1 && c == PFNMAP_POISON,
	       "the leaked page keeps its content");
	buf_close(&b);
	return tap_done();
}
