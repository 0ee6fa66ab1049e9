// SPDX-License-Identifier: GPL-2.0-only
/*
 * make demo: shows what stock KVM and patched KVM do with the buffers of real drivers in an
 * emulated host, and lets a guest draw a picture: demo BUILD RELEASE
 *
 * All results are measured live. Exits with 1 if one of them is not as expected.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "demo/scene.h"
#include "rig/host.h"

#define CELL   48
#define PIXELS (SCENE_WIDTH * SCENE_HEIGHT)
#define HOST_S 600 /* time limit for the host */

enum { STOCK, PATCHED, VARIANTS };
static const char *const variants[VARIANTS] = { "stock", "patched" };

/* A row of the table: a program of the host, which prints "outcome: ...". */
static const struct row {
	const char *name;
	const char *module; /* loaded first */
	const char *argv[2];
	bool stock_works;
} rows[] = {
	{ "bochs-drm", "bochs", { "pages", "bochs-drm" }, false },
	{ "qxl", "qxl", { "pages", "qxl" }, false },
	{ "vgem", "vgem", { "pages", "vgem" }, true },
	{ "exporter", "pfnmap_exporter", { "pages", "exporter" }, false },
	{ "QEMU + Debian guest", "pfnmap_exporter", { "qemu_ivshmem" }, false },
};
#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

static const char *build;
static struct host *host;
static int surprises;

/* What the picture program reports. */
struct picture {
	bool empty, drawn;
	unsigned int moving, moved;
	char error[256];
};

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("demo: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (host)
		host_stop(host);
	exit(1);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void print_line(void *ctx, char tag, const char *text, size_t len)
{
	(void)ctx;
	(void)tag;
	(void)len;
	printf("    %s\n", text);
}

/* A kernel that complains has failed, whatever the outcome. */
static void check_log(void)
{
	if (host_log(host, NULL, 0, NULL, print_line, NULL)) {
		printf("  The host's kernel log must not contain these lines.\n");
		surprises++;
	}
}

static void load(const char *module)
{
	struct host_reply reply;

	if (host_do(host, &reply, "modprobe", module) != HOST_OK)
		die("cannot load %s in the host: %s", module, host_explain(&reply));
}

/* --- the table --- */

static void take_outcome(void *ctx, char tag, const char *text, size_t len)
{
	const char *p = strstr(text, "outcome: ");

	(void)tag;
	(void)len;
	if (p)
		snprintf(ctx, CELL, "%s", p + strlen("outcome: "));
	else if (strstr(text, "the guest hangs at boot"))
		printf("hangs at boot, an artefact of the emulation; retrying ... ");
	fflush(stdout);
}

/* Does the cell report that all pages work? */
static bool works(const char *cell)
{
	unsigned int pages, all;

	return sscanf(cell, "works, %u of %u pages", &pages, &all) == 2 && pages == all;
}

static void try(const struct row *row, int variant, char *cell)
{
	char env[2][600];
	const char *words[] = { "run", "240", env[0], env[1], row->argv[0], row->argv[1], NULL };
	bool expected;
	struct host_reply reply;

	printf("  %-20s ... ", row->name);
	fflush(stdout);
	snprintf(env[0], sizeof(env[0]), "KVM=%s", variants[variant]);
	snprintf(env[1], sizeof(env[1]), "BUILD=%s", build);
	cell[0] = '\0';
	host_cmd(host, words, take_outcome, cell, &reply);
	if (!cell[0])
		snprintf(cell, CELL, "%.*s", CELL - 1, host_explain(&reply));
	if (variant == PATCHED || row->stock_works)
		expected = works(cell);
	else
		expected = strstr(cell, "Bad address");
	printf("%s%s\n", cell, expected ? "" : "  <-- not as expected");
	surprises += !expected;
	check_log();
	if (!host_alive(host))
		die("the host has crashed: see %s/logs/demo", build);
}

static void try_all(int variant, char cells[][VARIANTS][CELL])
{
	struct host_reply reply;

	if (host_load_kvm(host, variants[variant], NULL, &reply) != HOST_OK)
		die("cannot load %s KVM in the host: %s", variants[variant], host_explain(&reply));
	for (int i = 0; i < ROWS; i++)
		try(&rows[i], variant, cells[i][variant]);
}

static void print_table(char cells[][VARIANTS][CELL])
{
	static const char rule[] = "------------------------------";

	printf("\n  %-20s | %-26s | %s\n", "the guest's memory", "stock KVM", "patched KVM");
	printf("  %.20s-+-%.26s-+-%.25s\n", rule, rule, rule);
	for (int i = 0; i < ROWS; i++) {
		/* For an error, print only what a user would see. */
		const char *stock = cells[i][STOCK], *end = strstr(stock, "Bad address");
		int len = end ? end + strlen("Bad address") - stock : (int)strlen(stock);

		printf("  %-20s | %-26.*s | %s\n", rows[i].name, len, stock, cells[i][PATCHED]);
	}
}

/* --- the picture --- */

static void screenshot(const char *path, const char *format)
{
	char json[1200], answer[512];

	snprintf(json, sizeof(json),
		 "{\"execute\":\"screendump\",\"arguments\":"
		 "{\"filename\":\"%s\",\"format\":\"%s\",\"device\":\"vga\"}}",
		 path, format);
	if (host_qmp(host, json, answer, sizeof(answer)))
		die("cannot save the display to %s: %s", path, answer);
}

static void before_path(char *path, size_t size)
{
	snprintf(path, size, "%s/logs/demo/before.ppm", build);
}

static void after_path(char *path, size_t size)
{
	snprintf(path, size, "%s/logs/demo/after.ppm", build);
}

static void picture_path(char *path, size_t size)
{
	snprintf(path, size, "%s/demo.png", build);
}

static void take_picture(void *ctx, char tag, const char *text, size_t len)
{
	struct picture *p = ctx;
	char path[600];

	(void)tag;
	(void)len;
	if (!strcmp(text, "empty")) {
		p->empty = true;
		before_path(path, sizeof(path));
		screenshot(path, "ppm");
	} else if (!strcmp(text, "drawn")) {
		p->drawn = true;
		after_path(path, sizeof(path));
		screenshot(path, "ppm");
		picture_path(path, sizeof(path));
		screenshot(path, "png");
	} else if (sscanf(text, "moved %u %u", &p->moving, &p->moved) != 2) {
		snprintf(p->error, sizeof(p->error), "%s", text);
	}
}

/* Read the pixels of a screenshot, 3 bytes each. Dies if its size is not as expected. */
static unsigned char *read_ppm(const char *path)
{
	unsigned char *pixels = malloc(PIXELS * 3);
	FILE *f = fopen(path, "re");
	int width, height;

	if (!f || !pixels)
		die("%s: %s", path, strerror(errno));
	if (fscanf(f, "P6 %d %d 255", &width, &height) != 2 || width != SCENE_WIDTH ||
	    height != SCENE_HEIGHT || fgetc(f) != '\n' || fread(pixels, 3, PIXELS, f) != PIXELS)
		die("%s is not a picture of %dx%d pixels", path, SCENE_WIDTH, SCENE_HEIGHT);
	fclose(f);
	return pixels;
}

/* Count the pixels of the screenshot that match the scene. */
static int matching(const char *path, const struct picture *p)
{
	unsigned char *pixels = read_ppm(path);
	int i, n = 0;

	for (i = 0; i < PIXELS; i++) {
		uint32_t c = scene_pixel(i % SCENE_WIDTH, i / SCENE_WIDTH, p->moving, p->moved);

		n += pixels[3 * i] == c >> 16 && pixels[3 * i + 1] == (c >> 8 & 0xff) &&
		     pixels[3 * i + 2] == (c & 0xff);
	}
	free(pixels);
	return n;
}

static void make_picture(void)
{
	const char *const words[] = { "run", "120", "picture", NULL };
	struct picture p = { 0 };
	struct host_reply reply;
	char path[600];
	int n;

	puts("\n"
	     "Now a picture. On patched KVM, a guest draws into a buffer of bochs-drm. Before\n"
	     "it has finished, the host shows the buffer on its display: the driver moves it\n"
	     "from system memory to video memory, while the guest keeps drawing ...");
	host_cmd(host, words, take_picture, &p, &reply);
	if (reply.kind != HOST_EXIT || reply.value || !p.empty || !p.drawn)
		die("no picture: %s", p.error[0] ? p.error : host_explain(&reply));
	check_log();

	before_path(path, sizeof(path));
	n = matching(path, &p);
	if (n > PIXELS / 10)
		die("the display showed the picture too early: %d pixels", n);
	after_path(path, sizeof(path));
	n = matching(path, &p);
	picture_path(path, sizeof(path));
	printf("  Lines drawn: %u when the move began, %u when it ended, %d in the end.\n"
	       "  Of %d pixels on the display, %d are correct%s.\n"
	       "\n"
	       "The picture is saved as %s\n",
	       p.moving, p.moved, SCENE_HEIGHT, PIXELS, n,
	       n == PIXELS ? "" : "  <-- not as expected", path);
	surprises += n != PIXELS;
}

/* --- the whole demo --- */

static void boot(const char *release)
{
	/* The host keeps pointers to these. */
	static char kernel[600], initramfs[600], logdir[600];
	char error[1200];
	struct host_opts opts = {
		.kernel = kernel,
		.initramfs = initramfs,
		.logdir = logdir,
		/* One processor: with two, Debian's guest sometimes hangs at boot. */
		.cpus = 1,
		.timeout_s = HOST_S,
	};

	snprintf(kernel, sizeof(kernel), "%s/%s/vmlinux", build, release);
	snprintf(initramfs, sizeof(initramfs), "%s/%s/initramfs.cpio", build, release);
	snprintf(logdir, sizeof(logdir), "%s/logs", build);
	mkdir(logdir, 0755);
	snprintf(logdir, sizeof(logdir), "%s/logs/demo", build);
	if (mkdir(logdir, 0755) && errno != EEXIST)
		die("%s: %s", logdir, strerror(errno));

	printf("Booting the host, with Debian's kernel %s ... ", release);
	fflush(stdout);
	host = host_start(&opts, error, sizeof(error));
	if (!host)
		die("%s", error);
	printf("up after %.1f s\n", host_boot_ms(host) / 1000.0);
}

int main(int argc, char **argv)
{
	static char cells[ROWS][VARIANTS][CELL];
	struct host_reply reply;
	double start = seconds();

	if (argc != 3 || strpbrk(argv[1], "\"\\"))
		die("usage: demo BUILD RELEASE (no \" or \\ in the path)");
	build = argv[1];

	puts("\n"
	     "GPU drivers provide buffers whose pages are not reference-counted. When a\n"
	     "virtual machine gets such a buffer as memory, Debian's KVM refuses it: \"Bad\n"
	     "address\". This demo tries that with Debian's own KVM modules and with the\n"
	     "patched ones. Your kernel stays as it is: everything happens in an emulated\n"
	     "machine, the host.\n");
	boot(argv[2]);
	for (int i = 0; i < ROWS; i++)
		load(rows[i].module);
	if (host_do(host, &reply, "9p") != HOST_OK)
		die("the host cannot see this machine's files: %s", host_explain(&reply));

	puts("\n"
	     "A guest writes to every page of a buffer of\n"
	     "  bochs-drm and qxl, the drivers of QEMU's VGA and QXL cards;\n"
	     "  vgem, a driver with ordinary, refcounted pages, for comparison;\n"
	     "  the exporter, a stand-in for a GPU driver.\n"
	     "Last, Debian's own QEMU boots a Debian guest with a buffer of the exporter as\n"
	     "a device.\n"
	     "\n"
	     "Stock KVM, as Debian ships it:");
	try_all(STOCK, cells);
	puts("\nPatched KVM:");
	try_all(PATCHED, cells);
	print_table(cells);
	make_picture();
	host_stop(host);

	if (surprises)
		printf("\n%d of these results are not as expected; logs: %s/logs/demo\n", surprises,
		       build);
	printf("Done in %.0f s.\n", seconds() - start);
	return surprises ? 1 : 0;
}
