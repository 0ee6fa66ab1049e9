// SPDX-License-Identifier: GPL-2.0-only
/* Parses text; see parse.h. */
#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/parse.h"

#define PAGE	 4096u
#define MAX_SIZE (1ull << 30)

bool parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMG";
	const char *unit = NULL;
	unsigned int shift = 0;
	char *end;

	/* strtoull() would accept a sign and blanks, and since C23 binary numbers. */
	if (!isdigit((unsigned char)text[0]) || (text[0] == '0' && (text[1] | ' ') == 'b'))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end)
		unit = strchr(units, toupper((unsigned char)*end));
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
	}
	if (*end || *value << shift >> shift != *value)
		return false;
	*value <<= shift;
	return true;
}

const char *parse_file_spec(const char *text, struct file_spec *spec)
{
	const char *last = strrchr(text, ':'), *first = last;
	char number[32];
	size_t len = strlen(text);

	*spec = (struct file_spec){ .whole = true };
	while (first && first > text && first[-1] != ':')
		first--;
	/* Now first points past the last colon but one, or at the start. */
	if (first && first > text && (size_t)(last - first) < sizeof(number)) {
		memcpy(number, first, last - first);
		number[last - first] = '\0';
		if (parse_size(number, &spec->offset) && parse_size(last + 1, &spec->size)) {
			spec->whole = false;
			len = first - 1 - text;
		}
	}
	if (!len)
		return "the path is empty";
	if (len >= sizeof(spec->path))
		return "the path is too long";
	memcpy(spec->path, text, len);
	spec->path[len] = '\0';
	if (spec->whole)
		return NULL;
	if (spec->offset % PAGE || spec->size % PAGE)
		return "offset and size must be multiples of 4096";
	if (!spec->size || spec->size > MAX_SIZE)
		return "the size must be between 4096 and 1G";
	if (spec->offset > INT64_MAX - spec->size)
		return "the offset is too large";
	return NULL;
}

/* Rank of a non-digit: '~' sorts before the end, the end before letters, letters before others. */
static int weight(char c)
{
	if (c == '~')
		return -1;
	if (!c || isdigit((unsigned char)c))
		return 0;
	return isalpha((unsigned char)c) ? (unsigned char)c : (unsigned char)c + 256;
}

/* Compare numbers of any length and move past them. */
static int compare_numbers(const char **a, const char **b)
{
	static const char digits[] = "0123456789";
	size_t x, y;
	int ret;

	*a += strspn(*a, "0");
	*b += strspn(*b, "0");
	x = strspn(*a, digits);
	y = strspn(*b, digits);
	if (x != y)
		return x < y ? -1 : 1;
	ret = strncmp(*a, *b, x);
	*a += x;
	*b += y;
	return ret;
}

/* Compare one part of two versions: the epoch, the upstream version or the revision. */
static int compare_parts(const char *a, const char *b)
{
	while (*a || *b) {
		int diff;

		while ((*a && !isdigit((unsigned char)*a)) || (*b && !isdigit((unsigned char)*b))) {
			diff = weight(*a) - weight(*b);
			if (diff)
				return diff;
			a++;
			b++;
		}
		diff = compare_numbers(&a, &b);
		if (diff)
			return diff;
	}
	return 0;
}

/* The parts of [EPOCH:]VERSION[-REVISION], in the caller's buffer; "" for a missing one. */
struct version {
	const char *epoch, *upstream, *revision;
};

static struct version take_apart(char *text)
{
	char *colon = strchr(text, ':'), *hyphen = strrchr(text, '-');
	struct version v = { .epoch = "", .upstream = text, .revision = "" };

	if (colon) {
		*colon = '\0';
		v.epoch = text;
		v.upstream = colon + 1;
	}
	if (hyphen) {
		*hyphen = '\0';
		v.revision = hyphen + 1;
	}
	return v;
}

int compare_versions(const char *a, const char *b)
{
	char text_x[128], text_y[128];
	struct version x, y;
	int ret;

	snprintf(text_x, sizeof(text_x), "%s", a);
	snprintf(text_y, sizeof(text_y), "%s", b);
	x = take_apart(text_x);
	y = take_apart(text_y);
	ret = compare_parts(x.epoch, y.epoch);
	if (!ret)
		ret = compare_parts(x.upstream, y.upstream);
	return ret ? ret : compare_parts(x.revision, y.revision);
}

enum support kernel_support(const struct kernel_line *list, const char *release,
			    const char *version)
{
	for (; list->series; list++) {
		char whole[256];
		regex_t re;
		int match;

		snprintf(whole, sizeof(whole), "^(%s)$", list->release);
		if (regcomp(&re, whole, REG_EXTENDED | REG_NOSUB))
			continue;
		match = !regexec(&re, release, 0, NULL, 0);
		regfree(&re);
		if (!match)
			continue;
		if (version && *version && compare_versions(version, list->oldest) < 0)
			return SUPPORT_TOO_OLD;
		return SUPPORT_YES;
	}
	return SUPPORT_NO;
}

void debian_version(const char *uname_version, char *version, size_t size)
{
	const char *p = strstr(uname_version, "Debian ");

	p = p ? p + strlen("Debian ") : "";
	/* Other kernels may contain the word without a version. */
	if (!isdigit((unsigned char)*p))
		p = "";
	snprintf(version, size, "%.*s", (int)strcspn(p, " "), p);
}

bool release_at_least(const char *release, unsigned int major, unsigned int minor)
{
	unsigned int x, y;

	if (sscanf(release, "%u.%u", &x, &y) != 2)
		return false;
	return x > major || (x == major && y >= minor);
}

static void trim(char *text)
{
	size_t n = strlen(text);

	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
}

bool parse_dkms_line(const char *line, const char *name, struct dkms_line *out)
{
	size_t len = strlen(name);
	const char *colon = strchr(line, ':'), *comma;

	*out = (struct dkms_line){ .version = "" };
	if (strncmp(line, name, len) || !colon)
		return false;
	line += len;
	if (*line != '/' && *line != ',')
		return false;
	line++;
	line += strspn(line, " ");
	len = strcspn(line, ",:");
	if (!len || len >= sizeof(out->version))
		return false;
	memcpy(out->version, line, len);
	line += len;
	comma = *line == ',' ? line + 1 : NULL;
	if (comma) {
		comma += strspn(comma, " ");
		len = strcspn(comma, ",:");
		if (len >= sizeof(out->release))
			return false;
		memcpy(out->release, comma, len);
	}
	snprintf(out->state, sizeof(out->state), "%s", colon + 1 + strspn(colon + 1, " "));
	trim(out->state);
	return out->state[0];
}

bool bracketed_word(const char *text, char *word, size_t size)
{
	const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;

	if (!close)
		return false;
	snprintf(word, size, "%.*s", (int)(close - open - 1), open + 1);
	return true;
}
