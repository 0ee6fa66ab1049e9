// SPDX-License-Identifier: GPL-2.0-only
/* Reads the table of tests; table.h describes the functions. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig/table.h"
#include "rig/util.h"

#define MAX_WORDS 64
#define MAX_LINE  2048

const char *kvm_name(unsigned int kvm)
{
	return kvm == KVM_STOCK ? "stock" : kvm == KVM_PATCHED ? "patched" : "-";
}

const char *paging_name(unsigned int paging)
{
	switch (paging) {
	case PAGING_TDP:
		return "tdp";
	case PAGING_TDP_MMU0:
		return "tdp_mmu0";
	case PAGING_SHADOW:
		return "shadow";
	default:
		return "-";
	}
}

const char *const *paging_params(unsigned int paging)
{
	static const char *const shadow[] = { "kvm-amd.npt=0", "kvm-intel.ept=0", NULL };
	static const char *const tdp_mmu0[] = { "kvm.tdp_mmu=0", NULL };
	static const char *const none[] = { NULL };

	return paging == PAGING_SHADOW ? shadow : paging == PAGING_TDP_MMU0 ? tdp_mmu0 : none;
}

/* device=ARGUMENT and the like, for an option of QEMU. */
static bool extra_word(struct host_conf *conf, const char *word)
{
	static const char *const options[] = { "-audiodev", "-device", "-machine", "-object" };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i]) - 1;

		if (strncmp(word, options[i] + 1, len) || word[len] != '=' ||
		    conf->n_extra == HOST_EXTRA)
			continue;
		conf->extra[conf->n_extra].option = options[i];
		conf->extra[conf->n_extra++].argument = word + len + 1;
		return true;
	}
	return false;
}

bool host_word(struct host_conf *conf, const char *word)
{
	if (!strcmp(word, "host=amd") || !strcmp(word, "host=intel")) {
		conf->intel = word[5] == 'i';
		return true;
	}
	if (!strncmp(word, "mem=", 4))
		return positive(word + 4, &conf->mem_mb);
	if (!strncmp(word, "cpus=", 5))
		return positive(word + 5, &conf->cpus);
	if (!strcmp(word, "icount"))
		return conf->icount = true;
	if (!strcmp(word, "thread=multi"))
		return conf->multi = true;
	return extra_word(conf, word);
}

void host_conf_text(const struct host_conf *conf, char *text, int size)
{
	int n = 0, i;

	text[0] = '\0';
	if (conf->intel)
		n += snprintf(text + n, size - n, "host=intel ");
	if (conf->mem_mb)
		n += snprintf(text + n, size - n, "mem=%d ", conf->mem_mb);
	if (conf->cpus)
		n += snprintf(text + n, size - n, "cpus=%d ", conf->cpus);
	n += snprintf(text + n, size - n, "%s%s", conf->icount ? "icount " : "",
		      conf->multi ? "thread=multi " : "");
	for (i = 0; i < conf->n_extra && n < size; i++)
		n += snprintf(text + n, size - n, "%s=%s ", conf->extra[i].option + 1,
			      conf->extra[i].argument);
	if (n && n < size)
		text[n - 1] = '\0';
}

/* Split into words at blanks; double quotes keep blanks in a word. Returns -1 when unbalanced. */
static int split(char *line, char **words)
{
	char *in = line, *out;
	bool quoted = false;
	int n = 0;

	for (;;) {
		in += strspn(in, " \t\n");
		if (!*in || *in == '#')
			return n;
		if (n == MAX_WORDS)
			return -1;
		words[n++] = out = in;
		for (; *in && (quoted || !isspace((unsigned char)*in)); in++) {
			if (*in == '"')
				quoted = !quoted;
			else
				*out++ = *in;
		}
		if (quoted)
			return -1;
		if (*in)
			in++;
		*out = '\0';
	}
}

static struct test_option *add_option(struct test *t, enum option_kind kind, unsigned int kvm,
				      const char *value)
{
	struct test_option *o;

	t->options = xrealloc(t->options, (t->n_options + 1) * sizeof(*o));
	o = &t->options[t->n_options++];
	*o = (struct test_option){ kind, kvm, xstrdup(value), NULL };
	return o;
}

/* module.param=value, of one of KVM's modules, since only they are reloaded. */
static bool is_param(const char *word)
{
	static const char *const modules[] = { "kvm.", "kvm-amd.", "kvm-intel." };
	size_t i;

	for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		if (!strncmp(word, modules[i], strlen(modules[i])))
			return strchr(word, '=') != NULL;
	return false;
}

static bool is_env(const char *word)
{
	size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

	return n && word[n] == '=' && !isdigit((unsigned char)word[0]);
}

/* One word between the columns and the program. Returns what is wrong with it, or NULL. */
static const char *parse_option(struct test *t, char *word)
{
	struct test_option *last = t->n_options ? &t->options[t->n_options - 1] : NULL;
	unsigned int kvm = KVM_NONE | KVM_STOCK | KVM_PATCHED;
	struct host_conf scratch = { 0 };
	char *item;

	if (!strncmp(word, "stock:", 6))
		kvm = KVM_STOCK, word += 6;
	else if (!strncmp(word, "patched:", 8))
		kvm = KVM_PATCHED, word += 8;

	if (!strcmp(word, "need=")) {
		return "need= without a module";
	} else if (!strncmp(word, "need=", 5)) {
		for (item = strtok(word + 5, ","); item; item = strtok(NULL, ","))
			add_option(t, OPT_NEED, kvm, item);
	} else if (!strncmp(word, "log=", 4)) {
		add_option(t, OPT_LOG, kvm, word + 4);
	} else if (!strncmp(word, "why=", 4)) {
		if (!last || last->kind != OPT_LOG || last->why)
			return "why= must follow log=";
		last->why = xstrdup(word + 4);
	} else if (!strncmp(word, "check=", 6)) {
		add_option(t, OPT_CHECK, kvm, word + 6);
	} else if (!strcmp(word, "fresh")) {
		add_option(t, OPT_FRESH, kvm, word);
	} else if (!strcmp(word, "paging=tdp") || !strcmp(word, "paging=shadow")) {
		t->paging &= !strcmp(word, "paging=tdp") ? PAGING_TDP : PAGING_SHADOW;
		if (!t->paging)
			return "paging= does not fit the KVM column or an earlier paging=";
	} else if (!strcmp(word, "tdp_mmu=both")) {
		t->tdp_mmu_both = true;
	} else if (host_word(&scratch, word)) {
		add_option(t, OPT_HOST, kvm, word);
	} else if (is_env(word)) {
		add_option(t, OPT_ENV, kvm, word);
	} else if (is_param(word)) {
		add_option(t, OPT_PARAM, kvm, word);
	} else {
		return "unknown option";
	}
	return NULL;
}

static const char *parse_test(struct test *t, char **words, int n)
{
	const char *error;
	int i, argc = 0;

	if (n < 4)
		return "want NAME GROUP TIMEOUT KVM";
	t->name = xstrdup(words[0]);
	t->group = xstrdup(words[1]);
	if (!positive(words[2], &t->timeout_s))
		return "the timeout is not a number of seconds";
	t->kvm = !strcmp(words[3], "both")    ? KVM_STOCK | KVM_PATCHED :
		 !strcmp(words[3], "stock")   ? KVM_STOCK :
		 !strcmp(words[3], "patched") ? KVM_PATCHED :
		 !strcmp(words[3], "none")    ? KVM_NONE :
						0;
	if (!t->kvm)
		return "KVM must be both, stock, patched or none";
	t->paging = t->kvm == KVM_NONE ? PAGING_NONE : PAGING_TDP | PAGING_SHADOW;
	for (i = 4; i < n && strcmp(words[i], "--"); i++) {
		error = parse_option(t, words[i]);
		if (error)
			return error;
	}
	if (t->tdp_mmu_both && !(t->paging & PAGING_TDP))
		return "tdp_mmu=both does not fit the KVM column or paging=";
	if (t->tdp_mmu_both)
		t->paging |= PAGING_TDP_MMU0;
	if (i + 1 == n)
		return "no program after --";
	t->argv = xrealloc(NULL, (n - i + 2) * sizeof(*t->argv));
	if (i == n)
		t->argv[argc++] = t->name;
	for (i++; i < n; i++)
		t->argv[argc++] = xstrdup(words[i]);
	t->argv[argc] = NULL;
	for (i = 0; i < t->n_options; i++)
		if (t->options[i].kind == OPT_LOG && (!t->options[i].why || !*t->options[i].why))
			return "log= without why=";
	return NULL;
}

void table_free(struct table *table)
{
	for (int i = 0; i < table->n; i++) {
		struct test *t = &table->tests[i];

		for (int j = 0; j < t->n_options; j++) {
			free(t->options[j].value);
			free(t->options[j].why);
		}
		for (char **arg = t->argv; arg && *arg; arg++)
			if (*arg != t->name)
				free(*arg);
		free(t->options);
		free(t->argv);
		free(t->name);
		free(t->group);
	}
	free(table->tests);
}

int table_read(struct table *table, const char *path)
{
	char line[MAX_LINE], *words[MAX_WORDS];
	const char *error = NULL;
	int n, nr = 0, i;
	struct test *t;
	FILE *f;

	*table = (struct table){ 0 };
	f = fopen(path, "re");
	if (!f) {
		fprintf(stderr, "rig: %s: %s\n", path, strerror(errno));
		return -1;
	}
	while (!error && fgets(line, sizeof(line), f)) {
		nr++;
		if (strlen(line) == sizeof(line) - 1) {
			error = "the line is too long";
			break;
		}
		n = split(line, words);
		if (!n)
			continue;
		if (n < 0) {
			error = "too many words, or a quote is missing";
			break;
		}
		table->tests = xrealloc(table->tests, (table->n + 1) * sizeof(*t));
		t = &table->tests[table->n++];
		*t = (struct test){ 0 };
		error = parse_test(t, words, n);
		for (i = 0; !error && i < table->n - 1; i++)
			if (!strcmp(table->tests[i].name, t->name))
				error = "a second test of this name";
	}
	fclose(f);
	if (error)
		fprintf(stderr, "rig: %s:%d: %s\n", path, nr, error);
	return error ? -1 : 0;
}
