// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap status: shows the loaded modules, the ones that a reload would load, and whether a
 * reload is possible.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/json.h"
#include "tool/modules.h"
#include "tool/text.h"
#include "tool/tool.h"
#include "tool/users.h"

#define PACKAGE	    "kvm-pfnmap"
#define EFIVARS	    "/sys/firmware/efi/efivars/"
#define SECURE_BOOT EFIVARS "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define MAX_DKMS    64
#define STATE	    "/var/lib/kvm-pfnmap" /* of dkms/build-all.sh */
#define PROGRAM_MS  10000		  /* give up on a program after this long without output */
#define LIST_SIZE   (1 << 20)
#define MAX_KERNELS 64

/* What a program of this machine had to say. */
enum outcome { PROGRAM_OK, PROGRAM_MISSING, PROGRAM_FAILED };

/* A release that has modules installed. */
struct kernel {
	char release[256];
	char reason[512]; /* why it has no modules of ours; "": unknown, or it has */
	bool patched;	  /* modprobe would load ours */
	/* Modules of KVM that its initramfs has, which win at boot: "kvm-pfnmap", "stock", NULL */
	const char *initramfs;
};

struct facts {
	struct kvm_state kvm;
	struct kvm_users users;
	enum outcome dkms;
	struct dkms_line lines[MAX_DKMS];
	size_t n_lines;
	struct kernel kernels[MAX_KERNELS];
	size_t n_kernels;
	const char *secure_boot; /* "on", "off", "no EFI", "unknown" */
	char lockdown[32];	 /* "": unknown */
	bool sig_enforce;
};

/* ---- gathering ---- */

/* Read a pipe to its end, dropping what does not fit. False: timeout or error. */
static bool read_all(int fd, char *text, size_t size, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	ssize_t n = 1;

	/* Once the buffer is full, its last byte takes the rest. */
	while (n > 0 && poll(&pfd, 1, timeout_ms) > 0) {
		n = read(fd, text + used, used + 1 < size ? size - 1 - used : 1);
		used += used + 1 < size && n > 0 ? n : 0;
	}
	text[used] = '\0';
	return !n;
}

/* Run a program, with what it prints in text. */
static enum outcome ask(char *const argv[], char *text, size_t size)
{
	static char *envp[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"LC_ALL=C", NULL };
	posix_spawn_file_actions_t actions;
	int fds[2], err, status;
	pid_t pid;

	/* posix_spawnp() searches our own PATH, and a user's may lack sbin. */
	setenv("PATH", envp[0] + strlen("PATH="), 1);
	if (pipe2(fds, O_CLOEXEC))
		return PROGRAM_FAILED;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return err == ENOENT ? PROGRAM_MISSING : PROGRAM_FAILED;
	}
	err = !read_all(fds[0], text, size, PROGRAM_MS);
	close(fds[0]);
	if (err)
		kill(pid, SIGKILL);
	return waitpid(pid, &status, 0) != pid || err || status ? PROGRAM_FAILED : PROGRAM_OK;
}

static enum outcome ask_dkms(struct facts *f)
{
	static char *argv[] = { "dkms", "status", "-m", PACKAGE, NULL };
	char text[1 << 16], *line, *next;
	enum outcome outcome = ask(argv, text, sizeof(text));

	if (outcome != PROGRAM_OK)
		return outcome;
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next))
		if (f->n_lines < MAX_DKMS && parse_dkms_line(line, PACKAGE, &f->lines[f->n_lines]))
			f->n_lines++;
	return PROGRAM_OK;
}

/* Does modprobe find our modules? */
static bool has_patched(const char *modules, const char *release)
{
	static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };
	char path[2 * PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s/updates/dkms/kvm.ko%s", modules, release,
			 suffixes[i]);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

static const char *initramfs_has(const char *dirname, const char *release)
{
	char image[2 * PATH_MAX], *text = calloc(1, LIST_SIZE), *kvm;
	char *initramfs_tools[] = { "lsinitramfs", image, NULL };
	char *dracut[] = { "lsinitrd", image, NULL };
	const char *has = NULL;

	snprintf(image, sizeof(image), "%s/boot/initrd.img-%s", dirname, release);
	if (text && !access(image, R_OK) &&
	    (ask(initramfs_tools, text, LIST_SIZE) == PROGRAM_OK ||
	     ask(dracut, text, LIST_SIZE) == PROGRAM_OK)) {
		kvm = strstr(text, "/kvm.ko");
		if (kvm)
			has = kvm - text > 13 && !strncmp(kvm - 13, "/updates/dkms", 13) ? PACKAGE :
											   "stock";
	}
	free(text);
	return has;
}

static void find_kernels(struct facts *f, const char *dirname)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];
	struct dirent **list;
	int n;

	dirname = dirname ? dirname : "";
	snprintf(dir, sizeof(dir), "%s/lib/modules", dirname);
	n = scandir(dir, &list, NULL, versionsort);
	for (int i = 0; i < n; i++) {
		struct kernel *k = &f->kernels[f->n_kernels];
		const char *name = list[i]->d_name;

		snprintf(path, sizeof(path), "%s/%s/kernel", dir, name);
		if (name[0] != '.' && f->n_kernels < MAX_KERNELS && !access(path, F_OK)) {
			snprintf(k->release, sizeof(k->release), "%s", name);
			snprintf(path, sizeof(path), "%s" STATE "/%s.reason", dirname, name);
			if (!read_line(path, k->reason, sizeof(k->reason)))
				k->reason[0] = '\0';
			k->patched = has_patched(dir, name);
			k->initramfs = initramfs_has(dirname, name);
			f->n_kernels++;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

/* The EFI variable consists of 4 bytes of attributes and one byte, 0 or 1. */
static const char *secure_boot(void)
{
	unsigned char value[5];
	struct statfs fs;
	ssize_t n;
	int fd;

	if (access("/sys/firmware/efi", F_OK))
		return "no EFI";
	fd = open(SECURE_BOOT, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT && !statfs(EFIVARS, &fs) && fs.f_type == EFIVARFS_MAGIC ?
			       "off" :
			       "unknown";
	n = read(fd, value, sizeof(value));
	close(fd);
	return n != sizeof(value) ? "unknown" : value[4] ? "on" : "off";
}

static struct facts *find_out(const char *dirname)
{
	struct facts *f = calloc(1, sizeof(*f));
	char text[128];

	if (!f)
		return NULL;
	kvm_state_get(&f->kvm, dirname);
	kvm_users_get(&f->users, &f->kvm);
	f->dkms = ask_dkms(f);
	find_kernels(f, dirname);
	f->secure_boot = secure_boot();
	if (!read_line("/sys/kernel/security/lockdown", text, sizeof(text)) ||
	    !bracketed_word(text, f->lockdown, sizeof(f->lockdown)))
		f->lockdown[0] = '\0';
	f->sig_enforce =
		read_line("/sys/module/module/parameters/sig_enforce", text, sizeof(text)) &&
		text[0] == 'Y';
	return f;
}

/* ---- reporting ---- */

static const char *support_text(enum support support)
{
	return support == SUPPORT_YES	     ? "supported" :
	       support == SUPPORT_TOO_OLD    ? "too old to be supported" :
	       support == SUPPORT_NOT_NEEDED ? "needs no patch, its own KVM maps such memory" :
					       "not supported";
}

static void print_file(const char *label, const struct module_file *file, bool patched)
{
	char text[PATH_MAX + 256], kind[96];

	if (!file->path[0])
		snprintf(text, sizeof(text), "not found");
	else
		snprintf(text, sizeof(text), "%s, %s",
			 kind_text(patched, file->version, kind, sizeof(kind)), file->path);
	print_wrapped(label, text);
}

/* Join lines with blanks. */
static const char *one_line(const char *lines, char *text, size_t size)
{
	snprintf(text, size, "%s", lines);
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
	return text;
}

static void print_module(const struct module *m, bool next_patched)
{
	char text[PATH_MAX + 256], kind[96];

	if (!m->there)
		snprintf(text, sizeof(text), "not loaded");
	else
		snprintf(text, sizeof(text), "%s, %s",
			 kind_text(m->patched, m->version, kind, sizeof(kind)),
			 m->builtin	 ? "built into the kernel" :
			 m->file.path[0] ? m->file.path :
					   "from an unknown file");
	print_wrapped(m->name, text);
	if (!m->builtin)
		print_file("  on reload", &m->next, next_patched);
	if (m->parameters[0])
		print_wrapped("  parameters", one_line(m->parameters, text, sizeof(text)));
	if (m->options[0])
		print_wrapped("  options", m->options);
}

static void dkms_text(const struct facts *f, const char *release, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < f->n_lines && len < size; i++)
		if (!strcmp(f->lines[i].release, release))
			len += snprintf(text + len, size - len, "%s%s %s", len ? ", " : "",
					f->lines[i].version, f->lines[i].state);
	if (!len)
		snprintf(text, size, "none");
}

/* The rows of a series are next to each other; only the first is shown. */
static bool is_same_series(size_t row)
{
	return row && !strcmp(supported_kernels[row].series, supported_kernels[row - 1].series);
}

/* At boot the kernel would get one module from the initramfs and the other from the disk. */
static bool is_stale(const struct kernel *k)
{
	return k->initramfs && k->patched == !strcmp(k->initramfs, "stock");
}

static void print_kernels(const struct facts *f)
{
	char text[1024], dkms[512];
	bool running;

	if (f->dkms != PROGRAM_OK)
		print_wrapped("dkms", f->dkms == PROGRAM_MISSING ? "not installed" :
								   "'dkms status' failed");
	for (size_t i = 0; i < f->n_lines; i++) {
		if (f->lines[i].release[0])
			continue;
		snprintf(text, sizeof(text), "%s %s, not built for any kernel", f->lines[i].version,
			 f->lines[i].state);
		print_wrapped("dkms", text);
	}
	for (size_t i = 0; i < f->n_kernels; i++) {
		const struct kernel *k = &f->kernels[i];

		running = !strcmp(k->release, f->kvm.release);
		dkms_text(f, k->release, dkms, sizeof(dkms));
		snprintf(
			text, sizeof(text), "%s%s, %s%s%s", k->release, running ? " (running)" : "",
			support_text(running ? f->kvm.support :
					       kernel_support(supported_kernels, k->release, NULL)),
			f->dkms == PROGRAM_OK ? "; dkms: " : "", f->dkms == PROGRAM_OK ? dkms : "");
		print_wrapped(i ? "" : "installed", text);
		if (k->reason[0] && !k->patched)
			print_wrapped("  reason", k->reason);
		if (is_stale(k)) {
			snprintf(text, sizeof(text),
				 "has the %s kvm.ko, but the disk does not: make it again "
				 "(update-initramfs -u -k %s, or dracut --force)",
				 k->initramfs, k->release);
			print_wrapped("  initramfs", text);
		}
	}
}

static void print_all(const struct facts *f)
{
	const struct kvm_state *s = &f->kvm;
	const char *obstacle = reload_obstacle(s, &f->users);
	char text[1200];

	kernel_text(s, text, sizeof(text));
	snprintf(text + strlen(text), sizeof(text) - strlen(text), ": %s",
		 support_text(s->support));
	print_wrapped("kernel", text);
	if (s->support != SUPPORT_YES && s->support != SUPPORT_NOT_NEEDED) {
		size_t len = snprintf(text, sizeof(text), "Debian's");

		for (size_t i = 0; supported_kernels[i].series && len < sizeof(text); i++) {
			if (is_same_series(i))
				continue;
			len += snprintf(text + len, sizeof(text) - len, "%s %s (%s or later)",
					i ? "," : "", supported_kernels[i].series,
					supported_kernels[i].oldest);
		}
		print_wrapped("  supported", text);
	}
	print_module(&s->kvm, s->kvm.next.patched);
	if (!s->kvm.builtin || s->vendor.there)
		print_module(&s->vendor, s->kvm.next.patched);
	if (s->paging != PAGING_UNKNOWN)
		print_wrapped("paging", s->paging == PAGING_NESTED ? "nested" : "shadow");
	if (obstacle)
		snprintf(text, sizeof(text), "not now: %s", obstacle);
	else
		snprintf(text, sizeof(text), "possible: nothing uses KVM%s",
			 f->users.complete || f->users.refcount >= 0 ?
				 "" :
				 ", as far as this user can see; root sees all users");
	print_wrapped("reload", text);
	print_kernels(f);
	snprintf(text, sizeof(text), "%s%s%s%s", f->secure_boot,
		 f->lockdown[0] ? ", lockdown " : "", f->lockdown,
		 f->sig_enforce ? ", modules must be signed" : "");
	print_wrapped("Secure Boot", text);
}

static void write_file(struct json *j, const char *key, const struct module_file *file,
		       bool patched)
{
	if (!file->path[0]) {
		json_null(j, key);
		return;
	}
	json_open(j, key, '{');
	json_string(j, "path", file->path);
	json_string(j, "kind", patched ? "kvm-pfnmap" : "stock");
	json_string(j, "version", file->version[0] ? file->version : NULL);
	json_string(j, "srcversion", file->srcversion[0] ? file->srcversion : NULL);
	json_close(j, '}');
}

static void write_parameters(struct json *j, const char *text)
{
	char copy[sizeof(((struct module *)0)->parameters)], *word, *next, *equal;

	snprintf(copy, sizeof(copy), "%s", text);
	json_open(j, "parameters", '{');
	for (word = strtok_r(copy, "\n", &next); word; word = strtok_r(NULL, "\n", &next)) {
		equal = strchr(word, '=');
		if (!equal)
			continue;
		*equal = '\0';
		json_string(j, word, equal + 1);
	}
	json_close(j, '}');
}

static void write_module(struct json *j, const struct module *m, bool next_patched)
{
	json_open(j, NULL, '{');
	json_string(j, "name", m->name);
	json_bool(j, "loaded", m->there && !m->builtin);
	json_bool(j, "builtin", m->builtin);
	json_string(j, "kind", !m->there ? NULL : m->patched ? "kvm-pfnmap" : "stock");
	json_string(j, "version", m->version[0] ? m->version : NULL);
	json_string(j, "srcversion", m->srcversion[0] ? m->srcversion : NULL);
	json_string(j, "path", m->file.path[0] ? m->file.path : NULL);
	write_parameters(j, m->parameters);
	json_string(j, "options", m->options[0] ? m->options : NULL);
	write_file(j, "after_reload", &m->next, next_patched);
	json_close(j, '}');
}

static void write_reload(struct json *j, const struct facts *f)
{
	const char *obstacle = reload_obstacle(&f->kvm, &f->users);

	json_open(j, "reload", '{');
	json_bool(j, "possible", !obstacle);
	json_string(j, "reason", obstacle);
	json_bool(j, "all_processes_seen", f->users.complete);
	json_count(j, "refcount", f->users.refcount);
	json_string(j, "holders", f->users.holders[0] ? f->users.holders : NULL);
	json_int(j, "users_total", (long long)f->users.total);
	json_open(j, "users", '[');
	for (size_t i = 0; i < f->users.n; i++) {
		json_open(j, NULL, '{');
		json_int(j, "pid", f->users.list[i].pid);
		json_string(j, "name", f->users.list[i].name);
		json_bool(j, "vm", f->users.list[i].vm);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void write_dkms(struct json *j, const struct dkms_line *line)
{
	json_open(j, NULL, '{');
	json_string(j, "version", line->version);
	json_string(j, "state", line->state);
	json_close(j, '}');
}

static void write_kernels(struct json *j, const struct facts *f)
{
	json_string(j, "dkms",
		    f->dkms == PROGRAM_OK      ? "installed" :
		    f->dkms == PROGRAM_MISSING ? "not installed" :
						 "failed");
	json_open(j, "dkms_for_no_kernel", '[');
	for (size_t k = 0; k < f->n_lines; k++)
		if (!f->lines[k].release[0])
			write_dkms(j, &f->lines[k]);
	json_close(j, ']');
	json_open(j, "kernels", '[');
	for (size_t i = 0; i < f->n_kernels; i++) {
		const struct kernel *kernel = &f->kernels[i];
		const char *release = kernel->release;
		bool running = !strcmp(release, f->kvm.release);
		enum support support = running ? f->kvm.support :
						 kernel_support(supported_kernels, release, NULL);

		json_open(j, NULL, '{');
		json_string(j, "release", release);
		json_bool(j, "running", running);
		json_bool(j, "supported", support == SUPPORT_YES);
		json_string(j, "reason", kernel->reason[0] ? kernel->reason : NULL);
		json_string(j, "modules", kernel->patched ? PACKAGE : "stock");
		json_string(j, "initramfs", kernel->initramfs);
		json_open(j, "dkms", '[');
		for (size_t k = 0; k < f->n_lines; k++)
			if (!strcmp(f->lines[k].release, release))
				write_dkms(j, &f->lines[k]);
		json_close(j, ']');
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void write_all(const struct facts *f)
{
	const struct kvm_state *s = &f->kvm;
	struct json j;

	json_start(&j, stdout);
	json_open(&j, NULL, '{');
	json_string(&j, "version", TOOL_VERSION);
	json_open(&j, "kernel", '{');
	json_string(&j, "release", s->release);
	json_string(&j, "debian_version", s->debian[0] ? s->debian : NULL);
	json_bool(&j, "supported", s->support == SUPPORT_YES);
	json_string(&j, "support", support_text(s->support));
	json_close(&j, '}');
	json_open(&j, "supported_kernels", '[');
	for (size_t i = 0; supported_kernels[i].series; i++) {
		if (is_same_series(i))
			continue;
		json_open(&j, NULL, '{');
		json_string(&j, "series", supported_kernels[i].series);
		json_string(&j, "oldest", supported_kernels[i].oldest);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_open(&j, "modules", '[');
	write_module(&j, &s->kvm, s->kvm.next.patched);
	write_module(&j, &s->vendor, s->kvm.next.patched);
	json_close(&j, ']');
	json_string(&j, "paging",
		    s->paging == PAGING_NESTED ? "nested" :
		    s->paging == PAGING_SHADOW ? "shadow" :
						 NULL);
	write_reload(&j, f);
	write_kernels(&j, f);
	json_string(&j, "secure_boot", f->secure_boot);
	json_string(&j, "lockdown", f->lockdown[0] ? f->lockdown : NULL);
	json_bool(&j, "signatures_enforced", f->sig_enforce);
	json_int(&j, "exit_status", EXIT_OK);
	json_close(&j, '}');
	json_finish(&j);
}

int cmd_status(const struct options *opts)
{
	struct facts *f = find_out(opts->dirname);

	if (!f) {
		complain("out of memory");
		return EXIT_BROKEN;
	}
	if (opts->json)
		write_all(f);
	else
		print_all(f);
	free(f);
	return EXIT_OK;
}
