/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers share. A fuzzer is tests/fuzz/NAME.c: it gives arbitrary bytes to one of our
 * readers and MUST() find certain properties. libFuzzer or main.c calls it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property, without which the program aborts. */
#define MUST(cond) ((cond) ? (void)0 : fuzz_broken(#cond, __FILE__, __LINE__))

static inline void fuzz_broken(const char *cond, const char *file, int line)
{
	dprintf(2, "%s:%d: this does not hold: %s\n", file, line, cond);
	abort();
}

/* The bytes as a string, of exactly this size on the heap, so that reading past it is noticed. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	MUST(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* Cut the next piece, which a zero byte ends, off the input. */
static inline char *fuzz_piece(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, 0, *size) : NULL;
	size_t len = end ? (size_t)(end - *data) : *size;
	char *text = fuzz_text(*data, len);

	*data += len + !!end;
	*size -= len + !!end;
	return text;
}

/* A file with these bytes; close the descriptor, whose path becomes /proc/self/fd/N. */
static inline int fuzz_file(const uint8_t *data, size_t size, char *path, size_t path_size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, path_size, "/proc/self/fd/%d", fd);
	return fd;
}

/* What is printed on a stream meanwhile; free the text. */
struct fuzz_output {
	FILE **stream, *saved;
	char *text;
	size_t len;
};

static inline void fuzz_catch(struct fuzz_output *o, FILE **stream)
{
	o->stream = stream;
	o->saved = *stream;
	*stream = open_memstream(&o->text, &o->len);
	MUST(*stream);
}

static inline void fuzz_release(struct fuzz_output *o)
{
	fclose(*o->stream);
	*o->stream = o->saved;
	MUST(strlen(o->text) <= o->len);
}

/* Is it one line that begins like this? */
static inline bool fuzz_one_line(const struct fuzz_output *o, const char *begin)
{
	return !strncmp(o->text, begin, strlen(begin)) && strlen(o->text) == o->len && o->len &&
	       strchr(o->text, '\n') == o->text + o->len - 1;
}

#endif
