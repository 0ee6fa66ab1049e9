// SPDX-License-Identifier: GPL-2.0-only
/* AMD hosts, in QEMU's TCG. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "rig/emulator.h"
#include "rig/stream.h"

#define MAX_ARGS 96

static void add(const char **argv, size_t *n, const char *option, const char *value)
{
	argv[(*n)++] = option;
	argv[(*n)++] = value;
}

/* The frequency of this machine's TSC, and of the emulated one unless that counts instructions. */
static long tsc_khz(void)
{
	struct timespec start, end;
	unsigned long long ticks;
	long ns;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ticks = __rdtsc();
	sleep_ms(20);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ticks = __rdtsc() - ticks;
	ns = (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec;
	return (long)(ticks * 1000000 / ns);
}

static void __attribute__((noreturn)) exec_qemu(const struct host_opts *o, int channel, int qmp)
{
	/* The devices of every host; -nodefaults removes all others. */
	static const char *const common[][2] = {
		{ "-display", "none" },
		{ "-cpu", "EPYC" },
		{ "-device", "VGA,id=vga" },
		{ "-device", "qxl,id=qxl" },
		{ "-device", "virtio-serial" },
		{ "-device", "virtserialport,chardev=rig,name=" RIG_PORT },
		{ "-mon", "chardev=qmp,mode=control" },
		{ "-object", "memory-backend-ram,id=bar,size=4M,share=on" },
		{ "-device", "ivshmem-plain,memdev=bar" },
	};
	char coverage[600];
	char mem[32], cpus[16], rig[64], mon[64], console[600];
	char append[256];
	const char *argv[MAX_ARGS] = { "qemu-system-x86_64", "-nodefaults", "-no-reboot" };
	size_t n = 3, i;

	for (i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		add(argv, &n, common[i][0], common[i][1]);
	snprintf(mem, sizeof(mem), "%dM", o->mem_mb ? o->mem_mb : 1024);
	snprintf(cpus, sizeof(cpus), "%d", o->cpus ? o->cpus : o->icount ? 1 : 2);
	snprintf(rig, sizeof(rig), "socket,id=rig,fd=%d", channel);
	snprintf(mon, sizeof(mon), "socket,id=qmp,fd=%d", qmp);
	snprintf(console, sizeof(console), "%s%s/console.log",
		 o->terminal ? "stdio,id=console,mux=on,signal=off,logfile=" :
			       "file,id=console,path=",
		 o->logdir);
	add(argv, &n, "-accel", o->multi ? "tcg,thread=multi" : "tcg,thread=single");
	if (o->icount)
		add(argv, &n, "-icount", "shift=0,sleep=off");
	add(argv, &n, "-m", mem);
	add(argv, &n, "-smp", cpus);
	add(argv, &n, "-kernel", o->kernel);
	add(argv, &n, "-initrd", o->initramfs);
	/*
	 * The console is slow: loglevel=5 shows warnings and worse only. On a busy machine the
	 * kernel cannot calibrate anything: tsc_early_khz, tsc and no_timer_check spare it that.
	 * The displays need no framebuffer console. A slow kernel takes minutes to interpret the
	 * firmware's program about interrupts, which nothing needs.
	 */
	snprintf(
		append, sizeof(append),
		"console=ttyS0 loglevel=5 panic=-1 printk.devkmsg=on tsc=reliable tsc_early_khz=%ld "
		"no_timer_check drm_kms_helper.fbdev_emulation=0%s",
		o->icount ? 1000000 : tsc_khz(), o->slow > 1 ? " pci=noacpi" : "");
	add(argv, &n, "-append", append);
	add(argv, &n, "-chardev", rig);
	add(argv, &n, "-chardev", mon);
	add(argv, &n, "-chardev", console);
	add(argv, &n, "-serial", "chardev:console");
	if (o->terminal)
		add(argv, &n, "-mon", "chardev=console,mode=readline");
	if (!o->no_9p)
		add(argv, &n, "-virtfs",
		    "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap");
	/* A program in the host can find out how much processor time the emulator has had. */
	if (!o->no_9p)
		add(argv, &n, "-virtfs",
		    "local,path=/proc/self,mount_tag=" RIG_EMULATOR
		    ",security_model=none,readonly=on");
	if (o->coverage) {
		snprintf(coverage, sizeof(coverage), "%s/gcov", o->logdir);
		mkdir(coverage, 0755);
		snprintf(coverage, sizeof(coverage),
			 "local,path=%s/gcov,mount_tag=" RIG_COVERAGE ",security_model=none",
			 o->logdir);
		add(argv, &n, "-virtfs", coverage);
	}
	for (i = 0; o->extra && o->extra[i] && n < MAX_ARGS - 1; i++)
		argv[n++] = o->extra[i];
	argv[n] = NULL;

	fcntl(channel, F_SETFD, 0);
	fcntl(qmp, F_SETFD, 0);
	emulator_exec(argv, "qemu-system-x86");
}

static int qemu_check(const struct host_opts *o, char *error, size_t size)
{
	if (!o->icount || (o->cpus <= 1 && !o->multi))
		return 0;
	snprintf(error, size, "icount needs one processor and one thread");
	return -1;
}

static int qemu_start(const struct host_opts *o, struct emulation *e, char *error, size_t size)
{
	int channel[2], qmp[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
		goto fail;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp)) {
		close(channel[0]);
		close(channel[1]);
		goto fail;
	}
	e->channel = channel[0];
	e->qmp = qmp[0];
	e->pid = emulator_fork(&emulator_qemu, o);
	if (!e->pid)
		exec_qemu(o, channel[1], qmp[1]);
	close(channel[1]);
	close(qmp[1]);
	if (e->pid > 0)
		return 0;
	close(channel[0]);
	close(qmp[0]);
fail:
	snprintf(error, size, "cannot start an emulator: %s", strerror(errno));
	return -1;
}

/* QEMU explains itself in its log. */
static bool qemu_explain(const struct host_opts *o, char *why, size_t size)
{
	(void)o;
	(void)why;
	(void)size;
	return false;
}

const struct emulator emulator_qemu = {
	.log = "qemu.log",
	.boot_s = 120,
	.patience_s = 60,
	.stop_s = 10,
	.mark_ms = 5000,
	.has_9p = true,
	.check = qemu_check,
	.start = qemu_start,
	.explain = qemu_explain,
};
