// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the command line of rig: it starts one command with options that are within their limits,
 * prints the help, or ends with status 2 and says why.
 *
 * Seen to fail: with --workers read by atoi(), as it was.
 */
#include <setjmp.h>

#include "tests/fuzz/fuzz.h"
#include "rig/util.h"

static jmp_buf ended;
static void end(int status) __attribute__((noreturn));
static void end(int status)
{
	longjmp(ended, 1 + status);
}

/* The options keep copies of words. */
static char *kept[64];
static int n_kept;

static char *keep(const char *s)
{
	MUST(n_kept < 64);
	return kept[n_kept++] = strdup(s);
}

static int started;

#define main	rig_main
#define exit	end
#define xstrdup keep
#include "rig/main.c"
#undef xstrdup
#undef main
#include "rig/util.c"
#undef exit

void find_build(struct settings *s)
{
	(void)s;
}

static int check(const struct settings *s)
{
	started++;
	MUST(s->kvm <= (KVM_NONE | KVM_STOCK | KVM_PATCHED));
	MUST(s->paging <= (PAGING_TDP | PAGING_TDP_MMU0 | PAGING_SHADOW));
	MUST(s->n_params <= MAX_PARAMS && s->timeout_s >= 0 && s->timeout_s < 1000000);
	MUST(s->conf.mem_mb >= 0 && s->conf.cpus >= 0 && s->conf.n_extra <= HOST_EXTRA);
	MUST(!s->conf.icount || (s->conf.cpus <= 1 && !s->conf.multi));
	return 0;
}

int run_program(struct settings *s, char *need, char **words)
{
	(void)need;
	MUST(words);
	return check(s);
}

int run_shell(struct settings *s, char *need)
{
	(void)need;
	return check(s);
}

int run_tests(struct settings *s, const struct test_run *run)
{
	MUST(run->table && run->name && run->workers >= 0 && run->workers < 1000000);
	return check(s);
}

int judge_programs(const char *logs, const char *name, char **programs)
{
	MUST(logs && name && *programs);
	started++;
	return 0;
}

int print_matrix(const char *out, char **results)
{
	MUST(out && *results);
	started++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Not changed after setjmp(). */
	static char *argv[34], *args[34];
	static struct fuzz_output err, out;
	static int argc, status;

	memset(argv, 0, sizeof(argv));
	argv[0] = "rig";
	for (argc = 1; size && argc < 33; argc++)
		argv[argc] = fuzz_piece(&data, &size);
	memcpy(args, argv, sizeof(args));
	started = 0;
	optind = 0;
	fuzz_catch(&err, &stderr);
	fuzz_catch(&out, &stdout);
	status = setjmp(ended);
	if (!status)
		status = 1 + rig_main(argc, argv);
	status--;
	fuzz_release(&out);
	fuzz_release(&err);
	if (status)
		MUST(status == 2 && !started && err.len && !out.len);
	else
		MUST(started + !!out.len == 1 && !err.len);
	free(err.text);
	free(out.text);
	while (n_kept)
		free(kept[--n_kept]);
	while (argc > 1)
		free(args[--argc]);
	return 0;
}
