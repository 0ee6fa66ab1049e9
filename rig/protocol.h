/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The line protocol between the machine (host.c) and PID 1 of the emulated host (init.c).
 *
 * Machine to host: one command per line, words separated by one blank. In a word, blanks, control
 * characters and '%' are encoded as %XX; an empty word is encoded as %00.
 *
 *	modprobe NAME [module.param=value ...]	NAME as in the dependency file; kvm-amd and
 *						kvm-intel have two: stock/kvm-amd and
 *						patched/kvm-amd
 *	insmod PATH [param=value ...]
 *	rmmod NAME
 *	users NAME				value of the reply: the module's reference count
 *	9p					mount the machine's root, read-only, at /machine
 *	run TIMEOUT_S [VAR=value ...] PROGRAM ARGS...
 *						a PROGRAM below /machine/ runs in a chroot
 *	stop					while it runs: its time is up; no reply of its own
 *	shell [ROWS COLUMNS]			on the console, until the shell ends
 *	mark TEXT				one line "rig: TEXT" in the kernel log
 *	poweroff				no reply
 *
 * Host to machine: the first character of a line is its type; see RIG_READY etc. Each command gets
 * one reply, "=KIND VALUE MS LEFT MESSAGE": the value depends on the kind, MS is the elapsed time
 * in milliseconds, LEFT the number of processes that outlived the program and were killed.
 */
#ifndef RIG_PROTOCOL_H
#define RIG_PROTOCOL_H

#include <stdlib.h>

/* Name of the virtio-serial port. */
#define RIG_PORT "rig"

/* The 9p tag of the emulator's directory in the machine's /proc. */
#define RIG_EMULATOR "emulator"

/* The 9p tag of the directory that gets the coverage of the kernel. */
#define RIG_COVERAGE "coverage"

#define RIG_READY    '!' /* once, at boot: "RELEASE VENDOR_MODULE MS_SINCE_BOOT" */
#define RIG_OUT	     '>' /* a line of the program's output */
#define RIG_OUT_PART '~' /* output without a line break after it (yet) */
#define RIG_NOTE     '#' /* from PID 1, about the program */
#define RIG_REPLY    '='

/* Kinds of reply, and their values. */
#define RIG_OK	    "ok"      /* 0, or the number that was asked for */
#define RIG_ERRNO   "errno"   /* errno of the command, or of a program that did not start */
#define RIG_EXIT    "exit"    /* exit status */
#define RIG_SIGNAL  "signal"  /* signal number */
#define RIG_TIMEOUT "timeout" /* the timeout in seconds */
#define RIG_STUCK   "stuck"   /* 0; a process survived SIGKILL */

/* The maximum length of a line of output without its tag and of a command, and of words in one. */
#define RIG_LINE    4096
#define RIG_COMMAND 8192
#define RIG_WORDS   128

/* Decode a word in place; returns it. */
static inline char *rig_decode(char *word)
{
	char hex[3] = "", *in = word, *out = word;

	while (*in) {
		if (in[0] == '%' && in[1] && in[2]) {
			hex[0] = in[1];
			hex[1] = in[2];
			*out++ = (char)strtol(hex, NULL, 16);
			in += 3;
		} else {
			*out++ = *in++;
		}
	}
	*out = '\0';
	return word;
}

#endif
