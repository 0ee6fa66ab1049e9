/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * text.h - output for people, and files that contain one line.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Print "kvm-pfnmap: ..." on standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Replace control characters with question marks. Returns the text. */
char *printable(char *text);

/* Read the first line of a file, without the newline. False: it cannot be read. */
bool read_line(const char *path, char *text, size_t size);

/* Print text after a label that is 13 columns wide, wrapped at column 100. */
void print_wrapped(const char *label, const char *text);

#endif
