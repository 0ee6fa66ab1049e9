/* SPDX-License-Identifier: GPL-2.0-only */
/* "rig matrix": the results of test runs, by kernel, host, paging and variant of KVM. */
#ifndef RIG_MATRIX_H
#define RIG_MATRIX_H

/*
 * Sum up files of results, build/logs/NAME.results, as a table, on standard output and in the file
 * out. Returns the exit status: 0, or 2 when a file cannot be read or written.
 */
int print_matrix(const char *out, char **results);

#endif
