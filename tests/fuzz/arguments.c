// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the command line of kvm-pfnmap: it runs one command with options that are within their
 * limits, prints the help, or refuses in one printable line.
 *
 * Seen to fail: with the argument printed as it is, as it was.
 */
#include <getopt.h>

#include "tests/fuzz/fuzz.h"

#define main tool_main
#include "tool/main.c"
#undef main

static int commands;

int cmd_probe(const struct options *opts)
{
	commands++;
	MUST(opts->timeout_s >= 1 && opts->timeout_s <= 3600 && !opts->dirname);
	MUST(opts->all + !!opts->drm + !!opts->file == 1);
	return EXIT_OK;
}

int cmd_status(const struct options *opts)
{
	commands++;
	MUST(!opts->drm && !opts->file && !opts->all);
	MUST(!opts->dirname || strlen(opts->dirname) < PATH_MAX / 2);
	return EXIT_OK;
}

int cmd_reload(const struct options *opts)
{
	return cmd_status(opts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[34] = { "kvm-pfnmap" };
	struct fuzz_output err, out;
	int argc = 1, ret;

	while (size && argc < 33)
		argv[argc++] = fuzz_piece(&data, &size);
	/* Arguments are permuted; keep a copy to free. */
	char *args[34];

	memcpy(args, argv, sizeof(args));
	commands = 0;
	optind = 0;
	fuzz_catch(&err, &stderr);
	fuzz_catch(&out, &stdout);
	ret = run(argc, argv);
	fuzz_release(&out);
	fuzz_release(&err);
	if (ret == EXIT_USAGE) {
		MUST(!commands && !out.len && fuzz_one_line(&err, "kvm-pfnmap: "));
		MUST(strstr(err.text, "; see kvm-pfnmap --help\n"));
		for (char *p = err.text; p[1]; p++)
			MUST((unsigned char)*p >= ' ' && *p != 0x7f);
	} else {
		MUST(ret == EXIT_OK && !err.len && commands + !!out.len == 1);
	}
	free(err.text);
	free(out.text);
	while (argc > 1)
		free(args[--argc]);
	return 0;
}
