/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * text.h - messages and reports on the terminal, and files of one line.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* "kvm-pfnmap: ..." on standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Replace what a terminal would obey by question marks; returns the text. */
char *printable(char *text);

/* The first line of a small file, without its end; false: cannot be read. */
bool read_line(const char *path, char *text, size_t size);

/* Print words behind a label of 13 columns, broken at blanks before column 100. */
void print_wrapped(const char *label, const char *text);

#endif
