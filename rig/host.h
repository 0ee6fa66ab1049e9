/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The emulated host, seen from the machine: QEMU's TCG runs a stock kernel whose PID 1 (init.c)
 * obeys commands. Nothing here needs or touches virtualization hardware.
 *
 * Every host has, besides its console and the channel: two displays (device ids "vga" for bochs-drm
 * and "qxl" for qxl), an ivshmem device whose BAR 2 is 4 MiB of RAM without struct pages, and the
 * machine's root directory, read-only, over 9p.
 *
 * A struct host belongs to one thread. The emulator dies with that thread.
 */
#ifndef RIG_HOST_H
#define RIG_HOST_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "rig/protocol.h"

struct host;

/* Whose virtualization the host's processor has. */
enum host_cpu { HOST_AMD, HOST_INTEL };

/* Called every 15 s while a host boots: seconds since the start, the last line of its console. */
typedef void (*host_progress_fn)(void *ctx, int seconds, const char *last);

/*
 * How to start a host. Strings must live as long as the host. What an Intel host does not have is
 * an error: icount, multi, terminal, extra; it never offers 9p.
 */
struct host_opts {
	enum host_cpu kind;
	const char *kernel; /* vmlinux with a PVH entry, or bzImage */
	const char *initramfs;
	const char *logdir; /* an existing directory; console.log and qemu.log are written to it */
	int mem_mb;	    /* 0: 1024 */
	int cpus;	    /* 0: 2, or 1 with icount */
	bool icount;	    /* the host's clock counts instructions: 1 ns each; 1 CPU only */
	bool multi;	    /* one emulator thread per CPU: true concurrency, with artefacts */
	bool no_9p;	    /* do not offer the machine's root directory */
	bool terminal;	    /* console on standard input and output, and in console.log */
	const char *const *extra;  /* further arguments for QEMU, NULL-terminated; or NULL */
	int timeout_s;		   /* life span, after which the host is lost; 0: no limit */
	host_progress_fn progress; /* or NULL */
	void *progress_ctx;
};

enum host_kind {
	HOST_OK,     /* the command was obeyed */
	HOST_ERRNO,  /* value is the errno of the command, or of a program that cannot be started */
	HOST_EXIT,   /* value is the exit status of the program */
	HOST_SIGNAL, /* value is the signal that killed the program */
	HOST_TIMEOUT, /* the program ran longer than value seconds and was killed */
	HOST_STUCK,   /* a process does not even die of SIGKILL; the host is of no further use */
	HOST_LOST,    /* emulator dead, panic, or no answer; only host_stop() makes sense now */
};

struct host_reply {
	enum host_kind kind;
	int value;
	long ms;	   /* time used, on the host's clock */
	int left;	   /* processes that outlived the program and were killed */
	char message[512]; /* one line for people, or empty */
};

/*
 * A line that is not a reply: tag is RIG_OUT, RIG_OUT_PART or RIG_NOTE; text ends with a NUL byte.
 */
typedef void (*host_line_fn)(void *ctx, char tag, const char *text, size_t len);

/*
 * Start a host and wait until its PID 1 is ready (at most 120 s). Returns NULL when it does not get
 * there, with one line about why in error; an emulator that did start is gone again.
 */
struct host *host_start(const struct host_opts *opts, char *error, size_t size);

/* Power the host off, wait for the emulator (kill it after 10 s) and free everything. */
void host_stop(struct host *h);

/* The kernel release that runs, and its KVM vendor module: "kvm-amd", "kvm-intel" or "none". */
const char *host_release(const struct host *h);
const char *host_vendor(const struct host *h);

/* Milliseconds of wall time that host_start() took. */
long host_boot_ms(const struct host *h);

/* False once a command ended as HOST_LOST or HOST_STUCK. */
bool host_alive(const struct host *h);

/*
 * Run one command of protocol.h: words is NULL-terminated and not yet encoded. fn (or NULL) gets
 * the lines that come before the reply. Patience is the timeout of a "run" plus 30 s, none for a
 * "shell", 60 s otherwise; then the host is lost. Returns reply->kind.
 */
enum host_kind host_cmd(struct host *h, const char *const *words, host_line_fn fn, void *ctx,
			struct host_reply *reply);

/* The same for a short command without output: host_do(h, &reply, "rmmod", "kvm"). */
#define host_do(h, reply, ...) \
	host_cmd(h, (const char *const[]){ __VA_ARGS__, NULL }, NULL, NULL, reply)

/*
 * Swap KVM: unload what is loaded and load the stock or patched modules for the host's processor.
 * variant: "stock", "patched", or NULL to only unload. params: NULL-terminated module.param=value
 * words.
 */
enum host_kind host_load_kvm(struct host *h, const char *variant, const char *const *params,
			     struct host_reply *reply);

/* One line for people about how a command ended; lives until the next call. */
const char *host_explain(const struct host_reply *reply);

/* A kernel log line that is foreseen, as an extended regular expression. */
struct host_expect {
	regex_t re;
	bool seen;
};

/*
 * Read what the kernel has put on the console since the last call and look for complaints:
 * warnings, oopses, lockdep, refcount and bad page reports, stalls and the like. A complaint that
 * one of n expectations matches is none, nor is its call trace; the expectation is marked as seen,
 * as it is by any other line that it matches. copy (or NULL) gets all lines, fn the complaints with
 * tag RIG_NOTE. Returns their number.
 */
int host_log(struct host *h, struct host_expect *expect, int n, FILE *copy, host_line_fn fn,
	     void *ctx);

/* The last lines of the console, for the report about a lost host. */
void host_last_lines(struct host *h, int lines, host_line_fn fn, void *ctx);

/*
 * Execute one QMP command, a JSON object on one line, such as
 * {"execute":"screendump","arguments":{"filename":"x.png","format":"png","device":"vga"}}.
 * Returns 0 with the answer's line in answer (or NULL), or -1 with the error in it.
 */
int host_qmp(struct host *h, const char *json, char *answer, size_t size);

#endif
