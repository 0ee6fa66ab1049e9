// SPDX-License-Identifier: GPL-2.0-only
/* Memory for the guests: buffers of the exporter, anonymous memory and files, with canaries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/torture/torture.h"

#define SETTLES	    5000u /* ticks until counts must be right */
#define SHMEM_COUNT 2	  /* exporter/pfnmap_exporter.h */
#define MANY	    16u /* pages: only the ends of larger blobs are checked if nobody stored there */

static atomic_uint ids;

uint64_t blob_canary(const struct blob *bl, uint32_t page)
{
	/* No half of it is poison. */
	return hash(bl->id, bl->twins ? page / 2 : page) & ~0x8080808080808080ull;
}

/* The content of a page at the start. */
static void draw(const struct blob *bl, uint32_t page, char *to)
{
	const struct vcpu protected = { .mode = VCPU_PAE }, real = { .mode = VCPU_REAL };
	uint64_t canary = blob_canary(bl, page);

	memset(to, 0, PAGE_USED);
	memcpy(to, &canary, sizeof(canary));
	vcpu_code(&protected, to + PAGE_CODE, canary);
	vcpu_code(&real, to + PAGE_CODE16, canary);
}

static uint32_t largest_order(uint32_t pages)
{
	uint32_t order = __builtin_ctz(pages);

	return order < PFNMAP_MAX_ORDER ? order : PFNMAP_MAX_ORDER;
}

/* A buffer that the exporter can make of this many pages, for this KVM. */
static struct pfnmap_create choose(uint32_t pages, uint64_t r)
{
	struct pfnmap_create spec = {
		.kind = r % PFNMAP_NR_KINDS,
		.insert = (r >> 8) % PFNMAP_INSERT_PMD,
		.pages = pages,
	};
	uint32_t order = largest_order(pages);

	/* Stock warns of reserved pages without a count, and of device memory. */
	if (!tap_kvm_patched() && (spec.kind == PFNMAP_RESERVED || spec.kind == PFNMAP_DEVICE))
		spec.kind = PFNMAP_NONCOMPOUND;
	if (spec.kind == PFNMAP_DEVICE && pages % (KIT_HUGE / KIT_PAGE))
		spec.kind = PFNMAP_NONCOMPOUND;
	switch (spec.kind) {
	case PFNMAP_NONCOMPOUND:
	case PFNMAP_COMPOUND:
		/* Half of them the largest possible chunks, which may be mapped at once. */
		spec.order = r >> 16 & 1 ? order : (r >> 17) % (order + 1);
		/* Stock 6.12 maps such a chunk by its first page, and marks all when it splits. */
		if (spec.order == PFNMAP_MAX_ORDER && r >> 24 & 1 &&
		    (tap_kvm_patched() || spec.kind == PFNMAP_COMPOUND))
			spec.insert = PFNMAP_INSERT_PMD;
		break;
	case PFNMAP_RESERVED:
		spec.order = (r >> 17) % (order + 1);
		break;
	case PFNMAP_DEVICE:
		spec.order = PFNMAP_MAX_ORDER;
		break;
	}
	if (spec.kind != PFNMAP_MIXED && spec.insert != PFNMAP_INSERT_PMD && (r >> 25) % 4 == 0)
		spec.flags = PFNMAP_CREATE_MKWRITE;
	return spec;
}

static void fill_file(struct blob *bl)
{
	char content[PAGE_USED];

	for (uint32_t i = 0; i < bl->pages; i++) {
		draw(bl, i, content);
		if (pwrite(bl->b.fd, content, PAGE_USED, (off_t)i * KIT_PAGE) != PAGE_USED)
			tap_bail("pwrite: %s", strerror(errno));
	}
}

static struct blob *new_blob(enum backing backing, uint32_t pages)
{
	struct blob *bl = calloc(1, sizeof(*bl));

	if (!bl)
		tap_bail("out of memory");
	*bl = (struct blob){ .id = ++ids, .backing = backing, .pages = pages };
	bl->b = (struct buf){ .fd = -1, .size = (size_t)pages * KIT_PAGE };
	bl->stored = calloc(pages, sizeof(*bl->stored));
	if (!bl->stored)
		tap_bail("out of memory");
	return bl;
}

/*
 * The pages of a new buffer are as the exporter documents, except that compaction may hold one that
 * is on the LRU for a moment: look again then.
 */
static void mark_start(struct buf *b)
{
	bool held = b->spec.kind == PFNMAP_SHMEM;

	for (unsigned int waited = 0; held && waited < SETTLES; waited++) {
		held = false;
		for (uint32_t i = 0; i < b->spec.pages; i++)
			held = held || b->start[i].count != SHMEM_COUNT;
		if (held) {
			tick();
			buf_mark(b);
		}
	}
}

struct blob *blob_driver(const struct pfnmap_create *spec)
{
	struct buf b;
	struct blob *bl;

	if (!buf_try_open(&b, spec))
		return NULL;
	bl = new_blob(BACK_DRIVER, spec->pages);
	bl->b = b;
	bl->pfnmap = spec->kind != PFNMAP_MIXED;
	fill_file(bl);
	mark_start(&bl->b);
	return bl;
}

struct blob *blob_create(uint32_t pages, uint64_t r)
{
	struct pfnmap_create spec = choose(pages, r >> 8);
	struct blob *bl;

	/* Two in eight are not the driver's. */
	switch (r % 8) {
	case 0:
		bl = new_blob(BACK_ANON, pages);
		bl->twins = true;
		return bl;
	case 1:
		bl = new_blob(BACK_MEMFD, pages);
		bl->b.fd = memfd_create("torture", MFD_CLOEXEC);
		if (bl->b.fd < 0 || ftruncate(bl->b.fd, bl->b.size))
			tap_bail("memfd: %s", strerror(errno));
		fill_file(bl);
		return bl;
	default:
		return blob_driver(&spec);
	}
}

void blob_map(struct blob *bl, char *at, int prot)
{
	size_t size = (size_t)bl->pages * KIT_PAGE;
	void *map;

	if (bl->backing != BACK_ANON) {
		map = mmap(at, size, prot, MAP_SHARED | MAP_FIXED, bl->b.fd, 0);
		if (map != at)
			tap_bail("mmap of a blob: %s", strerror(errno));
		return;
	}
	/* It has its content before the guest sees it. */
	map = vm_anon(size, size >= KIT_HUGE ? KIT_HUGE : KIT_PAGE);
	for (uint32_t i = 0; i < bl->pages; i++)
		draw(bl, i, (char *)map + (size_t)i * KIT_PAGE);
	if (mprotect(map, size, prot) ||
	    mremap(map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at)
		tap_bail("mremap of anonymous memory: %s", strerror(errno));
}

bool blob_peek(const struct blob *bl, const char *at, uint32_t page, uint32_t off, void *to,
	       uint32_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = (char *)at + (size_t)page * KIT_PAGE + off,
				.iov_len = len };

	if (bl->backing != BACK_ANON)
		return pread(bl->b.fd, to, len, (off_t)page * KIT_PAGE + off) == (ssize_t)len;
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len;
}

static const char *blob_name(const struct blob *bl)
{
	return bl->backing == BACK_MEMFD ? "a file" : buf_name(&bl->b);
}

static void check_page(const struct blob *bl, const char *at, uint32_t page)
{
	char content[PAGE_USED];
	uint64_t canary;

	if (!blob_peek(bl, at, page, 0, content, sizeof(content))) {
		violated(INV_READ, "%s: page %u cannot be read: %s", blob_name(bl), page,
			 strerror(errno));
		return;
	}
	memcpy(&canary, content, sizeof(canary));
	if (canary != blob_canary(bl, page))
		violated(INV_READ, "%s: page %u has the canary %#llx at the end", blob_name(bl),
			 page, (unsigned long long)canary);
	for (int v = 0; v < NR_VCPUS; v++) {
		const struct stored *s = &bl->stored[page][v];
		uint64_t fill;
		uint32_t add;

		memcpy(&fill, content + PAGE_FILL(v), sizeof(fill));
		memcpy(&add, content + PAGE_ADD(v), sizeof(add));
		if (!s->unknown && (fill != s->fill || add != s->add))
			violated(INV_STORE,
				 "%s: page %u has %#llx and %u of vCPU %d at the end, not %#llx "
				 "and %u",
				 blob_name(bl), page, (unsigned long long)fill, add, v,
				 (unsigned long long)s->fill, s->add);
	}
}

uint64_t blob_check_old(const struct blob *bl)
{
	struct pfnmap_old old;

	if (bl->backing != BACK_DRIVER || !bl->kept)
		return 0;
	old = buf_check_old(&bl->b);
	if (old.changed)
		violated(INV_OLD, "%s: %llu bytes of %llu old pages were written", blob_name(bl),
			 (unsigned long long)old.changed, (unsigned long long)old.pages);
	return old.bad_counts;
}

/* The pages may have moved; apart from that, they must be as they were. */
static const char *changes(struct blob *bl)
{
	struct pfnmap_page *now = buf_report(&bl->b);

	for (uint32_t i = 0; i < bl->pages; i++)
		bl->b.start[i].pfn = now[i].pfn;
	free(now);
	return buf_changes(&bl->b);
}

/* Reclaim, compaction and forked processes hold pages for a moment, too. */
static void check_counts(struct blob *bl, bool freed)
{
	const char *why = NULL;
	unsigned int waited;
	bool bad = true;

	for (waited = 0; waited < SETTLES && !(waited && stopping); waited++) {
		why = freed ? NULL : changes(bl);
		bad = bad && blob_check_old(bl);
		if (!why && !bad)
			return;
		tick();
	}
	violated(INV_COUNT, "%s: %s", blob_name(bl), why ? why : "an old page has a wrong count");
}

/*
 * KVM marks what it unmapped and what was written meanwhile. It does not mark what it emulated, as
 * it does where the driver inserts entries read-only, and the kernel cleans pages of files. Where
 * the driver inserts a huge entry, KVM of 6.12 makes a huge SPTE, and marks nothing if it made that
 * for a tail.
 */
static void check_dirty(const struct blob *bl)
{
	bool compound = bl->b.spec.kind == PFNMAP_COMPOUND;
	struct pfnmap_page *now;

	if (bl->b.spec.flags & PFNMAP_CREATE_MKWRITE ||
	    (bl->b.spec.insert == PFNMAP_INSERT_PMD && kit_kernel(6, 12)) ||
	    (bl->b.spec.kind != PFNMAP_NONCOMPOUND && !compound))
		return;
	now = buf_report(&bl->b);
	for (uint32_t i = 0; i < bl->pages; i++) {
		/* Such a page has the flag of its head. */
		uint32_t flagged = compound ? i & ~((1u << bl->b.spec.order) - 1) : i;
		bool stored = false;

		for (int v = 0; v < NR_VCPUS; v++)
			stored |= bl->stored[i][v].when && bl->stored[i][v].when >= bl->moved;
		if (stored && page_refcounted(&now[i]) && !(now[flagged].flags & PFNMAP_PAGE_DIRTY))
			violated(INV_DIRTY, "%s: page %u is not dirty after a store", blob_name(bl),
				 i);
	}
	free(now);
}

void blob_retire(struct blob *bl, const char *at, bool freed)
{
	for (uint32_t i = 0; i < bl->pages && !freed; i++) {
		bool touched = i < MANY || i + 1 == bl->pages;

		for (int v = 0; v < NR_VCPUS; v++)
			touched |= bl->stored[i][v].fill || bl->stored[i][v].add;
		if (touched)
			check_page(bl, at, i);
	}
	if (bl->backing == BACK_DRIVER && !freed)
		check_dirty(bl);
	if (bl->backing == BACK_DRIVER)
		check_counts(bl, freed);
	if (bl->b.fd >= 0)
		close(bl->b.fd);
	free(bl->b.start);
	free(bl->stored);
	free(bl);
}
