// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap: tests whether KVM can map a GPU driver's memory, shows which KVM modules a host has,
 * and swaps them. This file reads the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/text.h"
#include "tool/tool.h"

static const char help[] =
	"usage: kvm-pfnmap probe [--drm NODE | --file PATH[:OFFSET:SIZE] | --all] [--timeout SECONDS]\n"
	"       kvm-pfnmap status [--dirname DIR]\n"
	"       kvm-pfnmap reload [--dirname DIR]\n"
	"\n"
	"probe    give a driver's buffer to a small guest as its memory, let guest and host write and\n"
	"         read every page of it, and report whether that works and what to do if it does not\n"
	"status   show which KVM modules are loaded, which ones a reload would load, and whether a\n"
	"         reload is possible\n"
	"reload   unload KVM and load the modules that modprobe finds now; fails while KVM is in use\n"
	"\n"
	"  --drm NODE                  probe a buffer of this node, such as /dev/dri/card0\n"
	"  --file PATH[:OFFSET:SIZE]   probe a file or a device that can be mapped; restore its content\n"
	"  --all                       probe all nodes in /dev/dri, and ordinary memory for comparison;\n"
	"                              this is the default\n"
	"  --timeout SECONDS           time limit for each step of a probe; the default is 30\n"
	"  --dirname DIR               use the modules below DIR/lib/modules (status, reload)\n"
	"  --json                      print the report as one JSON object\n"
	"  --help, --version           print this text, or the version, and exit\n"
	"\n"
	"exit status: 0 success                         3 no KVM, or no permission\n"
	"             1 KVM refuses the memory; the     4 no such device or file, or it provides no\n"
	"               modules could not be swapped      buffer that can be mapped\n"
	"             2 wrong usage                     5 the probe hangs, loses data or fails otherwise\n";

static int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int usage(const char *fmt, ...)
{
	char text[2 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	complain("%s; see kvm-pfnmap --help", text);
	return EXIT_USAGE;
}

enum {
	OPT_DRM = 256,
	OPT_FILE,
	OPT_ALL,
	OPT_TIMEOUT,
	OPT_DIRNAME,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "drm", required_argument, NULL, OPT_DRM },
	{ "file", required_argument, NULL, OPT_FILE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "dirname", required_argument, NULL, OPT_DIRNAME },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

/*
 * Report the option that getopt_long() rejected. optind is one past it, except within a group of
 * short options.
 */
static int wrong_option(int opt, char **argv)
{
	const char *arg = argv[optind - 1];

	if (opt == ':')
		return usage("option '%s' requires an argument", arg);
	if (optopt >= OPT_DRM)
		return usage("option '%.*s' does not take an argument", (int)strcspn(arg, "="),
			     arg);
	if (optopt)
		return usage("unknown option '-%c'", optopt);
	return usage("unknown option '%s'", arg);
}

/* Decimal only, unlike parse_size(): nobody who writes 010 means 8. */
static bool parse_seconds(const char *text, unsigned int *seconds)
{
	uint64_t value;

	if (text[0] == '0' || text[strspn(text, "0123456789")] || !parse_size(text, &value) ||
	    value > 3600)
		return false;
	*seconds = value;
	return true;
}

/* Parse the command line and run the command. Returns its exit code, or EXIT_USAGE. */
static int run(int argc, char **argv)
{
	static struct file_spec spec;
	struct options opts = { .timeout_s = 30 };
	bool probing = false, modules = false;
	unsigned int buffers = 0;
	const char *command, *wrong;
	int opt;

	while ((opt = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_DRM:
			opts.drm = optarg;
			break;
		case OPT_FILE:
			wrong = parse_file_spec(optarg, &spec);
			if (wrong)
				return usage("--file %s: %s", optarg, wrong);
			opts.file = &spec;
			break;
		case OPT_ALL:
			break;
		case OPT_TIMEOUT:
			if (!parse_seconds(optarg, &opts.timeout_s))
				return usage("--timeout %s: must be 1 to 3600 seconds", optarg);
			break;
		case OPT_DIRNAME:
			if (strlen(optarg) >= PATH_MAX / 2)
				return usage("--dirname %.20s...: the name is too long", optarg);
			opts.dirname = optarg;
			break;
		case OPT_JSON:
			opts.json = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return EXIT_OK;
		case OPT_VERSION:
			puts("kvm-pfnmap " TOOL_VERSION);
			return EXIT_OK;
		default:
			return wrong_option(opt, argv);
		}
		buffers += opt == OPT_DRM || opt == OPT_FILE || opt == OPT_ALL;
		probing |= opt == OPT_TIMEOUT;
		modules |= opt == OPT_DIRNAME;
	}
	if (optind >= argc)
		return usage("missing command: use probe, status or reload");
	if (optind + 1 < argc)
		return usage("unexpected argument '%s'", argv[optind + 1]);
	command = argv[optind];
	if (!strcmp(command, "probe")) {
		if (modules)
			return usage("--dirname is only for status and reload");
		if (buffers > 1)
			return usage("use only one of --drm, --file and --all");
		opts.all = !opts.drm && !opts.file;
		return cmd_probe(&opts);
	}
	if (strcmp(command, "status") && strcmp(command, "reload"))
		return usage("unknown command '%s': use probe, status or reload", command);
	if (probing || buffers)
		return usage("--drm, --file, --all and --timeout are only for probe");
	return command[0] == 's' ? cmd_status(&opts) : cmd_reload(&opts);
}

/* Undo what the caller may have left us: closed standard descriptors, an ignored SIGCHLD. */
static void set_up(void)
{
	int fd;

	/* O_RDONLY, so that writing to a closed standard output still fails. */
	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	/* Let options follow the command. */
	unsetenv("POSIXLY_CORRECT");
}

int main(int argc, char **argv)
{
	int status;

	set_up();
	status = run(argc, argv);
	if (fflush(stdout)) {
		complain("standard output: %s", strerror(errno));
		return EXIT_BROKEN;
	}
	if (ferror(stdout)) {
		complain("standard output: write error");
		return EXIT_BROKEN;
	}
	return status;
}
