// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap status and reload, from no KVM to stock, to patched and back, among modules that are
 * installed below a directory as a kernel's package and DKMS install them: what is loaded and what
 * would be, refusal while KVM is in use, with the process named, and the old modules back when new
 * ones do not load.
 *
 * Nothing of KVM is loaded before and after. Seen to fail: with a tool that ignores users, and one
 * that leaves KVM unloaded after a failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "tests/lib/tap.h"
#include "tests/lib/tool.h"

#define ROOT "/tmp/root"

static struct tool t;
static char stock_dir[256], our_dir[256];

/* One of the three of KVM, from the initramfs; size: 0, or cut it off there. */
static void install(const char *kind, const char *module, off_t size)
{
	char from[300], to[300];

	snprintf(from, sizeof(from), "/modules/%s/%s.ko", kind, module);
	snprintf(to, sizeof(to), "%s/%s.ko", strcmp(kind, "stock") ? our_dir : stock_dir, module);
	tool_copy(from, to, 0644, size);
}

static void install_ours(void)
{
	install("patched", "kvm", 0);
	install("patched", "kvm-amd", 0);
}

static void uninstall_ours(void)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/kvm.ko", our_dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/kvm-amd.ko", our_dir);
	unlink(path);
}

static void depmod(void)
{
	struct utsname u;

	uname(&u);
	if (tool_machine("/bin/kmod", "depmod", "-b", ROOT, u.release))
		tap_bail("depmod fails");
}

/* A kernel as Debian's package installs it, as far as KVM goes. */
static void make_root(void)
{
	static const char *const others[] = { "irqbypass", "ccp" };
	struct utsname u;
	char path[300], from[64], dir[256];

	uname(&u);
	snprintf(stock_dir, sizeof(stock_dir), ROOT "/lib/modules/%.64s/kernel/arch/x86/kvm",
		 u.release);
	snprintf(our_dir, sizeof(our_dir), ROOT "/lib/modules/%.64s/updates/dkms", u.release);
	snprintf(dir, sizeof(dir), ROOT "/lib/modules/%.64s/kernel/virt", u.release);
	tool_dirs(stock_dir);
	tool_dirs(our_dir);
	tool_dirs(dir);
	for (size_t i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "/modules/%s.ko", others[i]);
		snprintf(path, sizeof(path), "%s/%s.ko", dir, others[i]);
		tool_copy(from, path, 0644, 0);
	}
	install("stock", "kvm", 0);
	install("stock", "kvm-amd", 0);
	depmod();
}

static bool is_loaded(bool patched)
{
	return !access("/sys/module/kvm_amd/initstate", F_OK) &&
	       patched == !access("/sys/module/kvm/parameters/allow_unsafe_mappings", F_OK);
}

static void status(const char *loaded, const char *next, const char *reload)
{
	static const char *const places[2] = { "kernel/arch/x86/kvm", "updates/dkms" };
	const char *now = strcmp(loaded, "stock") ? "kvm-pfnmap [0-9.]+" : "stock";
	const char *then = strcmp(next, "stock") ? "kvm-pfnmap [0-9.]+" : "stock";
	const char *now_in = places[!!strcmp(loaded, "stock")];
	const char *next_in = places[!!strcmp(next, "stock")];
	char regex[900];

	tool_run(&t, "status", "--dirname", ROOT);
	snprintf(regex, sizeof(regex),
		 "^kernel Linux .*: supported kvm %s, " ROOT "/[^ ]*/%s/kvm.ko reloaded %s, " ROOT
		 "/[^ ]*/%s/kvm.ko parameters .* kvm_amd %s, " ROOT "/[^ ]*/%s/kvm-amd.ko reloaded "
		 "%s, " ROOT "/[^ ]*/%s/kvm-amd.ko parameters .* paging nested reload %s ",
		 now, now_in, then, next_in, now, now_in, then, next_in, reload);
	tool_ok(&t, 0, regex, "status: %s is loaded, %s would be", loaded, next);
	tool_ok(&t, 0, " installed [^ ]+ \\(running\\), supported Secure Boot no EFI",
		"status: the kernels there are");
}

static void reload(int code, const char *regex, bool patched, const char *name)
{
	tool_run(&t, "reload", "--dirname", ROOT);
	tool_ok(&t, code, regex, "reload: %s", name);
	tap_ok(is_loaded(patched), "reload: %s: %s modules are loaded", name,
	       patched ? "patched" : "stock");
}

/* A process of this name with /dev/kvm open, or a VM as well; returns when it has. */
static pid_t start_user(const char *name, bool vm)
{
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		int fd = open("/dev/kvm", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		if (fd < 0 || (vm && ioctl(fd, KVM_CREATE_VM, 0) < 0))
			_exit(1);
		/* A VM is enough to keep KVM, when the device is closed. */
		if (vm)
			close(fd);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		tap_bail("/dev/kvm cannot be used");
	close(ready[0]);
	return pid;
}

static void end_user(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_users(void)
{
	pid_t vm = start_user("my vm", true), open_only;
	char regex[200];

	snprintf(regex, sizeof(regex), "not now: KVM is in use by my vm \\(pid %d\\)", vm);
	status("stock", "kvm-pfnmap", regex);
	snprintf(regex, sizeof(regex),
		 "^kvm-pfnmap: reload: KVM is in use by my vm \\(pid %d\\); nothing was done $",
		 vm);
	reload(1, regex, false, "a process has a VM");
	t.uid = 65534;
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0,
		" reload not now: KVM has 1 user, of other users of this machine: ask as root ",
		"status: to somebody who does not see the process");
	t.uid = 0;
	open_only = start_user("i\033dle", false);
	tool_run(&t, "status", "--json", "--dirname", ROOT);
	snprintf(regex, sizeof(regex),
		 "\"users\": \\[ \\{ \"pid\": %d, \"name\": \"my vm\", \"vm\": true \\}, "
		 "\\{ \"pid\": %d, \"name\": \"i.u001bdle\", \"vm\": false \\} \\]",
		 vm, open_only);
	tool_ok(&t, 0, regex, "status: both of two processes, in JSON");
	end_user(vm);
	snprintf(regex, sizeof(regex), "KVM is in use by i[?]dle \\(pid %d, no VM\\); nothing",
		 open_only);
	reload(1, regex, false, "a process has /dev/kvm open");
	end_user(open_only);
}

/* Put an M over the letter behind a key in what an installed module of ours says of itself. */
static void alter(const char *module, const char *key)
{
	char path[300], *bytes, *at;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s.ko", our_dir, module);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		tap_bail("%s: %s", path, strerror(errno));
	bytes = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	at = bytes == MAP_FAILED ? NULL : memmem(bytes, st.st_size, key, strlen(key));
	if (!at)
		tap_bail("%s does not say %s", path, key);
	at[strlen(key)] = 'M';
	munmap(bytes, st.st_size);
}

/* For another configuration of the kernel: the kernel refuses it, though it is of this release. */
static void misbuild(const char *module)
{
	struct utsname u;
	char key[128];

	uname(&u);
	snprintf(key, sizeof(key), "vermagic=%.64s SMP ", u.release);
	alter(module, key);
}

/* Modules that do not load, and those that do not go together. */
static void test_broken(void)
{
	install("patched", "kvm-amd", 20000);
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm-amd.ko cannot be read: it is damaged, .*; nothing was done $",
	       false, "a vendor module that is cut off");
	install("patched", "kvm-amd", 0);
	install("patched", "kvm", 20000);
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm.ko cannot be read: it is damaged, .*; nothing was done $",
	       false, "a kvm.ko that is cut off");
	install("patched", "kvm", 0);
	misbuild("kvm");
	reload(1,
	       "/updates/dkms/kvm-amd.ko or what it needs does not load: Exec format error; the modules "
	       "of before are loaded again; dmesg says why $",
	       false, "a kvm.ko of another configuration");
	install("patched", "kvm", 0);
	misbuild("kvm-amd");
	reload(1, " does not load: Exec format error; the modules of before are loaded again; ",
	       false, "a vendor module of another configuration");
	tool_run(&t, "reload", "--json", "--dirname", ROOT);
	tool_ok(&t, 1, "\"result\": \"restored\", .*\"exit_status\": 1 \\} $", "the same in JSON");
	uninstall_ours();
	install("patched", "kvm", 0);
	depmod();
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm.ko and .*/kernel/arch/x86/kvm/kvm-amd.ko are "
	       "not of one build: ",
	       false, "one of ours and one of stock");
	install("patched", "kvm-amd", 0);
	depmod();
}

/* Ours are loaded, and their files are gone, as after a removal or an update of the package. */
static void test_gone(void)
{
	uninstall_ours();
	depmod();
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm kvm-pfnmap [0-9.]+, of a file that is not found reloaded stock, ",
		"status: the file of what is loaded is gone");
	reload(0, "^KVM is now stock, .*/kernel/arch/x86/kvm/kvm.ko $", false,
	       "to stock, when ours is removed");

	install_ours();
	depmod();
	reload(0, "^KVM is now kvm-pfnmap ", true, "to patched again");
	alter("kvm", "srcversion=");
	misbuild("kvm-amd");
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm kvm-pfnmap [0-9.]+, of a file that is not found reloaded kvm-pfnmap ",
		"status: another version is installed than is loaded");
	reload(1,
	       " does not load: Exec format error; the kernel's own modules are loaded instead; dmesg "
	       "says why $",
	       false, "a new version that does not load");
	install("patched", "kvm-amd", 0);
	tool_run(&t, "reload", "--json", "--dirname", ROOT);
	tool_ok(&t, 0, "\"result\": \"reloaded\", .*\"exit_status\": 0 \\} $",
		"reload: the new version when it does, in JSON");
	tap_ok(is_loaded(true), "reload: and patched modules are loaded");
}

int main(void)
{
	if (!access("/sys/module/kvm", F_OK))
		tap_bail("KVM is loaded: this test loads it by itself");
	make_root();
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm not loaded reloaded stock, .*/kernel/arch/x86/kvm/kvm.ko ",
		"status: nothing is loaded, stock would be");
	tool_ok(&t, 0, " reload possible: nothing uses KVM ", "status: it can be");
	t.uid = 65534;
	tool_run(&t, "reload", "--dirname", ROOT);
	tool_ok(&t, 3, "^kvm-pfnmap: reload: only root can reload modules: use sudo $",
		"reload: not root");
	t.uid = 0;
	install_ours();
	misbuild("kvm-amd");
	depmod();
	tool_run(&t, "reload", "--dirname", ROOT);
	tool_ok(&t, 1,
		" does not load: Exec format error; KVM stays unloaded, as it was; dmesg says why $",
		"reload: nothing was loaded, and what is new does not load");
	tap_ok(access("/sys/module/kvm/initstate", F_OK), "reload: nothing is loaded then");
	uninstall_ours();
	depmod();
	reload(0, "^KVM is now stock, .*/kernel/arch/x86/kvm/kvm.ko $", false,
	       "nothing was loaded");
	t.no_modules = true;
	reload(3,
	       "^kvm-pfnmap: reload: kvm_amd cannot be unloaded: Operation not permitted; nothing was done $",
	       false, "root without the capability");
	t.no_modules = false;
	status("stock", "stock", "possible: nothing uses KVM");

	install_ours();
	depmod();
	status("stock", "kvm-pfnmap", "possible: nothing uses KVM");
	test_users();
	test_broken();
	reload(0, "^KVM is now kvm-pfnmap [0-9.]+, .*/updates/dkms/kvm.ko $", true, "to patched");
	status("kvm-pfnmap", "kvm-pfnmap", "possible: nothing uses KVM");

	test_gone();
	if (syscall(SYS_delete_module, "kvm_amd", O_NONBLOCK) ||
	    syscall(SYS_delete_module, "kvm", O_NONBLOCK))
		tap_bail("KVM cannot be unloaded: %s", strerror(errno));
	tool_machine("/bin/rm", "rm", "-r", ROOT);
	return tap_done();
}
