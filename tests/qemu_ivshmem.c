// SPDX-License-Identifier: GPL-2.0-only
/*
 * A real VMM and a real guest use non-refcounted memory (contract 3): Debian's QEMU puts the
 * exporter's buffer into an ivshmem device, and a guest with Debian's kernel writes all of
 * it.
 *
 * Stock KVM stops the guest at the first page whose reference count is 0, the buffer's
 * second one. Seen to fail: on patched KVM with the expectation of stock, and the other way
 * round.
 *
 * Needs the machine's files at /machine, and BUILD, the machine's path of the build
 * directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/ivshmem_guest.h"
#include "tests/kit.h"

#define PAGES 512u
#define WORDS (KIT_PAGE / sizeof(uint64_t))

/* How long the guest may take until its PID 1 runs (5 s on an idle machine), and in all. */
#define UP_MS  60000
#define ALL_MS 90000

/* What became of one start of QEMU. */
struct outcome {
	bool up;    /* the guest's PID 1 ran */
	bool ended; /* QEMU ended by itself, with status */
	int status;
	size_t found;	 /* size of the device's memory as the guest sees it, bytes */
	size_t done;	 /* what the guest says that it wrote, bytes */
	size_t wrong;	 /* and read back wrongly, words */
	char error[128]; /* QEMU's own line about a failed KVM_RUN, or empty */
};

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void __attribute__((noreturn)) exec_qemu(const char *build)
{
	static const char *const mem =
		"memory-backend-file,id=v,size=2M,share=on,mem-path=" PFNMAP_BUFFER_PATH;
	char kernel[512], initrd[512];
	struct utsname host;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	uname(&host);
	snprintf(kernel, sizeof(kernel), "%s/%s/image/boot/vmlinuz-%s", build, host.release,
		 host.release);
	snprintf(initrd, sizeof(initrd), "%s/guest/ivshmem.cpio", build);
	/* The build directory may be below the machine's /tmp, which the host's covers. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    umount2("/machine/tmp", MNT_DETACH) || chroot("/machine") || chdir("/")) {
		printf("cannot enter /machine: %s\n", strerror(errno));
		exit(127);
	}
	execl("/usr/bin/qemu-system-x86_64", "qemu-system-x86_64", "-nodefaults", "-no-reboot",
	      "-display", "none", "-serial", "stdio", "-accel", "kvm", "-cpu", "host", "-m", "256M",
	      "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
	      "-object", mem, "-device", "ivshmem-plain,memdev=v", (char *)NULL);
	printf("cannot run the machine's qemu-system-x86_64: %s\n", strerror(errno));
	exit(127);
}

static pid_t start_qemu(const char *build, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		tap_bail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		exec_qemu(build);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

/* One line of QEMU's or of the guest's; false after the last one of interest. */
static bool take_line(struct outcome *o, const char *line)
{
	tap_diag("%s", line);
	if (!strcmp(line, GUEST_SAYS_UP))
		o->up = true;
	sscanf(line, GUEST_SAYS_FOUND, &o->found);
	sscanf(line, GUEST_SAYS_DONE, &o->done, &o->wrong);
	if (!strncmp(line, "error: kvm run failed", 21)) {
		snprintf(o->error, sizeof(o->error), "%.127s", line);
		return false;
	}
	return true;
}

/*
 * Read all lines until the end of the output, a failed KVM_RUN (after which QEMU keeps the guest
 * paused for ever), or the end of the time.
 */
static void watch(int fd, struct outcome *o)
{
	long long start = now_ms(), left;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char line[1024];
	size_t used = 0;

	while ((left = start + (o->up ? ALL_MS : UP_MS) - now_ms()) > 0) {
		if (poll(&pfd, 1, (int)left) <= 0)
			continue;
		if (read(fd, line + used, 1) != 1)
			return;
		if (used < sizeof(line) - 2 && line[used] != '\n') {
			used += line[used] != '\r';
			continue;
		}
		line[used] = '\0';
		used = 0;
		if (!take_line(o, line))
			return;
	}
}

static void run_qemu(const char *build, struct outcome *o)
{
	int fd, status = 0;
	pid_t pid;

	memset(o, 0, sizeof(*o));
	pid = start_qemu(build, &fd);
	watch(fd, o);
	/* The end of its output comes a moment before its own. */
	for (int i = 0; i < 100 && !o->error[0] && !o->ended; i++) {
		o->ended = waitpid(pid, &status, WNOHANG) == pid;
		if (!o->ended)
			usleep(20000);
	}
	if (o->ended) {
		o->status = status;
	} else {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(fd);
}

/* How many pages hold all of what the guest writes, as the exporter reads them. */
static unsigned int pages_written(int fd)
{
	unsigned int page, i, n = 0;
	uint64_t words[WORDS];

	for (page = 0; page < PAGES; page++) {
		if (pread(fd, words, KIT_PAGE, (off_t)page * KIT_PAGE) != KIT_PAGE)
			tap_bail("pread of the buffer: %s", strerror(errno));
		for (i = 0; i < WORDS && words[i] == ivshmem_pattern(page * WORDS + i); i++)
			;
		n += i == WORDS;
	}
	return n;
}

int main(void)
{
	struct buf b = {
		.spec = {
			.kind = PFNMAP_NONCOMPOUND,
			.insert = PFNMAP_INSERT_AROUND,
			.order = 9,
			.pages = PAGES,
		},
		.size = PAGES * KIT_PAGE,
	};
	const char *build = getenv("BUILD"), *change;
	bool patched = tap_kvm_patched();
	unsigned int written;
	struct outcome o;

	kit_start();
	if (!build)
		tap_bail("BUILD is not set: the machine's path of the build directory");
	b.fd = open(PFNMAP_BUFFER_PATH, O_RDWR | O_CLOEXEC);
	if (b.fd < 0 || ioctl(b.fd, PFNMAP_CREATE, &b.spec))
		tap_bail("%s: %s", PFNMAP_BUFFER_PATH, strerror(errno));
	buf_mark(&b);
	run_qemu(build, &o);
	if (!o.up && !o.ended && !o.error[0]) {
		/*
		 * QEMU's emulation of SVM sometimes delivers an injected interrupt twice, and the
		 * guest deadlocks at boot, long before the buffer comes into it. With two
		 * processors that is frequent, since one's interrupts disturb the other: hence
		 * cpus=1 in the table of tests.
		 */
		tap_diag("the guest hangs at boot: starting it once more");
		run_qemu(build, &o);
	}
	change = buf_changes(&b);
	written = pages_written(b.fd);

	tap_ok(o.up, "a guest with Debian's kernel boots in Debian's QEMU");
	tap_is(o.found, b.size, "it finds the buffer as an ivshmem device");
	if (patched) {
		tap_ok(!o.error[0], "QEMU reports no failed KVM_RUN");
		tap_ok(o.done == b.size && !o.wrong, "the guest reads back all that it wrote");
		tap_is(written, PAGES, "the buffer holds what the guest wrote, in every page");
		tap_ok(o.ended && WIFEXITED(o.status) && !WEXITSTATUS(o.status),
		       "the guest powers off and QEMU ends with status 0");
	} else {
		tap_ok(!strcmp(o.error, "error: kvm run failed Bad address"),
		       "QEMU reports: kvm run failed Bad address");
		tap_is(o.done, 0, "the guest does not come to the end of its writing");
		tap_is(written, 1, "the guest wrote the first page, the only one with a count");
		tap_ok(!o.ended, "QEMU stays, with the guest stopped");
	}
	tap_ok(!change, "the pages' counts and flags are what they were: %s",
	       change ? change : "yes");
	tap_diag("outcome: %s, %u of %u pages",
		 o.error[0]		      ? o.error + strlen("error: ") :
		 o.done == b.size && !o.wrong ? "works" :
		 o.up			      ? "the guest does not finish" :
						"the guest does not boot",
		 written, PAGES);
	buf_close(&b);
	return kit_finish();
}
