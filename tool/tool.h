/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tool.h - what the files of kvm-pfnmap share: exit codes, messages, and the state of KVM on this
 * machine.
 */
#ifndef TOOL_H
#define TOOL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tool/parse.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The Makefile gives it without quotes. */
#define TOOL_STRING(s) #s
#define TOOL_EXPAND(s) TOOL_STRING(s)
#define TOOL_VERSION   TOOL_EXPAND(TOOL_VERSION_)

enum exit_code {
	EXIT_OK,      /* works; done */
	EXIT_REFUSED, /* KVM refuses the memory; the modules cannot be reloaded now */
	EXIT_USAGE,
	EXIT_NO_ACCESS, /* no KVM, or no permission */
	EXIT_NO_BUFFER, /* no such device, no buffer of it, or it cannot be mapped */
	EXIT_BROKEN,	/* it hangs, loses data, or fails as it should not */
};

struct options {
	bool json;
	const char *dirname; /* of modules, as modprobe's --dirname; NULL: / */
	/* probe */
	bool all;
	const char *drm;
	struct file_spec *file;
	unsigned int timeout_s;
};

int cmd_probe(const struct options *opts);
int cmd_status(const struct options *opts);
int cmd_reload(const struct options *opts);

/* "kvm-pfnmap: ..." on standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Replace what a terminal would obey by question marks; returns the text. */
char *printable(char *text);

/* The first line of a small file, without its end; false: cannot be read. */
bool read_line(const char *path, char *text, size_t size);

/* Print words behind a label of 13 columns, broken at blanks before column 100. */
void print_wrapped(const char *label, const char *text);

/* ---- modules ---- */

struct module_file {
	char path[PATH_MAX]; /* "": there is none */
	char version[64], srcversion[64];
	char release[128]; /* the kernel it was built for; "": it is no module that can be read */
	bool patched;	   /* one of kvm-pfnmap's; for kvm.ko only, others go with theirs */
};

struct module {
	const char *name;
	bool there; /* loaded or built in */
	bool builtin;
	bool patched; /* as above, of what is loaded */
	char version[64], srcversion[64];
	char parameters[4096];	 /* "name=value" lines, each with its line break */
	char options[1024];	 /* that modprobe.d has for it */
	struct module_file file; /* that it was loaded from, as far as that can be told */
	struct module_file next; /* that modprobe would load now */
};

enum paging { PAGING_UNKNOWN, PAGING_NESTED, PAGING_SHADOW };

struct kvm_state {
	char release[128], debian[64];
	enum support support;
	char module_dir[PATH_MAX]; /* /lib/modules/RELEASE, below --dirname */
	struct module kvm, vendor; /* vendor: kvm_amd or kvm_intel */
	enum paging paging;
};

struct kmod_ctx;

/* For ctx->module_dir. NULL: libkmod fails. */
struct kmod_ctx *kvm_kmod(const struct kvm_state *s);

/* Find all of it out. Never fails: what cannot be found is left empty. */
void kvm_state_get(struct kvm_state *s, const char *dirname);

/* The files that the kernel itself came with, of PATH_MAX bytes each; *kvm is "" if it has none. */
void kernels_own_files(const struct kvm_state *s, char *kvm, char *vendor);

/* "kvm-pfnmap 0.1.0" or "stock". */
const char *kind_text(bool patched, const char *version, char *text, size_t size);

/* "Linux 6.1.0-56-amd64 (Debian 6.1.192-2)". */
void kernel_text(const struct kvm_state *s, char *text, size_t size);

/* ---- who uses KVM ---- */

struct kvm_user {
	pid_t pid;
	char name[32];
	bool vm; /* has a VM, not just /dev/kvm open */
};

struct kvm_users {
	struct kvm_user list[32];
	size_t n;	   /* entries of the list */
	size_t total;	   /* as many were found */
	bool complete;	   /* no process was hidden from us */
	char holders[256]; /* other modules that use KVM, with blanks between */
	int refcount;	   /* of the vendor module: VMs and open /dev/kvm; -1: unknown */
};

void kvm_users_get(struct kvm_users *u, const struct kvm_state *s);

/* Why the modules cannot be reloaded, in words; NULL: they can. In a static buffer. */
const char *reload_obstacle(const struct kvm_state *s, const struct kvm_users *u);

#endif
