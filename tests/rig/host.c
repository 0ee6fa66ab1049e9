// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that the launcher, rig/host.h, distinguishes all ways in which commands and hosts can end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig/host.h"
#include "tests/lib/tap.h"

static const char *build, *rel;
static char output[4096];
static int notes;

static void collect(void *ctx, char tag, const char *text, size_t len)
{
	size_t used = strlen(output);

	(void)ctx;
	if (tag == RIG_NOTE)
		notes++;
	else
		snprintf(output + used, sizeof(output) - used, "%.*s%s", (int)len, text,
			 tag == RIG_OUT ? "\n" : "");
}

#define RUN(h, reply, ...) run(h, reply, (const char *const[]){ "run", __VA_ARGS__, NULL })

static enum host_kind run(struct host *h, struct host_reply *reply, const char *const *words)
{
	output[0] = '\0';
	notes = 0;
	return host_cmd(h, words, collect, NULL, reply);
}

static struct host *start(struct host_opts *opts)
{
	static char kernel[512], initramfs[512], logdir[512];
	char error[1024];
	struct host *h;

	snprintf(kernel, sizeof(kernel), "%s/%s/vmlinux", build, rel);
	snprintf(initramfs, sizeof(initramfs), "%s/%s/initramfs.cpio", build, rel);
	snprintf(logdir, sizeof(logdir), "%s/logs/rig_host", build);
	if (mkdir(logdir, 0755) && errno != EEXIST)
		tap_bail("%s: %s", logdir, strerror(errno));
	opts->kernel = kernel;
	opts->initramfs = initramfs;
	opts->logdir = logdir;
	h = host_start(opts, error, sizeof(error));
	if (!h)
		tap_bail("%s", error);
	return h;
}

static void programs(struct host *h)
{
	struct host_reply r;

	tap_is(RUN(h, &r, "10", "/bin/sh", "-c", "echo a; echo b >&2; printf c; exit 7"), HOST_EXIT,
	       "a program ends");
	tap_is(r.value, 7, "its exit status");
	tap_ok(!strcmp(output, "a\nb\nc"),
	       "its output, both streams, with or without a last line break");
	tap_is(RUN(h, &r, "10", "/bin/sh", "-c", "echo '=exit 0 0 0'; exit 1"), HOST_EXIT,
	       "output that looks like a reply");
	tap_ok(r.value == 1 && !strcmp(output, "=exit 0 0 0\n"), "is output");
	RUN(h, &r, "10", "X=1 2", "/bin/sh", "-c", "echo \"$X\"");
	tap_ok(!strcmp(output, "1 2\n"), "a variable for the program");

	tap_is(RUN(h, &r, "10", "/bin/sh", "-c", "kill -11 $$"), HOST_SIGNAL,
	       "a program is killed");
	tap_is(r.value, SIGSEGV, "the signal");
	tap_is(RUN(h, &r, "10", "/nowhere"), HOST_ERRNO, "a program is missing");
	tap_is(r.value, ENOENT, "the errno");

	tap_is(RUN(h, &r, "1", "/bin/sh", "-c", "setsid sleep 77 & while :; do :; done"),
	       HOST_TIMEOUT, "a program does not end");
	tap_is(r.value, 1, "its timeout");
	tap_ok(notes > 0, "notes show where it hung");
	RUN(h, &r, "10", "/bin/pidof", "sleep");
	tap_ok(r.kind == HOST_EXIT && r.value == 1, "so is everything that it started");

	tap_is(RUN(h, &r, "10", "/bin/sh", "-c", "setsid sleep 77 >/dev/null &"), HOST_EXIT,
	       "a program leaves another one running");
	tap_ok(r.left == 1 && strstr(r.message, "sleep"), "which is reported: %s", r.message);
	RUN(h, &r, "10", "/bin/pidof", "sleep");
	tap_ok(r.kind == HOST_EXIT && r.value == 1, "and killed: pidof says \"%s\", %s", output,
	       host_explain(&r));
	RUN(h, &r, "10", "/bin/true");
	tap_is(r.left, 0, "a program that leaves nothing running");
}

/* The process that emulates the only host. */
static pid_t emulator(void)
{
	char path[64], pid[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	if (!f || fscanf(f, "%15s", pid) != 1)
		tap_bail("%s names no child", path);
	fclose(f);
	return (pid_t)atoi(pid);
}

/* A machine so busy that the emulator does not get to run for STALL_S seconds. */
#define STALL_S 5
static void busy_machine(struct host *h)
{
	pid_t target = emulator(), child;
	struct host_reply r;
	time_t start = time(NULL);

	child = fork();
	if (!child) {
		usleep(200000);
		kill(target, SIGSTOP);
		sleep(STALL_S);
		kill(target, SIGCONT);
		_exit(0);
	}
	tap_is(RUN(h, &r, "3", "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"),
	       HOST_EXIT, "a program on a busy machine ends within its timeout");
	tap_ok(time(NULL) - start >= STALL_S, "which counts what the emulator gets to do");
	waitpid(child, NULL, 0);
}

static void modules(struct host *h)
{
	struct host_reply r;

	tap_is(host_do(h, &r, "rmmod", "nothing"), HOST_ERRNO,
	       "unloading a module that is not loaded");
	tap_is(r.value, ENOENT, "the errno");
	tap_is(host_do(h, &r, "insmod", "/bin/busybox"), HOST_ERRNO,
	       "loading a file that is not a module");
	tap_is(r.value, ENOEXEC, "the errno");
	tap_is(host_do(h, &r, "modprobe", "vgem"), HOST_OK, "a module with dependencies");
	tap_is(host_do(h, &r, "modprobe", "vgem"), HOST_OK, "again");
	tap_is(host_do(h, &r, "users", "drm"), HOST_OK, "the users of a module");
	tap_ok(r.value >= 1, "are counted: %d", r.value);
	tap_is(host_do(h, &r, "rmmod", "drm"), HOST_ERRNO, "unloading a module in use");
	tap_is(r.value, EWOULDBLOCK, "the errno");
	tap_is(host_do(h, &r, "nonsense"), HOST_ERRNO, "an unknown command");
	tap_is(r.value, EINVAL, "the errno");
}

static void machine_files(struct host *h)
{
	struct host_reply r;
	char line[64];
	FILE *f;

	f = fopen("/etc/os-release", "re");
	if (!f || !fgets(line, sizeof(line), f))
		tap_bail("/etc/os-release cannot be read");
	fclose(f);
	tap_is(host_do(h, &r, "9p"), HOST_OK, "the machine's files are mounted");
	tap_is(host_do(h, &r, "9p"), HOST_OK, "again");
	RUN(h, &r, "20", "/machine/bin/head", "-n", "1", "/etc/os-release");
	tap_ok(r.kind == HOST_EXIT && !r.value && !strcmp(output, line),
	       "a program of the machine runs, on its files");
	RUN(h, &r, "20", "/machine/bin/touch", "/rig_host_test");
	tap_ok(r.kind == HOST_EXIT && r.value && access("/rig_host_test", F_OK),
	       "it cannot change them");
	RUN(h, &r, "20", "/machine/bin/touch", "/tmp/x");
	tap_ok(r.kind == HOST_EXIT && !r.value, "its /tmp is the host's, and writable");
}

static void kernel_log(struct host *h)
{
	static const char warning[] = "WARNING: CPU: 0 PID: 1 at a.c:1\n";
	static const char trace[] = "Call Trace:\n";
	struct host_expect e = { .seen = false };
	struct host_reply r;

	tap_is(host_log(h, NULL, 0, NULL, collect, NULL), 0,
	       "the kernel has not complained so far");
	RUN(h, &r, "10", "/bin/sh", "-c", "echo '<4>nothing of note' >/dev/kmsg");
	tap_is(host_log(h, NULL, 0, NULL, collect, NULL), 0, "an ordinary line is not a complaint");
	host_do(h, &r, "mark", warning);
	host_do(h, &r, "mark", trace);
	tap_is(host_log(h, NULL, 0, NULL, collect, NULL), 2,
	       "a warning and its call trace are two complaints");
	tap_is(host_log(h, NULL, 0, NULL, collect, NULL), 0, "they are reported once");
	if (regcomp(&e.re, "at a\\.c:1", REG_EXTENDED | REG_NOSUB))
		tap_bail("regcomp");
	host_do(h, &r, "mark", trace);
	host_do(h, &r, "mark", warning);
	host_do(h, &r, "mark", trace);
	tap_is(host_log(h, &e, 1, NULL, collect, NULL), 1,
	       "an expected warning excuses its call trace, not the one before");
	tap_ok(e.seen, "it is marked as seen");
	regfree(&e.re);
}

static void qmp(struct host *h)
{
	char command[700], answer[512], path[520], magic[8] = "";
	FILE *f;

	tap_ok(!host_qmp(h, "{\"execute\":\"query-status\"}", answer, sizeof(answer)) &&
		       strstr(answer, "running"),
	       "the emulator's own interface answers");
	tap_ok(host_qmp(h, "{\"execute\":\"nonsense\"}", answer, sizeof(answer)) &&
		       strstr(answer, "CommandNotFound"),
	       "and reports errors");
	snprintf(path, sizeof(path), "%s/logs/rig_host/vga.png", build);
	snprintf(command, sizeof(command),
		 "{\"execute\":\"screendump\",\"arguments\":"
		 "{\"filename\":\"%s\",\"format\":\"png\",\"device\":\"vga\"}}",
		 path);
	unlink(path);
	tap_ok(!host_qmp(h, command, answer, sizeof(answer)), "a screenshot: %s", answer);
	f = fopen(path, "re");
	tap_ok(f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "\x89PNG", 4), "is a PNG file");
	if (f)
		fclose(f);
}

static void lose(struct host *h, const char *name, const char *command, const char *why)
{
	struct host_reply r;

	tap_is(RUN(h, &r, "300", "/bin/sh", "-c", command), HOST_LOST, "%s: the host is lost",
	       name);
	tap_ok(strstr(r.message, why), "the reason is \"%s\": %s", why, r.message);
	tap_ok(!host_alive(h), "it is not alive");
	tap_is(RUN(h, &r, "5", "/bin/true"), HOST_LOST, "further commands say the same");
	output[0] = '\0';
	notes = 0;
	host_last_lines(h, 5, collect, NULL);
	tap_ok(notes > 0, "its last lines are there");
}

static void registers(void)
{
	char path[520], text[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/logs/rig_host/registers.log", build);
	f = fopen(path, "re");
	tap_ok(f && fread(text, 1, sizeof(text) - 1, f) && strstr(text, "CPU 0") &&
		       strstr(text, "RIP="),
	       "its registers are in registers.log");
	if (f)
		fclose(f);
}

int main(void)
{
	struct host_opts opts = { .timeout_s = 120, .cpus = 3 };
	struct host_reply r;
	struct host *h;
	char error[256];
	int life_s;

	build = getenv("BUILD");
	rel = getenv("REL");
	if (!build || !rel)
		tap_bail("BUILD and REL are not in the environment");
	h = start(&opts);
	tap_ok(!strcmp(host_release(h), rel), "the kernel is %s", host_release(h));
	tap_ok(!strcmp(host_vendor(h), "kvm-amd"), "the processor is AMD's");
	RUN(h, &r, "10", "/bin/grep", "-c", "^processor", "/proc/cpuinfo");
	tap_ok(!strcmp(output, "3\n"), "three processors as configured");
	programs(h);
	busy_machine(h);
	modules(h);
	machine_files(h);
	kernel_log(h);
	qmp(h);
	lose(h, "panic", "echo c >/proc/sysrq-trigger", "kernel panic");

	/* Enough for a boot with counted instructions, which takes longer, on this machine. */
	life_s = 7 + 2 * (int)host_boot_ms(h) / 1000;
	host_stop(h);
	opts = (struct host_opts){
		.timeout_s = life_s, .icount = true, .mem_mb = 512, .no_9p = true
	};
	h = start(&opts);
	RUN(h, &r, "10", "/bin/grep", "-c", "^processor", "/proc/cpuinfo");
	tap_ok(!strcmp(output, "1\n"), "one processor when instructions are counted");
	RUN(h, &r, "10", "/bin/sh", "-c",
	    "set -- $(grep MemTotal /proc/meminfo); test $2 -lt 524288");
	tap_is(r.value, 0, "memory as configured");
	tap_is(host_do(h, &r, "9p"), HOST_ERRNO, "9p is off on demand");
	kill(emulator(), SIGSTOP);
	sleep(life_s + 1);
	kill(emulator(), SIGCONT);
	tap_is(RUN(h, &r, "10", "/bin/true"), HOST_EXIT, "time without the processor is no life");
	snprintf(error, sizeof(error), "still running after %d s", life_s);
	lose(h, "life span", "while :; do :; done", error);
	registers();
	host_stop(h);
	tap_is(waitpid(-1, NULL, WNOHANG), -1, "no emulator is left");

	opts.initramfs = "/nowhere";
	tap_ok(!host_start(&opts, error, sizeof(error)) && strstr(error, "/nowhere"),
	       "a missing file is named");
	return tap_done();
}
