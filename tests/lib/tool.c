// SPDX-License-Identifier: GPL-2.0-only
/* Runs kvm-pfnmap in the emulated host; see tool.h. */
#include "tests/lib/tool.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/tap.h"

#define MAX_ARGS 16
/* A copy, because another user may not have access to the machine's directories. */
#define TOOL	"/tmp/kvm-pfnmap"
#define LOADER	"/machine/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
#define LIBRARY "/machine/lib/x86_64-linux-gnu:/machine/usr/lib/x86_64-linux-gnu"
#define DRI	"/dev/dri"

void tool_copy(const char *from, const char *to, mode_t mode, off_t size)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	char bytes[1 << 16];
	ssize_t n;

	if (in < 0 || out < 0)
		tap_bail("cannot copy %s to %s: %s", from, to, strerror(errno));
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		if (write(out, bytes, n) != n)
			tap_bail("%s: %s", to, strerror(errno));
	if (n < 0 || (size && ftruncate(out, size)))
		tap_bail("cannot copy %s to %s: %s", from, to, strerror(errno));
	close(in);
	close(out);
}

static void copy_tool(void)
{
	const char *build = getenv("BUILD");
	char path[512];

	if (!access(TOOL, X_OK))
		return;
	if (!build)
		tap_bail("BUILD is not set: the machine's path of the build directory");
	snprintf(path, sizeof(path), "/machine%s/bin/kvm-pfnmap", build);
	tool_copy(path, TOOL ".new", 0755, 0);
	if (rename(TOOL ".new", TOOL))
		tap_bail(TOOL ": %s", strerror(errno));
}

/* In the child: leave only one node in /dev/dri, or none. */
static void keep_node(const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), DRI "/%s", name);
	if (name[0] && stat(path, &st)) {
		printf("%s: %s\n", path, strerror(errno));
		exit(126);
	}
	mkdir(DRI, 0755);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", DRI, "tmpfs", 0, "mode=755") ||
	    (name[0] && (mknod(path, st.st_mode, st.st_rdev) || chmod(path, st.st_mode) ||
			 chown(path, st.st_uid, st.st_gid)))) {
		printf(DRI ": %s\n", strerror(errno));
		exit(126);
	}
}

static void __attribute__((noreturn)) become(const struct tool *t, char **argv)
{
	int null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	if (t && t->node)
		keep_node(t->node);
	if (t && t->ignore_chld)
		signal(SIGCHLD, SIG_IGN);
	if (t && t->no_modules && prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE, 0, 0, 0)) {
		printf("PR_CAPBSET_DROP: %s\n", strerror(errno));
		exit(126);
	}
	if (t && t->uid && (setgroups(!!t->group, &t->group) || setgid(t->uid) || setuid(t->uid))) {
		printf("setuid: %s\n", strerror(errno));
		exit(126);
	}
	execv(argv[0], argv);
	printf("%s: %s\n", argv[0], strerror(errno));
	exit(127);
}

/* Read back what a child has written to a file, and print it as diagnostics. */
static void read_back(FILE *f, char *text, size_t size)
{
	char line[1024];
	size_t n;

	rewind(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		tap_diag("%s", line);
	}
	fclose(f);
}

/* path: in the host; args: the program's name and its arguments. */
static int run(const struct tool *t, char *out, size_t out_size, char *err, size_t err_size,
	       const char *path, const char *const *args)
{
	const char *argv[MAX_ARGS + 6] = { LOADER,    "--library-path", LIBRARY,
					   "--argv0", args[0],		path };
	FILE *files[2] = { tmpfile(), tmpfile() };
	int status;
	pid_t pid;

	if (!files[0] || !files[1])
		tap_bail("tmpfile: %s", strerror(errno));
	for (int n = 1; args[n]; n++) {
		if (n == MAX_ARGS)
			tap_bail("too many arguments");
		argv[n + 5] = args[n];
	}
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		dup2(fileno(files[0]), 1);
		dup2(fileno(files[1]), 2);
		become(t, (char **)argv);
	}
	if (t && t->kill_ms) {
		usleep(t->kill_ms * 1000);
		kill(pid, SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("waitpid: %s", strerror(errno));
	read_back(files[0], out, out_size);
	read_back(files[1], err, err_size);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void tool_run_args(struct tool *t, const char *const *args)
{
	copy_tool();
	t->status = run(t, t->out, sizeof(t->out), t->err, sizeof(t->err), TOOL, args);
}

int tool_machine_args(const char *path, const char *const *args)
{
	char in_host[512], out[4096], err[4096];

	snprintf(in_host, sizeof(in_host), "/machine%s", path);
	return run(NULL, out, sizeof(out), err, sizeof(err), in_host, args);
}

/* Replace each run of white space with one blank. */
static void squeeze(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; *from && n + 1 < size; from++)
		if (!isspace((unsigned char)*from))
			to[n++] = *from;
		else if (n && to[n - 1] != ' ')
			to[n++] = ' ';
	to[n] = '\0';
}

void tool_check(const struct tool *t, int status, const char *regex, const char *file, int line,
		const char *fmt, ...)
{
	static char text[sizeof(t->out)];
	const char *said = t->out[0] ? t->out : t->err, *end = strchr(t->err, '\n');
	bool one_line = t->out[0] || (end && !end[1]), matches;
	char name[256];
	regex_t re;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	squeeze(text, sizeof(text), said);
	if (regcomp(&re, regex, REG_EXTENDED | REG_NOSUB))
		tap_bail("not a regular expression: %s", regex);
	matches = !regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	if (!tap_check(t->status == status && matches && one_line, file, line, "%s", name))
		tap_diag("status %d, want %d; %s \"%s\"%s", t->status, status,
			 matches ? "it says" : "it does not say", regex,
			 one_line ? "" : "; standard error is not one line");
}

void tool_dirs(const char *path)
{
	char part[300];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	if (mkdir(path, 0755) && errno != EEXIST)
		tap_bail("%s: %s", path, strerror(errno));
}
