// SPDX-License-Identifier: GPL-2.0-only
/* Output for people, and files that contain one line; see text.h. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool/text.h"

#define COLUMNS 100
#define LABEL	13

void complain(const char *fmt, ...)
{
	char text[4 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "kvm-pfnmap: %s\n", printable(text));
}

char *printable(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f ||
		    ((unsigned char)*p == 0xc2 && (unsigned char)p[1] >= 0x80 &&
		     (unsigned char)p[1] < 0xa0))
			*p = '?';
	return text;
}

bool read_line(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	text[0] = '\0';
	ok = f && fgets(text, (int)size, f);
	text[ok ? strcspn(text, "\n") : 0] = '\0';
	if (f)
		fclose(f);
	return ok;
}

void print_wrapped(const char *label, const char *words)
{
	char copy[4 * PATH_MAX], *text = copy;
	size_t column = LABEL;

	snprintf(copy, sizeof(copy), "%s", words);
	printable(copy);
	printf("%-*s", LABEL, label);
	while (*text) {
		size_t len = strcspn(text, " ");

		if (column > LABEL && column + 1 + len > COLUMNS) {
			printf("\n%*s", LABEL, "");
			column = LABEL;
		} else if (column > LABEL) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)len, text);
		column += len;
		text += len + (text[len] == ' ');
	}
	putchar('\n');
}
