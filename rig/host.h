/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An emulated host, as the machine controls it. QEMU's TCG or Bochs runs a stock kernel, whose PID
 * 1 (init.c) executes commands. No virtualization hardware is needed or touched.
 *
 * An AMD host has two displays (device ids "vga" for bochs-drm and "qxl" for qxl), an ivshmem
 * device whose BAR 2 is 4 MiB of RAM without struct pages, and the machine's root directory,
 * read-only, over 9p.
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

/* The vendor of the host's processor. */
enum host_cpu { HOST_AMD, HOST_INTEL };

/*
 * Called every 15 s while a host boots, with the seconds so far and the last line of its console.
 */
typedef void (*host_progress_fn)(void *ctx, int seconds, const char *last);

/*
 * How to start a host. Strings must live as long as the host. An Intel host has no 9p, and icount,
 * multi, terminal and extra are errors.
 *
 * Every time limit of this file counts the emulator's processor time, so that a busy machine does
 * not shorten it; an emulator that sleeps has ten times as long. A slow kernel has all of them
 * multiplied.
 */
struct host_opts {
	enum host_cpu kind;
	const char *kernel; /* vmlinux with a PVH entry, or bzImage */
	const char *initramfs;
	const char *logdir; /* an existing directory for console.log and qemu.log or bochs.log */
	int mem_mb;	    /* 0: 1024 */
	int cpus;	    /* 0: 2, or 1 with icount */
	bool icount;	    /* the host's clock counts instructions: 1 ns each; 1 CPU only */
	bool multi;	    /* one emulator thread per CPU: truly concurrent, but less exact */
	bool no_9p;	    /* do not offer the machine's root directory */
	bool coverage;	    /* keep what a kernel with CONFIG_GCOV_KERNEL counted in logdir/gcov */
	bool terminal;	    /* console on standard input and output, and in console.log */
	const char *const *extra;  /* further arguments for QEMU, NULL-terminated; or NULL */
	int slow;		   /* how many times longer all time limits are; 0: 1 */
	int timeout_s;		   /* after which the host is lost; 0: no limit */
	host_progress_fn progress; /* or NULL */
	void *progress_ctx;
};

enum host_kind {
	HOST_OK,      /* the command succeeded */
	HOST_ERRNO,   /* value is the errno of the command, or of a program that did not start */
	HOST_EXIT,    /* value is the exit status of the program */
	HOST_SIGNAL,  /* value is the signal that killed the program */
	HOST_TIMEOUT, /* the program ran longer than value seconds and was killed */
	HOST_STUCK,   /* a process survived SIGKILL; the host is unusable */
	HOST_LOST,    /* a dead emulator, a panic, or no answer; only host_stop() makes sense */
};

struct host_reply {
	enum host_kind kind;
	int value;
	long ms;	   /* time used, on the host's clock */
	int left;	   /* processes that outlived the program and were killed */
	char message[512]; /* one line for the user, or empty */
};

/*
 * A line that is not a reply: tag is RIG_OUT, RIG_OUT_PART or RIG_NOTE; text ends with a NUL byte.
 */
typedef void (*host_line_fn)(void *ctx, char tag, const char *text, size_t len);

/*
 * Start a host and wait until its PID 1 is ready (at most 120 s, or 300 s for Intel). If that
 * fails, returns NULL with the reason as one line in error, and leaves no emulator behind.
 */
struct host *host_start(const struct host_opts *opts, char *error, size_t size);

/* Power the host off, wait for the emulator, which is killed if that takes long, and free all. */
void host_stop(struct host *h);

/* The running kernel's release, and the vendor module of KVM: "kvm-amd", "kvm-intel" or "none". */
const char *host_release(const struct host *h);
const char *host_vendor(const struct host *h);

/* The wall time that host_start() took, in milliseconds. */
long host_boot_ms(const struct host *h);

/* False once a command ended as HOST_LOST or HOST_STUCK. */
bool host_alive(const struct host *h);

/*
 * Run one command of protocol.h: words is NULL-terminated and not yet encoded. fn (or NULL) gets
 * the lines before the reply. The host is lost if there is no reply in time: a "run" may take 30 s
 * longer than its timeout, a "shell" any time, others 60 s (180 s on Intel). Returns reply->kind.
 */
enum host_kind host_cmd(struct host *h, const char *const *words, host_line_fn fn, void *ctx,
			struct host_reply *reply);

/* The same for a command without output: host_do(h, &reply, "rmmod", "kvm"). */
#define host_do(h, reply, ...) \
	host_cmd(h, (const char *const[]){ __VA_ARGS__, NULL }, NULL, NULL, reply)

/*
 * Unload KVM, then load the "stock" or "patched" modules for the host's processor, unless variant
 * is NULL. params: NULL-terminated module.param=value words.
 */
enum host_kind host_load_kvm(struct host *h, const char *variant, const char *const *params,
			     struct host_reply *reply);

/* Load what a test needs: "9p", "MODULE" or "MODULE:PARAMETER=VALUE". */
enum host_kind host_need(struct host *h, const char *need, struct host_reply *reply);

/* Describe in one line how a command ended; valid until the next call. */
const char *host_explain(const struct host_reply *reply);

/* An expected line of the kernel log, as an extended regular expression. */
struct host_expect {
	regex_t re;
	bool seen;
};

/*
 * Read the kernel's console output since the last call and look for complaints: warnings, oopses,
 * lockdep, refcount and bad page reports, stalls and the like. A line that matches one of n
 * expectations marks it as seen and does not count as a complaint, nor does the call trace after
 * it. copy (or NULL) gets all lines, fn gets the complaints with tag RIG_NOTE. Returns the number
 * of complaints.
 */
int host_log(struct host *h, struct host_expect *expect, int n, FILE *copy, host_line_fn fn,
	     void *ctx);

/* Pass the last lines of the console to fn, for the report about a lost host. */
void host_last_lines(struct host *h, int lines, host_line_fn fn, void *ctx);

/*
 * Execute one QMP command, a JSON object on one line, such as
 * {"execute":"screendump","arguments":{"filename":"x.png","format":"png","device":"vga"}}.
 * Returns 0 with the reply in answer (which may be NULL), or -1 with the error.
 */
int host_qmp(struct host *h, const char *json, char *answer, size_t size);

#endif
