// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap probe: gives each buffer to a guest and records what happens.
 *
 * Each buffer is probed in a child process, which keeps its record in shared memory. If the child
 * dies, the parent still knows how far it got; if the guest or the driver hangs, the parent kills
 * the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tool/buffer.h"
#include "tool/json.h"
#include "tool/modules.h"
#include "tool/text.h"
#include "tool/tool.h"
#include "tool/verdict.h"
#include "vmm/vmm.h"

#define SLOT 1u
/* In the guest's first GiB, so that KVM need not map further page tables of the guest. */
#define GPA	    (1ull << 29)
#define HUGE_PAGE   (2ull << 20)
#define WORDS	    (BUFFER_PAGE / 8)
#define GUEST_SEED  0x1000000ull
#define HOST_SEED   0x2000000ull
#define MAX_TARGETS 64

#define SAY(r, ...) snprintf((r)->reason, sizeof((r)->reason), __VA_ARGS__)

/* ---- the child ---- */

/* Set by a signal from the parent or the user: restore the current page, then stop. */
static volatile sig_atomic_t stop;

static void on_stop(int sig)
{
	(void)sig;
	stop = 1;
	/* If even that takes too long, stop without it. */
	alarm(1);
}

/*
 * End the child when the parent ends, however that happens, so that no guest keeps running and no
 * page keeps the wrong content. The signals make KVM_RUN return EINTR.
 */
static void end_with(pid_t parent)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_stop };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* SIGBUS on a page that the host cannot access is a result: no core dump. */
	prctl(PR_SET_DUMPABLE, 0);
	if (getppid() != parent)
		_exit(0);
}

static bool allocate(const struct target *t, struct record *r, struct buffer *b)
{
	enum buffer_status status = t->kind == NODE	 ? buffer_drm(b, t->name) :
				    t->kind == FILE_PART ? buffer_file(b, t->spec) :
							   buffer_anonymous(b);

	snprintf(r->what, sizeof(r->what), "%s", b->what);
	r->video = b->video;
	r->no_library = b->no_library;
	if (status == BUFFER_OK) {
		r->pages = b->size / BUFFER_PAGE;
		return true;
	}
	r->verdict = status == BUFFER_PERMISSION ? PERMISSION : NO_BUFFER;
	SAY(r, "%s", b->error);
	return false;
}

/* Check for KVM first: without it, libvmm exits with a message for developers. */
static bool have_kvm(struct record *r)
{
	int kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC), vm;

	if (kvm < 0) {
		r->verdict = errno == EACCES || errno == EPERM ? PERMISSION : NO_KVM;
		SAY(r, KVM_DEVICE ": %s", strerror(errno));
		return false;
	}
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) {
		r->verdict = NO_KVM;
		SAY(r, "KVM cannot create a virtual machine: %s", strerror(errno));
	} else {
		close(vm);
	}
	close(kvm);
	return vm >= 0;
}

static void count(struct record *r, struct vm *vm, struct vcpu *v, const int64_t *before)
{
	r->exits = vcpu_stat(v, "exits");
	if (r->exits < 0)
		r->exits = -1;
	for (size_t i = 0; i < PAGE_SIZES; i++) {
		int64_t n = vm_stat(vm, page_stats[i]);

		r->mapped[i] = n < 0 || before[i] < 0 ? -1 : n > before[i] ? n - before[i] : 0;
	}
}

static bool page_is(const uint64_t *page, uint64_t seed)
{
	for (uint32_t i = 0; i < WORDS; i++)
		if (page[i] != guest_pattern(seed, i * 8))
			return false;
	return true;
}

/* Call the guest once; go on after unrelated signals (a debugger, suspend). */
static void call(struct record *r, struct vcpu *v, const struct guest_cmd *cmd,
		 struct guest_outcome *out)
{
	r->stage = STAGE_GUEST;
	guest_call(v, cmd, out);
	while (out->end == GUEST_RUN_FAILED && out->err == EINTR && !stop)
		guest_resume(v, out);
	r->runs++;
	r->stage = STAGE_HOST;
}

/* Did the last call of the guest succeed? If not, set the verdict on the buffer. */
static bool judge(struct record *r, const struct guest_outcome *out)
{
	if (out->end == GUEST_DONE || stop)
		return out->end == GUEST_DONE;
	if (out->end == GUEST_RUN_FAILED && out->err == EFAULT) {
		if (r->verdict == WORKS)
			r->first_bad = r->page;
		r->verdict = REFUSED;
		return false;
	}
	r->verdict = FAILED;
	if (out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_MMIO) {
		r->verdict = NO_BUFFER;
		SAY(r, "KVM finds that page %u is not writable in the host's mapping", r->page);
	} else {
		SAY(r, "the guest failed at page %u: %s", r->page, guest_describe(out));
	}
	return false;
}

/* Returns false if the other pages need not be tried. */
static bool try_page(struct record *r, struct vcpu *v, uint64_t *page, uint64_t gpa, bool keep)
{
	struct guest_cmd cmd = {
		.op = GUEST_PATTERN,
		.gpa = gpa,
		.len = BUFFER_PAGE,
		.value = GUEST_SEED + r->page,
	};
	uint64_t saved[WORDS];
	struct guest_outcome out;
	bool done;

	r->stage = STAGE_HOST;
	if (keep)
		memcpy(saved, page, BUFFER_PAGE);
	/* If there was nothing to save, the guest is the first to touch the page. */
	call(r, v, &cmd, &out);
	done = judge(r, &out);
	if (done && !page_is(page, cmd.value)) {
		r->verdict = CORRUPT;
		SAY(r, "the host does not see what the guest wrote to page %u", r->page);
		done = false;
	}
	cmd.value = HOST_SEED + r->page;
	for (uint32_t i = 0; i < WORDS; i++)
		page[i] = guest_pattern(cmd.value, i * 8);
	if (done) {
		cmd.op = GUEST_VERIFY;
		call(r, v, &cmd, &out);
		done = judge(r, &out);
	}
	if (done && out.result) {
		r->verdict = CORRUPT;
		SAY(r, "the guest does not see what the host wrote to page %u", r->page);
		done = false;
	}
	if (keep)
		memcpy(page, saved, BUFFER_PAGE);
	r->tried++;
	r->usable += done;
	return !stop && (r->verdict == WORKS || r->verdict == REFUSED);
}

static void __attribute__((noreturn)) child(const struct target *t, struct record *r)
{
	int64_t before[PAGE_SIZES];
	struct buffer b = { 0 };
	struct vcpu *v;
	struct vm *vm;
	uint64_t gpa;
	bool go_on;

	if (!allocate(t, r, &b) || !have_kvm(r))
		_exit(0);
	r->stage = STAGE_CREATE;
	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	VMM_MUST(guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, NULL));
	r->runs++;
	for (size_t i = 0; i < PAGE_SIZES; i++)
		before[i] = vm_stat(vm, page_stats[i]);
	/* KVM maps large pages only if both addresses have the same offset within 2 MiB. */
	gpa = GPA + ((uintptr_t)b.map & (HUGE_PAGE - 1));
	VMM_MUST(vm_slot_set(vm, SLOT, gpa, b.size, b.map, 0));

	r->verdict = WORKS;
	do {
		uint64_t offset = (uint64_t)r->page * BUFFER_PAGE;

		go_on = try_page(r, v, (uint64_t *)((char *)b.map + offset), gpa + offset, b.keep);
	} while (go_on && ++r->page < r->pages);
	count(r, vm, v, before);
	/* The kernel frees the rest. */
	_exit(0);
}

/* ---- the parent ---- */

/* Get the last line of the child's messages. */
static void last_words(int fd, char *text, size_t size)
{
	off_t end = lseek(fd, 0, SEEK_END), start = end >= (off_t)size ? end - (off_t)size + 1 : 0;
	ssize_t n = pread(fd, text, size - 1, start);
	char *last;

	text[n > 0 ? n : 0] = '\0';
	last = text + strlen(text);
	while (last > text && last[-1] == '\n')
		*--last = '\0';
	last = strrchr(text, '\n');
	if (last)
		memmove(text, last + 1, strlen(last + 1) + 1);
}

/* What the child was doing, for the end of a sentence. */
static const char *stage_text(const struct record *r)
{
	return r->stage == STAGE_ALLOCATE ? "while the driver was creating the buffer" :
	       r->stage == STAGE_CREATE	  ? "while KVM was creating the guest" :
	       r->stage == STAGE_GUEST	  ? "while the guest was running" :
					    "during the host's own access";
}

/* The child ended abnormally: find out why. */
static void post_mortem(struct record *r, int status, int messages)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	char words[300];

	r->verdict = FAILED;
	r->exits = -1;
	if ((sig == SIGBUS || sig == SIGSEGV) && r->stage == STAGE_HOST) {
		r->verdict = NO_BUFFER;
		SAY(r, "the host itself cannot access page %u: %s", r->page, strsignal(sig));
	} else if (sig) {
		SAY(r, "%s %s, at page %u of %u", strsignal(sig), stage_text(r), r->page, r->pages);
	} else {
		last_words(messages, words, sizeof(words));
		SAY(r, "%s", words[0] ? words : "the probe ended early");
	}
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Wait until the child ends. False: it made no progress for timeout_ms. */
static bool wait_for(int pidfd, const volatile struct record *r, int64_t timeout_ms)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int64_t since = now_ms(), left;
	int64_t runs = r->runs;

	while ((left = since + timeout_ms - now_ms()) > 0) {
		if (poll(&pfd, 1, left < 500 ? (int)left : 500) > 0)
			return true;
		if (r->runs != runs) {
			runs = r->runs;
			since = now_ms();
		}
	}
	return false;
}

/* Stop a child that makes no progress; let it restore its page if it still can. */
static void end_child(pid_t pid, int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	kill(pid, SIGTERM);
	if (poll(&pfd, 1, 1500) <= 0)
		kill(pid, SIGKILL);
	/* Do not wait for a process that hangs in the kernel. */
	if (poll(&pfd, 1, 2000) > 0)
		waitpid(pid, NULL, 0);
}

/* Probe one target in a child process. */
static void run(const struct target *t, struct record *r, unsigned int timeout_s)
{
	int messages = memfd_create("messages", MFD_CLOEXEC), pidfd, status;
	pid_t parent = getpid(), pid;

	*r = (struct record){ .verdict = FAILED, .exits = -1, .mapped = { -1, -1, -1 } };
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* Libraries print there, too. */
		if (messages >= 0)
			dup2(messages, STDERR_FILENO);
		end_with(parent);
		child(t, r);
	}
	pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		SAY(r, "cannot start a process: %s", strerror(errno));
		if (pid > 0 && !kill(pid, SIGKILL))
			waitpid(pid, NULL, 0);
	} else if (!wait_for(pidfd, r, timeout_s * 1000ll)) {
		struct record at = *r;

		end_child(pid, pidfd);
		*r = at;
		r->verdict = HANGS;
		r->exits = -1;
		SAY(r, "no progress for %u s %s, at page %u of %u", timeout_s, stage_text(&at),
		    at.page, at.pages);
	} else if (waitpid(pid, &status, 0) == pid && status) {
		post_mortem(r, status, messages);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (messages >= 0)
		close(messages);
}

int cmd_probe(const struct options *opts)
{
	struct target targets[MAX_TARGETS];
	struct kvm_state *s = malloc(sizeof(*s));
	glob_t nodes = { 0 };
	struct record *records;
	enum exit_code code;
	struct json j;
	size_t n = 0;

	/* Shared with the children. */
	records = mmap(NULL, MAX_TARGETS * sizeof(*records), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!s || records == MAP_FAILED) {
		complain("out of memory");
		free(s);
		return EXIT_BROKEN;
	}
	if (opts->file) {
		targets[n++] = (struct target){ FILE_PART, opts->file->path, opts->file };
	} else if (opts->drm) {
		targets[n++] = (struct target){ NODE, opts->drm, NULL };
	} else {
		glob("/dev/dri/card[0-9]*", 0, NULL, &nodes);
		glob("/dev/dri/renderD[0-9]*", GLOB_APPEND, NULL, &nodes);
		for (size_t i = 0; i < nodes.gl_pathc && n < MAX_TARGETS - 1; i++)
			targets[n++] = (struct target){ NODE, nodes.gl_pathv[i], NULL };
		targets[n++] = (struct target){ ANONYMOUS, "anonymous memory", NULL };
	}
	kvm_state_get(s, NULL);
	if (!opts->json)
		print_host(s);
	if (!opts->json && opts->all && n == 1)
		printf("\nno DRM device in /dev/dri\n");
	for (size_t i = 0; i < n; i++) {
		run(&targets[i], &records[i], opts->timeout_s);
		if (!opts->json)
			print_record(&targets[i], &records[i], s);
	}
	code = sum_up(targets, records, n);
	if (opts->json) {
		json_start(&j, stdout);
		json_open(&j, NULL, '{');
		json_string(&j, "version", TOOL_VERSION);
		write_host(&j, s);
		json_open(&j, "buffers", '[');
		for (size_t i = 0; i < n; i++)
			write_record(&j, &targets[i], &records[i], s);
		json_close(&j, ']');
		json_int(&j, "exit_status", code);
		json_close(&j, '}');
		json_finish(&j);
	}
	globfree(&nodes);
	munmap(records, MAX_TARGETS * sizeof(*records));
	free(s);
	return code;
}
