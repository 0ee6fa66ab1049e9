// SPDX-License-Identifier: GPL-2.0-only
/* Runs one program or a shell in a host; run.h describes the functions. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "rig/run.h"
#include "rig/util.h"

#define RUN_TIMEOUT_S 300 /* default of --timeout for a program */
#define HOST_EXTRA_S  180 /* for the boot and the modules, in addition to the program */
#define INTEL_EXTRA_S 600

/* Exit statuses of "rig run" that are not the program's. */
#define EXIT_TIMEOUT	124
#define EXIT_RIG	125
#define EXIT_NO_PROGRAM 127

static const char shell_text[] =
	"\n"
	"  This is the emulated host: Linux %s with %s KVM.\n"
	"\n"
	"  /dev/kvm, /dev/pfnmap_exporter  the devices, if their modules are loaded (lsmod)\n"
	"  ls /bin                         test programs and busybox\n"
	"  chroot /machine PROGRAM         any program of your machine (its files are read-only)\n"
	"  dmesg                           the kernel log\n"
	"  exit                            power off (Ctrl-A x: at once)\n"
	"\n";

static void print_line(void *ctx, char tag, const char *text, size_t len)
{
	FILE *f = tag == RIG_NOTE ? stderr : stdout;

	(void)ctx;
	if (tag == RIG_NOTE)
		fputs("rig: ", f);
	fwrite(text, 1, len, f);
	if (tag != RIG_OUT_PART)
		fputc('\n', f);
	fflush(f);
}

/* Start a host and load KVM and the modules that are asked for; exits when that fails. */
static struct host *prepare_host(const struct settings *s, char *need, struct launch *l,
				 unsigned int kvm)
{
	struct host_reply reply;
	char error[1200], *name;
	struct host *h;

	h = host_start(&l->opts, error, sizeof(error));
	if (!h) {
		fprintf(stderr, "rig: %s\n", error);
		exit(EXIT_RIG);
	}
	if (kvm != KVM_NONE && host_load_kvm(h, kvm_name(kvm), s->params, &reply) != HOST_OK) {
		fprintf(stderr, "rig: cannot load %s KVM: %s%s\n", kvm_name(kvm),
			host_explain(&reply),
			kvm == KVM_PATCHED ? ": make modules initramfs, or use --stock" : "");
		goto fail;
	}
	for (name = need ? strtok(need, ",") : NULL; name; name = strtok(NULL, ",")) {
		if (host_need(h, name, &reply) == HOST_OK)
			continue;
		fprintf(stderr, "rig: cannot load %s: %s\n", name, host_explain(&reply));
		goto fail;
	}
	return h;
fail:
	host_stop(h);
	exit(EXIT_RIG);
}

/* The variant to load. Adds the parameters that select the kind of paging. */
static unsigned int one_kvm(struct settings *s)
{
	unsigned int kvm = s->kvm ? s->kvm : KVM_PATCHED;
	const char *const *params;

	if (kvm == (KVM_STOCK | KVM_PATCHED))
		die("--kvm both: only rig test takes both");
	if (s->paging & (s->paging - 1))
		die("--paging all: only rig test takes all");
	for (params = paging_params(s->paging); *params; params++)
		if (s->n_params < MAX_PARAMS)
			s->params[s->n_params++] = *params;
	return kvm;
}

static int exit_status(struct host *h, const struct host_reply *reply)
{
	switch (reply->kind) {
	case HOST_EXIT:
		return reply->value;
	case HOST_SIGNAL:
		return 128 + reply->value;
	case HOST_TIMEOUT:
		return EXIT_TIMEOUT;
	case HOST_ERRNO:
		return EXIT_NO_PROGRAM;
	default:
		host_last_lines(h, 8, print_line, NULL);
		return EXIT_RIG;
	}
}

int run_program(struct settings *s, char *need, char **argv)
{
	int timeout_s = s->timeout_s ? s->timeout_s : RUN_TIMEOUT_S, n = 2, i, status;
	unsigned int kvm = one_kvm(s);
	const char *words[RIG_WORDS + 1] = { "run" };
	char logdir[400], timeout[16], env[32], path[PATH_MAX], prog[PATH_MAX + 16];
	struct host_reply reply;
	struct launch l;
	struct host *h;

	snprintf(timeout, sizeof(timeout), "%d", timeout_s);
	words[1] = timeout;
	snprintf(env, sizeof(env), "KVM=%s", kvm == KVM_NONE ? "none" : kvm_name(kvm));
	words[n++] = env;
	for (i = 0; argv[i] && n < RIG_WORDS; i++)
		words[n++] = argv[i];
	/* The first word that is not VAR=value is the program. */
	for (i = 2; words[i] && strchr(words[i], '=') && !strchr(words[i], '/'); i++)
		;
	if (!words[i])
		die("run: no program: see rig --help");
	if (strchr(words[i], '/')) {
		if (s->conf.intel)
			die("%s: an Intel host has only the programs in its own /bin", words[i]);
		if (!realpath(words[i], path))
			die("%s: %s", words[i], strerror(errno));
		snprintf(prog, sizeof(prog), "/machine%s", path);
		words[i] = prog;
	}
	find_release(s);
	make_logdir(s, "run", logdir, sizeof(logdir));
	/* Standard output is the program's. */
	launch_prepare(&l, s, &s->conf, logdir, stderr);
	l.opts.timeout_s = timeout_s + (s->conf.intel ? INTEL_EXTRA_S : HOST_EXTRA_S);
	h = prepare_host(s, need, &l, kvm);
	if (words[i] == prog && host_do(h, &reply, "9p") != HOST_OK) {
		fprintf(stderr, "rig: 9p: %s\n", host_explain(&reply));
		host_stop(h);
		return EXIT_RIG;
	}
	host_cmd(h, words, print_line, NULL, &reply);
	if (reply.kind != HOST_EXIT || reply.left)
		fprintf(stderr, "rig: %s\n", host_explain(&reply));
	status = exit_status(h, &reply);
	if (host_log(h, NULL, 0, NULL, print_line, NULL) && !status)
		status = EXIT_RIG;
	host_stop(h);
	return status;
}

int run_shell(struct settings *s, char *need)
{
	struct winsize ws;
	unsigned int kvm = one_kvm(s);
	char logdir[400], rows[16], cols[16];
	struct host_reply reply;
	struct termios saved;
	struct launch l;
	struct host *h;

	/* The emulator makes the terminal raw, and cannot restore it if it is killed. */
	if (tcgetattr(0, &saved) || !isatty(1))
		die("shell: standard input and output must be a terminal: use rig run for scripts");
	if (ioctl(0, TIOCGWINSZ, &ws) || !ws.ws_row)
		ws = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	find_release(s);
	make_logdir(s, "shell", logdir, sizeof(logdir));
	launch_prepare(&l, s, &s->conf, logdir, stdout);
	l.opts.terminal = true;
	l.opts.timeout_s = s->timeout_s;
	printf("rig: booting %s ...\n", s->release);
	fflush(stdout);
	h = prepare_host(s, need, &l, kvm);
	/* A shell is useful without the exporter and 9p, too. */
	host_do(h, &reply, "modprobe", "pfnmap_exporter");
	host_do(h, &reply, "9p");
	dprintf(1, shell_text, host_release(h), kvm == KVM_NONE ? "no" : kvm_name(kvm));
	snprintf(rows, sizeof(rows), "%d", ws.ws_row);
	snprintf(cols, sizeof(cols), "%d", ws.ws_col);
	host_do(h, &reply, "shell", rows, cols);
	if (reply.kind == HOST_LOST)
		fprintf(stderr, "rig: %s\r\n", host_explain(&reply));
	host_stop(h);
	tcsetattr(0, TCSANOW, &saved);
	printf("\nrig: powered off; the console's log is %s/console.log\n", logdir);
	return reply.kind == HOST_LOST ? EXIT_RIG : 0;
}
