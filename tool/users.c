// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the users of KVM: processes that have a VM or /dev/kvm open, and modules that depend on it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tool/text.h"
#include "tool/tool.h"
#include "tool/users.h"

/* The device numbers of /dev/kvm. */
#define KVM_MAJOR 10
#define KVM_MINOR 232

/* Does this entry of the open directory /proc/PID/fd belong to KVM? */
static bool is_kvm(int dir, const char *fd, bool *vm)
{
	char target[64];
	ssize_t n = readlinkat(dir, fd, target, sizeof(target) - 1);
	struct stat st;

	if (n < 0)
		return false;
	target[n] = '\0';
	if (!strncmp(target, "anon_inode:kvm-", strlen("anon_inode:kvm-"))) {
		*vm = true;
		return true;
	}
	/* Devices only: stat() on a file of a network filesystem may block. */
	return !strncmp(target, "/dev/", strlen("/dev/")) && !fstatat(dir, fd, &st, 0) &&
	       S_ISCHR(st.st_mode) && st.st_rdev == makedev(KVM_MAJOR, KVM_MINOR);
}

static void look_at(struct kvm_users *u, const char *pid)
{
	struct kvm_user user = { .pid = atoi(pid) };
	bool found = false;
	struct dirent *de;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", user.pid);
	dir = opendir(path);
	if (!dir) {
		/* Other errors mean that the process has just ended. */
		u->complete &= errno != EACCES && errno != EPERM;
		return;
	}
	while ((de = readdir(dir)))
		found |= is_kvm(dirfd(dir), de->d_name, &user.vm);
	closedir(dir);
	if (!found)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", user.pid);
	read_line(path, user.name, sizeof(user.name));
	u->total++;
	if (u->n < ARRAY_SIZE(u->list))
		u->list[u->n++] = user;
}

/* Add the modules that depend on this one, except the vendor module. */
static void add_holders(struct kvm_users *u, const char *module, const char *vendor)
{
	size_t len = strlen(u->holders);
	struct dirent *de;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/module/%s/holders", module);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] == '.' || !strcmp(de->d_name, vendor) ||
		    len >= sizeof(u->holders))
			continue;
		len += snprintf(u->holders + len, sizeof(u->holders) - len, "%s%s", len ? " " : "",
				de->d_name);
	}
	if (dir)
		closedir(dir);
}

void kvm_users_get(struct kvm_users *u, const struct kvm_state *s)
{
	struct dirent *de;
	char path[128], count[16];
	DIR *proc;

	/* /proc may hide other users' processes (hidepid=). */
	*u = (struct kvm_users){ .complete = !geteuid(), .refcount = -1 };
	proc = opendir("/proc");
	while (proc && (de = readdir(proc)))
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9')
			look_at(u, de->d_name);
	if (proc)
		closedir(proc);
	add_holders(u, "kvm", s->vendor.name);
	add_holders(u, s->vendor.name, "");
	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", s->vendor.name);
	if (read_line(path, count, sizeof(count)))
		u->refcount = atoi(count);
}

/* Do the files that modprobe would load fit this kernel and each other? */
static const char *file_obstacle(const struct kvm_state *s)
{
	static char text[2 * PATH_MAX + 200];
	const struct module *modules[] = { &s->kvm, &s->vendor };
	const char *a = strrchr(s->kvm.next.path, '/'), *b = strrchr(s->vendor.next.path, '/');

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		const struct module_file *f = &modules[i]->next;

		if (!f->path[0]) {
			snprintf(text, sizeof(text),
				 "no module %s in %s: reinstall the kernel package, or run depmod",
				 modules[i]->name, s->module_dir);
			return text;
		}
		if (!f->release[0]) {
			snprintf(text, sizeof(text),
				 "%s cannot be read: it is damaged, or compressed in a way that "
				 "this libkmod does not support",
				 f->path);
			return text;
		}
		if (strcmp(f->release, s->release)) {
			snprintf(text, sizeof(text), "%s was built for Linux %s, but this is %s",
				 f->path, f->release, s->release);
			return text;
		}
	}
	if (a - s->kvm.next.path != b - s->vendor.next.path ||
	    strncmp(s->kvm.next.path, s->vendor.next.path, a - s->kvm.next.path)) {
		snprintf(
			text, sizeof(text),
			"%s and %s are from different builds: run depmod, or reinstall one of them",
			s->kvm.next.path, s->vendor.next.path);
		return text;
	}
	return NULL;
}

const char *reload_obstacle(const struct kvm_state *s, const struct kvm_users *u)
{
	static char text[1024];
	size_t len;

	if (s->kvm.builtin || s->vendor.builtin)
		return "KVM is built into this kernel";
	if (u->n) {
		len = snprintf(text, sizeof(text), "KVM is in use by");
		for (size_t i = 0; i < u->n && len < sizeof(text); i++)
			len += snprintf(text + len, sizeof(text) - len, "%s %s (pid %d%s)",
					i ? "," : "", u->list[i].name, (int)u->list[i].pid,
					u->list[i].vm ? "" : ", no VM");
		if (u->total > u->n && len < sizeof(text))
			snprintf(text + len, sizeof(text) - len, " and %zu more", u->total - u->n);
		return text;
	}
	if (u->holders[0]) {
		snprintf(text, sizeof(text), "other modules use KVM: %s", u->holders);
		return text;
	}
	if (u->refcount > 0) {
		snprintf(text, sizeof(text), "KVM has %d user%s%s", u->refcount,
			 u->refcount > 1 ? "s" : "",
			 u->complete ? ", but no process has it open" :
				       " that only root can see: run this as root");
		return text;
	}
	return file_obstacle(s);
}
