/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict.h - what a probe finds out about a buffer, and how that is said: as text, as JSON, and by
 * the exit code.
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
	REFUSED,    /* KVM_RUN: Bad address, and the host can use the page */
	PERMISSION, /* for KVM or the device */
	NO_KVM,
	NO_BUFFER,
	HANGS,
	CORRUPT, /* one side does not see what the other wrote */
	FAILED,
};

/* What the child is at. */
enum stage { STAGE_ALLOCATE, STAGE_CREATE, STAGE_GUEST, STAGE_HOST };

/* KVM's statistics of the pages that it maps, by size: "pages_4k" and so on. */
#define PAGE_SIZES 3
extern const char *const page_stats[PAGE_SIZES];

struct record {
	enum verdict verdict;
	bool video, no_library; /* as struct buffer says */
	char what[96];
	char reason[400];
	enum stage stage;
	uint32_t page;		       /* where the child is */
	uint32_t pages, tried, usable; /* of the buffer */
	uint32_t first_bad;	       /* page; valid with REFUSED */
	int64_t runs;		       /* KVM_RUN calls */
	int64_t exits;		       /* by KVM's count; -1: unknown */
	int64_t mapped[PAGE_SIZES];    /* entries of each size for the buffer; -1: unknown */
};

enum kind { NODE, FILE_PART, ANONYMOUS };

struct target {
	enum kind kind;
	const char *name;
	const struct file_spec *spec;
};

/* The kernel and KVM, and one buffer, for people. */
void print_host(const struct kvm_state *s);
void print_record(const struct target *t, const struct record *r, const struct kvm_state *s);

/* The same for programs: members of the open object, and an element of the open array. */
void write_host(struct json *j, const struct kvm_state *s);
void write_record(struct json *j, const struct target *t, const struct record *r,
		  const struct kvm_state *s);

/*
 * One status for them all: the worst that was found. Nodes that give no buffer, or are somebody
 * else's, count only when there is no other, and ordinary memory, which works everywhere, proves
 * nothing by working.
 */
enum exit_code sum_up(const struct target *targets, const struct record *records, size_t n);

#endif
