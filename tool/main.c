// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap: ask a host whether KVM takes a GPU driver's memory, see which KVM modules it has, and
 * swap them.
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
	"       kvm-pfnmap status\n"
	"       kvm-pfnmap reload\n"
	"\n"
	"probe    give a small guest memory of a driver, let guest and host write and read every page\n"
	"         of it, and say whether that works and what to do about it\n"
	"status   which KVM modules are loaded and which would be, and whether they can be reloaded\n"
	"reload   unload KVM and load what modprobe finds now; refused while anything uses KVM\n"
	"\n"
	"  --drm NODE                  a buffer of this node, say /dev/dri/card0 or /dev/dri/renderD128\n"
	"  --file PATH[:OFFSET:SIZE]   a file or device that can be mapped; its content is put back\n"
	"  --all                       all nodes in /dev/dri, and ordinary memory for comparison;\n"
	"                              this is what probe does when nothing is named\n"
	"  --timeout SECONDS           for each step, 30 unless given\n"
	"  --dirname DIR               status, reload: modules are below DIR/lib/modules\n"
	"  --json                      the same facts as one JSON object\n"
	"  --help, --version\n"
	"\n"
	"exit status: 0 it works, it is done       3 there is no KVM, or no permission\n"
	"             1 KVM refuses the memory;    4 there is no such device or file, or it gives no\n"
	"               the modules stay             buffer that can be mapped\n"
	"             2 wrong usage                5 it hangs, loses data or fails otherwise\n";

static int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("kvm-pfnmap: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("; see kvm-pfnmap --help\n", stderr);
	va_end(ap);
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

/* What getopt_long() stumbled over; optind is behind it unless it is a letter among others. */
static int wrong_option(int opt, char **argv)
{
	if (opt == ':')
		return usage("%s lacks its argument", argv[optind - 1]);
	if (optopt >= OPT_DRM)
		return usage("%s: the option has no argument", argv[optind - 1]);
	if (optopt)
		return usage("-%c is no option", optopt);
	return usage("%s is no option", argv[optind - 1]);
}

/* In decimal, which parse_size() alone is not: nobody means 8 by 010. */
static bool parse_seconds(const char *text, unsigned int *seconds)
{
	uint64_t value;

	if (text[0] == '0' || text[strspn(text, "0123456789")] || !parse_size(text, &value) ||
	    value > 3600)
		return false;
	*seconds = value;
	return true;
}

/* Commands and options; what the command returns, or EXIT_USAGE. */
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
				return usage("--timeout %s: want 1 to 3600 seconds", optarg);
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
		return usage("want probe, status or reload");
	if (optind + 1 < argc)
		return usage("%s is one argument too many", argv[optind + 1]);
	command = argv[optind];
	if (!strcmp(command, "probe")) {
		if (modules)
			return usage("--dirname is for status and reload");
		if (buffers > 1)
			return usage("want one of --drm, --file and --all, once");
		opts.all = !opts.drm && !opts.file;
		return cmd_probe(&opts);
	}
	if (strcmp(command, "status") && strcmp(command, "reload"))
		return usage("%s is no command: want probe, status or reload", command);
	if (probing || buffers)
		return usage("--drm, --file, --all and --timeout are for probe");
	return command[0] == 's' ? cmd_status(&opts) : cmd_reload(&opts);
}

/* Whatever the tool was started with: three descriptors, and children that can be waited for. */
static void set_up(void)
{
	int fd;

	/* Open for nothing that one of them is for, so that its use still fails. */
	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	/* Options may stand anywhere. */
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
		complain("standard output: not all of it was written");
		return EXIT_BROKEN;
	}
	return status;
}
