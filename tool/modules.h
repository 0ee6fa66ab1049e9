/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * modules.h - the running kernel, and KVM's modules, loaded and on disk.
 */
#ifndef MODULES_H
#define MODULES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "tool/parse.h"

#define KVM_DEVICE "/dev/kvm"

struct module_file {
	char path[PATH_MAX]; /* "": no such file */
	char version[64], srcversion[64];
	char release[128]; /* the kernel it was built for; "": not a readable module */
	bool patched;	   /* one of kvm-pfnmap's; set for kvm.ko only */
};

struct module {
	const char *name;
	bool there; /* loaded or built in */
	bool builtin;
	bool patched; /* as above, for the loaded module */
	char version[64], srcversion[64];
	char parameters[4096];	 /* lines of "name=value" */
	char options[1024];	 /* from modprobe.d */
	struct module_file file; /* the file it was loaded from, if known */
	struct module_file next; /* the file that modprobe would load now */
};

enum paging { PAGING_UNKNOWN, PAGING_NESTED, PAGING_SHADOW };

struct kvm_state {
	char release[128], debian[64];
	enum support support;
	char module_dir[PATH_MAX]; /* DIRNAME/lib/modules/RELEASE */
	struct module kvm, vendor; /* vendor: kvm_amd or kvm_intel */
	enum paging paging;
};

struct kmod_ctx;

/* Open libkmod for s->module_dir. NULL: it failed. */
struct kmod_ctx *kvm_kmod(const struct kvm_state *s);

/* Fill in *s. Never fails: fields that cannot be determined stay empty. */
void kvm_state_get(struct kvm_state *s, const char *dirname);

/* Paths of the kernel package's own modules, PATH_MAX bytes each; *kvm is "" if missing. */
void kernels_own_files(const struct kvm_state *s, char *kvm, char *vendor);

/* "kvm-pfnmap 0.1.0" or "stock". */
const char *kind_text(bool patched, const char *version, char *text, size_t size);

/* "Linux 6.1.0-56-amd64 (Debian 6.1.192-2)". */
void kernel_text(const struct kvm_state *s, char *text, size_t size);

#endif
