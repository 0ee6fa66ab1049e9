/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * modules.h - the running kernel, and KVM's modules in it and on disk.
 */
#ifndef MODULES_H
#define MODULES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "tool/parse.h"

#define KVM_DEVICE "/dev/kvm"

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

#endif
