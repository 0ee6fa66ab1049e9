// SPDX-License-Identifier: GPL-2.0-only
/* Starts emulated hosts and talks to their PID 1; host.h describes the functions. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "rig/host.h"
#include "rig/stream.h"

#define BOOT_S	    120
#define PATIENCE_S  60
#define RUN_EXTRA_S 30
#define STOP_S	    10
#define QMP_S	    30
/* How long a line that PID 1 gave the kernel may take to appear in console.log. */
#define MARK_MS	 5000
#define MAX_ARGS 96

struct host {
	struct host_opts opts;
	pid_t pid;
	struct stream channel, qmp;
	bool alive, qmp_ready;
	long long deadline; /* of the host's life, or NEVER */
	long boot_ms;
	char release[80], vendor[16];
	FILE *console; /* console.log, being read */
	bool excused;  /* the complaint that the log is in the midst of was expected */
	int marks;
	char lost[256];
};

/* --- the emulator --- */

static void kill_emulator(struct host *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	h->pid = 0;
}

/* Console lines that say why there will be no answer. */
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

/* The host is of no use any more; says so once and for all in h->lost. */
static void lose(struct host *h, const char *why)
{
	int status = 0, tries;

	h->alive = false;
	/* The stream ends a moment before the process does. */
	for (tries = 0; h->pid > 0 && tries < 50 && !why; tries++) {
		if (waitpid(h->pid, &status, WNOHANG) == h->pid)
			h->pid = 0;
		else
			sleep_ms(10);
	}
	if (panicked(h))
		snprintf(h->lost, sizeof(h->lost), "kernel panic");
	else if (why)
		snprintf(h->lost, sizeof(h->lost), "%s", why);
	else if (!h->pid && WIFSIGNALED(status))
		snprintf(h->lost, sizeof(h->lost), "the emulator was killed by signal %d",
			 WTERMSIG(status));
	else if (!h->pid && WEXITSTATUS(status))
		snprintf(h->lost, sizeof(h->lost),
			 "the emulator ended with status %d: see %s/qemu.log", WEXITSTATUS(status),
			 h->opts.logdir);
	else
		snprintf(h->lost, sizeof(h->lost), "the host went down");
	kill_emulator(h);
}

static void add(const char **argv, size_t *n, const char *option, const char *value)
{
	argv[(*n)++] = option;
	argv[(*n)++] = value;
}

/*
 * The frequency of this machine's TSC, which the emulated one follows unless it counts
 * instructions.
 */
static long tsc_khz(void)
{
	struct timespec start, end;
	unsigned long long ticks;
	long ns;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ticks = __rdtsc();
	sleep_ms(20);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ticks = __rdtsc() - ticks;
	ns = (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec;
	return (long)(ticks * 1000000 / ns);
}

static void __attribute__((noreturn)) exec_emulator(struct host *h, int channel, int qmp)
{
	/* Every host's devices; with -nodefaults it has nothing else. */
	static const char *const common[][2] = {
		{ "-display", "none" },
		{ "-cpu", "EPYC" },
		{ "-device", "VGA,id=vga" },
		{ "-device", "qxl,id=qxl" },
		{ "-device", "virtio-serial" },
		{ "-device", "virtserialport,chardev=rig,name=" RIG_PORT },
		{ "-mon", "chardev=qmp,mode=control" },
		{ "-object", "memory-backend-ram,id=bar,size=4M,share=on" },
		{ "-device", "ivshmem-plain,memdev=bar" },
	};
	const struct host_opts *o = &h->opts;
	char mem[32], cpus[16], rig[64], mon[64], console[600], log[512];
	char append[256];
	const char *argv[MAX_ARGS] = { "qemu-system-x86_64", "-nodefaults", "-no-reboot" };
	size_t n = 3, i;
	int fd;

	for (i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		add(argv, &n, common[i][0], common[i][1]);
	snprintf(mem, sizeof(mem), "%dM", o->mem_mb ? o->mem_mb : 1024);
	snprintf(cpus, sizeof(cpus), "%d", o->cpus ? o->cpus : o->icount ? 1 : 2);
	snprintf(rig, sizeof(rig), "socket,id=rig,fd=%d", channel);
	snprintf(mon, sizeof(mon), "socket,id=qmp,fd=%d", qmp);
	snprintf(console, sizeof(console), "%s%s/console.log",
		 o->terminal ? "stdio,id=console,mux=on,signal=off,logfile=" :
			       "file,id=console,path=",
		 o->logdir);
	add(argv, &n, "-accel", o->multi ? "tcg,thread=multi" : "tcg,thread=single");
	if (o->icount)
		add(argv, &n, "-icount", "shift=0,sleep=off");
	add(argv, &n, "-m", mem);
	add(argv, &n, "-smp", cpus);
	add(argv, &n, "-kernel", o->kernel);
	add(argv, &n, "-initrd", o->initramfs);
	/*
	 * loglevel=5: warnings and worse go to the console, which is slow. A kernel cannot
	 * calibrate anything on a busy machine: it is told the frequency of the TSC, not to
	 * mistrust it later, and not to check the timer interrupt. Nobody needs a framebuffer
	 * console on the two displays.
	 */
	snprintf(
		append, sizeof(append),
		"console=ttyS0 loglevel=5 panic=-1 printk.devkmsg=on tsc=reliable tsc_early_khz=%ld "
		"no_timer_check drm_kms_helper.fbdev_emulation=0",
		o->icount ? 1000000 : tsc_khz());
	add(argv, &n, "-append", append);
	add(argv, &n, "-chardev", rig);
	add(argv, &n, "-chardev", mon);
	add(argv, &n, "-chardev", console);
	add(argv, &n, "-serial", "chardev:console");
	if (o->terminal)
		add(argv, &n, "-mon", "chardev=console,mode=readline");
	if (!o->no_9p)
		add(argv, &n, "-virtfs",
		    "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap");
	for (i = 0; o->extra && o->extra[i] && n < MAX_ARGS - 1; i++)
		argv[n++] = o->extra[i];
	argv[n] = NULL;

	snprintf(log, sizeof(log), "%s/qemu.log", o->logdir);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0) {
		dup2(fd, 2);
		if (!o->terminal)
			dup2(fd, 1);
	}
	if (!o->terminal) {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		dup2(fd, 0);
		/* A ^C at the terminal is the launcher's to handle. */
		setsid();
	}
	fcntl(channel, F_SETFD, 0);
	fcntl(qmp, F_SETFD, 0);
	execvp(argv[0], (char **)argv);
	fprintf(stderr, "cannot run qemu-system-x86_64: %s: install the package qemu-system-x86\n",
		strerror(errno));
	_exit(127);
}

static int spawn(struct host *h)
{
	int channel[2], qmp[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp)) {
		close(channel[0]);
		close(channel[1]);
		return -1;
	}
	h->channel.fd = channel[0];
	h->qmp.fd = qmp[0];
	h->pid = fork();
	if (!h->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		exec_emulator(h, channel[1], qmp[1]);
	}
	close(channel[1]);
	close(qmp[1]);
	return h->pid < 0 ? -1 : 0;
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

struct host *host_start(const struct host_opts *opts, char *error, size_t size)
{
	long long start = now_ms();
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
	h->channel.fd = -1;
	h->qmp.fd = -1;
	h->deadline = opts->timeout_s ? start + opts->timeout_s * 1000LL : NEVER;
	if (access(opts->kernel, R_OK) || access(opts->initramfs, R_OK)) {
		snprintf(error, size, "%s cannot be read: make programs initramfs",
			 access(opts->kernel, R_OK) ? opts->kernel : opts->initramfs);
		goto fail;
	}
	snprintf(path, sizeof(path), "%s/console.log", opts->logdir);
	h->console = fopen(path, "w+e");
	if (!h->console) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (spawn(h)) {
		snprintf(error, size, "cannot start an emulator: %s", strerror(errno));
		goto fail;
	}
	line = stream_line(&h->channel, &len, start + BOOT_S * 1000LL);
	if (line && line[0] == RIG_READY &&
	    sscanf(line + 1, "%79s %15s", h->release, h->vendor) == 2) {
		h->boot_ms = now_ms() - start;
		h->alive = true;
		/* What the kernel says while it boots on an emulated processor is not a test's. */
		fseek(h->console, 0, SEEK_END);
		return h;
	}
	lose(h, !line && errno == ETIMEDOUT ? "no sign of life" : NULL);
	snprintf(path, sizeof(path), "%s/qemu.log", opts->logdir);
	log = fopen(path, "re");
	path[0] = '\0';
	while (log && fgets(path, sizeof(path), log))
		;
	if (log)
		fclose(log);
	path[strcspn(path, "\n")] = '\0';
	snprintf(error, size, "the host does not boot: %s; console: %s/console.log%s%s", h->lost,
		 opts->logdir, path[0] ? "; the emulator's last words: " : "", path);
fail:
	host_free(h);
	return NULL;
}

void host_stop(struct host *h)
{
	long long deadline = now_ms() + STOP_S * 1000;

	if (h->alive && !stream_send(&h->channel, "poweroff\n", 9))
		while (h->pid > 0 && now_ms() < deadline) {
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
	long long deadline = now_ms() + PATIENCE_S * 1000;
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
	if (!strcmp(words[0], "run"))
		deadline = now_ms() + (atoi(words[1]) + RUN_EXTRA_S) * 1000LL;
	else if (!strcmp(words[0], "shell"))
		deadline = NEVER;
	if (h->deadline != NEVER && (deadline == NEVER || deadline > h->deadline))
		deadline = h->deadline;

	line = stream_send(&h->channel, command, len) ? NULL : "";
	while (line && (line = stream_line(&h->channel, &len, deadline))) {
		if (line[0] == RIG_REPLY && parse_reply(line + 1, reply)) {
			if (reply->kind == HOST_STUCK)
				lose(h, "a process does not die");
			return reply->kind;
		}
		if (fn)
			fn(ctx, line[0], line + 1, len - 1);
	}
	if (errno != ETIMEDOUT) {
		lose(h, NULL);
	} else if (deadline == h->deadline) {
		snprintf(why, sizeof(why), "still running after %d s", h->opts.timeout_s);
		lose(h, why);
	} else {
		lose(h, "no answer");
	}
	return lost_reply(h, reply);
}

enum host_kind host_load_kvm(struct host *h, const char *variant, const char *const *params,
			     struct host_reply *reply)
{
	const char *words[RIG_WORDS] = { "modprobe" };
	char name[32];
	int i;

	/* Not loaded is fine (ENOENT); in use is not. */
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
	for (i = 0; params && params[i] && i < RIG_WORDS - 3; i++)
		words[2 + i] = params[i];
	return host_cmd(h, words, NULL, NULL, reply);
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
		snprintf(text, sizeof(text), "host lost: a process does not die: %s",
			 reply->message);
		break;
	case HOST_LOST:
		snprintf(text, sizeof(text), "host lost: %s", reply->message);
		break;
	}
	return text;
}

/* --- the kernel log --- */

/* What a kernel says when something is wrong with it, as extended regular expressions. */
static const char complaint_re[] =
	"WARNING:|BUG:|kernel BUG|Oops|general protection|double fault|unable to handle|"
	"Kernel panic|Call Trace:|possible circular|possible recursive|lockdep|refcount_t:|"
	"Bad page|Bad rss|list_(add|del) corruption|UBSAN|KASAN|"
	"rcu.*(stall|starved)|blocked for more than|soft lockup|hard LOCKUP|"
	/* a misspelt module parameter, which the kernel only mentions */
	"unknown parameter";

/* Put a line into the kernel log and wait until the console has it, and with it all before. */
static void sync_console(struct host *h, FILE *reader)
{
	long long deadline = now_ms() + MARK_MS;
	long pos = ftell(reader);
	struct host_reply reply;
	char mark[32], line[1024];

	snprintf(mark, sizeof(mark), "log mark %d", ++h->marks);
	if (host_do(h, &reply, "mark", mark) != HOST_OK)
		return;
	while (now_ms() < deadline) {
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
	char line[1024];

	if (!compiled)
		compiled = !regcomp(&re, complaint_re, REG_EXTENDED | REG_NOSUB);
	sync_console(h, h->console);
	while (fgets(line, sizeof(line), h->console)) {
		line[strcspn(line, "\r\n")] = '\0';
		/* Only our marks; what a program writes to the log is not exempt. */
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
		/* A call trace belongs to the complaint before it. */
		trace = strstr(line, "Call Trace:");
		if (!trace)
			h->excused = expected;
		if (expected || (trace && h->excused))
			continue;
		complaints++;
		if (fn)
			fn(ctx, RIG_NOTE, line, strlen(line));
	}
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

/* The answer to the last command: other lines are the greeting and events. */
static int qmp_answer(struct host *h, char *answer, size_t size)
{
	long long deadline = now_ms() + QMP_S * 1000;
	char *line;
	size_t len;

	while ((line = stream_line(&h->qmp, &len, deadline))) {
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
	if (!h->qmp_ready) {
		if (qmp_send(h, "{\"execute\":\"qmp_capabilities\"}", answer, size))
			return -1;
		h->qmp_ready = true;
	}
	return qmp_send(h, json, answer, size);
}
