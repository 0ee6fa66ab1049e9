// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap status and reload, from no KVM to stock, to patched and back, with modules below a
 * directory, as a kernel package and DKMS install them. status shows what is loaded and what a
 * reload would load; reload refuses while KVM is in use and names the process; it loads the old
 * modules again if the new ones do not load.
 *
 * KVM is not loaded before and after. Seen to fail: with a tool that ignores users, and with one
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

/* Install one of KVM's modules from the initramfs; truncate it to size bytes unless that is 0. */
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

/* Create what Debian's kernel package installs, as far as KVM needs it. */
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
		 "^kernel Linux .*: supported kvm %s, " ROOT "/[^ ]*/%s/kvm.ko on reload %s, " ROOT
		 "/[^ ]*/%s/kvm.ko parameters .* kvm_amd %s, " ROOT
		 "/[^ ]*/%s/kvm-amd.ko on reload "
		 "%s, " ROOT "/[^ ]*/%s/kvm-amd.ko parameters .* paging nested reload %s ",
		 now, now_in, then, next_in, now, now_in, then, next_in, reload);
	tool_ok(&t, 0, regex, "status: %s is loaded, a reload would load %s", loaded, next);
	tool_ok(&t, 0, " installed [^ ]+ \\(running\\), supported Secure Boot no EFI",
		"status: the installed kernels");
}

static void reload(int code, const char *regex, bool patched, const char *name)
{
	tool_run(&t, "reload", "--dirname", ROOT);
	tool_ok(&t, code, regex, "reload: %s", name);
	tap_ok(is_loaded(patched), "reload: %s: %s modules are loaded", name,
	       patched ? "patched" : "stock");
}

/* Start a process with this name that has /dev/kvm open, or a VM; return once it has. */
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
		/* A VM keeps KVM in use even if the device is closed. */
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
		 "^kvm-pfnmap: reload: KVM is in use by my vm \\(pid %d\\); nothing was changed $",
		 vm);
	reload(1, regex, false, "a process has a VM");
	t.uid = 65534;
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " reload not now: KVM has 1 user that only root can see: run this as root ",
		"status: as a user who cannot see the process");
	t.uid = 0;
	open_only = start_user("i\033dle", false);
	tool_run(&t, "status", "--json", "--dirname", ROOT);
	snprintf(regex, sizeof(regex),
		 "\"users\": \\[ \\{ \"pid\": %d, \"name\": \"my vm\", \"vm\": true \\}, "
		 "\\{ \"pid\": %d, \"name\": \"i.u001bdle\", \"vm\": false \\} \\]",
		 vm, open_only);
	tool_ok(&t, 0, regex, "status: both processes, in JSON");
	end_user(vm);
	snprintf(regex, sizeof(regex), "KVM is in use by i[?]dle \\(pid %d, no VM\\); nothing",
		 open_only);
	reload(1, regex, false, "a process has /dev/kvm open");
	end_user(open_only);
}

/* Overwrite the character after a key in an installed patched module with M. */
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
		tap_bail("%s does not contain %s", path, key);
	at[strlen(key)] = 'M';
	munmap(bytes, st.st_size);
}

/* Make the module one for another kernel configuration: the kernel refuses to load it. */
static void misbuild(const char *module)
{
	struct utsname u;
	char key[128];

	uname(&u);
	snprintf(key, sizeof(key), "vermagic=%.64s SMP ", u.release);
	alter(module, key);
}

/* Modules that do not load, and modules from different builds. */
static void test_broken(void)
{
	install("patched", "kvm-amd", 20000);
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm-amd.ko cannot be read: it is damaged, .*; nothing was changed $",
	       false, "a truncated vendor module");
	install("patched", "kvm-amd", 0);
	install("patched", "kvm", 20000);
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm.ko cannot be read: it is damaged, .*; nothing was changed $",
	       false, "a truncated kvm.ko");
	install("patched", "kvm", 0);
	misbuild("kvm");
	reload(1,
	       "/updates/dkms/kvm-amd.ko or a module that it needs does not load: Exec format error; the "
	       "previous modules are loaded again; see dmesg $",
	       false, "a kvm.ko for another configuration");
	install("patched", "kvm", 0);
	misbuild("kvm-amd");
	reload(1, " does not load: Exec format error; the previous modules are loaded again; ",
	       false, "a vendor module for another configuration");
	tool_run(&t, "reload", "--json", "--dirname", ROOT);
	tool_ok(&t, 1, "\"result\": \"restored\", .*\"exit_status\": 1 \\} $", "the same in JSON");
	uninstall_ours();
	install("patched", "kvm", 0);
	depmod();
	reload(1,
	       "^kvm-pfnmap: reload: .*/updates/dkms/kvm.ko and .*/kernel/arch/x86/kvm/kvm-amd.ko are "
	       "from different builds: ",
	       false, "one patched and one stock module");
	install("patched", "kvm-amd", 0);
	depmod();
}

/* Patched modules are loaded, and their files are gone, as after a removal or update. */
static void test_gone(void)
{
	uninstall_ours();
	depmod();
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm kvm-pfnmap [0-9.]+, from an unknown file on reload stock, ",
		"status: the file of the loaded module is gone");
	reload(0, "^KVM is now stock, .*/kernel/arch/x86/kvm/kvm.ko $", false,
	       "to stock, after the patched modules were removed");

	install_ours();
	depmod();
	reload(0, "^KVM is now kvm-pfnmap ", true, "to patched again");
	alter("kvm", "srcversion=");
	misbuild("kvm-amd");
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm kvm-pfnmap [0-9.]+, from an unknown file on reload kvm-pfnmap ",
		"status: the installed version is not the loaded one");
	reload(1,
	       " does not load: Exec format error; the kernel's own modules are loaded instead; see "
	       "dmesg $",
	       false, "a new version that does not load");
	install("patched", "kvm-amd", 0);
	tool_run(&t, "reload", "--json", "--dirname", ROOT);
	tool_ok(&t, 0, "\"result\": \"reloaded\", .*\"exit_status\": 0 \\} $",
		"reload: the new version once it loads, in JSON");
	tap_ok(is_loaded(true), "reload: patched modules are loaded");
}

int main(void)
{
	if (!access("/sys/module/kvm", F_OK))
		tap_bail("KVM is loaded already: this test must load it");
	make_root();
	tool_run(&t, "status", "--dirname", ROOT);
	tool_ok(&t, 0, " kvm not loaded on reload stock, .*/kernel/arch/x86/kvm/kvm.ko ",
		"status: nothing is loaded, a reload would load stock");
	tool_ok(&t, 0, " reload possible: nothing uses KVM ", "status: a reload is possible");
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
		" does not load: Exec format error; KVM is not loaded, as before; see dmesg $",
		"reload: nothing was loaded, and the new module does not load");
	tap_ok(access("/sys/module/kvm/initstate", F_OK), "reload: still nothing is loaded");
	uninstall_ours();
	depmod();
	reload(0, "^KVM is now stock, .*/kernel/arch/x86/kvm/kvm.ko $", false,
	       "nothing was loaded");
	t.no_modules = true;
	reload(3,
	       "^kvm-pfnmap: reload: kvm_amd cannot be unloaded: Operation not permitted; nothing was changed $",
	       false, "root without CAP_SYS_MODULE");
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
