// SPDX-License-Identifier: GPL-2.0-only
/* Starts emulated hosts and gives commands to their PID 1; host.h describes the functions. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig/emulator.h"
#include "rig/stream.h"

/* To kill a program. */
#define RUN_EXTRA_S 30
#define QMP_S	    30
/* How often a booting host is reported. */
#define PROGRESS_S 15
/* How much longer a limit is on the clock. */
#define CLOCK_FACTOR 10
/* How often the emulator's processor time is read. */
#define SLICE_MS 1000

/*
 * A time limit, which a busy machine must not make shorter: so much of the emulator's processor
 * time, or CLOCK_FACTOR times as much on the clock if the emulator sleeps. A limit of 0 ms never
 * ends.
 */
struct limit {
	long long ms, cpu_ms, clock_ms; /* the last two say when it ends */
};

struct host {
	struct host_opts opts;
	const struct emulator *emulator;
	pid_t pid;
	struct stream channel, qmp;
	bool alive, qmp_ready;
	struct limit life;
	long boot_ms;
	char release[80], vendor[16];
	FILE *console; /* console.log, being read */
	bool excused;  /* the last complaint in the log was expected */
	int marks;
	char lost[256];
};

/* --- time --- */

/* The emulator's processor time so far, or 0 if it has ended. */
static long long emulator_ms(const struct host *h)
{
	unsigned long user = 0, sys = 0;
	char path[64], text[1024] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)h->pid);
	f = h->pid > 0 ? fopen(path, "re") : NULL;
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = '\0';
		fclose(f);
	}
	/* The process's name may contain anything. */
	p = strrchr(text, ')');
	if (p)
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
	return (long long)(user + sys) * 1000 / sysconf(_SC_CLK_TCK);
}

static struct limit limit(const struct host *h, long long ms)
{
	if (h->opts.slow)
		ms *= h->opts.slow;
	return (struct limit){
		.ms = ms,
		.cpu_ms = emulator_ms(h) + ms,
		.clock_ms = now_ms() + ms * CLOCK_FACTOR,
	};
}

static bool is_over(const struct host *h, const struct limit *l)
{
	return l->ms && (now_ms() >= l->clock_ms || emulator_ms(h) >= l->cpu_ms);
}

/* A line as of stream_line(), within the limit and the host's life. */
static char *line_within(struct host *h, struct stream *s, size_t *len, const struct limit *l)
{
	char *line;

	do {
		line = stream_line(s, len, now_ms() + SLICE_MS);
	} while (!line && errno == ETIMEDOUT && !is_over(h, l) && !is_over(h, &h->life));
	return line;
}

/* --- the emulator --- */

static void kill_emulator(struct host *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	h->pid = 0;
}

/* Has the kernel panicked? */
static bool panicked(struct host *h)
{
	long pos = ftell(h->console);
	char line[1024];
	bool found = false;

	rewind(h->console);
	while (!found && fgets(line, sizeof(line), h->console))
		found = strstr(line, "Kernel panic - not syncing");
	fseek(h->console, pos, SEEK_SET);
	return found;
}

/* Write what the emulator's monitor says of a processor to f. Returns -1 if it does not answer. */
static int report_processor(struct host *h, const char *question, int cpu, FILE *f)
{
	char json[160], answer[RIG_LINE], *line, *end;

	snprintf(json, sizeof(json),
		 "{\"execute\":\"human-monitor-command\",\"arguments\":{"
		 "\"command-line\":\"%s\",\"cpu-index\":%d}}",
		 question, cpu);
	if (host_qmp(h, json, answer, sizeof(answer)))
		return -1;
	fprintf(f, "CPU %d, ", cpu);
	/* JSON has the line breaks as escape sequences. */
	for (line = answer; (end = strstr(line, "\\r\\n")); line = end + 4)
		fprintf(f, "%.*s\n", (int)(end - line), line);
	fprintf(f, "%s\n", line);
	return 0;
}

/* Write to registers.log what the processors of a host that stands still are doing. */
static void keep_registers(struct host *h)
{
	char path[512];
	int cpu = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/registers.log", h->opts.logdir);
	f = h->qmp.fd >= 0 ? fopen(path, "we") : NULL;
	if (!f)
		return;
	/* The first processor that does not exist ends it. */
	while (!report_processor(h, "info registers", cpu, f) &&
	       !report_processor(h, "info lapic", cpu, f))
		cpu++;
	fclose(f);
}

/* Mark the host as lost and keep the reason in h->lost. */
static void lose(struct host *h, const char *why)
{
	char said[200];
	int status = 0, tries;

	h->alive = false;
	/* The stream ends shortly before the process does. */
	for (tries = 0; h->pid > 0 && tries < 50 && !why; tries++) {
		if (waitpid(h->pid, &status, WNOHANG) == h->pid)
			h->pid = 0;
		else
			sleep_ms(10);
	}
	if (panicked(h))
		snprintf(h->lost, sizeof(h->lost), "kernel panic");
	else if (h->emulator->explain(&h->opts, said, sizeof(said)))
		snprintf(h->lost, sizeof(h->lost), "%s", said);
	else if (why)
		snprintf(h->lost, sizeof(h->lost), "%s", why);
	else if (!h->pid && WIFSIGNALED(status))
		snprintf(h->lost, sizeof(h->lost), "the emulator was killed by signal %d",
			 WTERMSIG(status));
	else if (!h->pid && WEXITSTATUS(status))
		snprintf(h->lost, sizeof(h->lost), "the emulator ended with status %d: see %s/%s",
			 WEXITSTATUS(status), h->opts.logdir, h->emulator->log);
	else
		snprintf(h->lost, sizeof(h->lost), "the host went down");
	if (why && h->pid > 0)
		keep_registers(h);
	kill_emulator(h);
}

pid_t emulator_fork(const struct emulator *emulator, const struct host_opts *o)
{
	pid_t parent = getpid(), pid = fork();
	char log[512];
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	snprintf(log, sizeof(log), "%s/%s", o->logdir, emulator->log);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (fd >= 0) {
		dup2(fd, 2);
		if (!o->terminal)
			dup2(fd, 1);
	}
	if (!o->terminal) {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		dup2(fd, 0);
		/* ^C at the terminal must not reach the emulator directly. */
		setsid();
	}
	return 0;
}

void emulator_exec(const char *const *argv, const char *package)
{
	execvp(argv[0], (char **)argv);
	fprintf(stderr, "cannot run %s: %s: install the package %s\n", argv[0], strerror(errno),
		package);
	_exit(127);
}

static void host_free(struct host *h)
{
	kill_emulator(h);
	if (h->channel.fd >= 0)
		close(h->channel.fd);
	if (h->qmp.fd >= 0)
		close(h->qmp.fd);
	if (h->console)
		fclose(h->console);
	free(h);
}

/* Wait until PID 1 is ready or the time is up; report the boot now and then. */
static char *wait_ready(struct host *h, size_t *len, long long start)
{
	struct limit boot = limit(h, h->emulator->boot_s * 1000LL);
	char last[256] = "", *line;
	long long progress;

	for (progress = start + PROGRESS_S * 1000LL;; progress += PROGRESS_S * 1000LL) {
		line = stream_line(&h->channel, len, progress);
		if (line || errno != ETIMEDOUT)
			return line;
		while (fgets(last, sizeof(last), h->console))
			;
		clearerr(h->console);
		last[strcspn(last, "\r\n")] = '\0';
		if (h->opts.progress)
			h->opts.progress(h->opts.progress_ctx, (int)((now_ms() - start) / 1000),
					 last);
		if (is_over(h, &boot))
			break;
	}
	errno = ETIMEDOUT;
	return NULL;
}

struct host *host_start(const struct host_opts *opts, char *error, size_t size)
{
	long long start = now_ms();
	struct emulation e = { 0 };
	char path[512], *line;
	struct host *h;
	FILE *log;
	size_t len;

	h = calloc(1, sizeof(*h));
	if (!h) {
		snprintf(error, size, "out of memory");
		return NULL;
	}
	h->opts = *opts;
	h->emulator = opts->kind == HOST_INTEL ? &emulator_bochs : &emulator_qemu;
	h->channel.fd = -1;
	h->qmp.fd = -1;
	if (access(opts->kernel, R_OK) || access(opts->initramfs, R_OK)) {
		snprintf(error, size, "%s cannot be read: run 'make initramfs programs'",
			 access(opts->kernel, R_OK) ? opts->kernel : opts->initramfs);
		goto fail;
	}
	if (h->emulator->check(opts, error, size))
		goto fail;
	snprintf(path, sizeof(path), "%s/console.log", opts->logdir);
	h->console = fopen(path, "w+e");
	if (!h->console) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (h->emulator->start(opts, &e, error, size))
		goto fail;
	h->pid = e.pid;
	h->channel.fd = e.channel;
	h->qmp.fd = e.qmp;
	h->life = limit(h, opts->timeout_s * 1000LL);
	line = wait_ready(h, &len, start);
	if (line && line[0] == RIG_READY &&
	    sscanf(line + 1, "%79s %15s", h->release, h->vendor) == 2) {
		h->boot_ms = now_ms() - start;
		h->alive = true;
		/* No test is responsible for what the kernel logs while it boots. */
		fseek(h->console, 0, SEEK_END);
		return h;
	}
	lose(h, !line && errno == ETIMEDOUT ? "no sign of life" : NULL);
	snprintf(path, sizeof(path), "%s/%s", opts->logdir, h->emulator->log);
	log = fopen(path, "re");
	path[0] = '\0';
	while (log && fgets(path, sizeof(path), log))
		;
	if (log)
		fclose(log);
	path[strcspn(path, "\n")] = '\0';
	snprintf(error, size, "the host does not boot: %s; console: %s/console.log%s%s", h->lost,
		 opts->logdir, path[0] ? "; the emulator's last line: " : "", path);
fail:
	host_free(h);
	return NULL;
}

/* Files of debugfs have no size, so only what reads to the end can copy them. */
static void save_coverage(struct host *h)
{
	static const char script[] =
		"mkdir -p /gcov && mount -t 9p -o trans=virtio,version=9p2000.L " RIG_COVERAGE
		" /gcov && mount -t debugfs none /sys/kernel/debug; cd /sys/kernel/debug/gcov && "
		"find . -name '*.gcda' | while read -r f; do "
		"mkdir -p /gcov/${f%/*} && cat $f >/gcov/$f; done";
	struct host_reply reply;

	if (host_do(h, &reply, "9p") == HOST_OK)
		host_do(h, &reply, "run", "300", "/bin/sh", "-c", script);
}

void host_stop(struct host *h)
{
	struct limit stop;

	if (h->alive && h->opts.coverage)
		save_coverage(h);
	stop = limit(h, h->emulator->stop_s * 1000LL);
	if (h->alive && !stream_send(&h->channel, "poweroff\n", 9))
		while (h->pid > 0 && !is_over(h, &stop)) {
			if (waitpid(h->pid, NULL, WNOHANG) == h->pid)
				h->pid = 0;
			else
				sleep_ms(10);
		}
	host_free(h);
}

const char *host_release(const struct host *h)
{
	return h->release;
}

const char *host_vendor(const struct host *h)
{
	return h->vendor;
}

long host_boot_ms(const struct host *h)
{
	return h->boot_ms;
}

bool host_alive(const struct host *h)
{
	return h->alive;
}

/* --- commands --- */

static const char *const kinds[] = {
	RIG_OK, RIG_ERRNO, RIG_EXIT, RIG_SIGNAL, RIG_TIMEOUT, RIG_STUCK
};

/* Encode words into one line; 0 when they do not fit. */
static size_t encode(const char *const *words, char *buf, size_t size)
{
	const char *p;
	size_t n = 0;
	int i;

	for (i = 0; words[i]; i++) {
		if (i >= RIG_WORDS || n + 8 > size)
			return 0;
		if (i)
			buf[n++] = ' ';
		if (!words[i][0])
			n += sprintf(buf + n, "%%00");
		for (p = words[i]; *p; p++) {
			if (n + 8 > size)
				return 0;
			if ((unsigned char)*p <= ' ' || *p == '%' || *p == 0x7f)
				n += sprintf(buf + n, "%%%02x", (unsigned char)*p);
			else
				buf[n++] = *p;
		}
	}
	buf[n++] = '\n';
	return n;
}

static enum host_kind lost_reply(struct host *h, struct host_reply *reply)
{
	reply->kind = HOST_LOST;
	snprintf(reply->message, sizeof(reply->message), "%s", h->lost);
	return HOST_LOST;
}

static bool parse_reply(const char *line, struct host_reply *reply)
{
	char kind[16];
	int end = 0;
	size_t i;

	if (sscanf(line, "%15s %d %ld %d %n", kind, &reply->value, &reply->ms, &reply->left, &end) <
	    4)
		return false;
	snprintf(reply->message, sizeof(reply->message), "%s", end ? line + end : "");
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kind, kinds[i])) {
			reply->kind = (enum host_kind)i;
			return true;
		}
	return false;
}

enum host_kind host_cmd(struct host *h, const char *const *words, host_line_fn fn, void *ctx,
			struct host_reply *reply)
{
	long long ms = h->emulator->patience_s * 1000LL;
	bool stop = !strcmp(words[0], "run");
	struct limit end;
	char command[RIG_COMMAND], *line, why[64];
	size_t len;

	memset(reply, 0, sizeof(*reply));
	if (!h->alive)
		return lost_reply(h, reply);
	len = encode(words, command, sizeof(command));
	if (!len) {
		reply->kind = HOST_ERRNO;
		reply->value = E2BIG;
		snprintf(reply->message, sizeof(reply->message), "%s: %s", words[0],
			 strerror(E2BIG));
		return HOST_ERRNO;
	}
	if (!strcmp(words[0], "9p") && !h->emulator->has_9p) {
		reply->kind = HOST_ERRNO;
		reply->value = ENODEV;
		snprintf(reply->message, sizeof(reply->message),
			 "9p: an Intel host cannot mount the machine's files");
		return HOST_ERRNO;
	}
	if (stop)
		ms = atoi(words[1]) * 1000LL;
	else if (!strcmp(words[0], "shell"))
		ms = 0;

	end = limit(h, ms);
	line = stream_send(&h->channel, command, len) ? NULL : "";
	while (line) {
		line = line_within(h, &h->channel, &len, &end);
		if (!line && errno == ETIMEDOUT && stop && !is_over(h, &h->life)) {
			stop = false;
			end = limit(h, RUN_EXTRA_S * 1000LL);
			line = stream_send(&h->channel, "stop\n", 5) ? NULL : "";
			continue;
		}
		if (!line)
			break;
		if (line[0] == RIG_REPLY && parse_reply(line + 1, reply)) {
			if (reply->kind == HOST_STUCK)
				lose(h, "a process survived SIGKILL");
			return reply->kind;
		}
		if (fn)
			fn(ctx, line[0], line + 1, len - 1);
	}
	if (errno != ETIMEDOUT) {
		lose(h, NULL);
	} else if (is_over(h, &h->life)) {
		snprintf(why, sizeof(why), "still running after %d s", h->opts.timeout_s);
		lose(h, why);
	} else {
		lose(h, "no answer");
	}
	return lost_reply(h, reply);
}

/*
 * Does the emulator take every read of a control register for one of CR0? QEMU 9.1 and later do;
 * the module rig_cr_reads has the details.
 */
static bool confuses_cr_reads(struct host *h)
{
	char answer[RIG_LINE], *major;

	if (host_qmp(h, "{\"execute\":\"query-version\"}", answer, sizeof(answer)))
		return false;
	major = strstr(answer, "\"major\": ");
	return major && atoi(major + strlen("\"major\": ")) >= 9;
}

enum host_kind host_load_kvm(struct host *h, const char *variant, const char *const *params,
			     struct host_reply *reply)
{
	const char *words[RIG_WORDS] = { "modprobe" };
	char name[32];
	int i;

	/* The module need not be loaded (ENOENT), but it must not be in use. */
	if (host_do(h, reply, "rmmod", h->vendor) != HOST_OK && reply->value != ENOENT)
		return reply->kind;
	if (host_do(h, reply, "rmmod", "kvm") != HOST_OK && reply->value != ENOENT)
		return reply->kind;
	if (!variant) {
		reply->kind = HOST_OK;
		return HOST_OK;
	}
	snprintf(name, sizeof(name), "%s/%s", variant, h->vendor);
	words[1] = name;
	for (i = 0; params && params[i] && i < RIG_WORDS - 3; i++) {
		words[2 + i] = params[i];
		if (!strcmp(params[i], "kvm-amd.npt=0") && confuses_cr_reads(h) &&
		    host_do(h, reply, "modprobe", "rig_cr_reads") != HOST_OK)
			return reply->kind;
	}
	return host_cmd(h, words, NULL, NULL, reply);
}

enum host_kind host_need(struct host *h, const char *need, struct host_reply *reply)
{
	const char *param = strchr(need, ':');
	char module[64], word[128];

	if (!strcmp(need, "9p"))
		return host_do(h, reply, "9p");
	if (!param)
		return host_do(h, reply, "modprobe", need);
	snprintf(module, sizeof(module), "%.*s", (int)(param - need), need);
	snprintf(word, sizeof(word), "%s.%s", module, param + 1);
	return host_do(h, reply, "modprobe", module, word);
}

const char *host_explain(const struct host_reply *reply)
{
	static char text[700];
	const char *sep = reply->message[0] ? ": " : "";

	switch (reply->kind) {
	case HOST_OK:
		return "ok";
	case HOST_ERRNO:
		return reply->message;
	case HOST_EXIT:
		snprintf(text, sizeof(text), "exit status %d%s%s", reply->value, sep,
			 reply->message);
		break;
	case HOST_SIGNAL:
		snprintf(text, sizeof(text), "killed by signal %d (%s)%s%s", reply->value,
			 strsignal(reply->value), sep, reply->message);
		break;
	case HOST_TIMEOUT:
		snprintf(text, sizeof(text), "timeout: killed after %d s%s%s", reply->value, sep,
			 reply->message);
		break;
	case HOST_STUCK:
		snprintf(text, sizeof(text), "host lost: a process survived SIGKILL: %s",
			 reply->message);
		break;
	case HOST_LOST:
		snprintf(text, sizeof(text), "host lost: %s", reply->message);
		break;
	}
	return text;
}

/* --- the kernel log --- */

/* How a kernel complains, as an extended regular expression. */
static const char complaint_re[] =
	"WARNING:|BUG:|kernel BUG|Oops|general protection|double fault|unable to handle|"
	"Kernel panic|Call Trace:|possible circular|possible recursive|lockdep|refcount_t:|"
	"Bad page|Bad rss|list_(add|del) corruption|UBSAN|KASAN|"
	"rcu.*(stall|starved)|blocked for more than|soft lockup|hard LOCKUP|"
	/* of debug kernels: page poison, and lockdep and kmemleak that give up */
	"pagealloc: (memory corruption|single bit)|turning off the locking|kmemleak.*disabled|"
	/* of a misspelt module parameter, which has no other effect */
	"unknown parameter";

/* Log a mark and wait until it is on the console, after everything that was logged before. */
static void sync_console(struct host *h, FILE *reader)
{
	struct limit end = limit(h, h->emulator->mark_ms);
	long pos = ftell(reader);
	struct host_reply reply;
	char mark[32], line[1024];

	snprintf(mark, sizeof(mark), "log mark %d", ++h->marks);
	if (host_do(h, &reply, "mark", mark) != HOST_OK)
		return;
	while (!is_over(h, &end)) {
		while (fgets(line, sizeof(line), reader))
			if (strstr(line, mark) && strchr(line, '\n')) {
				fseek(reader, pos, SEEK_SET);
				return;
			}
		clearerr(reader);
		sleep_ms(2);
	}
	fseek(reader, pos, SEEK_SET);
}

int host_log(struct host *h, struct host_expect *expect, int n, FILE *copy, host_line_fn fn,
	     void *ctx)
{
	static regex_t re;
	static bool compiled;
	bool expected, trace;
	int complaints = 0, i;
	char *line = NULL, *nul;
	size_t room = 0;
	ssize_t len;

	if (!compiled)
		compiled = !regcomp(&re, complaint_re, REG_EXTENDED | REG_NOSUB);
	sync_console(h, h->console);
	while ((len = getline(&line, &room, h->console)) > 0) {
		while (len && strchr("\r\n", line[len - 1]))
			line[--len] = '\0';
		/* A byte that ends the string must not hide what follows. */
		while ((nul = memchr(line, '\0', len)))
			*nul = '?';
		/* Only our own marks; other lines that programs log are not exempt. */
		if (strstr(line, "] rig: log mark "))
			continue;
		if (copy)
			fprintf(copy, "%s\n", line);
		expected = false;
		for (i = 0; i < n; i++)
			if (!regexec(&expect[i].re, line, 0, NULL, 0)) {
				expected = true;
				expect[i].seen = true;
			}
		if (!expected && regexec(&re, line, 0, NULL, 0))
			continue;
		/* A call trace belongs to the preceding complaint. */
		trace = strstr(line, "Call Trace:");
		if (!trace)
			h->excused = expected;
		if (expected || (trace && h->excused))
			continue;
		complaints++;
		if (fn)
			fn(ctx, RIG_NOTE, line, strlen(line));
	}
	free(line);
	clearerr(h->console);
	return complaints;
}

void host_last_lines(struct host *h, int lines, host_line_fn fn, void *ctx)
{
	long pos = ftell(h->console);
	int total = 0, i = 0;
	char line[1024];

	rewind(h->console);
	while (fgets(line, sizeof(line), h->console))
		total++;
	rewind(h->console);
	for (; fgets(line, sizeof(line), h->console); i++) {
		line[strcspn(line, "\r\n")] = '\0';
		if (i >= total - lines)
			fn(ctx, RIG_NOTE, line, strlen(line));
	}
	clearerr(h->console);
	fseek(h->console, pos, SEEK_SET);
}

/* --- QMP --- */

/* The reply to the last command; other lines are the greeting and events. */
static int qmp_answer(struct host *h, char *answer, size_t size)
{
	struct limit end = limit(h, QMP_S * 1000LL);
	char *line;
	size_t len;

	while ((line = line_within(h, &h->qmp, &len, &end))) {
		bool error = !strncmp(line, "{\"error\"", 8);

		if (!error && strncmp(line, "{\"return\"", 9))
			continue;
		line[strcspn(line, "\r")] = '\0';
		if (answer)
			snprintf(answer, size, "%s", line);
		return error ? -1 : 0;
	}
	if (answer)
		snprintf(answer, size, "the emulator does not answer");
	return -1;
}

static int qmp_send(struct host *h, const char *json, char *answer, size_t size)
{
	if (stream_send(&h->qmp, json, strlen(json)) || stream_send(&h->qmp, "\n", 1)) {
		if (answer)
			snprintf(answer, size, "the emulator is gone");
		return -1;
	}
	return qmp_answer(h, answer, size);
}

int host_qmp(struct host *h, const char *json, char *answer, size_t size)
{
	if (h->qmp.fd < 0) {
		if (answer)
			snprintf(answer, size, "this emulator does not support QMP");
		return -1;
	}
	if (!h->qmp_ready) {
		if (qmp_send(h, "{\"execute\":\"qmp_capabilities\"}", answer, size))
			return -1;
		h->qmp_ready = true;
	}
	return qmp_send(h, json, answer, size);
}
