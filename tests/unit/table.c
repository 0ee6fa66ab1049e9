// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that rig/table.c reads tables in the format that tests/amd.table describes, and refuses
 * others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig/table.h"
#include "tests/lib/tap.h"

static char said[512]; /* by the last read_text(), on standard error */

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f))
		tap_bail("cannot write %s", path);
}

/* Read this text as a table; -1 when it is refused. */
static int read_text(struct table *table, const char *text)
{
	char dir[] = "/tmp/unit-table.XXXXXX", path[64], err[64];
	int ret, saved = dup(2);
	FILE *f;

	if (!mkdtemp(dir) || saved < 0)
		tap_bail("cannot make %s", dir);
	snprintf(path, sizeof(path), "%s/table", dir);
	snprintf(err, sizeof(err), "%s/err", dir);
	write_text(path, text);
	if (!freopen(err, "we", stderr))
		tap_bail("cannot write %s", err);
	ret = table_read(table, path);
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	memset(said, 0, sizeof(said));
	f = fopen(err, "re");
	if (!f)
		tap_bail("cannot read %s", err);
	ret = fread(said, 1, sizeof(said) - 1, f) || !ret ? ret : -2;
	fclose(f);
	unlink(path);
	unlink(err);
	rmdir(dir);
	return ret;
}

static void accept(void)
{
	static const char text[] =
		"# a comment\n"
		"\n"
		"one group 5 both tdp_mmu=both\n"
		"two  g 1 patched need=a,b VAR=\"x y\" stock:kvm.x=1 fresh mem=512 -- prog \"\" \"a b\" c#d\n"
		"three g 999999 none log=\"A|B\" why=\"for fun\" # the rest is a comment\n"
		"last g 1 stock paging=shadow device=x,y machine=q35 thread=multi icount cpus=1 check=\"test -e /x\"";
	struct host_conf conf = { 0 };
	struct table t;
	char words[64];

	if (!tap_is(read_text(&t, text), 0, "a table is read") || !tap_is(t.n, 4, "all of it"))
		tap_bail("it is refused: %s", said);
	tap_ok(!*said, "without a message");
	tap_ok(!strcmp(t.tests[0].name, "one") && !strcmp(t.tests[0].group, "group") &&
		       t.tests[0].timeout_s == 5 && t.tests[0].kvm == (KVM_STOCK | KVM_PATCHED),
	       "the four columns");
	tap_ok(!strcmp(t.tests[0].argv[0], "one") && !t.tests[0].argv[1],
	       "the program is the name by default");
	tap_ok(!strcmp(t.tests[1].argv[0], "prog") && !strcmp(t.tests[1].argv[1], "") &&
		       !strcmp(t.tests[1].argv[2], "a b") && !strcmp(t.tests[1].argv[3], "c#d") &&
		       !t.tests[1].argv[4],
	       "arguments, including empty and quoted ones");
	tap_is(t.tests[1].n_options, 6, "each word of a list is an option");
	tap_ok(t.tests[1].options[0].kind == OPT_NEED && !strcmp(t.tests[1].options[1].value, "b"),
	       "a list is split");
	tap_ok(t.tests[1].options[2].kind == OPT_ENV &&
		       !strcmp(t.tests[1].options[2].value, "VAR=x y"),
	       "quotes keep blanks");
	tap_ok(t.tests[1].options[3].kind == OPT_PARAM && t.tests[1].options[3].kvm == KVM_STOCK,
	       "stock: restricts");
	tap_ok(t.tests[2].kvm == KVM_NONE && !strcmp(t.tests[2].options[0].why, "for fun"),
	       "log= has its why=");
	tap_ok(t.tests[1].paging == (PAGING_TDP | PAGING_SHADOW) &&
		       t.tests[2].paging == PAGING_NONE && t.tests[3].paging == PAGING_SHADOW,
	       "nested and shadow paging, unless KVM is not loaded or one is named");
	tap_ok(t.tests[0].paging == (PAGING_TDP | PAGING_TDP_MMU0 | PAGING_SHADOW),
	       "tdp_mmu=both adds the shadow MMU for nested paging");
	tap_ok(!strcmp(paging_params(PAGING_TDP_MMU0)[0], "kvm.tdp_mmu=0") &&
		       !paging_params(PAGING_TDP_MMU0)[1] && !paging_params(PAGING_TDP)[0],
	       "and its parameter");
	tap_is(t.tests[3].n_options, 6, "the last line needs no line break");
	for (int i = 0; i < 6; i++)
		if (t.tests[3].options[i].kind == OPT_HOST)
			host_word(&conf, t.tests[3].options[i].value);
	host_conf_text(&conf, words, sizeof(words));
	tap_ok(!strcmp(words, "cpus=1 icount thread=multi device=x,y machine=q35"),
	       "the host's configuration: %s", words);
	host_conf_text(&conf, words, 8);
	tap_ok(!strncmp(words, "cpus=1", 6) && strlen(words) < 8, "is cut if there is no room");
	table_free(&t);
}

static void refuse(void)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "a g 1\n", ":1: want NAME GROUP TIMEOUT KVM" },
		{ "a g 1 both\nb g x both\n", ":2: the timeout is not a number" },
		{ "a g 0 both\n", ":1: the timeout is not a number" },
		{ "a g 1000000 both\n", ":1: the timeout is not a number" },
		{ "a g 99999999999999999999 both\n", ":1: the timeout is not a number" },
		{ "a g 1s both\n", ":1: the timeout is not a number" },
		{ "a g 1 all\n", ":1: KVM must be" },
		{ "a g 1 both nonsense\n", ":1: unknown option" },
		{ "a g 1 none machine\n", ":1: unknown option" },
		{ "a g 1 both e1000.x=1\n", ":1: unknown option" },
		{ "a g 1 both kvm.x\n", ":1: unknown option" },
		{ "a g 1 both 1VAR=x\n", ":1: unknown option" },
		{ "a g 1 both mem=x\n", ":1: unknown option" },
		{ "a g 1 both need=\n", ":1: need= without a module" },
		{ "a g 1 both --\n", ":1: no program after --" },
		{ "a g 1 both log=x\n", ":1: log= without why=" },
		{ "a g 1 both log=x why=\"\"\n", ":1: log= without why=" },
		{ "a g 1 both fresh why=x\n", ":1: why= must follow log=" },
		{ "a g 1 both why=x\n", ":1: why= must follow log=" },
		{ "a g 1 both log=x why=a why=b\n", ":1: why= must follow log=" },
		{ "a g 1 both paging=none\n", ":1: unknown option" },
		{ "a g 1 none paging=tdp\n", ":1: paging= does not fit" },
		{ "a g 1 both paging=tdp paging=shadow\n", ":1: paging= does not fit" },
		{ "a g 1 none tdp_mmu=both\n", ":1: tdp_mmu=both does not fit" },
		{ "a g 1 both tdp_mmu=both paging=shadow\n", ":1: tdp_mmu=both does not fit" },
		{ "a g 1 both tdp_mmu=0\n", ":1: unknown option" },
		{ "a g 1 both VAR=\"x\n", ":1: too many words, or a quote" },
		{ "a g 1 both\na g 2 none\n", ":2: a second test of this name" },
	};
	struct table t;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tap_is(read_text(&t, bad[i].text), -1, "refused: %s", bad[i].text);
		tap_ok(strstr(said, bad[i].why), "the message: %s", said);
		table_free(&t);
	}
}

/* Too long a line, too many words, too many devices. */
static void too_much(void)
{
	static char text[8192];
	struct host_conf conf = { 0 };
	struct table t;
	int i, n;

	n = sprintf(text, "a g 1 both -- a");
	for (i = 0; i < 100; i++)
		n += sprintf(text + n, " x");
	tap_is(read_text(&t, text), -1, "100 words are too many");
	tap_ok(strstr(said, "too many words"), "the message: %s", said);
	table_free(&t);

	n = sprintf(text, "a g 1 both VAR=");
	memset(text + n, 'x', 4000);
	strcpy(text + n + 4000, "\n");
	tap_is(read_text(&t, text), -1, "so are 4000 characters");
	tap_ok(strstr(said, ":1: the line is too long"), "the message: %s", said);
	table_free(&t);

	for (i = 0; i < HOST_EXTRA; i++)
		tap_ok(host_word(&conf, "device=d"), "device %d", i + 1);
	tap_ok(!host_word(&conf, "device=d"), "and no more");
}

static void read_ours(const char *path)
{
	struct table t;

	tap_is(table_read(&t, path), 0, "%s is read", path);
	tap_ok(t.n > 10, "it has %d tests", t.n);
	table_free(&t);
}

int main(void)
{
	struct table t;

	accept();
	refuse();
	too_much();
	read_ours("tests/amd.table");
	read_ours("tests/intel.table");
	read_ours("tests/i386.table");
	read_ours("tests/rig/misbehave.table");
	tap_is(read_text(&t, ""), 0, "an empty table is a table");
	table_free(&t);
	return tap_done();
}
