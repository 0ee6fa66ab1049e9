// SPDX-License-Identifier: GPL-2.0-only
/* The rig command: runs tests, a program or a shell in an emulated host. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig/judge.h"
#include "rig/launch.h"
#include "rig/matrix.h"
#include "rig/run.h"
#include "rig/runner.h"
#include "rig/util.h"

static const char usage_text[] =
	"usage: rig test  [options] [--only NAME,...] [--group NAME,...] [--name NAME] TABLE\n"
	"       rig run   [options] [--need MODULE,...] -- [VAR=value ...] PROGRAM [ARGUMENT...]\n"
	"       rig shell [options] [--need MODULE,...]\n"
	"       rig tap LOGS NAME PROGRAM...\n"
	"       rig matrix OUTPUT RESULTS...\n"
	"\n"
	"Boots a stock Debian kernel in QEMU's emulation of an AMD-V host, or in Bochs' emulation of\n"
	"an Intel VT-x host; no virtualization hardware is used. A PROGRAM without a slash is in the\n"
	"host's /bin; any other is a file of this machine, which the AMD host mounts over 9p,\n"
	"read-only.\n"
	"\n"
	"  --kernel RELEASE   a release, or its beginning (default: the newest one that is built)\n"
	"  --kvm WHICH        stock or patched; test also takes both (the default), run and shell\n"
	"                     also take none (default: patched)\n"
	"  --stock            the same as --kvm stock\n"
	"  --paging WHICH     tdp (nested paging), tdp_mmu0 (nested paging by the shadow MMU) or shadow\n"
	"                     (shadow paging); test also takes all (the default); run and shell use\n"
	"                     tdp by default\n"
	"  --param M.P=VALUE  a parameter of a KVM module, such as kvm-amd.npt=0\n"
	"  --need MODULE,...  load these modules, too: pfnmap_exporter, bochs, qxl, vgem; with a\n"
	"                     parameter: vivid:allocators=1\n"
	"  --host WHICH       amd or intel (default: amd); the Intel host is slower, has one processor\n"
	"                     by default, and supports neither 9p, rig shell, --icount, --thread nor\n"
	"                     --device\n"
	"  --mem MIB          memory (default: 1024)\n"
	"  --cpus N           processors (default: 2)\n"
	"  --icount           the host's clock counts instructions, 1 ns each; 1 processor\n"
	"  --thread multi     one emulator thread per processor\n"
	"  --device ARGUMENT  an additional device, written as for QEMU's -device; --audiodev,\n"
	"                     --machine and --object are QEMU's, too\n"
	"  --timeout SECONDS  for the program (default: 300) or all tests together (default: none)\n"
	"  --debug            for a debug kernel: longer time limits, the tests of the group debug, and\n"
	"                     what the kernel counted (CONFIG_GCOV_KERNEL) in host-N/gcov\n"
	"  --only, --group    run only these tests\n"
	"  --quick            leave out stock KVM with shadow paging and with tdp_mmu=0\n"
	"  --list             print the selected runs, and run nothing\n"
	"  --stop             run no more tests after the first one that fails; needs --workers 1\n"
	"  --initramfs FILE   boot this one instead of the kernel's build/RELEASE/initramfs.cpio\n"
	"  --workers N        hosts at a time, at most 4 (default: one more than there are\n"
	"                     processors)\n"
	"  --name NAME        write test logs to build/logs/NAME-*, the counts of passed, failed and\n"
	"                     skipped tests to build/logs/NAME.counts, and the single results to\n"
	"                     build/logs/NAME.results (default: rig)\n"
	"\n"
	"rig tap runs programs of this machine that print TAP and shows one line per check. It writes\n"
	"their output to LOGS/NAME.log and the counts to LOGS/NAME.counts.\n"
	"\n"
	"rig matrix sums up results by kernel, host and paging, prints the table and writes it to the\n"
	"file OUTPUT.\n";

static unsigned int parse_kvm(const char *word)
{
	if (!strcmp(word, "both"))
		return KVM_STOCK | KVM_PATCHED;
	if (!strcmp(word, "stock"))
		return KVM_STOCK;
	if (!strcmp(word, "patched"))
		return KVM_PATCHED;
	if (!strcmp(word, "none"))
		return KVM_NONE;
	die("--kvm %s: want stock, patched, both or none", word);
}

static unsigned int parse_paging(const char *word)
{
	unsigned int paging;

	if (!strcmp(word, "all"))
		return PAGING_TDP | PAGING_TDP_MMU0 | PAGING_SHADOW;
	for (paging = PAGING_TDP; paging <= PAGING_SHADOW; paging <<= 1)
		if (!strcmp(word, paging_name(paging)))
			return paging;
	die("--paging %s: want tdp, tdp_mmu0, shadow or all", word);
}

static void add_host_word(struct settings *s, const char *option, const char *value)
{
	char word[256];

	if (snprintf(word, sizeof(word), "%s%s%s", option, value ? "=" : "", value ? value : "") >=
	    (int)sizeof(word))
		die("--%s %s: too long", option, value);
	/* The configuration keeps a pointer to it. */
	if (!host_word(&s->conf, xstrdup(word)))
		die("--%s %s: not understood: see rig --help", option, value ? value : "");
}

struct arguments {
	struct test_run test;
	char *need;
	char **words; /* behind the options */
};

static void parse(int argc, char **argv, struct settings *s, struct arguments *a)
{
	static const struct option long_options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "kvm", required_argument, NULL, 'v' },
		{ "stock", no_argument, NULL, 's' },
		{ "paging", required_argument, NULL, 'P' },
		{ "param", required_argument, NULL, 'p' },
		{ "need", required_argument, NULL, 'n' },
		{ "host", required_argument, NULL, 'h' },
		{ "mem", required_argument, NULL, 'h' },
		{ "cpus", required_argument, NULL, 'h' },
		{ "icount", no_argument, NULL, 'h' },
		{ "thread", required_argument, NULL, 'h' },
		{ "device", required_argument, NULL, 'h' },
		{ "audiodev", required_argument, NULL, 'h' },
		{ "machine", required_argument, NULL, 'h' },
		{ "object", required_argument, NULL, 'h' },
		{ "timeout", required_argument, NULL, 't' },
		{ "name", required_argument, NULL, 'N' },
		{ "only", required_argument, NULL, 'o' },
		{ "group", required_argument, NULL, 'g' },
		{ "list", no_argument, NULL, 'l' },
		{ "quick", no_argument, NULL, 'q' },
		{ "stop", no_argument, NULL, 'S' },
		{ "initramfs", required_argument, NULL, 'i' },
		{ "workers", required_argument, NULL, 'w' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, '?' },
		{ 0 },
	};
	int c, index;

	while ((c = getopt_long(argc, argv, "+", long_options, &index)) != -1) {
		switch (c) {
		case 'k':
			s->wanted = optarg;
			break;
		case 'v':
			s->kvm = parse_kvm(optarg);
			break;
		case 's':
			s->kvm = KVM_STOCK;
			break;
		case 'P':
			s->paging = parse_paging(optarg);
			break;
		case 'p':
			if (!strchr(optarg, '.') || !strchr(optarg, '=') ||
			    s->n_params == MAX_PARAMS)
				die("--param %s: want MODULE.PARAMETER=VALUE", optarg);
			s->params[s->n_params++] = optarg;
			break;
		case 'n':
			a->need = optarg;
			break;
		case 'h':
			add_host_word(s, long_options[index].name, optarg);
			break;
		case 't':
			if (!positive(optarg, &s->timeout_s))
				die("--timeout %s: want a number of seconds", optarg);
			break;
		case 'N':
			a->test.name = optarg;
			break;
		case 'o':
			a->test.only = optarg;
			break;
		case 'g':
			a->test.group = optarg;
			break;
		case 'l':
			a->test.list = true;
			break;
		case 'q':
			a->test.quick = true;
			break;
		case 'S':
			a->test.stop = true;
			break;
		case 'i':
			if (access(optarg, R_OK))
				die("--initramfs %s: %s", optarg, strerror(errno));
			s->other_initramfs = optarg;
			break;
		case 'd':
			s->debug = true;
			break;
		case 'w':
			if (!positive(optarg, &a->test.workers))
				die("--workers %s: want a number of hosts", optarg);
			break;
		default:
			fputs(usage_text, stderr);
			exit(2);
		}
	}
	if (s->conf.icount && (s->conf.cpus > 1 || s->conf.multi))
		die("--icount needs one processor and one thread");
	if (a->test.stop && a->test.workers != 1)
		die("--stop needs --workers 1");
	a->words = argv + optind;
	find_build(s);
}

int main(int argc, char **argv)
{
	struct settings s = { .wanted = "" };
	struct arguments a = { 0 };

	if (argc < 2 || !strcmp(argv[1], "--help")) {
		fputs(usage_text, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	if (!strcmp(argv[1], "matrix")) {
		if (argc < 4)
			die("matrix: want OUTPUT RESULTS...: see rig --help");
		return print_matrix(argv[2], argv + 3);
	}
	if (!strcmp(argv[1], "tap")) {
		if (argc < 5)
			die("tap: want LOGS NAME PROGRAM...: see rig --help");
		return judge_programs(argv[2], argv[3], argv + 4);
	}
	if (strcmp(argv[1], "test") && strcmp(argv[1], "run") && strcmp(argv[1], "shell"))
		die("no command \"%s\": see rig --help", argv[1]);
	parse(argc - 1, argv + 1, &s, &a);
	if (!strcmp(argv[1], "run"))
		return run_program(&s, a.need, a.words);
	if (!strcmp(argv[1], "shell"))
		return run_shell(&s, a.need);
	if (!a.words[0] || a.words[1])
		die("test: want one TABLE: see rig --help");
	a.test.table = a.words[0];
	if (!a.test.name)
		a.test.name = "rig";
	return run_tests(&s, &a.test);
}
