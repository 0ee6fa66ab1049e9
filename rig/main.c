// SPDX-License-Identifier: GPL-2.0-only
/* The rig command: tests, a program or a person's shell in an emulated host. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "rig/rig.h"

#define RUN_TIMEOUT_S 300 /* default of --timeout for a program */
#define HOST_EXTRA_S  180 /* what boot and modules may take beside the program */
#define INTEL_EXTRA_S 600

/* Exit statuses of "rig run" beside the program's own. */
#define EXIT_TIMEOUT	124
#define EXIT_RIG	125
#define EXIT_NO_PROGRAM 127

static const char usage_text[] =
	"usage: rig test  [options] [--only NAME,...] [--group NAME,...] [--name NAME] TABLE\n"
	"       rig run   [options] [--need MODULE,...] -- [VAR=value ...] PROGRAM [ARGUMENT...]\n"
	"       rig shell [options] [--need MODULE,...]\n"
	"       rig matrix OUTPUT RESULTS...\n"
	"\n"
	"Boots a stock Debian kernel in QEMU's emulation of an AMD-V host, or in Bochs' emulation of\n"
	"an Intel VT-x host; no virtualization hardware is used. A PROGRAM without a slash is one of\n"
	"the host's /bin; any other is a file of this machine, which the AMD host sees over 9p,\n"
	"read-only.\n"
	"\n"
	"  --kernel RELEASE   a release, or how one begins (default: the newest that is built)\n"
	"  --kvm WHICH        stock or patched; for test also both (default: both);\n"
	"                     for run and shell also none (default: patched)\n"
	"  --stock            the same as --kvm stock\n"
	"  --paging WHICH     tdp (nested paging), shadow or, for test, both (default: what KVM\n"
	"                     does by itself, tdp; for test: both)\n"
	"  --param M.P=VALUE  a parameter for one of KVM's modules, such as kvm-amd.npt=0\n"
	"  --need MODULE,...  further modules: pfnmap_exporter, bochs, qxl, vgem\n"
	"  --host WHICH       amd or intel (default: amd); the Intel host is slower and has one\n"
	"                     processor, no 9p, no shell, no --icount, --thread and --device\n"
	"  --mem MIB          memory (default: 1024)\n"
	"  --cpus N           processors (default: 2)\n"
	"  --icount           the host's clock counts instructions, 1 ns each; 1 processor\n"
	"  --thread multi     one emulator thread for each processor\n"
	"  --device ARGUMENT  one more device, as QEMU's -device takes it\n"
	"  --timeout SECONDS  for the program (default: 300), for all tests together (1800)\n"
	"  --only, --group    run these tests only\n"
	"  --list             only print what would run\n"
	"  --workers N        hosts at a time (default: 2 if there are as many processors)\n"
	"  --name NAME        test logs go to build/logs/NAME-*, counts of passed, failed and skipped\n"
	"                     tests to build/logs/NAME.counts, the results one by one to\n"
	"                     build/logs/NAME.results (default: rig)\n"
	"\n"
	"rig matrix prints a table of kernels, hosts and ways of paging from such results, and writes\n"
	"it to the file OUTPUT.\n";

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

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "rig: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

int make_dir(const char *path)
{
	char part[PATH_MAX], *p;

	snprintf(part, sizeof(part), "%s", path);
	for (p = part + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return mkdir(part, 0755) && errno != EEXIST ? -1 : 0;
}

void make_logdir(const struct settings *s, const char *name, char *dir, size_t size)
{
	char logs[300], link[400], temp[420], date[32];
	time_t now = time(NULL);
	const char *base;
	int n;

	snprintf(logs, sizeof(logs), "%s/logs", s->build);
	if (make_dir(logs))
		die("%s: %s", logs, strerror(errno));
	strftime(date, sizeof(date), "%Y%m%d-%H%M%S", localtime(&now));
	for (n = 1;; n++) {
		if (n == 1)
			snprintf(dir, size, "%s/%s-%s", logs, name, date);
		else
			snprintf(dir, size, "%s/%s-%s.%d", logs, name, date, n);
		if (!mkdir(dir, 0755))
			break;
		if (errno != EEXIST)
			die("%s: %s", dir, strerror(errno));
	}
	/* For convenience: no harm when two runs fight over it. */
	base = strrchr(dir, '/') + 1;
	snprintf(link, sizeof(link), "%s/%s", logs, name);
	snprintf(temp, sizeof(temp), "%s.%d", link, getpid());
	if (symlink(base, temp) || rename(temp, link))
		unlink(temp);
}

static void print_progress(FILE *f, const char *name, int seconds, const char *last)
{
	fprintf(f, "# %s: booting, %d s%s%s\n", name, seconds, *last ? "; console: " : "", last);
	fflush(f);
}

/* ctx: the directory of its logs, whose name is the host's. */
static void host_boots(void *ctx, int seconds, const char *last)
{
	print_progress(stdout, strrchr(ctx, '/') + 1, seconds, last);
}

/* The standard output is the program's. */
static void program_waits(void *ctx, int seconds, const char *last)
{
	(void)ctx;
	print_progress(stderr, "host", seconds, last);
}

void launch_prepare(struct launch *l, const struct settings *s, const struct host_conf *conf,
		    const char *logdir)
{
	int i, n = 0;

	for (i = 0; i < conf->n_devices; i++) {
		l->extra[n++] = "-device";
		l->extra[n++] = conf->devices[i];
	}
	l->extra[n] = NULL;
	l->opts = (struct host_opts){
		.kind = conf->intel ? HOST_INTEL : HOST_AMD,
		.kernel = s->kernel,
		.initramfs = s->initramfs,
		.logdir = logdir,
		.mem_mb = conf->mem_mb,
		.cpus = conf->cpus,
		.icount = conf->icount,
		.multi = conf->multi,
		.extra = l->extra,
		.progress = host_boots,
		.progress_ctx = (void *)logdir,
	};
}

/* --- the settings --- */

static void host_files(struct settings *s)
{
	snprintf(s->kernel, sizeof(s->kernel), "%s/%s/vmlinux", s->build, s->release);
	snprintf(s->initramfs, sizeof(s->initramfs), "%s/%s/initramfs.cpio", s->build, s->release);
}

/* The newest release that is built and begins like this: 6.1 begins 6.1.0-1-amd64, not 6.12. */
static void find_release(struct settings *s, const char *prefix)
{
	char newest[sizeof(s->release)] = "";
	size_t len = strlen(prefix);
	struct dirent *de;
	DIR *dir;

	dir = opendir(s->build);
	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, prefix, len) || strlen(de->d_name) >= sizeof(newest) ||
		    (len && de->d_name[len] && !strchr(".-", de->d_name[len])))
			continue;
		snprintf(s->release, sizeof(s->release), "%.79s", de->d_name);
		host_files(s);
		if (!access(s->kernel, R_OK) && !access(s->initramfs, R_OK) &&
		    strverscmp(s->release, newest) > 0)
			strcpy(newest, s->release);
	}
	if (dir)
		closedir(dir);
	if (!newest[0])
		die("no host%s%s is built in %s: make initramfs programs", len ? " of kernel " : "",
		    prefix, s->build);
	strcpy(s->release, newest);
	host_files(s);
}

/* build/bin/rig is part of the build directory that it works with. */
static void find_build(struct settings *s)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *p;
	int i;

	exe[n > 0 ? n : 0] = '\0';
	for (i = 0; i < 2; i++) {
		p = strrchr(exe, '/');
		if (p)
			*p = '\0';
	}
	if (strlen(exe) >= sizeof(s->build))
		die("%s: the path is too long", exe);
	strcpy(s->build, exe);
}

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
	if (!strcmp(word, "both"))
		return PAGING_TDP | PAGING_SHADOW;
	if (!strcmp(word, "tdp"))
		return PAGING_TDP;
	if (!strcmp(word, "shadow"))
		return PAGING_SHADOW;
	die("--paging %s: want tdp, shadow or both", word);
}

static void add_host_word(struct settings *s, const char *option, const char *value)
{
	char word[256];

	snprintf(word, sizeof(word), "%s%s%s", option, value ? "=" : "", value ? value : "");
	/* The configuration keeps a pointer to it. */
	if (!host_word(&s->conf, xstrdup(word)))
		die("--%s %s is not understood: see rig --help", option, value ? value : "");
}

struct arguments {
	struct test_run test;
	char *need;
	char **words; /* what follows the options */
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
		{ "timeout", required_argument, NULL, 't' },
		{ "name", required_argument, NULL, 'N' },
		{ "only", required_argument, NULL, 'o' },
		{ "group", required_argument, NULL, 'g' },
		{ "list", no_argument, NULL, 'l' },
		{ "workers", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, '?' },
		{ 0 },
	};
	const char *kernel = "";
	int c, index;

	while ((c = getopt_long(argc, argv, "+", long_options, &index)) != -1) {
		switch (c) {
		case 'k':
			kernel = optarg;
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
			s->timeout_s = atoi(optarg);
			if (s->timeout_s <= 0)
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
		case 'w':
			a->test.workers = atoi(optarg);
			if (a->test.workers <= 0)
				die("--workers %s: want a number of hosts", optarg);
			break;
		default:
			fputs(usage_text, stderr);
			exit(2);
		}
	}
	if (s->conf.icount && (s->conf.cpus > 1 || s->conf.multi))
		die("--icount is for 1 processor and one thread");
	a->words = argv + optind;
	find_build(s);
	find_release(s, kernel);
}

/* --- run and shell --- */

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

/* A host for one purpose, with KVM and the needed modules loaded; exits when that fails. */
static struct host *prepare_host(const struct settings *s, struct arguments *a, struct launch *l,
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
	for (name = a->need ? strtok(a->need, ",") : NULL; name; name = strtok(NULL, ",")) {
		if (host_do(h, &reply, "modprobe", name) == HOST_OK)
			continue;
		fprintf(stderr, "rig: cannot load %s: %s\n", name, host_explain(&reply));
		goto fail;
	}
	return h;
fail:
	host_stop(h);
	exit(EXIT_RIG);
}

/* For run and shell: the one variant, and the parameters of the one way of paging. */
static unsigned int one_kvm(struct settings *s)
{
	unsigned int kvm = s->kvm ? s->kvm : KVM_PATCHED;
	int i;

	if (kvm == (KVM_STOCK | KVM_PATCHED))
		die("--kvm both is for tests");
	if (s->paging == (PAGING_TDP | PAGING_SHADOW))
		die("--paging both is for tests");
	for (i = 0; s->paging == PAGING_SHADOW && shadow_params[i]; i++)
		if (s->n_params < MAX_PARAMS)
			s->params[s->n_params++] = shadow_params[i];
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

static int run_program(struct settings *s, struct arguments *a)
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
	for (i = 0; a->words[i] && n < RIG_WORDS; i++)
		words[n++] = a->words[i];
	/* The first word that is no VAR=value is the program. */
	for (i = 2; words[i] && strchr(words[i], '=') && !strchr(words[i], '/'); i++)
		;
	if (!words[i])
		die("run: no program: see rig --help");
	if (strchr(words[i], '/')) {
		if (s->conf.intel)
			die("%s: an Intel host has no programs but its own, in /bin", words[i]);
		if (!realpath(words[i], path))
			die("%s: %s", words[i], strerror(errno));
		snprintf(prog, sizeof(prog), "/machine%s", path);
		words[i] = prog;
	}
	make_logdir(s, "run", logdir, sizeof(logdir));
	launch_prepare(&l, s, &s->conf, logdir);
	l.opts.timeout_s = timeout_s + (s->conf.intel ? INTEL_EXTRA_S : HOST_EXTRA_S);
	l.opts.progress = program_waits;
	h = prepare_host(s, a, &l, kvm);
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

static int run_shell(struct settings *s, struct arguments *a)
{
	struct winsize ws;
	unsigned int kvm = one_kvm(s);
	char logdir[400], rows[16], cols[16];
	struct host_reply reply;
	struct termios saved;
	struct launch l;
	struct host *h;

	/* The emulator makes the terminal raw; somebody has to undo it if it is killed. */
	if (tcgetattr(0, &saved) || !isatty(1))
		die("shell: standard input and output are no terminal: use rig run for scripts");
	if (ioctl(0, TIOCGWINSZ, &ws) || !ws.ws_row)
		ws = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	make_logdir(s, "shell", logdir, sizeof(logdir));
	launch_prepare(&l, s, &s->conf, logdir);
	l.opts.terminal = true;
	l.opts.timeout_s = s->timeout_s;
	printf("rig: booting %s ...\n", s->release);
	fflush(stdout);
	h = prepare_host(s, a, &l, kvm);
	/* Without the exporter or 9p a shell is still of use. */
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

int main(int argc, char **argv)
{
	struct settings s = { 0 };
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
	if (strcmp(argv[1], "test") && strcmp(argv[1], "run") && strcmp(argv[1], "shell"))
		die("there is no command \"%s\": see rig --help", argv[1]);
	parse(argc - 1, argv + 1, &s, &a);
	if (!strcmp(argv[1], "run"))
		return run_program(&s, &a);
	if (!strcmp(argv[1], "shell"))
		return run_shell(&s, &a);
	if (!a.words[0] || a.words[1])
		die("test: want one TABLE: see rig --help");
	a.test.table = a.words[0];
	if (!a.test.name)
		a.test.name = "rig";
	return run_tests(&s, &a.test);
}
