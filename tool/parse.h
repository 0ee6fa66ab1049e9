/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * parse.h - parsers for the tool's arguments, kernel names and versions, and the output of dkms.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- PATH[:OFFSET:SIZE] ---- */

struct file_spec {
	char path[4096];
	bool whole; /* no offset and size were given */
	uint64_t offset, size;
};

/* A number of bytes: decimal, 0x hexadecimal or 0 octal, with an optional suffix K, M or G. */
bool parse_size(const char *text, uint64_t *value);

/*
 * Colons belong to the path unless the last two fields are sizes. Returns NULL, or an error
 * message: offset and size must be multiples of 4096, and the size must be 4096 bytes to 1 GiB.
 */
const char *parse_file_spec(const char *text, struct file_spec *spec);

/* ---- supported kernels ---- */

struct kernel_line {
	const char *series;  /* "6.1" */
	const char *release; /* extended regular expression for the whole release name */
	const char *oldest;  /* Debian version */
};

/* The contents of kernels.conf when the tool was built; the last entry has NULLs. */
extern const struct kernel_line supported_kernels[];

/* Compare Debian versions as dpkg --compare-versions does: <0, 0 or >0. */
int compare_versions(const char *a, const char *b);

enum support {
	SUPPORT_NO,	    /* another kernel */
	SUPPORT_TOO_OLD,    /* a supported series, but before the oldest version */
	SUPPORT_NOT_NEEDED, /* its own KVM maps such memory; kvm_state_get() finds that out */
	SUPPORT_YES,
};

/* version: the Debian version; NULL or "" if unknown, which counts as new enough. */
enum support kernel_support(const struct kernel_line *list, const char *release,
			    const char *version);

/* Extract the Debian version from the output of uname -v; "" if there is none. */
void debian_version(const char *uname_version, char *version, size_t size);

/* Is the release (such as 6.1.0-56-amd64) Linux major.minor or later? */
bool release_at_least(const char *release, unsigned int major, unsigned int minor);

/* ---- dkms ---- */

/*
 * One line of "dkms status": "NAME/VERSION, RELEASE, ARCH: STATE", or with a comma instead of the
 * slash before dkms 3. A module that is only added has no release and arch. False: not such a line.
 */
struct dkms_line {
	char version[64];
	char release[128]; /* "" if none */
	char state[256];   /* "installed", "built", "added", and dkms' remarks on each module */
};

bool parse_dkms_line(const char *line, const char *name, struct dkms_line *out);

/* ---- lockdown ---- */

/* Extract the word in brackets from "[none] integrity confidentiality". False: there is none. */
bool bracketed_word(const char *text, char *word, size_t size);

#endif
