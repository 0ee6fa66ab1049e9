/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict.h - the result of probing a buffer, and its report as text, JSON and exit code.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool/json.h"
#include "tool/modules.h"
#include "tool/parse.h"
#include "tool/tool.h"

enum verdict {
	WORKS,
	REFUSED,    /* KVM_RUN fails with EFAULT on a page that the host can access */
	PERMISSION, /* no permission for KVM or the device */
	NO_KVM,
	NO_BUFFER,
	HANGS,
	CORRUPT, /* guest or host does not see what the other one wrote */
	FAILED,
};

/* What the child is doing. */
enum stage { STAGE_ALLOCATE, STAGE_CREATE, STAGE_GUEST, STAGE_HOST };

/* Names of KVM's statistics of mapped pages, by page size: "pages_4k" and so on. */
#define PAGE_SIZES 3
extern const char *const page_stats[PAGE_SIZES];

struct record {
	enum verdict verdict;
	bool video, no_library; /* see struct buffer */
	char what[96];
	char reason[400];
	enum stage stage;
	uint32_t page;		       /* where the child is now */
	uint32_t pages, tried, usable; /* counts, in pages */
	uint32_t first_bad;	       /* page number; valid with REFUSED */
	int64_t runs;		       /* KVM_RUN calls */
	int64_t exits;		       /* as counted by KVM; -1: unknown */
	int64_t mapped[PAGE_SIZES];    /* mappings of each page size; -1: unknown */
};

enum kind { NODE, FILE_PART, ANONYMOUS };

struct target {
	enum kind kind;
	const char *name;
	const struct file_spec *spec;
};

/* Print the kernel and KVM, and the result for one buffer. */
void print_host(const struct kvm_state *s);
void print_record(const struct target *t, const struct record *r, const struct kvm_state *s);

/* The same as JSON: members of the open object, and an element of the open array. */
void write_host(struct json *j, const struct kvm_state *s);
void write_record(struct json *j, const struct target *t, const struct record *r,
		  const struct kvm_state *s);

/*
 * One exit code for all records: that of the worst. Nodes without a buffer or without permission
 * count only if there are no others, and ordinary memory that works proves nothing.
 */
enum exit_code sum_up(const struct target *targets, const struct record *records, size_t n);

#endif
