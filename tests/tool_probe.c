// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap probe reports what this KVM does with a driver's buffer: "works" for refcounted pages
 * everywhere, and for TTM's pages with patched KVM and nested paging; otherwise "Bad address", with
 * advice that fits the host. The argument is the driver's name.
 *
 * Contract: 3, 7, as in drm_dumb.c, but as reported by the tool.
 *
 * Seen to fail: with a tool that takes EFAULT for success.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "tests/lib/drm.h"
#include "tests/lib/kit.h"
#include "tests/lib/tool.h"

/* The render node of the same device; false: it has none. */
static bool render_node(int minor, char *name, size_t size)
{
	char pattern[64];
	bool found;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "/sys/class/drm/card%d/device/drm/renderD*", minor);
	found = !glob(pattern, 0, NULL, &g) && g.gl_pathc;
	if (found)
		snprintf(name, size, "%s", strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	return found;
}

/* The first two lines, which describe the host. */
static void test_host(const struct tool *t, const char *driver)
{
	struct utsname u;
	char regex[300];

	uname(&u);
	snprintf(regex, sizeof(regex),
		 "^host Linux %s \\(Debian [0-9][^ ]*\\) KVM %s, .*, %s paging ",
		 "[0-9][^ ]*-amd64", tap_kvm_patched() ? "kvm-pfnmap [0-9.]+" : "stock",
		 kit_tdp() ? "nested" : "shadow");
	tool_ok(t, t->status, regex, "%s: the host", driver);
	tap_ok(strstr(t->out, u.release), "%s: and its kernel", driver);
}

static const char *advice(void)
{
	if (!kit_tdp())
		return tap_kvm_patched() ?
			       "to do load kvm_amd with npt=1: without nested paging, no KVM can map it $" :
			       "to do load kvm_amd with npt=1: .*; then install kvm-pfnmap-dkms $";
	return "to do install kvm-pfnmap-dkms, then run kvm-pfnmap reload as root, or reboot $";
}

static void test_works(struct tool *t, const char *driver, const char *node)
{
	bool doubt = !strcmp(driver, "cirrus");

	tool_run(t, "probe", "--drm", node);
	test_host(t, driver);
	/* The pages of cirrus are refcounted, too, but the tool does not know every driver. */
	tool_ok(t, 0,
		doubt ? " result works: .* in all 1024 pages; but they may be in video memory, which any "
			"KVM can map seen " :
			" result works: guest and host see each other's writes in all 1024 pages seen ",
		"%s: all of it works", driver);
	tool_ok(t, 0,
		" seen 1024 of 1024 pages tried, [0-9]{4} exits, page sizes 4 KiB \\(1024\\) $",
		"%s: with small pages, and without advice", driver);
	tool_run(t, "probe", "--json", "--drm", node);
	tool_ok(t, 0,
		"^\\{ .*\"verdict\": \"works\", .*\"advice\": null, \"reason\": null, "
		"\"maybe_video_memory\": (true|false), \"pages\": 1024, "
		"\"pages_tried\": 1024, \"pages_usable\": 1024, .*\"exit_status\": 0 \\} $",
		"%s: the same in JSON", driver);
	tap_ok(!!strstr(t->out, "\"maybe_video_memory\": true") == doubt, "%s: and the doubt",
	       driver);
}

static void test_refused(struct tool *t, const char *driver, const char *node)
{
	/* One chunk, whose first page is refcounted, unless memory is short. */
	tool_run(t, "probe", "--drm", node);
	test_host(t, driver);
	tool_ok(t, 1,
		" result (first page only, then Bad address|Bad address, only [0-9]+ of 1024 pages work): "
		"KVM refuses this memory, as it does with non-refcounted pages ",
		"%s: Bad address", driver);
	tool_ok(t, 1, " seen 1024 of 1024 pages tried, ", "%s: all pages are tried", driver);
	tool_ok(t, 1, advice(), "%s: the advice", driver);
	tool_run(t, "probe", "--json", "--drm", node);
	tool_ok(t, 1,
		"^\\{ .*\"verdict\": \"refused\", .*\"pages\": 1024, \"pages_tried\": 1024, "
		"\"pages_usable\": [0-9]{1,2}, .*\"exit_status\": 1 \\} $",
		"%s: the same in JSON", driver);
}

int main(int argc, char **argv)
{
	static struct tool t;
	const char *driver = argc > 1 ? argv[1] : "";
	bool refcounted = !strcmp(driver, "vgem") || !strcmp(driver, "virtio_gpu") ||
			  !strcmp(driver, "cirrus");
	bool works = refcounted || kit_takes_all();
	char name[32], node[48], regex[300];
	struct drm_dev dev;

	drm_open(&dev, driver);
	snprintf(name, sizeof(name), "card%d", dev.minor);
	snprintf(node, sizeof(node), "/dev/dri/%s", name);
	drm_close(&dev);

	if (works)
		test_works(&t, driver, node);
	else
		test_refused(&t, driver, node);

	/* Without a name: all nodes, and ordinary memory. */
	t.node = name;
	tool_run(&t, "probe");
	snprintf(regex, sizeof(regex),
		 " %s, dumb buffer of %s result %s.* anonymous memory result works: .*page sizes "
		 "(4 KiB \\(1024\\)|2 MiB \\(2\\)) $",
		 node, driver, works ? "works" : "(first|Bad)");
	tool_ok(&t, works ? 0 : 1, regex, "%s: probe of all", driver);
	t.node = NULL;

	/* GBM has no driver for any of these devices here. */
	if (render_node(dev.minor, name, sizeof(name))) {
		snprintf(node, sizeof(node), "/dev/dri/%s", name);
		tool_run(&t, "probe", "--drm", node);
		tool_ok(&t, 4,
			" result not mappable: GBM has no driver for this device to do probe the driver's other "
			"node, /dev/dri/card[*] $",
			"%s: its render node", driver);
	}
	return tap_done();
}
