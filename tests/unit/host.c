// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that rig/host.c and rig/bochs.c start an Intel host as configured, refuse what it does not
 * support, and report in one line why a host is lost.
 *
 * The emulator is this program, started as "bochs", whose behavior the variable FAKE selects.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig/host.h"
#include "tests/lib/tap.h"

static char dir[] = "/tmp/unit-host.XXXXXX", kernel[64], initramfs[64];

static void append(const char *logdir, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", logdir, name);
	f = fopen(path, "ae");
	if (!f || fputs(text, f) < 0 || fclose(f))
		_exit(3);
}

/* --- the emulator --- */

static int fake_connect(const char *bochsrc)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char line[1024], *port = NULL;
	FILE *f = fopen(bochsrc, "re");

	while (f && !port && fgets(line, sizeof(line), f))
		port = strstr(line, "dev=127.0.0.1:");
	if (f)
		fclose(f);
	sin.sin_port = htons(port ? atoi(port + 14) : 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sin, sizeof(sin)))
		_exit(4);
	return fd;
}

static int fake_bochs(const char *bochsrc)
{
	const char *fake = getenv("FAKE");
	char logdir[512], command[64], ready[32];
	int fd, len;

	snprintf(logdir, sizeof(logdir), "%s", bochsrc);
	*strrchr(logdir, '/') = '\0';
	if (!fake)
		return 2;
	if (!strcmp(fake, "refuses")) {
		fprintf(stderr, "00000000000p[      ] >>PANIC<< bochsrc:1: no such thing\n");
		return 1;
	}
	fd = fake_connect(bochsrc);
	if (!strcmp(fake, "dies"))
		return 7;
	len = snprintf(ready, sizeof(ready), "%c6.1 kvm-intel\n", RIG_READY);
	if (write(fd, ready, (size_t)len) != len)
		return 5;
	if (read(fd, command, sizeof(command)) <= 0)
		return 6;
	if (!strcmp(fake, "panics"))
		append(logdir, "console.log", "[1.0] Kernel panic - not syncing: for fun\n");
	else if (!strcmp(fake, "triple fault"))
		fprintf(stderr, "1p[CPU0  ] >>PANIC<< exception(): 3rd (14) exception\n");
	else if (!strcmp(fake, "hangs"))
		pause();
	return 1;
}

/* --- the host --- */

/* The smallest kernel with a PVH entry: one page to load, and the note. */
static void make_kernel(void)
{
	struct image {
		Elf64_Ehdr ehdr;
		Elf64_Phdr phdr[2];
		Elf64_Nhdr note;
		char name[4];
		uint32_t entry;
	} image = {
		.ehdr = { .e_ident = ELFMAG,
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 2,
			  .e_phoff = sizeof(Elf64_Ehdr) },
		.phdr = { { .p_type = PT_LOAD,
			    .p_paddr = 0x1000000,
			    .p_filesz = sizeof(image),
			    .p_memsz = 4096 },
			  { .p_type = PT_NOTE,
			    .p_offset = offsetof(struct image, note),
			    .p_filesz = sizeof(image) - offsetof(struct image, note) } },
		.note = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = 0x1000000,
	};
	FILE *f = fopen(kernel, "we");

	image.ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	if (!f || fwrite(&image, sizeof(image), 1, f) != 1 || fclose(f))
		tap_bail("cannot write %s", kernel);
	append(dir, "initramfs", "what PID 1 is in");
}

static struct host_opts options(void)
{
	return (struct host_opts){ .kind = HOST_INTEL,
				   .kernel = kernel,
				   .initramfs = initramfs,
				   .logdir = dir,
				   .timeout_s = 2 };
}

static void refused(const struct host_opts *o, const char *want)
{
	char error[1200] = "";
	struct host *h = host_start(o, error, sizeof(error));

	if (!tap_ok(!h && strstr(error, want), "refused: %s", want))
		tap_diag("%s", h ? "it starts" : error);
	if (h)
		host_stop(h);
}

static void refusals(void)
{
	static const char *const extra[] = { "-device", "e1000", NULL };
	struct host_opts o = options();

	o.icount = true;
	refused(&o, "does not support --icount");
	o = options();
	o.multi = true;
	refused(&o, "does not support --thread multi");
	o = options();
	o.terminal = true;
	refused(&o, "does not support rig shell");
	o = options();
	o.extra = extra;
	refused(&o, "does not support --device");
	o = options();
	o.mem_mb = 128;
	refused(&o, "256 to 2048 MiB, not 128");
	o = options();
	o.cpus = 9;
	refused(&o, "1 to 8 processors, not 9");
	o = options();
	o.kernel = initramfs;
	refused(&o, "is not a kernel with a PVH entry");
	o = options();
	setenv("FAKE", "refuses", 1);
	refused(&o, "Bochs: bochsrc:1: no such thing");
	setenv("FAKE", "dies", 1);
	refused(&o, "the emulator ended with status 7");
	setenv("PATH", "/nowhere", 1);
	refused(&o, "cannot run bochs: No such file or directory: install the package bochs");
	setenv("PATH", dir, 1);
}

/* The host starts, and is lost at the first command. */
static void lost(const char *fake, const char *want)
{
	struct host_opts o = options();
	struct host_reply reply;
	char error[1200];
	struct host *h;

	setenv("FAKE", fake, 1);
	h = host_start(&o, error, sizeof(error));
	if (!tap_ok(h, "the host that %s starts", fake)) {
		tap_diag("%s", error);
		return;
	}
	host_do(h, &reply, "mark", "x");
	if (!tap_ok(reply.kind == HOST_LOST && !strcmp(host_explain(&reply), want), "%s", want))
		tap_diag("%s", host_explain(&reply));
	host_stop(h);
}

static void configuration(void)
{
	static const char *const wanted[] = {
		"cpu: model=corei7_haswell_4770, count=1,",
		"reset_on_triple_fault=0",
		"memory: guest=1032, host=1032",
		"com2: enabled=1, mode=socket-client, dev=127.0.0.1:",
		"panic: action=fatal",
	};
	char path[512], text[4096] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/bochsrc", dir);
	f = fopen(path, "re");
	if (!f || !fread(text, 1, sizeof(text) - 1, f) || fclose(f))
		tap_bail("cannot read %s", path);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		tap_ok(strstr(text, wanted[i]), "configured: %s", wanted[i]);
	snprintf(path, sizeof(path), "%s/disk", dir);
	tap_ok(access(path, F_OK), "the disk is removed once the host has started");
}

int main(int argc, char **argv)
{
	static const char *const files[] = { "bochs",	    "bochs.log", "bochsrc",
					     "console.log", "initramfs", "kernel" };
	char path[512], exe[512];
	ssize_t len;

	if (argc == 4 && !strcmp(argv[0], "bochs"))
		return fake_bochs(argv[3]);
	len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = '\0';
	if (!mkdtemp(dir))
		tap_bail("cannot make %s", dir);
	snprintf(path, sizeof(path), "%s/bochs", dir);
	if (symlink(exe, path))
		tap_bail("cannot make %s", path);
	setenv("PATH", dir, 1);
	snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
	snprintf(initramfs, sizeof(initramfs), "%s/initramfs", dir);
	make_kernel();
	refusals();
	lost("panics", "host lost: kernel panic");
	configuration();
	lost("triple fault", "host lost: Bochs: exception(): 3rd (14) exception");
	snprintf(path, sizeof(path),
		 "host lost: the emulator ended with status 1: see %s/bochs.log", dir);
	lost("ends", path);
	lost("hangs", "host lost: still running after 2 s");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	rmdir(dir);
	return tap_done();
}
