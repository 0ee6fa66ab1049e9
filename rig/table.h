/* SPDX-License-Identifier: GPL-2.0-only */
/* Tables of tests, whose format tests/amd.table describes, and words that configure a host. */
#ifndef RIG_TABLE_H
#define RIG_TABLE_H

#include <stdbool.h>

/* Which KVM a test runs on: a set. KVM_NONE: with no KVM module loaded. */
enum {
	KVM_NONE = 1,
	KVM_STOCK = 2,
	KVM_PATCHED = 4,
};

/* "stock", "patched" or, for KVM_NONE, "-". */
const char *kvm_name(unsigned int kvm);

/* How KVM translates guest addresses: a set. PAGING_NONE: no KVM module is loaded. */
enum {
	PAGING_NONE = 1,
	PAGING_TDP = 2,	     /* nested paging, as KVM does it by default: npt=1, ept=1 */
	PAGING_TDP_MMU0 = 4, /* nested paging by the shadow MMU: kvm.tdp_mmu=0 */
	PAGING_SHADOW = 8,   /* shadow paging: npt=0, ept=0 */
};

/* "tdp", "tdp_mmu0", "shadow" or, for PAGING_NONE, "-". */
const char *paging_name(unsigned int paging);

/* The parameters of KVM's modules, of either vendor, that select it; NULL-terminated. */
const char *const *paging_params(unsigned int paging);
#define MAX_PAGING_PARAMS 4

enum option_kind {
	OPT_PARAM, /* module.param=value */
	OPT_ENV,   /* VAR=value */
	OPT_NEED,  /* a module, or "9p" */
	OPT_LOG,   /* an expected line of the kernel log; why: the reason */
	OPT_CHECK, /* a shell command that fails if the test cannot run */
	OPT_FRESH, /* load KVM anew before the test */
	OPT_HOST,  /* a word for host_word() */
};

struct test_option {
	enum option_kind kind;
	unsigned int kvm; /* the variants that it applies to */
	char *value;
	char *why;
};

struct test {
	char *name, *group;
	int timeout_s;
	unsigned int kvm, paging;
	bool tdp_mmu_both; /* wants PAGING_TDP_MMU0, too */
	struct test_option *options;
	int n_options;
	char **argv; /* NULL-terminated */
};

struct table {
	struct test *tests;
	int n;
};

/* Read a table. Returns 0, or -1 after a line on standard error that names file and line. */
int table_read(struct table *table, const char *path);

/* Free what table_read() allocated, even if it failed. */
void table_free(struct table *table);

#define HOST_EXTRA 16

/* The configuration of a host. */
struct host_conf {
	bool intel; /* an Intel host, in Bochs */
	int mem_mb, cpus;
	bool icount, multi;
	struct {
		const char *option, *argument; /* of QEMU: "-device", "virtio-gpu-pci" */
	} extra[HOST_EXTRA];
	int n_extra;
};

/*
 * Apply one word: host=amd, host=intel, mem=MIB, cpus=N, icount, thread=multi; or audiodev=,
 * device=, machine= or object=ARGUMENT, which may be repeated. Returns false for anything else.
 */
bool host_word(struct host_conf *conf, const char *word);

/* Describe the configuration: equal ones have the same text, and the default has none. */
void host_conf_text(const struct host_conf *conf, char *text, int size);

#endif
