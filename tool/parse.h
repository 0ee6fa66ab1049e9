/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * parse.h - what the tool reads out of text: its arguments, the list of supported kernels, what
 * dkms and the kernel say.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- PATH[:OFFSET:SIZE] ---- */

struct file_spec {
	char path[4096];
	bool whole; /* no offset and size given */
	uint64_t offset, size;
};

/* A number of bytes: decimal, 0x hexadecimal or 0 octal; K, M or G behind it multiplies. */
bool parse_size(const char *text, uint64_t *value);

/*
 * Colons belong to the path unless the two last fields are sizes. Returns NULL, or what is wrong:
 * offset and size are whole pages of 4096 bytes, the size is 1 page to 1 GiB.
 */
const char *parse_file_spec(const char *text, struct file_spec *spec);

/* ---- supported kernels ---- */

struct kernel_line {
	const char *series;  /* "6.1" */
	const char *release; /* extended regular expression for the whole release name */
	const char *oldest;  /* Debian version */
};

/* Of kernels.conf, as it was at the time of the build; the last one has NULLs. */
extern const struct kernel_line supported_kernels[];

/* Debian versions: <0, 0 or >0, as dpkg --compare-versions orders them. */
int compare_versions(const char *a, const char *b);

enum support {
	SUPPORT_NO,	 /* another kernel */
	SUPPORT_TOO_OLD, /* of a supported series, before the oldest version */
	SUPPORT_YES,
};

/* version: the Debian version, NULL or "" if that is not known, which is taken as new enough. */
enum support kernel_support(const struct kernel_line *list, const char *release,
			    const char *version);

/* The Debian version in what uname -v says; "" if there is none. */
void debian_version(const char *uname_version, char *version, size_t size);

/* Is the release (6.1.0-56-amd64) of Linux major.minor or later? */
bool release_at_least(const char *release, unsigned int major, unsigned int minor);

/* ---- dkms ---- */

/*
 * One line of "dkms status": "NAME/VERSION, RELEASE, ARCH: STATE" or, before dkms 3, with a comma
 * for the slash; without release and arch while the module is only added. False: no such line.
 */
struct dkms_line {
	char version[64];
	char release[128]; /* "" if none */
	char state[256];   /* "installed", "built", "added", with dkms' remarks on each module */
};

bool parse_dkms_line(const char *line, const char *name, struct dkms_line *out);

/* ---- others ---- */

/* The word in brackets of "[none] integrity confidentiality"; false: there is none. */
bool bracketed_word(const char *text, char *word, size_t size);

#endif
