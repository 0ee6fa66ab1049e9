// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap on hosts where something is missing: KVM is not loaded, /dev/kvm or a DRM device is
 * missing, or the user has no permission, or only through groups. With the argument "none", KVM is
 * not loaded; the test then also covers what status reports about dkms and Secure Boot, with a fake
 * dkms and fake EFI variables.
 *
 * Seen to fail: with a tool that reports every failed open() as a missing KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/lib/drm.h"
#include "tests/lib/kit.h"
#include "tests/lib/tool.h"

#define USER   65534
#define KVM    106
#define VIDEO  44
#define DEVICE "/dev/kvm"
#define AWAY   "/dev/kvm-away"

#define ROOT "/tmp/root"
#define DKMS "/usr/sbin/dkms"

#define EFIVARS	    "/sys/firmware/efi/efivars"
#define SECURE_BOOT EFIVARS "/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static struct tool t;

static void test_no_kvm(void)
{
	t.node = "";
	tool_run(&t, "probe");
	tool_ok(&t, 3,
		"^host Linux .* KVM not loaded no DRM device in /dev/dri anonymous memory result no KVM: /dev/kvm: No such file or "
		"directory to do run modprobe kvm_amd as root; if that fails, see dmesg: ",
		"probe without KVM");
	tool_run(&t, "probe", "--json");
	tool_ok(&t, 3,
		"\"kvm\": \\{ \"loaded\": false, .*\"verdict\": \"no_kvm\", .*\"exit_status\": 3 \\} $",
		"the same in JSON");
	tool_run(&t, "status");
	tool_ok(&t, 0, " kvm not loaded on reload not found kvm_amd not loaded ",
		"status without KVM");
	tool_ok(&t, 0, " reload not now: no module kvm in ", "and without its modules");
	tool_run(&t, "status", "--json");
	tool_ok(&t, 0,
		"\"name\": \"kvm\", \"loaded\": false, .*\"reload\": \\{ \"possible\": false, ",
		"the same in JSON");
	tool_run(&t, "reload");
	tool_ok(&t, 1, "^kvm-pfnmap: reload: no module kvm in .*; nothing was changed $",
		"reload without modules");
}

/* Create a file, executable. */
static void put(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

static void test_dkms(void)
{
	static const char works[] = "#!/bin/sh\n"
				    "[ \"$*\" = 'status -m kvm-pfnmap' ] || exit 1\n"
				    "echo kvm-pfnmap/0.1.0, $(uname -r), x86_64: installed\n"
				    "echo kvm-pfnmap/0.1.1: added\n";
	static const char hangs[] = "#!/bin/sh\nexec sleep 1000\n";
	static const char fails[] = "#!/bin/sh\nexit 1\n";
	struct utsname u;
	char dir[128];

	uname(&u);
	snprintf(dir, sizeof(dir), ROOT "/lib/modules/%.64s/kernel", u.release);
	tool_dirs(dir);
	tool_dirs(ROOT "/lib/modules/6.1.0-1-own-amd64/kernel");
	tool_dirs("/usr/sbin");
	put(DKMS, works, sizeof(works) - 1);
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0,
		" dkms 0.1.1 added, not built for any kernel installed 6.1.0-1-own-amd64, not supported; dkms: "
		"none 6[^ ]* \\(running\\), supported; dkms: 0.1.0 installed Secure Boot ",
		"status with dkms");
	tool_run(&t, "status", "--json", "--dirname", ROOT);
	tool_ok(&t, 0,
		"\"dkms\": \"installed\", \"dkms_for_no_kernel\": \\[ \\{ \"version\": \"0.1.1\", \"state\": "
		"\"added\" \\} \\], \"kernels\": .*\"running\": true, \"supported\": true, \"reason\": null, .*\"dkms\": "
		"\\[ \\{ \"version\": \"0.1.0\", \"state\": \"installed\" \\} \\]",
		"the same in JSON");
	put(DKMS, hangs, sizeof(hangs) - 1);
	tool_run(&t, "status");
	tool_ok(&t, 0, " dkms 'dkms status' failed ", "status with a dkms that hangs");
	put(DKMS, fails, sizeof(fails) - 1);
	tool_run(&t, "status");
	tool_ok(&t, 0, " dkms 'dkms status' failed ", "status with a dkms that fails");
	unlink(DKMS);
	tool_machine("/bin/rm", "rm", "-r", ROOT);
}

static void test_secure_boot(void)
{
	static const char on[5] = { 6, 0, 0, 0, 1 }, off[5] = { 6, 0, 0, 0, 0 };

	if (mount("securityfs", "/sys/kernel/security", "securityfs", 0, NULL) && errno != EBUSY)
		tap_bail("securityfs: %s", strerror(errno));
	if (mount("tmpfs", "/sys/firmware", "tmpfs", 0, NULL))
		tap_bail("/sys/firmware: %s", strerror(errno));
	tool_run(&t, "status");
	tool_ok(&t, 0, " Secure Boot no EFI, lockdown none $", "status without EFI");
	mkdir("/sys/firmware/efi", 0755);
	tool_run(&t, "status");
	tool_ok(&t, 0, " Secure Boot unknown, ", "status with EFI and without its variables");
	tool_dirs(EFIVARS);
	tool_run(&t, "status");
	tool_ok(&t, 0, " Secure Boot unknown, ", "status with a directory that is not efivarfs");
	put(SECURE_BOOT, on, sizeof(on));
	tool_run(&t, "status");
	tool_ok(&t, 0, " Secure Boot on, ", "status with Secure Boot");
	put(SECURE_BOOT, off, sizeof(off));
	tool_run(&t, "status");
	tool_ok(&t, 0, " Secure Boot off, ", "status with Secure Boot switched off");
	if (umount("/sys/firmware"))
		tap_bail("/sys/firmware: %s", strerror(errno));
}

static void own(const char *path, gid_t group, mode_t mode)
{
	if (chown(path, 0, group) || chmod(path, mode))
		tap_bail("%s: %s", path, strerror(errno));
}

/* Give the groups names, as on any machine. */
static void name_groups(void)
{
	FILE *f;

	tool_dirs("/etc");
	f = fopen("/etc/group", "we");
	if (!f || fprintf(f, "video:x:%d:\nkvm:x:%d:\n", VIDEO, KVM) < 0 || fclose(f))
		tap_bail("/etc/group: %s", strerror(errno));
}

static void test_device(void)
{
	t.node = "";
	tool_run(&t, "probe", "--all");
	tool_ok(&t, 4, " no DRM device in /dev/dri anonymous memory result works: ",
		"no DRM device: ordinary memory alone proves nothing");
	if (rename(DEVICE, AWAY))
		tap_bail(DEVICE ": %s", strerror(errno));
	tool_run(&t, "probe");
	tool_ok(&t, 3,
		" result no KVM: /dev/kvm: No such file or directory to do KVM is loaded: a "
		"container without /dev/kvm or another hypervisor may be the reason $",
		"no " DEVICE ", but KVM is loaded");
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
		" result no permission: /dev/dri/card[0-9]+: Permission denied to do run this as "
		"root, or as a user who may open /dev/dri/card[0-9]+ $",
		"no permission for the device");
	own(node, VIDEO, 0660);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3, " to do run usermod -aG video USER as root, then log in again $",
		"nor is the user in its group");
	own(node, 0, 0666);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3,
		" result no permission: /dev/kvm: Permission denied to do run this as root, ",
		"no permission for KVM");
	own(DEVICE, KVM, 0660);
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, 3, " to do run usermod -aG kvm USER as root, then log in again $",
		"nor is the user in its group");
	tool_run(&t, "probe", "--json", "--drm", node);
	tool_ok(&t, 3, "\"verdict\": \"no_permission\", .*\"exit_status\": 3 \\} $",
		"the same in JSON");

	t.group = KVM;
	tool_run(&t, "probe", "--drm", node);
	tool_ok(&t, code, works, "in the group: the same as for root");
	tool_ok(&t, code, " seen 1024 of 1024 pages tried, [0-9]+ exits, page sizes 4 KiB ",
		"with all of KVM's statistics");
	tool_run(&t, "status");
	tool_ok(&t, 0, tap_kvm_patched() ? " kvm kvm-pfnmap " : " kvm stock, ",
		"status as another user than root");
	tool_run(&t, "reload");
	tool_ok(&t, 1,
		"^kvm-pfnmap: reload: ", "reload as another user than root, and without modules");
	own(DEVICE, 0, 0600);
	own(node, 0, 0600);
}

int main(int argc, char **argv)
{
	struct drm_dev dev;
	char node[32];

	if (argc > 1 && !strcmp(argv[1], "none")) {
		test_no_kvm();
		test_dkms();
		test_secure_boot();
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
