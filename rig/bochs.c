// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel hosts with VT-x and EPT, in Bochs.
 *
 * Bochs has neither virtio nor a direct way to boot a kernel. The channel is the second serial
 * port, over TCP, since only in that mode does Bochs lose nothing when one side is slow. An option
 * ROM (bochs_rom.S) loads the kernel and the initramfs from a disk. It boots by the PVH protocol,
 * as QEMU does, so that the emulated processor need not unpack anything.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig/bochs_boot.h"
#include "rig/emulator.h"
#include "rig/stream.h"

/*
 * Instructions per emulated second, which is the TSC's frequency: about as many as Bochs executes
 * in a real one.
 */
#define IPS	  100000000
#define CONNECT_S 60
#define MIB	  0x100000u
#define INITRAMFS (128 * MIB)
#define SECTOR	  512u
#define CYLINDER  (16 * 63 * SECTOR)
#define FILES	  "/usr/share/bochs/"

extern const unsigned char bochs_rom[], bochs_rom_end[];

/* --- the PVH boot protocol --- */

#define PVH_MAGIC 0x336ec578u
#define PVH_ENTRY 18 /* the type of the note with the entry point */

struct pvh_start {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memory_map;
	uint32_t memory_entries, reserved;
};

struct pvh_module {
	uint64_t address, size, cmdline, reserved;
};

struct pvh_memory {
	uint64_t address, size;
	uint32_t type, reserved;
};

enum { RAM = 1, RESERVED = 2, ACPI = 3 };

/* A piece that the ROM loads. */
struct load {
	uint32_t sector, sectors, address;
};

/* --- files --- */

struct file {
	const char *path;
	unsigned char *data;
	size_t size;
};

static int file_map(struct file *f, const char *path, char *error, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	*f = (struct file){ .path = path, .data = MAP_FAILED };
	if (fd >= 0 && !fstat(fd, &st) && st.st_size) {
		f->size = (size_t)st.st_size;
		f->data = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	if (fd >= 0)
		close(fd);
	if (f->data != MAP_FAILED)
		return 0;
	snprintf(error, size, "%s: %s", path, strerror(errno));
	return -1;
}

static void file_unmap(struct file *f)
{
	munmap(f->data, f->size);
}

static int write_at(int fd, const void *data, size_t len, off_t offset)
{
	const char *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, offset);

		if (n <= 0)
			return -1;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * Create a file in the directory for logs; len may be 0. Returns its descriptor, or -1 with a line
 * in error.
 */
static int create(const struct host_opts *o, const char *name, const void *data, size_t len,
		  char *error, size_t size)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", o->logdir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0 && !write_at(fd, data, len, 0))
		return fd;
	snprintf(error, size, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static void discard(const struct host_opts *o, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", o->logdir, name);
	unlink(path);
}

/* --- the disk --- */

static const Elf64_Phdr *program_headers(const struct file *f, int *n)
{
	const Elf64_Ehdr *ehdr = (const void *)f->data;

	if (f->size < sizeof(*ehdr) || memcmp(ehdr->e_ident, ELFMAG, SELFMAG) ||
	    ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_phentsize != sizeof(Elf64_Phdr) ||
	    ehdr->e_phoff > f->size ||
	    (f->size - ehdr->e_phoff) / sizeof(Elf64_Phdr) < ehdr->e_phnum)
		return NULL;
	*n = ehdr->e_phnum;
	return (const void *)(f->data + ehdr->e_phoff);
}

static bool inside(const struct file *f, const Elf64_Phdr *p)
{
	return p->p_offset <= f->size && p->p_filesz <= f->size - p->p_offset;
}

/* The address in the note, or 0. */
static uint32_t pvh_entry(const struct file *f, const Elf64_Phdr *p)
{
	const unsigned char *note = f->data + p->p_offset, *end = note + p->p_filesz, *desc;
	const Elf64_Nhdr *nhdr;
	uint32_t entry;

	while ((size_t)(end - note) > sizeof(*nhdr)) {
		nhdr = (const void *)note;
		desc = note + sizeof(*nhdr) + ((nhdr->n_namesz + 3) & ~3u);
		if (desc + nhdr->n_descsz > end)
			break;
		if (nhdr->n_type == PVH_ENTRY && nhdr->n_namesz == 4 &&
		    !memcmp(nhdr + 1, "Xen", 4) && nhdr->n_descsz >= sizeof(entry)) {
			memcpy(&entry, desc, sizeof(entry));
			return entry;
		}
		note = desc + ((nhdr->n_descsz + 3) & ~3u);
	}
	return 0;
}

/* Write a piece to the disk and describe it for the ROM. */
static int put(int disk, struct load *load, uint32_t *sector, const void *data, size_t len,
	       uint64_t address)
{
	*load = (struct load){ *sector, (uint32_t)((len + SECTOR - 1) / SECTOR),
			       (uint32_t)address };
	*sector += load->sectors;
	return write_at(disk, data, len, (off_t)load->sector * SECTOR);
}

/* Write the kernel and the initramfs to the disk, and to info how to load and to enter them. */
static int fill_disk(const struct host_opts *o, int disk, char *info, uint32_t *sectors,
		     char *error, size_t size)
{
	struct load *load = (void *)(info + BOOT_LOADS);
	struct pvh_module *module = (void *)(info + BOOT_MODULES);
	struct file kernel, initramfs;
	const Elf64_Phdr *p;
	uint32_t entry = 0;
	int n = 0, ret = -1, i;

	if (file_map(&kernel, o->kernel, error, size))
		return -1;
	if (file_map(&initramfs, o->initramfs, error, size)) {
		file_unmap(&kernel);
		return -1;
	}
	*sectors = 0;
	p = program_headers(&kernel, &n);
	for (i = 0; i < n; i++, p++) {
		if (!inside(&kernel, p))
			break;
		if (p->p_type == PT_NOTE && !entry)
			entry = pvh_entry(&kernel, p);
		if (p->p_type != PT_LOAD || !p->p_filesz)
			continue;
		if (p->p_paddr < BOOT_INFO + BOOT_INFO_SIZE || p->p_paddr > INITRAMFS ||
		    p->p_memsz > INITRAMFS - p->p_paddr || (char *)(load + 3) > info + BOOT_USED)
			break;
		if (put(disk, load++, sectors, kernel.data + p->p_offset, p->p_filesz, p->p_paddr))
			goto failed;
	}
	if (i < n || !entry) {
		snprintf(error, size, "%s is not a kernel with a PVH entry", o->kernel);
		goto out;
	}
	memcpy(info + BOOT_ENTRY, &entry, sizeof(entry));
	*module = (struct pvh_module){ .address = INITRAMFS, .size = initramfs.size };
	if (put(disk, load++, sectors, initramfs.data, initramfs.size, INITRAMFS))
		goto failed;
	*load = (struct load){ 0 };
	ret = 0;
	goto out;
failed:
	snprintf(error, size, "%s/disk: %s", o->logdir, strerror(errno));
out:
	file_unmap(&kernel);
	file_unmap(&initramfs);
	return ret;
}

static int memory(const struct host_opts *o)
{
	return o->mem_mb ? o->mem_mb : 1024;
}

/*
 * The beginning of memory that the kernel does not know about, in the next memory section: the
 * exporter uses it as a BAR, since no device of Bochs has memory that a guest could execute.
 */
static uint64_t untold(const struct host_opts *o)
{
	return (memory(o) + 127) / 128 * 128 * (uint64_t)MIB;
}

/* The end of memory; the last 64 KiB hold the BIOS' tables. */
static uint64_t top(const struct host_opts *o)
{
	return untold(o) + 8 * MIB;
}

static void fill_info(const struct host_opts *o, char *info)
{
	uint64_t end = memory(o) * (uint64_t)MIB;
	/* As the BIOS of Bochs reports it, except for the page that the ROM needs after a reset. */
	const struct pvh_memory map[] = {
		{ 0, 0x9fc00, RAM, 0 },
		{ 0x9fc00, 0x400, RESERVED, 0 },
		{ 0xe8000, 0x18000, RESERVED, 0 },
		{ MIB, BOOT_INFO - MIB, RAM, 0 },
		{ BOOT_INFO, BOOT_INFO_SIZE, RESERVED, 0 },
		{ BOOT_INFO + BOOT_INFO_SIZE, end - BOOT_INFO - BOOT_INFO_SIZE, RAM, 0 },
		{ top(o) - 0x10000, 0x10000, ACPI, 0 },
		{ 0xfffc0000, 0x40000, RESERVED, 0 },
	};
	const struct pvh_start start = {
		.magic = PVH_MAGIC,
		.version = 1,
		.modules = 1,
		.module_list = BOOT_INFO + BOOT_MODULES,
		.cmdline = BOOT_INFO + BOOT_CMDLINE,
		.memory_map = BOOT_INFO + BOOT_MAP,
		.memory_entries = sizeof(map) / sizeof(map[0]),
	};

	memcpy(info, &start, sizeof(start));
	memcpy(info + BOOT_MAP, map, sizeof(map));
	/* As in QEMU, and without features that only cost time in an emulator. */
	snprintf(info + BOOT_CMDLINE, BOOT_INFO_SIZE - BOOT_CMDLINE,
		 "console=ttyS0,115200 loglevel=5 panic=-1 printk.devkmsg=on tsc=reliable "
		 "tsc_early_khz=%d no_timer_check mitigations=off nokaslr audit=0 "
		 "RIG_CHANNEL=ttyS1 pfnmap_exporter.untold=0x%llx",
		 IPS / 1000, (unsigned long long)untold(o));
}

/* Create the files that Bochs reads when it starts. */
static int make_files(const struct host_opts *o, unsigned int port, char *error, size_t size)
{
	unsigned char rom[BOOT_ROM_SIZE] = { 0 }, sum = 0;
	static char info[BOOT_INFO_SIZE];
	unsigned int mem = (unsigned int)(top(o) / MIB);
	char config[4096];
	uint32_t sectors, cylinders;
	int disk, fd, ret, len;
	size_t i;

	memcpy(rom, bochs_rom, (uintptr_t)bochs_rom_end - (uintptr_t)bochs_rom);
	for (i = 0; i < sizeof(rom); i++)
		sum += rom[i];
	rom[sizeof(rom) - 1] -= sum;
	memset(info, 0, sizeof(info));
	disk = create(o, "disk", NULL, 0, error, size);
	if (disk < 0)
		return -1;
	ret = fill_disk(o, disk, info, &sectors, error, size);
	cylinders = ret ? 0 : sectors / (CYLINDER / SECTOR) + 1;
	if (!ret && ftruncate(disk, (off_t)cylinders * CYLINDER)) {
		snprintf(error, size, "%s/disk: %s", o->logdir, strerror(errno));
		ret = -1;
	}
	close(disk);
	if (ret)
		return -1;
	fill_info(o, info);
	len = snprintf(config, sizeof(config),
		       "config_interface: textconfig\n"
		       "display_library: rfb, options=\"timeout=0\"\n"
		       /* It needs a sound card, and Bochs ends without one. */
		       "plugin_ctrl: speaker=0\n"
		       "cpu: model=corei7_haswell_4770, count=%d, ips=%d, reset_on_triple_fault=0\n"
		       "clock: sync=none, time0=utc\n"
		       "memory: guest=%u, host=%u\n"
		       "romimage: file=" FILES "BIOS-bochs-latest\n"
		       "vgaromimage: file=" FILES "VGABIOS-lgpl-latest\n"
		       "optromimage1: file=\"%s/rom\", address=0x%x\n"
		       "optramimage1: file=\"%s/info\", address=0x%x\n"
		       "ata0-master: type=disk, mode=flat, path=\"%s/disk\", cylinders=%u, "
		       "heads=16, spt=63\n"
		       "com1: enabled=1, mode=file, dev=\"%s/console.log\"\n"
		       "com2: enabled=1, mode=socket-client, dev=127.0.0.1:%u\n"
		       "log: -\n"
		       "panic: action=fatal\n"
		       /* Linux often reads model-specific registers that do not exist. */
		       "error: action=report, cpu0=ignore\n"
		       "info: action=ignore\n",
		       o->cpus ? o->cpus : 1, IPS, mem, mem, o->logdir, BOOT_ROM, o->logdir,
		       BOOT_INFO, o->logdir, cylinders, o->logdir, port);
	if ((size_t)len >= sizeof(config)) {
		snprintf(error, size, "%s: the path is too long", o->logdir);
		return -1;
	}
	fd = create(o, "rom", rom, sizeof(rom), error, size);
	if (fd < 0)
		return -1;
	close(fd);
	fd = create(o, "info", info, sizeof(info), error, size);
	if (fd < 0)
		return -1;
	close(fd);
	fd = create(o, "bochsrc", config, (size_t)len, error, size);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static void discard_files(const struct host_opts *o)
{
	discard(o, "rom");
	discard(o, "info");
	discard(o, "disk");
	discard(o, "disk.lock");
}

/* --- the emulator --- */

static int bochs_check(const struct host_opts *o, char *error, size_t size)
{
	const char *what = o->icount		 ? "--icount" :
			   o->multi		 ? "--thread multi" :
			   o->terminal		 ? "rig shell" :
			   o->extra && *o->extra ? "--device" :
						   NULL;

	if (what)
		snprintf(error, size, "an Intel host does not support %s", what);
	else if (memory(o) < 256 || memory(o) > 2048)
		snprintf(error, size, "an Intel host has 256 to 2048 MiB, not %d", memory(o));
	else if (o->cpus > 8)
		snprintf(error, size, "an Intel host has 1 to 8 processors, not %d", o->cpus);
	else
		return 0;
	return -1;
}

/* A TCP socket that accepts connections from this machine only. */
static int listen_local(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&sin, sizeof(sin)) && !listen(fd, 1))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static unsigned int port_of(int listener)
{
	struct sockaddr_in sin = { 0 };
	socklen_t len = sizeof(sin);

	return getsockname(listener, (struct sockaddr *)&sin, &len) ? 0 : ntohs(sin.sin_port);
}

/*
 * Bochs requires a display and offers it over VNC to the whole network. Move it to an empty network
 * namespace, or leave it in the machine's where that is not allowed.
 */
static void leave_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	/* Entering a user namespace has reset this. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		_exit(127);
	close(fd);
}

/* Pass a file descriptor over a socket. receive_fd() returns it, or -1. */
union fd_control {
	struct cmsghdr head;
	char space[CMSG_SPACE(sizeof(int))];
};

static bool send_fd(int to, int fd)
{
	union fd_control control = { 0 };
	struct iovec data = { .iov_base = "", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &data,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(to, &msg, 0) == 1;
}

static int receive_fd(int from)
{
	union fd_control control = { 0 };
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &data,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* In Bochs' process: pass on the listening socket, and start Bochs when told so. */
static void __attribute__((noreturn)) exec_bochs(const struct host_opts *o, int parent)
{
	/* Bochs starts in its debugger: continue, and quit when it returns there. */
	static const char commands[] = "c\nq\n";
	char config[512], go;
	const char *argv[] = { "bochs", "-q", "-f", config, NULL };
	int fds[2], listener;

	leave_network();
	listener = listen_local();
	if (listener < 0 || !send_fd(parent, listener) || read(parent, &go, 1) != 1)
		_exit(127);
	close(listener);
	snprintf(config, sizeof(config), "%s/bochsrc", o->logdir);
	if (pipe(fds) || write(fds[1], commands, sizeof(commands) - 1) < 0)
		_exit(127);
	dup2(fds[0], 0);
	close(fds[0]);
	close(fds[1]);
	emulator_exec(argv, "bochs");
}

/* Wait for the emulator to connect. */
static int connection(int listener, struct emulation *e)
{
	long long deadline = now_ms() + CONNECT_S * 1000LL;
	struct pollfd pfd = { .fd = listener, .events = POLLIN };

	while (now_ms() < deadline) {
		if (poll(&pfd, 1, 20) > 0)
			return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (waitpid(e->pid, NULL, WNOHANG) == e->pid) {
			e->pid = 0;
			break;
		}
	}
	return -1;
}

static bool bochs_explain(const struct host_opts *o, char *why, size_t size);

static int bochs_start(const struct host_opts *o, struct emulation *e, char *error, size_t size)
{
	int pair[2], listener;

	*e = (struct emulation){ .channel = -1, .qmp = -1 };
	*error = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		snprintf(error, size, "socketpair: %s", strerror(errno));
		return -1;
	}
	e->pid = emulator_fork(&emulator_bochs, o);
	if (!e->pid)
		exec_bochs(o, pair[1]);
	close(pair[1]);
	listener = e->pid > 0 ? receive_fd(pair[0]) : -1;
	if (listener < 0)
		snprintf(error, size, "no TCP port for Bochs on this machine");
	else if (!make_files(o, port_of(listener), error, size) && write(pair[0], "", 1) == 1)
		e->channel = connection(listener, e);
	close(pair[0]);
	if (listener >= 0)
		close(listener);
	/* Bochs has opened the disk and read the other files. */
	discard_files(o);
	if (e->channel >= 0)
		return 0;
	if (e->pid > 0) {
		kill(e->pid, SIGKILL);
		waitpid(e->pid, NULL, 0);
	}
	if (!*error && !bochs_explain(o, error, size))
		snprintf(error, size, "Bochs does not start: see %s/bochs.log", o->logdir);
	return -1;
}

/* Find a panic of Bochs, except for those that end it when the host powers off. */
static bool bochs_explain(const struct host_opts *o, char *why, size_t size)
{
	static const char mark[] = ">>PANIC<< ";
	char path[512], line[1024], *text;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/bochs.log", o->logdir);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = '\0';
		text = strstr(line, mark);
		if (!strncmp(line, "cannot run ", 11))
			text = line;
		else if (!text || strstr(text, "soft power off") || strstr(text, "Shutdown port"))
			continue;
		else
			text += strlen(mark);
		found = true;
		snprintf(why, size, "%s%s", text == line ? "" : "Bochs: ", text);
	}
	if (f)
		fclose(f);
	return found;
}

const struct emulator emulator_bochs = {
	.log = "bochs.log",
	.boot_s = 300,
	.patience_s = 180,
	.stop_s = 60,
	.mark_ms = 30000,
	.check = bochs_check,
	.start = bochs_start,
	.explain = bochs_explain,
};
