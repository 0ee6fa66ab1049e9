// SPDX-License-Identifier: GPL-2.0-only
/* Debian's QEMU as a VMM in the emulated host; qemu.h describes the functions. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig/protocol.h"
#include "tests/lib/qemu.h"

/*
 * Time limits, in seconds, for the guest's boot, which takes 4 s on an idle machine, and for
 * anything else. A busy machine must not make them shorter, so they count the emulator's processor
 * time, and CLOCK_FACTOR times as much on the clock in case it sleeps.
 */
#define UP_S	     40
#define WAIT_S	     40
#define CLOCK_FACTOR 10

/* The descriptor of the monitor's socket in QEMU. */
#define MONITOR_FD 3

struct limit {
	double emulator, clock; /* when it ends, in seconds */
};

static double clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The emulator's processor time so far, from its own directory in the machine's /proc. */
static double emulator_s(void)
{
	static const char *const dir = "/tmp/emulator";
	unsigned long user, sys;
	char text[1024], *p;
	static int fd = -1;
	ssize_t len;

	if (fd < 0) {
		/* It stays mounted for the tests that follow. */
		if ((mkdir(dir, 0700) && errno != EEXIST) ||
		    (access("/tmp/emulator/stat", F_OK) &&
		     mount(RIG_EMULATOR, dir, "9p", MS_RDONLY, "trans=virtio,version=9p2000.L")))
			tap_bail("cannot mount %s: %s", dir, strerror(errno));
		fd = open("/tmp/emulator/stat", O_RDONLY | O_CLOEXEC);
	}
	len = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	/* The name of the process may contain anything. */
	p = strrchr(text, ')');
	if (!p ||
	    sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
		tap_bail("the emulator's processor time cannot be read");
	/* USER_HZ */
	return (double)(user + sys) / 100;
}

static struct limit limit(unsigned int seconds)
{
	return (struct limit){ emulator_s() + seconds, clock_s() + seconds * CLOCK_FACTOR };
}

static bool is_over(const struct limit *l)
{
	return clock_s() >= l->clock || emulator_s() >= l->emulator;
}

void qemu_buf(struct buf *b, unsigned int order)
{
	buf_open_named(b, &(struct pfnmap_create){ .kind = PFNMAP_NONCOMPOUND,
						   .insert = PFNMAP_INSERT_AROUND,
						   .order = order,
						   .pages = QEMU_PAGES });
}

unsigned int qemu_written(const struct buf *b, unsigned int stride, unsigned long seed)
{
	uint64_t words[GUEST_WORDS];
	unsigned int page, i, n = 0;

	for (page = 0; page < QEMU_PAGES; page += stride) {
		if (pread(b->fd, words, KIT_PAGE, (off_t)page * KIT_PAGE) != KIT_PAGE)
			tap_bail("pread of the buffer: %s", strerror(errno));
		for (i = 0; i < GUEST_WORDS; i++)
			if (words[i] != ivshmem_pattern(page * GUEST_WORDS + i, seed))
				break;
		n += i == GUEST_WORDS;
	}
	return n;
}

static void __attribute__((noreturn)) exec_qemu(const char *build)
{
	static const char *const backend = "memory-backend-file,id=" QEMU_BACKEND ",size=2M,"
					   "share=on,mem-path=" PFNMAP_BUFFER_PATH;
	char kernel[512], initrd[512];
	struct utsname host;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	uname(&host);
	/* An unpacked kernel boots a second faster. */
	snprintf(kernel, sizeof(kernel), "%s/%s/vmlinux", build, host.release);
	snprintf(initrd, sizeof(initrd), "%s/guest/ivshmem.cpio", build);
	/* The build directory may be below the machine's /tmp, which the host's /tmp covers. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    umount2("/machine/tmp", MNT_DETACH) || chroot("/machine") || chdir("/")) {
		printf("cannot enter /machine: %s\n", strerror(errno));
		exit(127);
	}
	execl("/usr/bin/qemu-system-x86_64", "qemu-system-x86_64", "-nodefaults", "-no-reboot",
	      "-display", "none", "-serial", "stdio", "-chardev", "socket,id=monitor,fd=3", "-mon",
	      "chardev=monitor,mode=control", "-accel", "kvm", "-cpu", "host", "-m", "256M",
	      "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
	      "-object", backend, "-device",
	      "ivshmem-plain,id=" QEMU_DEVICE ",memdev=" QEMU_BACKEND, (char *)NULL);
	printf("cannot run the machine's qemu-system-x86_64: %s\n", strerror(errno));
	exit(127);
}

static void start(struct qemu *q)
{
	const char *build = getenv("BUILD");
	int console[2], monitor[2];

	if (!build)
		tap_bail("BUILD, the machine's path of the build directory, is not set");
	/* Writing to a QEMU that has just died must be an error, not the end of the test. */
	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor))
		tap_bail("socketpair: %s", strerror(errno));
	*q = (struct qemu){ .console = console[0], .monitor = monitor[0] };
	fflush(NULL);
	q->pid = fork();
	if (q->pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!q->pid) {
		/* Move it first: the other end may have this number. */
		monitor[1] = fcntl(monitor[1], F_DUPFD, MONITOR_FD + 1);
		dup2(console[1], 0);
		dup2(console[1], 1);
		dup2(console[1], 2);
		dup2(monitor[1], MONITOR_FD);
		close(monitor[1]);
		exec_qemu(build);
	}
	close(console[1]);
	close(monitor[1]);
}

/*
 * Read a line without its line break, cut off at size; false when the time is up or the output
 * ends.
 */
static bool read_line(int fd, char *line, size_t size, const struct limit *end)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	char c;

	for (;;) {
		if (poll(&pfd, 1, 1000) <= 0) {
			if (is_over(end))
				return false;
			continue;
		}
		if (read(fd, &c, 1) != 1)
			return false;
		if (c == '\n') {
			line[used] = '\0';
			return true;
		}
		if (c != '\r' && used < size - 1)
			line[used++] = c;
	}
}

/*
 * Read a line from QEMU or the guest; false as for qemu_up(). After a failed KVM_RUN, QEMU keeps
 * the guest paused forever.
 */
static bool console_line(struct qemu *q, char *line, size_t size, const struct limit *end)
{
	if (q->error[0] || !read_line(q->console, line, size, end))
		return false;
	tap_diag("%s", line);
	if (strncmp(line, "error: kvm run failed", 21))
		return true;
	snprintf(q->error, sizeof(q->error), "%.127s", line);
	return false;
}

bool qemu_up(struct qemu *q)
{
	struct limit end = limit(UP_S);
	char line[1024];

	while (console_line(q, line, sizeof(line), &end))
		if (!strcmp(line, GUEST_SAYS_UP))
			return true;
	return false;
}

static bool boot(struct qemu *q)
{
	struct limit end = limit(UP_S);
	char greeting[1024];

	start(q);
	return read_line(q->monitor, greeting, sizeof(greeting), &end) &&
	       qemu_monitor(q, NULL, 0, "{\"execute\": \"qmp_capabilities\"}") && qemu_up(q);
}

/* Has QEMU ended by itself? */
static bool has_ended(struct qemu *q)
{
	if (!q->ended)
		q->ended = waitpid(q->pid, &q->status, WNOHANG) == q->pid;
	return q->ended;
}

bool qemu_boot(struct qemu *q)
{
	if (boot(q))
		return true;
	/*
	 * QEMU's emulation of SVM sometimes delivers an injected interrupt twice, and the guest
	 * deadlocks at boot, long before it uses the buffer. This is frequent with two processors,
	 * whose interrupts disturb each other: hence cpus=1 in the table of tests.
	 */
	if (q->error[0] || has_ended(q))
		return false;
	tap_diag("the guest hangs at boot: starting it again");
	qemu_kill(q);
	return boot(q);
}

static void tell(struct qemu *q, const char *fmt, va_list ap)
{
	char line[64];
	int len;

	len = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	line[len++] = '\n';
	if (write(q->console, line, len) != len)
		tap_diag("cannot write to QEMU: %s", strerror(errno));
}

void qemu_tell(struct qemu *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(q, fmt, ap);
	va_end(ap);
}

bool qemu_ask(struct qemu *q, struct did *did, const char *fmt, ...)
{
	struct limit end = limit(WAIT_S);
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	tell(q, fmt, ap);
	va_end(ap);
	while (console_line(q, line, sizeof(line), &end))
		if (sscanf(line, GUEST_SAYS_DID, &did->size, &did->done, &did->wrong) == 3)
			return true;
	*did = (struct did){ 0 };
	return false;
}

bool qemu_end(struct qemu *q)
{
	struct limit end = limit(WAIT_S);
	char line[1024];

	while (console_line(q, line, sizeof(line), &end))
		;
	/* Its output ends shortly before the process does. */
	for (int i = 0; i < 100 && !q->error[0] && !has_ended(q); i++)
		usleep(20000);
	return q->ended && WIFEXITED(q->status) && !WEXITSTATUS(q->status);
}

void qemu_kill(struct qemu *q)
{
	if (!q->pid)
		return;
	if (!q->ended) {
		kill(q->pid, SIGKILL);
		waitpid(q->pid, NULL, 0);
	}
	close(q->console);
	close(q->monitor);
	q->pid = 0;
}

/* Read the reply to the last command; events before it are dropped. */
static bool monitor_reply(struct qemu *q, char *reply, size_t size)
{
	struct limit end = limit(WAIT_S);
	char line[4096];

	do {
		if (!read_line(q->monitor, line, sizeof(line), &end)) {
			snprintf(reply, size, "no reply");
			return false;
		}
	} while (strncmp(line, "{\"return\"", 9) && strncmp(line, "{\"error\"", 8));
	snprintf(reply, size, "%s", line);
	return line[2] == 'r';
}

bool qemu_monitor(struct qemu *q, char *reply, size_t size, const char *json)
{
	if (dprintf(q->monitor, "%s\n", json) < 0)
		tap_diag("cannot write to the monitor: %s", strerror(errno));
	return monitor_reply(q, reply, size);
}

bool qemu_monitor_fd(struct qemu *q, int fd, const char *json)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(fd))];
	} control = { .hdr = {
			      .cmsg_len = CMSG_LEN(sizeof(fd)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
		      } };
	struct iovec iov = { .iov_base = (void *)json, .iov_len = strlen(json) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(fd));
	if (sendmsg(q->monitor, &msg, 0) != (ssize_t)iov.iov_len)
		tap_diag("cannot write to the monitor: %s", strerror(errno));
	return monitor_reply(q, NULL, 0);
}

bool qemu_event(struct qemu *q, const char *name)
{
	struct limit end = limit(WAIT_S);
	char line[4096], want[64];

	snprintf(want, sizeof(want), "\"event\": \"%s\"", name);
	while (read_line(q->monitor, line, sizeof(line), &end))
		if (strstr(line, want))
			return true;
	return false;
}
