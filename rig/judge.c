// SPDX-License-Identifier: GPL-2.0-only
/* Runs TAP programs on this machine and judges them; judge.h describes the function. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig/judge.h"
#include "rig/report.h"
#include "rig/tap.h"
#include "rig/util.h"

struct judge {
	const char *program;
	struct tap tap;
	int count[NR_VERDICTS];
	FILE *log;
	char log_path[400];
};

static void verdict(struct judge *j, enum verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void verdict(struct judge *j, enum verdict verdict, const char *fmt, ...)
{
	va_list ap;

	j->count[verdict]++;
	printf("%-5s ", verdict_words[verdict]);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* Print the verdict on a check, or what is wrong with the line. A skipped check may lack a name. */
static void judge_line(struct judge *j, const char *line, size_t len)
{
	int failures = j->tap.failures.n;
	enum tap_kind kind = tap_line(&j->tap, line, len);
	const char *text = tap_text(line);
	int name = (int)strcspn(text, "#");

	while (name && text[name - 1] == ' ')
		name--;
	if (kind == TAP_REMARK)
		printf("        %s\n", line);
	else if (kind == TAP_FAILED)
		verdict(j, FAILED, "%s", text);
	else if (j->tap.failures.n > failures)
		verdict(j, FAILED, "%s: %s", j->program, j->tap.failures.line[failures]);
	else if (kind == TAP_SKIPPED && name)
		verdict(j, SKIPPED, "%.*s: %s", name, text, tap_skip_reason(line));
	else if (kind == TAP_SKIPPED || kind == TAP_SKIPPED_ALL)
		verdict(j, SKIPPED, "%s: %s", j->program, tap_skip_reason(line));
	else if (kind == TAP_PASSED)
		verdict(j, PASSED, "%s", text);
}

/* Print what is wrong with the whole output or the way in which the program ended. */
static void judge_end(struct judge *j, int status)
{
	struct notes last = { 0 };
	int failures = j->tap.failures.n, i;

	tap_end(&j->tap);
	for (i = failures; i < j->tap.failures.n; i++)
		verdict(j, FAILED, "%s: %s", j->program, j->tap.failures.line[i]);
	if (WIFSIGNALED(status))
		verdict(j, FAILED, "%s: killed by signal %d (%s)", j->program, WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) && !j->tap.failures.n)
		verdict(j, FAILED, "%s: exit status %d", j->program, WEXITSTATUS(status));
	else if (j->tap.failures.n == failures)
		return;
	tap_last_lines(&j->tap, &last);
	for (i = 0; i < last.n; i++)
		printf("    %s\n", last.line[i]);
	notes_free(&last);
}

static void __attribute__((noreturn)) become(char *program, int out)
{
	char *argv[] = { program, NULL };

	dup2(out, 1);
	dup2(out, 2);
	execv(program, argv);
	printf("Bail out! cannot run it: %s\n", strerror(errno));
	fflush(stdout);
	_exit(127);
}

static void judge_program(struct judge *j, char *program)
{
	int fds[2], status = 0, failed = j->count[FAILED];
	size_t size = 0;
	char *line = NULL;
	FILE *out;
	pid_t pid;

	j->program = program;
	tap_start(&j->tap);
	printf("# %s\n", program);
	fprintf(j->log, "# %s\n", program);
	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid)
		become(program, fds[1]);
	close(fds[1]);
	out = fdopen(fds[0], "r");
	if (!out)
		die("fdopen: %s", strerror(errno));
	while (getline(&line, &size, out) > 0) {
		line[strcspn(line, "\n")] = '\0';
		fprintf(j->log, "%s\n", line);
		judge_line(j, line, strlen(line));
	}
	free(line);
	fclose(out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	judge_end(j, status);
	if (j->count[FAILED] > failed)
		printf("        log: %s\n", j->log_path);
	fflush(NULL);
	tap_free(&j->tap);
}

int judge_programs(const char *logs, const char *name, char **programs)
{
	static struct judge j;
	char counts[400];

	if (make_dir(logs))
		die("%s: %s", logs, strerror(errno));
	snprintf(counts, sizeof(counts), "%s/%s.counts", logs, name);
	unlink(counts);
	snprintf(j.log_path, sizeof(j.log_path), "%s/%s.log", logs, name);
	j.log = fopen(j.log_path, "we");
	if (!j.log)
		die("%s: %s", j.log_path, strerror(errno));
	for (; *programs; programs++)
		judge_program(&j, *programs);
	if (ferror(j.log) | fclose(j.log))
		die("%s: %s", j.log_path, strerror(errno));
	return report_counts(logs, name, j.count);
}
