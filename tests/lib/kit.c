// SPDX-License-Identifier: GPL-2.0-only
/* Exporter buffers, expectations and accesses for the tests; kit.h describes the functions. */
#include <asm/kvm_para.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/kit.h"

/* What KVM sets in refcounted pages that a guest uses. */
#define MARKS (PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED | PFNMAP_PAGE_ACTIVE)

#define LRU_GEN "/sys/kernel/mm/lru_gen/enabled"

static uint64_t leaked_before;

static int open_exporter(void)
{
	int fd = open(PFNMAP_EXPORTER_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		tap_bail("%s: %s", PFNMAP_EXPORTER_PATH, strerror(errno));
	return fd;
}

static uint64_t leaked(void)
{
	struct buf b = { .fd = open_exporter() };
	uint64_t n = buf_stats(&b).leaked;

	close(b.fd);
	return n;
}

void kit_start(void)
{
	leaked_before = leaked();
}

int kit_finish(void)
{
	tap_is(leaked(), leaked_before, "no page has leaked");
	return tap_done();
}

bool kit_param(const char *module, const char *name)
{
	char path[128], c;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &c, 1) != 1)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
	return c == 'Y' || c == '1';
}

bool kit_tdp(void)
{
	if (!access("/sys/module/kvm_intel/parameters/ept", F_OK))
		return kit_param("kvm_intel", "ept");
	return kit_param("kvm_amd", "npt");
}

/* The programs for a 32-bit host are 32-bit programs. */
enum vcpu_mode kit_mode(void)
{
	return sizeof(long) == 8 ? VCPU_LONG : VCPU_PAE;
}

bool kit_takes_all(void)
{
	static int takes_all = -1;

	if (takes_all < 0)
		takes_all = tap_kvm_patched() && kit_tdp() && kit_mode() == VCPU_LONG;
	return takes_all;
}

bool kit_tdp_mmu(void)
{
	return kit_tdp() && kit_mode() == VCPU_LONG && kit_param("kvm", "tdp_mmu");
}

bool kit_kernel(unsigned int major, unsigned int minor)
{
	unsigned int has_major, has_minor;
	struct utsname uts;

	if (uname(&uts) || sscanf(uts.release, "%u.%u", &has_major, &has_minor) != 2)
		tap_bail("uname: no version in '%s'", uts.release);
	return has_major > major || (has_major == major && has_minor >= minor);
}

/* Write a file that exists; 0 or -errno of the write. */
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

void kit_put(const char *path, const char *text)
{
	int ret = put(path, text);

	if (ret)
		tap_bail("%s: %s", path, strerror(-ret));
}

/* Read one of them, as a string. */
static void get_setting(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, value, size - 1);

	if (n < 1)
		tap_bail("%s: %s", path, strerror(errno));
	value[n] = '\0';
	close(fd);
}

#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"

void kit_huge_pages(unsigned int pages)
{
	unsigned long has;
	char text[16];

	/* The kernel allocates as many as it can, which are fewer in fragmented memory. */
	kit_put("/proc/sys/vm/compact_memory", "1");
	snprintf(text, sizeof(text), "%u", pages);
	kit_put(HUGE_PAGES, text);
	get_setting(HUGE_PAGES, text, sizeof(text));
	has = strtoul(text, NULL, 10);
	if (has != pages)
		tap_bail(
			"the host has %lu huge pages, not %u: its memory is fragmented, or too small",
			has, pages);
}

static char lru_gen[16]; /* the value to restore */

static void restore_lru_gen(void)
{
	kit_put(LRU_GEN, lru_gen);
}

void kit_count_marks(void)
{
	get_setting(LRU_GEN, lru_gen, sizeof(lru_gen));
	kit_put(LRU_GEN, "n");
	atexit(restore_lru_gen);
}

static void set_cpus(const cpu_set_t *cpus)
{
	if (sched_setaffinity(0, sizeof(*cpus), cpus))
		tap_bail("sched_setaffinity: %s", strerror(errno));
}

bool kit_sleeps_in(pid_t tid, const char *name)
{
	char path[64], function[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, function, sizeof(function) - 1) < 0)
		function[0] = '\0';
	if (fd >= 0)
		close(fd);
	return strstr(function, name);
}

void kit_bind_to(int cpu)
{
	cpu_set_t set;

	if (cpu >= sysconf(_SC_NPROCESSORS_ONLN))
		tap_bail("this needs a host with at least %d CPUs", cpu + 1);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	set_cpus(&set);
}

void kit_settle(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	cpu_set_t cpus;

	if (fd < 0 || sched_getaffinity(0, sizeof(cpus), &cpus))
		tap_bail("/proc/sys/vm/drop_caches: %s", strerror(errno));
	/*
	 * Each CPU has batches, and Linux 6.1 empties those of the CPU it runs on; this thread may
	 * have run on several.
	 */
	for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		set_cpus(&one);
		/* 4: no line in the kernel log; 1: do it */
		if (pwrite(fd, "4", 1, 0) != 1 || pwrite(fd, "1", 1, 0) != 1)
			tap_bail("/proc/sys/vm/drop_caches: %s", strerror(errno));
	}
	set_cpus(&cpus);
	close(fd);
}

static uint64_t read_at(const char *path, uint64_t index)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t word;

	if (fd < 0 || pread(fd, &word, sizeof(word), 8 * index) != sizeof(word))
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
	return word;
}

const char *kit_flags(const void *page)
{
	uint64_t entry = read_at("/proc/self/pagemap", (uintptr_t)page / KIT_PAGE);
	uint64_t f = read_at("/proc/kpageflags", entry & ((1ull << 55) - 1));
	static char text[4];

	snprintf(text, sizeof(text), "%c%c%c", f >> KPF_DIRTY & 1 ? 'D' : '-',
		 f >> KPF_REFERENCED & 1 ? 'R' : '-', f >> KPF_ACTIVE & 1 ? 'A' : '-');
	return text;
}

struct rig_lookup kit_look_up(const struct vm *vm, enum rig_lookup_call call, uint64_t gpa)
{
	struct rig_lookup l = { .vm = vm->fd, .call = call, .gfn = gpa / KIT_PAGE };
	int fd = open(RIG_LOOKUP_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, RIG_LOOKUP, &l))
		tap_bail(RIG_LOOKUP_PATH ": %s", strerror(errno));
	close(fd);
	return l;
}

/* Children inherit the exit handlers of the process that did this, and leave it to that process. */
static pid_t mounted_debugfs, enabled_failures;

static void umount_debugfs(void)
{
	if (getpid() == mounted_debugfs)
		umount(KIT_DEBUGFS);
}

void kit_mount_debugfs(void)
{
	/* Whoever restores settings there registers that later, so it is done earlier. */
	if (mount("none", KIT_DEBUGFS, "debugfs", 0, NULL)) {
		if (errno != EBUSY)
			tap_bail("mount of debugfs: %s", strerror(errno));
		return;
	}
	mounted_debugfs = getpid();
	atexit(umount_debugfs);
}

#define PREEMPT KIT_DEBUGFS "/sched/preempt"

static char preemption[64]; /* all modes, with the selected one in brackets */

static void restore_preemption(void)
{
	char *mode = strchr(preemption, '(');

	if (mode)
		kit_put(PREEMPT, strtok(mode + 1, ")"));
}

void kit_preempt(void)
{
	struct utsname uts;

	/* A kernel that cannot change the mode says PREEMPT, and one that can PREEMPT_DYNAMIC. */
	if (!uname(&uts) && strstr(uts.version, " PREEMPT "))
		return;
	kit_mount_debugfs();
	get_setting(PREEMPT, preemption, sizeof(preemption));
	kit_put(PREEMPT, "full");
	atexit(restore_preemption);
}

static const char *const failures[] = { KIT_DEBUGFS "/failslab/", KIT_DEBUGFS "/fail_page_alloc/" };

static void set_failures(const char *ignore_gfp_wait, const char *min_order, const char *verbose)
{
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		snprintf(path, sizeof(path), "%signore-gfp-wait", failures[i]);
		kit_put(path, ignore_gfp_wait);
		snprintf(path, sizeof(path), "%sverbose", failures[i]);
		kit_put(path, verbose);
	}
	snprintf(path, sizeof(path), "%smin-order", failures[1]);
	kit_put(path, min_order);
}

static void restore_failures(void)
{
	if (getpid() == enabled_failures)
		set_failures("Y", "1", "2");
}

bool kit_enable_failures(void)
{
	kit_mount_debugfs();
	if (access(failures[0], F_OK) || access(failures[1], F_OK))
		return false;
	/* verbose: a line in the kernel log for each */
	set_failures("N", "0", "0");
	enabled_failures = getpid();
	atexit(restore_failures);
	return true;
}

bool kit_fail_allocation(unsigned int nth)
{
	/* It stays open, because to open it takes allocations. */
	static __thread int fd = -1;
	char text[16];
	bool failed;
	int len;

	if (fd < 0)
		fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	/* What is left to count: 0 after the failure. */
	if (fd < 0 || pread(fd, text, sizeof(text), 0) < 1)
		tap_bail("/proc/thread-self/fail-nth: %s", strerror(errno));
	failed = text[0] == '0';
	len = snprintf(text, sizeof(text), "%u", nth);
	if (pwrite(fd, text, len, 0) != len)
		tap_bail("/proc/thread-self/fail-nth: %s", strerror(errno));
	return failed;
}

void kit_go_first(bool first)
{
	struct sched_param param = { .sched_priority = first };

	if (sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &param))
		tap_bail("sched_setscheduler: %s", strerror(errno));
}

#define CGROUPS "/tmp/kit-cgroups"

static void leave_cgroup(void)
{
	put(CGROUPS "/cgroup.procs", "0");
	rmdir(CGROUPS "/test");
	umount(CGROUPS);
	rmdir(CGROUPS);
}

void kit_cgroup(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		tap_bail("mount of cgroup2: %s", strerror(errno));
	if (put(CGROUPS "/cgroup.subtree_control", "+memory") || mkdir(CGROUPS "/test", 0700) ||
	    put(CGROUPS "/test/cgroup.procs", "0"))
		tap_bail("no control group: %s", strerror(errno));
	atexit(leave_cgroup);
}

int kit_cgroup_put(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/test/%s", CGROUPS, file);
	return put(path, text);
}

bool buf_try_open(struct buf *b, const struct pfnmap_create *spec)
{
	*b = (struct buf){ .spec = *spec, .size = (size_t)spec->pages * KIT_PAGE };
	b->fd = open_exporter();
	if (ioctl(b->fd, PFNMAP_CREATE, spec)) {
		if (errno != ENODEV && errno != ENOSPC && errno != ENOMEM)
			tap_bail("PFNMAP_CREATE of %s: %s", buf_name(b), strerror(errno));
		close(b->fd);
		return false;
	}
	b->start = buf_report(b);
	return true;
}

void buf_open(struct buf *b, const struct pfnmap_create *spec)
{
	if (!buf_try_open(b, spec))
		tap_bail("PFNMAP_CREATE of %s: %s", buf_name(b), strerror(errno));
}

void buf_open_named(struct buf *b, const struct pfnmap_create *spec)
{
	*b = (struct buf){ .spec = *spec, .size = (size_t)spec->pages * KIT_PAGE };
	b->fd = open(PFNMAP_BUFFER_PATH, O_RDWR | O_CLOEXEC);
	if (b->fd < 0 || ioctl(b->fd, PFNMAP_CREATE, spec))
		tap_bail("%s: %s", PFNMAP_BUFFER_PATH, strerror(errno));
	b->start = buf_report(b);
}

void buf_open_anon(struct buf *b, uint32_t pages)
{
	*b = (struct buf){ .spec.pages = pages, .fd = -1, .size = (size_t)pages * KIT_PAGE };
	b->map = vm_anon(b->size, KIT_PAGE);
}

bool buf_missing(const struct pfnmap_create *spec)
{
	struct buf b;

	if (buf_try_open(&b, spec)) {
		buf_close(&b);
		return false;
	}
	tap_skip(1, "%s: this host has no such device", buf_name(&b));
	return true;
}

void buf_map(struct buf *b, int prot)
{
	/* A 32-bit kernel does not align it for that. */
	bool huge = b->spec.insert == PFNMAP_INSERT_PMD && kit_mode() != VCPU_LONG;
	void *at = huge ? vm_anon(b->size, KIT_HUGE) : NULL;

	if (b->fd < 0)
		return;
	b->map = mmap(at, b->size, prot, MAP_SHARED | (huge ? MAP_FIXED : 0), b->fd, 0);
	if (b->map == MAP_FAILED)
		tap_bail("mmap of %s: %s", buf_name(b), strerror(errno));
}

void buf_unmap(struct buf *b)
{
	if (b->map && munmap(b->map, b->size))
		tap_bail("munmap of %s: %s", buf_name(b), strerror(errno));
	b->map = NULL;
}

void buf_close(struct buf *b)
{
	buf_unmap(b);
	if (b->fd >= 0)
		close(b->fd);
	free(b->start);
}

void buf_end(struct buf *b, const char *fmt, ...)
{
	const char *changes;
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_unmap(b);
	changes = buf_changes(b);
	if (!tap_ok(!changes, "%s: %s", buf_name(b), text))
		tap_diag("%s", changes);
	buf_close(b);
}

struct pfnmap_page *buf_report(const struct buf *b)
{
	struct pfnmap_page *pages = calloc(b->spec.pages, sizeof(*pages));
	struct pfnmap_report report = { .count = b->spec.pages, .pages = (uintptr_t)pages };

	if (!pages || ioctl(b->fd, PFNMAP_REPORT, &report))
		tap_bail("PFNMAP_REPORT of %s: %s", buf_name(b), strerror(errno));
	return pages;
}

void buf_mark(struct buf *b)
{
	free(b->start);
	b->start = buf_report(b);
}

const char *pages_differ(const struct pfnmap_page *before, const struct pfnmap_page *now,
			 uint32_t nr)
{
	static char text[256];

	for (uint32_t i = 0; i < nr; i++) {
		const struct pfnmap_page *old = &before[i], *new = &now[i];
		uint32_t ignore = page_refcounted(old) ? MARKS : 0;

		if (old->pfn == new->pfn && old->count == new->count &&
		    old->mapcount == new->mapcount && !((old->flags ^ new->flags) & ~ignore))
			continue;
		snprintf(
			text, sizeof(text),
			"page %u: pfn %#llx, count %d, mapcount %d, flags %#x -> %#llx, %d, %d, %#x",
			i, (unsigned long long)old->pfn, old->count, old->mapcount, old->flags,
			(unsigned long long)new->pfn, new->count, new->mapcount, new->flags);
		return text;
	}
	return NULL;
}

const char *buf_changes(const struct buf *b)
{
	const char *difference;
	struct pfnmap_page *now;

	if (b->fd < 0)
		return NULL;
	now = buf_report(b);
	difference = pages_differ(b->start, now, b->spec.pages);
	free(now);
	return difference;
}

void buf_do(const struct buf *b, unsigned long request, unsigned long arg)
{
	if (ioctl(b->fd, request, arg))
		tap_bail("ioctl %#lx of %s: %s", request, buf_name(b), strerror(errno));
}

struct pfnmap_old buf_check_old(const struct buf *b)
{
	struct pfnmap_old old;

	if (ioctl(b->fd, PFNMAP_CHECK_OLD, &old))
		tap_bail("PFNMAP_CHECK_OLD of %s: %s", buf_name(b), strerror(errno));
	return old;
}

struct pfnmap_stats buf_stats(const struct buf *b)
{
	struct pfnmap_stats stats;

	if (ioctl(b->fd, PFNMAP_STATS, &stats))
		tap_bail("PFNMAP_STATS: %s", strerror(errno));
	return stats;
}

void buf_read(const struct buf *b, uint64_t offset, void *to, size_t len)
{
	if (pread(b->fd, to, len, offset) != (ssize_t)len)
		tap_bail("pread of %s: %s", buf_name(b), strerror(errno));
}

uint64_t buf_word(const struct buf *b, uint64_t offset)
{
	uint64_t word;

	if (b->fd < 0)
		return *(volatile uint64_t *)(b->map + offset);
	buf_read(b, offset, &word, sizeof(word));
	return word;
}

void buf_set_word(const struct buf *b, uint64_t offset, uint64_t value)
{
	if (b->fd < 0)
		*(volatile uint64_t *)(b->map + offset) = value;
	else if (pwrite(b->fd, &value, sizeof(value), offset) != sizeof(value))
		tap_bail("pwrite of %s: %s", buf_name(b), strerror(errno));
}

const char *buf_name(const struct buf *b)
{
	static const char *const kinds[PFNMAP_NR_KINDS] = {
		[PFNMAP_NONCOMPOUND] = "noncompound",
		[PFNMAP_COMPOUND] = "compound",
		[PFNMAP_SINGLE] = "single",
		[PFNMAP_SHMEM] = "shmem",
		[PFNMAP_RESERVED] = "reserved",
		[PFNMAP_BAR] = "BAR",
		[PFNMAP_MIXED] = "mixed",
		[PFNMAP_DEVICE] = "device",
	};
	static const char *const inserts[PFNMAP_NR_INSERTS] = {
		[PFNMAP_INSERT_ONE] = "one",
		[PFNMAP_INSERT_AROUND] = "around",
		[PFNMAP_INSERT_ALL] = "all",
		[PFNMAP_INSERT_PMD] = "PMD",
	};
	static __thread char text[64];

	if (b->fd < 0)
		return "anonymous memory";
	snprintf(text, sizeof(text), "%s order %u, %s%s", kinds[b->spec.kind], b->spec.order,
		 inserts[b->spec.insert],
		 b->spec.flags & PFNMAP_CREATE_MKWRITE ? ", read-only first" : "");
	return text;
}

/* All device memory is reserved, which does not count here. */
static bool page_reserved(const struct pfnmap_page *page)
{
	return (page->flags & (PFNMAP_PAGE_RESERVED | PFNMAP_PAGE_DEVICE)) == PFNMAP_PAGE_RESERVED;
}

bool page_refcounted(const struct pfnmap_page *page)
{
	return page->flags & PFNMAP_PAGE_STRUCT && !page_reserved(page) && page->count > 0;
}

bool page_usable(const struct pfnmap_page *page)
{
	return kit_takes_all() || page_refcounted(page) || !(page->flags & PFNMAP_PAGE_STRUCT) ||
	       page_reserved(page);
}

uint64_t buf_stride(const struct buf *b)
{
	uint32_t i = 1;

	while (i < b->spec.pages && !page_usable(&b->start[i]))
		i++;
	return (uint64_t)i * KIT_PAGE;
}

const char *const kit_access_names[KIT_NR_ACCESSES] = {
	[KIT_READ] = "read",
	[KIT_WRITE] = "write",
	[KIT_EXEC] = "execute",
};

int kit_touch(struct vcpu *v, enum kit_access access, uint64_t gpa, uint64_t value,
	      struct guest_outcome *out)
{
	static const uint32_t ops[KIT_NR_ACCESSES] = {
		[KIT_READ] = GUEST_READ,
		[KIT_WRITE] = GUEST_FILL,
		[KIT_EXEC] = GUEST_EXEC,
	};
	struct guest_cmd cmd = { .op = ops[access], .gpa = gpa, .len = 8, .value = value };

	return guest_call(v, &cmd, out);
}

bool kit_efault(const struct guest_outcome *out)
{
	return out->end == GUEST_RUN_FAILED && out->err == EFAULT;
}

bool kit_prefaults(void)
{
	return kit_kernel(6, 12) && kit_tdp();
}

int kit_prefault(struct vcpu *v, struct kvm_pre_fault_memory *range)
{
	return vmm_ioctl(v->fd, KVM_PRE_FAULT_MEMORY, range);
}

int64_t kit_cpu_ms(const struct vcpu *v)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(v->thread, &clock) || clock_gettime(clock, &ts))
		return -1;
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

void kit_set_msr(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs msrs;
		struct kvm_msr_entry entry;
	} arg = { { .nmsrs = 1 }, { .index = index, .data = value } };

	if (VMM_MUST(vmm_ioctl(v->fd, KVM_SET_MSRS, &arg)) != 1)
		tap_bail("KVM_SET_MSRS does not take MSR %#x", index);
}

void kit_set_clock(struct vcpu *v, uint64_t value)
{
	kit_set_msr(v, MSR_KVM_SYSTEM_TIME_NEW, value);
}

void kit_update_clocks(struct vm *vm)
{
	struct kvm_clock_data data = { .clock = 1000000000 };

	VMM_MUST(vmm_ioctl(vm->fd, KVM_SET_CLOCK, &data));
}
