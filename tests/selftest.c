// SPDX-License-Identifier: GPL-2.0-only
/*
 * selftest - One KVM selftest of the kernel's own source ends as tests/selftests/SERIES.table says:
 *
 *	selftest passes PROGRAM [ARGUMENT ...]
 *	selftest skips REGEX PROGRAM [ARGUMENT ...]
 *	selftest fails REGEX PROGRAM [ARGUMENT ...]
 *
 * A program that skips or fails must print a line that matches the extended regular expression, so
 * that it does so for the known reason. HUGE_PAGES=N in the environment gives it hugetlb pages.
 *
 * Contract: 7. Stock and patched KVM must do the same.
 *
 * Seen to fail: programs that skip themselves or fail, where the table says that they pass; one
 * that passes, where it says that it skips itself.
 */
#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/kit.h"

/* The exit status of a selftest that skips itself. */
#define SKIP 4

/*
 * Run a program and show its output as remarks, since it may print TAP of its own. Returns how it
 * ended, as waitpid() does; said: did a line match re, if that is not NULL?
 */
static int run(char **argv, const regex_t *re, bool *said)
{
	int fds[2], status;
	char *line = NULL;
	size_t size = 0;
	FILE *out;
	pid_t pid;

	if (pipe(fds))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		execv(argv[0], argv);
		printf("%s: %s\n", argv[0], strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	close(fds[1]);
	out = fdopen(fds[0], "r");
	if (!out)
		tap_bail("fdopen: %s", strerror(errno));
	while (getline(&line, &size, out) > 0) {
		line[strcspn(line, "\n")] = '\0';
		tap_diag("%s", line);
		if (re && !regexec(re, line, 0, NULL, 0))
			*said = true;
	}
	free(line);
	fclose(out);
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("waitpid: %s", strerror(errno));
	return status;
}

int main(int argc, char **argv)
{
	const char *want = argc > 2 ? argv[1] : "", *reason = NULL, *ends;
	char **program = argv + 2, path[4096], name[512] = "";
	const char *build = getenv("BUILD"), *huge = getenv("HUGE_PAGES");
	bool said = false;
	struct utsname host;
	regex_t re;
	int status;

	if (!strcmp(want, "skips") || !strcmp(want, "fails"))
		reason = *program++;
	if (!build || uname(&host) || argc < 3 || !*program || (!reason && strcmp(want, "passes")))
		tap_bail("usage: BUILD=DIR selftest passes|skips REGEX|fails REGEX PROGRAM...");
	if (reason && regcomp(&re, reason, REG_EXTENDED | REG_NOSUB))
		tap_bail("not a regular expression: %s", reason);
	snprintf(path, sizeof(path), "/machine%s/%s/selftests/%s", build, host.release, *program);
	for (char **word = program; *word; word++)
		snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s%s",
			 word == program ? "" : " ", *word);
	program[0] = path;

	if (huge)
		kit_huge_pages(strtoul(huge, NULL, 10));
	status = run(program, reason ? &re : NULL, &said);
	ends = !WIFEXITED(status)	   ? "is killed" :
	       WEXITSTATUS(status) == 127  ? "does not start" :
	       WEXITSTATUS(status) == SKIP ? "skips" :
	       WEXITSTATUS(status)	   ? "fails" :
					     "passes";
	if (huge)
		kit_huge_pages(0);
	if (said && !strcmp(want, "skips") && !strcmp(ends, "skips"))
		tap_skip_all("%s: %s", name, reason);
	tap_ok(!strcmp(ends, want), "%s %s", name, want);
	if (strcmp(ends, want))
		tap_diag("it %s (status %#x)", ends, status);
	if (reason)
		tap_ok(said, "it says: %s", reason);
	return tap_done();
}
