// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the emulated host: executes the commands that arrive over the channel (protocol.h).
 *
 * The console belongs to the kernel log; once the channel is open, PID 1 does not write to it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "rig/protocol.h"
#include "rig/stream.h"

#define MODULES "/modules/"
#define MACHINE "/machine"

/* How long exiting processes may take before they count as left over. */
#define SETTLE_MS 5000
/* How long a killed process may take to exit before it counts as stuck. */
#define KILL_MS		5000
#define CHANNEL_WAIT_MS 10000

/* How a command ended: the kind and the value of its reply. */
struct outcome {
	const char *kind;
	int value;
};

static int channel = -1;
static char message[512];

static void power_off(void)
{
	tcdrain(channel);
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

/* For errors before the channel is open: the console is all there is. */
static void die(const char *what)
{
	fprintf(stderr, "rig: init: %s: %s\n", what, strerror(errno));
	sleep_ms(100);
	power_off();
}

static void send_all(const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(channel, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			power_off();
		buf += n;
		len -= n;
	}
}

static void send_line(char tag, const char *text, size_t len)
{
	char buf[RIG_LINE + 2];

	if (len > RIG_LINE)
		len = RIG_LINE;
	buf[0] = tag;
	memcpy(buf + 1, text, len);
	buf[len + 1] = '\n';
	send_all(buf, len + 2);
}

static void __attribute__((format(printf, 2, 3))) send_fmt(char tag, const char *fmt, ...)
{
	char buf[RIG_LINE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	send_line(tag, buf, strlen(buf));
}

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
}

/* Return the errno of a failed command, and keep a message for the reply. */
static int fail(int err, const char *what)
{
	say("%s: %s", what, strerror(err));
	return err;
}

static bool read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* --- modules --- */

static int load_module(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return fail(errno, path);
	if (syscall(SYS_finit_module, fd, params, 0))
		err = fail(errno, path);
	close(fd);
	return err;
}

/* The kernel's name for a module: the base name without suffix, and '_' for '-'. */
static void module_name(const char *path, char *name, size_t size)
{
	const char *base = strrchr(path, '/');
	size_t i;

	base = base ? base + 1 : path;
	for (i = 0; i + 1 < size && base[i] && base[i] != '.'; i++)
		name[i] = base[i] == '-' ? '_' : base[i];
	name[i] = '\0';
}

/* Append a "module.param=value" word to params if it is for this module. */
static void add_param(const char *word, const char *module, char *params, size_t size)
{
	const char *dot = strchr(word, '.'), *eq = strchr(word, '=');
	char name[64], all[64];
	size_t len = strlen(params);

	if (!dot || !eq || dot > eq)
		return;
	snprintf(all, sizeof(all), "%.*s", (int)(dot - word), word);
	module_name(all, name, sizeof(name));
	if (!strcmp(name, module))
		snprintf(params + len, size - len, "%s%s", len ? " " : "", dot + 1);
}

static bool is_loaded(const char *module)
{
	char path[96];

	/* Built-in modules have a directory, too, but no state. */
	snprintf(path, sizeof(path), "/sys/module/%s/initstate", module);
	return !access(path, F_OK);
}

/* Load each file of a dependency list, with its parameters from the words and /proc/cmdline. */
static int load_list(char *list, char **words)
{
	char cmdline[2048], params[512], module[64];
	char *path, *next, *word;
	int err, i;

	for (path = strtok_r(list, " ", &next); path; path = strtok_r(NULL, " ", &next)) {
		params[0] = '\0';
		module_name(path, module, sizeof(module));
		if (read_file("/proc/cmdline", cmdline, sizeof(cmdline)))
			for (word = strtok(cmdline, " \n"); word; word = strtok(NULL, " \n"))
				add_param(word, module, params, sizeof(params));
		for (i = 0; words[i]; i++)
			add_param(words[i], module, params, sizeof(params));
		if (is_loaded(module))
			continue;
		err = load_module(path, params);
		if (err && err != EEXIST)
			return err;
	}
	return 0;
}

/* words: NAME as in the dependency file, then module.param=value ... */
static int do_modprobe(char **words)
{
	size_t len = strlen(words[0]);
	char line[2048];
	int err = ENOENT;
	FILE *deps;

	deps = fopen(MODULES "deps", "re");
	if (!deps)
		return fail(errno, MODULES "deps");
	while (err == ENOENT && fgets(line, sizeof(line), deps)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, words[0], len) && line[len] == ':') {
			fclose(deps);
			return load_list(line + len + 1, words + 1);
		}
	}
	fclose(deps);
	say("%s: not in the initramfs", words[0]);
	return err;
}

static int modprobe(const char *name)
{
	char *words[] = { (char *)name, NULL };

	return do_modprobe(words);
}

static int do_insmod(char **words)
{
	char params[512] = "";
	int i;

	for (i = 1; words[i]; i++) {
		size_t len = strlen(params);

		snprintf(params + len, sizeof(params) - len, "%s%s", len ? " " : "", words[i]);
	}
	return load_module(words[0], params);
}

static int do_rmmod(char **words)
{
	char module[64];

	module_name(words[0], module, sizeof(module));
	if (syscall(SYS_delete_module, module, O_NONBLOCK))
		return fail(errno, words[0]);
	return 0;
}

/* The reply's value becomes the number of users of a loaded module. */
static int do_users(char **words, struct outcome *out)
{
	char module[64], path[96], count[16];

	module_name(words[0], module, sizeof(module));
	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	if (read_file(path, count, sizeof(count))) {
		out->kind = RIG_OK;
		out->value = atoi(count);
	} else {
		out->value = fail(errno, words[0]);
	}
	return 0;
}

/* --- the machine's files --- */

static int mount_at(const char *src, const char *dst, const char *type, unsigned long flags,
		    const char *data)
{
	mkdir(dst, 0755);
	if (mount(src, dst, type, flags, data))
		return fail(errno, dst);
	return 0;
}

static int do_9p(char **words)
{
	static const char *const binds[] = { "/dev", "/proc", "/sys", "/tmp" };
	static bool mounted;
	char path[64];
	size_t i;
	int err;

	(void)words;
	if (mounted)
		return 0;
	err = modprobe("9pnet_virtio");
	if (!err)
		err = modprobe("9p");
	if (!err)
		err = mount_at("root", MACHINE, "9p", MS_RDONLY,
			       "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
	for (i = 0; !err && i < sizeof(binds) / sizeof(binds[0]); i++) {
		snprintf(path, sizeof(path), MACHINE "%s", binds[i]);
		err = mount_at(binds[i], path, NULL, MS_BIND, NULL);
	}
	mounted = !err;
	return err;
}

/* --- processes --- */

/* Count the live user processes except this one. If names, append their names to the message. */
static int count_others(bool names)
{
	char path[300], stat[512], state, *paren;
	int ppid, pid, n = 0;
	struct dirent *de;
	size_t len;
	DIR *proc;

	proc = opendir("/proc");
	while (proc && (de = readdir(proc))) {
		pid = atoi(de->d_name);
		if (pid <= 2)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		if (!read_file(path, stat, sizeof(stat)))
			continue;
		paren = strrchr(stat, ')');
		if (!paren || sscanf(paren + 1, " %c %d", &state, &ppid) != 2)
			continue;
		/* Skip kernel threads, which are children of 2, and zombies. */
		if (ppid == 2 || state == 'Z' || state == 'X')
			continue;
		n++;
		len = strlen(message);
		if (names)
			snprintf(message + len, sizeof(message) - len, " %.*s) in state %c",
				 (int)(paren - stat), stat, state);
	}
	if (proc)
		closedir(proc);
	return n;
}

/* Reap processes until none is left or the time is up; returns how many are left. */
static int wait_for_others(int ms)
{
	long long deadline = now_ms() + ms;
	pid_t pid;

	for (;;) {
		do {
			pid = waitpid(-1, NULL, WNOHANG);
		} while (pid > 0);
		/* Without children there are no other processes. */
		if (pid < 0)
			return 0;
		if (now_ms() >= deadline)
			return count_others(false);
		sleep_ms(5);
	}
}

/* Send one note per thread with its stack, for the log of a test that timed out. */
static void note_stacks(void)
{
	char path[600], comm[64], stack[1024], *p;
	struct dirent *de, *te;
	DIR *proc, *task;

	proc = opendir("/proc");
	while (proc && (de = readdir(proc))) {
		if (atoi(de->d_name) <= 2)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/exe", de->d_name);
		if (readlink(path, comm, sizeof(comm)) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task", de->d_name);
		task = opendir(path);
		while (task && (te = readdir(task))) {
			snprintf(path, sizeof(path), "/proc/%s/task/%s/comm", de->d_name,
				 te->d_name);
			if (te->d_name[0] == '.' || !read_file(path, comm, sizeof(comm)))
				continue;
			snprintf(path, sizeof(path), "/proc/%s/task/%s/stack", de->d_name,
				 te->d_name);
			if (!read_file(path, stack, sizeof(stack)))
				continue;
			comm[strcspn(comm, "\n")] = '\0';
			for (p = stack; *p; p++)
				if (*p == '\n')
					*p = ' ';
			send_fmt(RIG_NOTE, "thread %s (%s): %.900s", te->d_name, comm, stack);
		}
		if (task)
			closedir(task);
	}
	if (proc)
		closedir(proc);
}

/* Output of a program that is not a complete line yet. */
struct lines {
	char buf[RIG_LINE];
	size_t used;
};

/* Forward output from fd; false at its end. */
static bool forward(int fd, struct lines *l)
{
	char *nl, *start;
	ssize_t n;

	n = read(fd, l->buf + l->used, sizeof(l->buf) - l->used);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	l->used += n;
	for (start = l->buf; (nl = memchr(start, '\n', l->buf + l->used - start)); start = nl + 1)
		send_line(RIG_OUT, start, nl - start);
	l->used -= start - l->buf;
	memmove(l->buf, start, l->used);
	if (l->used && (!n || l->used == sizeof(l->buf))) {
		send_line(RIG_OUT_PART, l->buf, l->used);
		l->used = 0;
	}
	return n > 0;
}

/* --- commands --- */

static struct {
	char buf[RIG_COMMAND];
	size_t used, eaten;
} input;

/* Is there one already, after the last one that was read? */
static bool is_command_waiting(void)
{
	return memchr(input.buf + input.eaten, '\n', input.used - input.eaten);
}

/* Read the next command; power off when the machine has closed the channel. */
static char *next_command(void)
{
	char *nl;
	ssize_t n;

	input.used -= input.eaten;
	memmove(input.buf, input.buf + input.eaten, input.used);
	while (!(nl = memchr(input.buf, '\n', input.used))) {
		n = input.used < sizeof(input.buf) ?
			    read(channel, input.buf + input.used, sizeof(input.buf) - input.used) :
			    0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			power_off();
		input.used += n;
	}
	*nl = '\0';
	input.eaten = nl + 1 - input.buf;
	return input.buf;
}

/*
 * Wait for a program and forward its output, then kill all that it started. The machine may stop
 * it when its timeout_s are up.
 * fd: the non-blocking end of its output pipe, or -1.
 */
static int supervise(pid_t pid, int fd, int timeout_s, struct outcome *out)
{
	struct pollfd pfd[3] = { { .events = POLLIN },
				 { .fd = fd, .events = POLLIN },
				 { .fd = channel, .events = POLLIN } };
	static struct lines lines; /* too large for the stack */
	bool timeout = false;
	int status, left;

	lines.used = 0;
	pfd[0].fd = pidfd_open(pid, 0);
	for (;;) {
		if (!is_command_waiting() && poll(pfd, 3, -1) < 0 && errno != EINTR)
			break;
		if (is_command_waiting() || pfd[2].revents) {
			timeout = !strcmp(next_command(), "stop");
			if (timeout)
				break;
		}
		if (pfd[1].revents && !forward(fd, &lines))
			pfd[1].fd = -1;
		if (pfd[0].revents)
			break;
	}
	close(pfd[0].fd);

	status = 0;
	if (timeout) {
		note_stacks();
	} else {
		waitpid(pid, &status, 0);
	}
	left = timeout ? count_others(false) - 1 : wait_for_others(SETTLE_MS);
	if (left > 0 && !timeout) {
		say("left over:");
		count_others(true);
	}
	kill(-1, SIGKILL);
	if (wait_for_others(KILL_MS)) {
		say("survived SIGKILL:");
		left = count_others(true);
		out->kind = RIG_STUCK;
	} else if (timeout) {
		out->kind = RIG_TIMEOUT;
		out->value = timeout_s;
	} else if (WIFSIGNALED(status)) {
		out->kind = RIG_SIGNAL;
		out->value = WTERMSIG(status);
	} else {
		out->kind = RIG_EXIT;
		out->value = WEXITSTATUS(status);
	}
	while (fd >= 0 && forward(fd, &lines) && poll(&pfd[1], 1, 0) > 0)
		;
	return left > 0 ? left : 0;
}

static bool is_env(const char *word)
{
	size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

	return n && word[n] == '=' && !isdigit((unsigned char)word[0]);
}

/*
 * In the child: execute the program argv[0] with the variables from env to argv, or report the
 * errno.
 */
static void __attribute__((noreturn)) become(char **env, char **argv, int err_fd)
{
	const char *prog;
	int err;

	setsid();
	clearenv();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("LC_ALL", "C", 1);
	for (; env < argv; env++)
		putenv(*env);
	prog = argv[0];
	if (!strncmp(prog, MACHINE "/", strlen(MACHINE "/"))) {
		if (chroot(MACHINE) || chdir("/"))
			goto fail;
		prog += strlen(MACHINE);
		argv[0] = (char *)prog;
	}
	execvp(prog, argv);
fail:
	err = errno;
	if (write(err_fd, &err, sizeof(err)) != sizeof(err))
		_exit(126);
	_exit(127);
}

/* words: TIMEOUT_S [VAR=value ...] PROGRAM ARGS... */
static int do_run(char **words, struct outcome *out)
{
	int pipe_out[2], pipe_err[2], err = 0, left, i;
	int timeout_s = atoi(words[0]);
	pid_t pid;

	for (i = 1; words[i] && is_env(words[i]); i++)
		;
	if (timeout_s <= 0 || !words[i]) {
		out->value = fail(EINVAL, "run: want TIMEOUT_S [VAR=value ...] PROGRAM");
		return 0;
	}
	if (pipe2(pipe_out, O_CLOEXEC) || pipe2(pipe_err, O_CLOEXEC)) {
		out->value = fail(errno, "pipe");
		return 0;
	}
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		dup2(pipe_out[1], 1);
		dup2(pipe_out[1], 2);
		if (null > 2)
			close(null);
		become(words + 1, words + i, pipe_err[1]);
	}
	close(pipe_out[1]);
	close(pipe_err[1]);
	if (pid < 0) {
		out->value = fail(errno, "fork");
	} else if (read(pipe_err[0], &err, sizeof(err)) == sizeof(err)) {
		waitpid(pid, NULL, 0);
		out->value = fail(err, words[i]);
		pid = -1;
	}
	close(pipe_err[0]);
	left = 0;
	if (pid > 0) {
		fcntl(pipe_out[0], F_SETFL, O_NONBLOCK);
		left = supervise(pid, pipe_out[0], timeout_s, out);
	}
	close(pipe_out[0]);
	return left;
}

/* words: ROWS COLUMNS, the size of the terminal that shows the console. */
static int do_shell(char **words, struct outcome *out)
{
	static char *shell[] = { "TERM=linux", "PS1=host# ", "/bin/sh", NULL };
	struct winsize ws = { 0 };
	struct termios t;
	pid_t pid;
	int fd;

	if (words[0] && words[1]) {
		ws.ws_row = atoi(words[0]);
		ws.ws_col = atoi(words[1]);
	}
	pid = fork();
	if (!pid) {
		setsid();
		fd = open("/dev/ttyS0", O_RDWR);
		if (fd < 0)
			_exit(126);
		ioctl(fd, TIOCSCTTY, 0);
		ioctl(fd, TIOCSWINSZ, &ws);
		tcgetattr(fd, &t);
		t.c_lflag |= ICANON | ECHO | ECHOE | ECHOK | ISIG | IEXTEN;
		t.c_iflag |= ICRNL;
		t.c_oflag |= OPOST | ONLCR;
		tcsetattr(fd, TCSANOW, &t);
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		/* setsid() in become() fails, harmlessly: this child already leads a session. */
		become(shell, shell + 2, 2);
	}
	if (pid < 0) {
		out->value = fail(errno, "fork");
		return 0;
	}
	return supervise(pid, -1, 0, out);
}

static int do_mark(char **words)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[512];
	int len, err = 0;

	/*
	 * <4> makes it a warning, so that it reaches the console. Without a line break, the kernel
	 * would hold it back until the next message.
	 */
	len = snprintf(line, sizeof(line), "<4>rig: %s\n", words[0]);
	if (fd < 0 || write(fd, line, len) != len)
		err = fail(errno, "/dev/kmsg");
	if (fd >= 0)
		close(fd);
	return err;
}

/* --- the channel --- */

/* Find the virtio-serial port of this name: its path below /dev. */
static bool find_port(const char *name, char *path, size_t size)
{
	char file[300], port[64];
	bool found = false;
	struct dirent *de;
	DIR *dir;

	dir = opendir("/sys/class/virtio-ports");
	while (dir && !found && (de = readdir(dir))) {
		snprintf(file, sizeof(file), "/sys/class/virtio-ports/%s/name", de->d_name);
		if (!read_file(file, port, sizeof(port)))
			continue;
		port[strcspn(port, "\n")] = '\0';
		found = !strcmp(port, name);
		if (found)
			snprintf(path, size, "/dev/%.40s", de->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/*
 * RIG_CHANNEL=ttyS1 on the kernel command line, from which it gets to our environment, names a
 * serial port.
 */
static void open_channel(void)
{
	const char *tty = getenv("RIG_CHANNEL");
	long long deadline = now_ms() + CHANNEL_WAIT_MS;
	struct termios t;
	char path[64];

	if (tty) {
		snprintf(path, sizeof(path), "/dev/%.40s", tty);
	} else {
		if (modprobe("virtio_pci") || modprobe("virtio_console"))
			die(message);
		while (!find_port(RIG_PORT, path, sizeof(path))) {
			errno = ETIMEDOUT;
			if (now_ms() > deadline)
				die("no virtio-serial port named " RIG_PORT);
			sleep_ms(5);
		}
	}
	channel = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (channel < 0)
		die(path);
	if (tty && !tcgetattr(channel, &t)) {
		cfmakeraw(&t);
		tcsetattr(channel, TCSANOW, &t);
	}
}

static const struct command {
	const char *name;
	int min_words;
	int (*simple)(char **words);
	int (*process)(char **words, struct outcome *out);
} commands[] = {
	{ .name = "modprobe", .min_words = 1, .simple = do_modprobe },
	{ .name = "insmod", .min_words = 1, .simple = do_insmod },
	{ .name = "rmmod", .min_words = 1, .simple = do_rmmod },
	{ .name = "users", .min_words = 1, .process = do_users },
	{ .name = "9p", .simple = do_9p },
	{ .name = "mark", .min_words = 1, .simple = do_mark },
	{ .name = "run", .min_words = 2, .process = do_run },
	{ .name = "shell", .process = do_shell },
};

static void execute(char *line)
{
	struct outcome out = { RIG_ERRNO, 0 };
	char *words[RIG_WORDS + 1], *next;
	const struct command *c = NULL;
	long long start = now_ms();
	int n = 0, left = 0;
	size_t i;

	message[0] = '\0';
	for (next = strtok(line, " "); next && n < RIG_WORDS; next = strtok(NULL, " "))
		words[n++] = rig_decode(next);
	words[n] = NULL;
	if (!n)
		return;
	if (!strcmp(words[0], "poweroff"))
		power_off();
	/* It comes too late: the program has ended by itself. */
	if (!strcmp(words[0], "stop"))
		return;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(words[0], commands[i].name))
			c = &commands[i];
	if (!c || n - 1 < c->min_words)
		out.value = fail(EINVAL, c ? "too few words" : "unknown command");
	else if (c->process)
		left = c->process(words + 1, &out);
	else
		out.value = c->simple(words + 1);
	if (!strcmp(out.kind, RIG_ERRNO) && !out.value)
		out.kind = RIG_OK;
	send_fmt(RIG_REPLY, "%s %d %lld %d %s", out.kind, out.value, now_ms() - start, left,
		 message);
}

/* The KVM vendor module that fits the processor. */
static const char *vendor_module(void)
{
	static char info[8192];

	if (!read_file("/proc/cpuinfo", info, sizeof(info)))
		return "none";
	return strstr(info, " svm") ? "kvm-amd" : strstr(info, " vmx") ? "kvm-intel" : "none";
}

int main(void)
{
	char release[80];

	if (mount_at("dev", "/dev", "devtmpfs", 0, NULL) ||
	    mount_at("proc", "/proc", "proc", 0, NULL) ||
	    mount_at("sys", "/sys", "sysfs", 0, NULL) || mount_at("tmp", "/tmp", "tmpfs", 0, NULL))
		die(message);
	open_channel();
	if (!read_file("/proc/sys/kernel/osrelease", release, sizeof(release)))
		die("osrelease");
	release[strcspn(release, "\n")] = '\0';
	send_fmt(RIG_READY, "%s %s %lld", release, vendor_module(), now_ms());
	for (;;)
		execute(next_command());
}
