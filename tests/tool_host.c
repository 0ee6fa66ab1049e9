// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap on hosts that lack something: no KVM loaded, no /dev/kvm, no DRM device, and a user
 * without permission or with just that of the groups. With the argument "none" KVM is not loaded.
 *
 * Seen to fail: with a tool that takes every failed open() for a missing KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/drm.h"
#include "tests/kit.h"
#include "tests/tool.h"

#define USER   65534
#define KVM    106
#define VIDEO  44
#define DEVICE "/dev/kvm"
#define AWAY   "/dev/kvm-away"

static struct tool t;

static void test_no_kvm(void)
{
	t.node = "";
	tool_run(&t, "probe");
	tool_ok(&t, 3,
		"^host Linux .* KVM not loaded no DRM device: there is nothing in /dev/dri anonymous memory result no KVM: /dev/kvm: No such file or "
		"directory to do as root: modprobe kvm_amd; if that fails, dmesg says why: ",
		"probe without KVM");
	tool_run(&t, "probe", "--json");
	tool_ok(&t, 3,
		"\"kvm\": \\{ \"there\": false, .*\"verdict\": \"no KVM\", .*\"exit_status\": 3 \\} $",
		"the same in JSON");
	tool_run(&t, "status");
	tool_ok(&t, 0, " kvm not loaded reloaded no such module kvm_amd not loaded ",
		"status without KVM");
	tool_ok(&t, 0, " reload not now: there is no module kvm in ", "nor its modules");
	tool_run(&t, "status", "--json");
	tool_ok(&t, 0,
		"\"name\": \"kvm\", \"loaded\": false, .*\"reload\": \\{ \"possible\": false, ",
		"the same in JSON");
	tool_run(&t, "reload");
	tool_ok(&t, 1, "^kvm-pfnmap: reload: there is no module kvm in .*; nothing was done $",
		"reload without modules");
}

static void own(const char *path, gid_t group, mode_t mode)
{
	if (chown(path, 0, group) || chmod(path, mode))
		tap_bail("%s: %s", path, strerror(errno));
}

/* Names for the groups, as on any machine. */
static void name_groups(void)
{
	FILE *f;

	mkdir("/etc", 0755);
	f = fopen("/etc/group", "we");
	if (!f || fprintf(f, "video:x:%d:\nkvm:x:%d:\n", VIDEO, KVM) < 0 || fclose(f))
		tap_bail("/etc/group: %s", strerror(errno));
}

static void test_device(void)
{
	t.node = "";
	tool_run(&t, "probe", "--all");
	tool_ok(&t, 4,
		" no DRM device: there is nothing in /dev/dri anonymous memory result works: ",
		"no DRM device: nothing that could prove anything");
	if (rename(DEVICE, AWAY))
		tap_bail(DEVICE ": %s", strerror(errno));
	tool_run(&t, "probe");
	tool_ok(&t, 3,
		" result no KVM: /dev/kvm: No such file or directory to do KVM is loaded, so that a "
		"container without /dev/kvm or another hypervisor may be the reason $",
		"no " DEVICE ", but KVM");
	if (rename(AWAY, DEVICE))
		tap_bail(DEVICE ": %s", strerror(errno));
}

static void test_permission(const char *node)
{
	const char *works = kit_takes_all() ? " result works: " : "Bad address";
	int code = kit_takes_all() ? 0 : 1;

	t.uid = USER;
	own(DEVICE, 0, 0600);
	own(node, 0, 0600);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3,
		" result no permission: /dev/dri/card[0-9]+: Permission denied to do run it as "
		"root, or as a user who may open it $",
		"no permission for the device");
	own(node, VIDEO, 0660);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3, " to do as root: adduser USER video; then log in again $",
		"nor the group that has it");
	own(node, 0, 0666);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3, " result no permission: /dev/kvm: Permission denied to do run it as root, ",
		"no permission for KVM");
	own(DEVICE, KVM, 0660);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3, " to do as root: adduser USER kvm; then log in again $",
		"nor the group that has it");
	tool_run(&t, "probe", "--json", "--drm", node);
	tool_ok(&t, 3, "\"verdict\": \"no permission\", .*\"exit_status\": 3 \\} $",
		"the same in JSON");

	t.group = KVM;
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, code, works, "with the group: as for root");
	tool_ok(&t, code, " seen 1024 of 1024 pages tried, [0-9]+ exits, page sizes 4 KiB ",
		"and all that KVM counts");
	tool_run(&t, "status");
	tool_ok(&t, 0, tap_kvm_patched() ? " kvm kvm-pfnmap " : " kvm stock, ",
		"status without being root");
	tool_run(&t, "reload");
	tool_ok(&t, 1, "^kvm-pfnmap: reload: ", "reload without being root, nor modules");
	own(DEVICE, 0, 0600);
	own(node, 0, 0600);
}

int main(int argc, char **argv)
{
	struct drm_dev dev;
	char node[32];

	if (argc > 1 && !strcmp(argv[1], "none")) {
		test_no_kvm();
		return tap_done();
	}
	drm_open(&dev, "bochs-drm");
	snprintf(node, sizeof(node), "/dev/dri/card%d", dev.minor);
	drm_close(&dev);
	name_groups();
	test_device();
	t.node = NULL;
	test_permission(node);
	unlink("/etc/group");
	return tap_done();
}
