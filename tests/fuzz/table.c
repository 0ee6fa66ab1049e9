// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the reader of tables of tests: it refuses a table in one line that names the file and a
 * line of it, or what it returns is complete and can be written and read again with the same
 * result.
 *
 * Seen to fail: with an empty why= accepted; with a second why=, whose memory leaked; with a why=
 * that keeps a character too many.
 */
#include "tests/fuzz/fuzz.h"
#include "rig/table.h"

static void print_quoted(FILE *f, const char *word)
{
	fprintf(f, "\"%s\" ", word);
}

static void print_test(FILE *f, const struct test *t)
{
	static const char *const names[] = {
		[OPT_PARAM] = "",	[OPT_ENV] = "",	  [OPT_NEED] = "need=", [OPT_LOG] = "log=",
		[OPT_CHECK] = "check=", [OPT_FRESH] = "", [OPT_HOST] = ""
	};
	unsigned int both = KVM_STOCK | KVM_PATCHED;

	print_quoted(f, t->name);
	print_quoted(f, t->group);
	fprintf(f, "%d %s ", t->timeout_s,
		t->kvm == both	   ? "both" :
		t->kvm == KVM_NONE ? "none" :
				     kvm_name(t->kvm));
	if (t->tdp_mmu_both)
		fprintf(f, "tdp_mmu=both ");
	if (t->kvm != KVM_NONE && !(t->paging & PAGING_SHADOW))
		fprintf(f, "paging=tdp ");
	if (t->kvm != KVM_NONE && !(t->paging & PAGING_TDP))
		fprintf(f, "paging=shadow ");
	for (int i = 0; i < t->n_options; i++) {
		const struct test_option *o = &t->options[i];
		const char *variant = o->kvm == KVM_STOCK   ? "stock:" :
				      o->kvm == KVM_PATCHED ? "patched:" :
							      "";

		fprintf(f, "\"%s%s%s\" ", variant, names[o->kind], o->value);
		if (o->why)
			fprintf(f, "\"why=%s\" ", o->why);
	}
	fprintf(f, "-- ");
	for (char **arg = t->argv; *arg; arg++)
		print_quoted(f, *arg);
	fputc('\n', f);
}

static void must_be_equal(const struct test *a, const struct test *b)
{
	int i;

	MUST(!strcmp(a->name, b->name) && !strcmp(a->group, b->group));
	MUST(a->timeout_s == b->timeout_s && a->kvm == b->kvm && a->paging == b->paging);
	MUST(a->n_options == b->n_options && a->tdp_mmu_both == b->tdp_mmu_both);
	for (i = 0; i < a->n_options; i++) {
		MUST(a->options[i].kind == b->options[i].kind);
		MUST(a->options[i].kvm == b->options[i].kvm);
		MUST(!strcmp(a->options[i].value, b->options[i].value));
		MUST(!a->options[i].why == !b->options[i].why);
		MUST(!a->options[i].why || !strcmp(a->options[i].why, b->options[i].why));
	}
	for (i = 0; a->argv[i]; i++)
		MUST(b->argv[i] && !strcmp(a->argv[i], b->argv[i]));
	MUST(!b->argv[i]);
}

/* What the reader promises of a test. Returns whether one line of a table can hold it. */
static bool check(const struct test *t)
{
	struct host_conf conf = { 0 };
	int words = 8, host_words = 0;
	size_t len = strlen(t->name) + strlen(t->group) + 100;

	MUST(t->timeout_s > 0 && t->kvm && t->paging && t->argv && t->argv[0]);
	MUST(!(t->paging & PAGING_TDP_MMU0) || (t->paging & PAGING_TDP && t->tdp_mmu_both));
	for (int i = 0; i < t->n_options; i++) {
		const struct test_option *o = &t->options[i];

		MUST(o->kvm && (o->kind != OPT_LOG || (o->why && o->why[0])));
		MUST(o->kind != OPT_NEED || o->value[0]);
		MUST(o->kind != OPT_ENV || strchr(o->value, '='));
		if (o->kind == OPT_HOST && host_words++ < HOST_EXTRA)
			MUST(host_word(&conf, o->value));
		words += 2;
		len += strlen(o->value) + (o->why ? strlen(o->why) : 0) + 40;
	}
	for (char **arg = t->argv; *arg; arg++)
		words++, len += strlen(*arg) + 3;
	return words < 64 && len < 2000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64], begin[80], *again;
	int fd = fuzz_file(data, size, path, sizeof(path));
	struct table table, second;
	struct fuzz_output err;
	bool fits = true;
	size_t len;
	FILE *f;
	int ret;

	fuzz_catch(&err, &stderr);
	ret = table_read(&table, path);
	fuzz_release(&err);
	close(fd);
	if (ret) {
		snprintf(begin, sizeof(begin), "rig: %s:", path);
		MUST(fuzz_one_line(&err, begin));
		MUST(atoi(err.text + strlen(begin)) > 0);
	} else {
		MUST(!err.len);
		f = open_memstream(&again, &len);
		MUST(f);
		for (int i = 0; i < table.n; i++) {
			fits &= check(&table.tests[i]);
			print_test(f, &table.tests[i]);
		}
		fclose(f);
		if (fits) {
			fd = fuzz_file((uint8_t *)again, len, path, sizeof(path));
			MUST(!table_read(&second, path) && second.n == table.n);
			for (int i = 0; i < table.n; i++)
				must_be_equal(&table.tests[i], &second.tests[i]);
			table_free(&second);
			close(fd);
		}
		free(again);
	}
	table_free(&table);
	free(err.text);
	return 0;
}
