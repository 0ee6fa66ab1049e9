// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports the result of a probe and what to do about it; see verdict.h.
 */
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/text.h"
#include "tool/verdict.h"

static const struct {
	const char *name; /* for JSON */
	enum exit_code code;
} verdicts[] = {
	[WORKS] = { "works", EXIT_OK },
	[REFUSED] = { "refused", EXIT_REFUSED },
	[PERMISSION] = { "no_permission", EXIT_NO_ACCESS },
	[NO_KVM] = { "no_kvm", EXIT_NO_ACCESS },
	[NO_BUFFER] = { "no_buffer", EXIT_NO_BUFFER },
	[HANGS] = { "hangs", EXIT_BROKEN },
	[CORRUPT] = { "corrupt", EXIT_BROKEN },
	[FAILED] = { "failed", EXIT_BROKEN },
};

const char *const page_stats[PAGE_SIZES] = { "pages_4k", "pages_2m", "pages_1g" };
static const char *const page_sizes[PAGE_SIZES] = { "4 KiB", "2 MiB", "1 GiB" };

static void headline(const struct record *r, const struct kvm_state *s, char *text, size_t size)
{
	bool nested = s->paging == PAGING_NESTED;

	switch (r->verdict) {
	case WORKS:
		snprintf(text, size,
			 "works: guest and host see each other's writes in all %u "
			 "pages%s",
			 r->pages,
			 r->video ? "; but they may be in video memory, which any "
				    "KVM can map" :
				    "");
		break;
	case REFUSED:
		if (r->usable == 1 && r->first_bad == 1)
			snprintf(text, size, "first page only, then Bad address: ");
		else if (r->usable)
			snprintf(text, size, "Bad address, only %u of %u pages work: ", r->usable,
				 r->pages);
		else
			snprintf(text, size, "Bad address: ");
		/* Patched KVM with nested paging maps such pages: this has another cause. */
		snprintf(text + strlen(text), size - strlen(text), "KVM refuses this memory%s",
			 s->kvm.patched && nested ? "" : ", as it does with non-refcounted pages");
		break;
	case PERMISSION:
		snprintf(text, size, "no permission: %s", r->reason);
		break;
	case NO_KVM:
		snprintf(text, size, "no KVM: %s", r->reason);
		break;
	case NO_BUFFER:
		snprintf(text, size, "not mappable: %s", r->reason);
		break;
	case HANGS:
		snprintf(text, size, "hangs: %s", r->reason);
		break;
	case CORRUPT:
		snprintf(text, size, "loses data: %s", r->reason);
		break;
	case FAILED:
		snprintf(text, size, "failed: %s", r->reason);
		break;
	}
}

/* Name the group that may open the device. */
static void advise_permission(const char *path, char *text, size_t size)
{
	struct group *group = NULL;
	bool allowed = !geteuid();
	struct stat st;

	if (!stat(path, &st) && (st.st_mode & 0060) == 0060) {
		group = getgrgid(st.st_gid);
		allowed |= group_member(st.st_gid);
	}
	if (allowed)
		snprintf(text, size,
			 "the file's mode allows access: a container, a service's sandbox or a "
			 "security module may deny it");
	else if (group && strcmp(group->gr_name, "root"))
		snprintf(text, size, "run usermod -aG %s USER as root, then log in again",
			 group->gr_name);
	else
		snprintf(text, size, "run this as root, or as a user who may open %s", path);
}

static void advise_no_kvm(const struct kvm_state *s, char *text, size_t size)
{
	if (s->kvm.builtin && !s->vendor.there)
		snprintf(text, size,
			 "KVM is built into this kernel: see dmesg; often virtualization is "
			 "disabled in the firmware setup, or this is a container");
	else if (!s->vendor.there)
		snprintf(text, size,
			 "run modprobe %s as root; if that fails, see dmesg: often virtualization "
			 "is disabled in the firmware setup",
			 s->vendor.name);
	else
		snprintf(text, size,
			 "KVM is loaded: a container without " KVM_DEVICE
			 " or another hypervisor may be the reason");
}

static void advise_refused(const struct kvm_state *s, char *text, size_t size)
{
	if (s->paging == PAGING_SHADOW && (s->kvm.patched || s->support == SUPPORT_YES))
		snprintf(text, size,
			 "load %s with %s=1: without nested paging, no KVM can map it%s",
			 s->vendor.name, strcmp(s->vendor.name, "kvm_amd") ? "ept" : "npt",
			 s->kvm.patched ? "" : "; then install kvm-pfnmap-dkms");
	else if (s->kvm.patched)
		snprintf(text, size,
			 "these modules should map it, unless this is Linux 6.1 and the driver "
			 "uses large pages: please report this output");
	else if (s->kvm.next.patched)
		snprintf(text, size,
			 "kvm-pfnmap's modules are installed but not loaded: run kvm-pfnmap "
			 "reload as root, or reboot");
	else if (s->support == SUPPORT_YES)
		snprintf(text, size,
			 "install kvm-pfnmap-dkms, then run kvm-pfnmap reload as root, or reboot");
	else if (s->support == SUPPORT_TOO_OLD)
		snprintf(text, size,
			 "update the kernel, which is too old for kvm-pfnmap, then install "
			 "kvm-pfnmap-dkms");
	else if (s->support == SUPPORT_NOT_NEEDED)
		snprintf(text, size,
			 "this kernel's own KVM should map it, as Linux 6.13 and later do: please "
			 "report this output to its developers");
	else
		snprintf(text, size,
			 "run Linux 6.13 or later, or a kernel that kvm-pfnmap "
			 "supports (kvm-pfnmap status lists them)");
}

/* What to do about the verdict; empty if nothing. */
static void advise(const struct target *t, const struct record *r, const struct kvm_state *s,
		   char *text, size_t size)
{
	text[0] = '\0';
	switch (r->verdict) {
	case WORKS:
		break;
	case REFUSED:
		advise_refused(s, text, size);
		break;
	case PERMISSION:
		advise_permission(r->pages ? KVM_DEVICE :
				  t->spec  ? t->spec->path :
					     t->name,
				  text, size);
		break;
	case NO_KVM:
		advise_no_kvm(s, text, size);
		break;
	case NO_BUFFER:
		if (r->no_library)
			snprintf(text, size,
				 "install libgbm1, or probe the driver's "
				 "other node, /dev/dri/card*");
		else if (t->kind == NODE && !strncmp(r->what, "GBM", 3))
			snprintf(text, size, "probe the driver's other node, /dev/dri/card*");
		break;
	case HANGS:
	case CORRUPT:
	case FAILED:
		snprintf(text, size, "see dmesg, and please report this output");
		break;
	}
}

static void sizes_text(const struct record *r, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	if (r->mapped[0] < 0) {
		snprintf(text, size, "page sizes unknown");
		return;
	}
	for (size_t i = 0; i < PAGE_SIZES && len < size; i++)
		if (r->mapped[i])
			len += snprintf(text + len, size - len, "%s%s (%lld)",
					len ? ", " : "page sizes ", page_sizes[i],
					(long long)r->mapped[i]);
	if (!len)
		snprintf(text, size, "nothing mapped");
}

void print_host(const struct kvm_state *s)
{
	char text[PATH_MAX + 256], kind[96];

	kernel_text(s, text, sizeof(text));
	print_wrapped("host", text);
	if (!s->kvm.there) {
		print_wrapped("KVM", "not loaded");
		return;
	}
	snprintf(text, sizeof(text), "%s, %s, %s paging",
		 kind_text(s->kvm.patched, s->kvm.version, kind, sizeof(kind)),
		 s->kvm.builtin	     ? "built into the kernel" :
		 s->kvm.file.path[0] ? s->kvm.file.path :
				       "from an unknown file",
		 s->paging == PAGING_NESTED ? "nested" :
		 s->paging == PAGING_SHADOW ? "shadow" :
					      "unknown");
	print_wrapped("KVM", text);
}

void print_record(const struct target *t, const struct record *r, const struct kvm_state *s)
{
	char text[PATH_MAX + 256], mapped[128];

	if (strcmp(t->name, r->what) && r->what[0])
		printf("\n%s, %s\n", t->name, r->what);
	else
		printf("\n%s\n", t->name);
	headline(r, s, text, sizeof(text));
	print_wrapped("  result", text);
	if (r->runs > 1) {
		sizes_text(r, mapped, sizeof(mapped));
		if (r->exits >= 0)
			snprintf(text, sizeof(text), "%u of %u pages tried, %lld exits, %s",
				 r->tried, r->pages, (long long)r->exits, mapped);
		else
			snprintf(text, sizeof(text), "%u of %u pages tried, %lld runs, %s",
				 r->tried, r->pages, (long long)r->runs, mapped);
		print_wrapped("  seen", text);
	}
	advise(t, r, s, text, sizeof(text));
	if (text[0])
		print_wrapped("  to do", text);
}

void write_host(struct json *j, const struct kvm_state *s)
{
	json_open(j, "kernel", '{');
	json_string(j, "release", s->release);
	json_string(j, "debian_version", s->debian[0] ? s->debian : NULL);
	json_close(j, '}');
	json_open(j, "kvm", '{');
	json_bool(j, "loaded", s->kvm.there && !s->kvm.builtin);
	json_bool(j, "builtin", s->kvm.builtin);
	json_string(j, "kind", !s->kvm.there ? NULL : s->kvm.patched ? "kvm-pfnmap" : "stock");
	json_string(j, "version", s->kvm.version[0] ? s->kvm.version : NULL);
	json_string(j, "path", s->kvm.file.path[0] ? s->kvm.file.path : NULL);
	json_string(j, "paging",
		    s->paging == PAGING_NESTED ? "nested" :
		    s->paging == PAGING_SHADOW ? "shadow" :
						 NULL);
	json_close(j, '}');
}

void write_record(struct json *j, const struct target *t, const struct record *r,
		  const struct kvm_state *s)
{
	char text[PATH_MAX + 256];

	json_open(j, NULL, '{');
	json_string(j, "name", t->name);
	json_string(j, "memory", r->what[0] ? r->what : NULL);
	json_string(j, "verdict", verdicts[r->verdict].name);
	headline(r, s, text, sizeof(text));
	json_string(j, "text", text);
	advise(t, r, s, text, sizeof(text));
	json_string(j, "advice", text[0] ? text : NULL);
	json_string(j, "reason", r->reason[0] ? r->reason : NULL);
	json_bool(j, "maybe_video_memory", r->video);
	json_int(j, "pages", r->pages);
	json_int(j, "pages_tried", r->tried);
	json_int(j, "pages_usable", r->usable);
	json_count(j, "first_bad_page", r->verdict == REFUSED ? (long long)r->first_bad : -1);
	json_int(j, "kvm_run_calls", r->runs);
	json_count(j, "exits", r->exits);
	json_open(j, "mapped", '{');
	for (size_t i = 0; i < PAGE_SIZES; i++)
		json_count(j, page_stats[i], r->mapped[i]);
	json_close(j, '}');
	json_close(j, '}');
}

enum exit_code sum_up(const struct target *targets, const struct record *records, size_t n)
{
	static const enum exit_code order[] = { EXIT_BROKEN, EXIT_REFUSED, EXIT_NO_ACCESS };
	bool works = false, locked = false;

	for (size_t o = 0; o < ARRAY_SIZE(order); o++)
		for (size_t i = 0; i < n; i++)
			if (verdicts[records[i].verdict].code == order[o] &&
			    !(records[i].verdict == PERMISSION && !records[i].pages))
				return order[o];
	for (size_t i = 0; i < n; i++) {
		works |= records[i].verdict == WORKS && targets[i].kind != ANONYMOUS;
		locked |= records[i].verdict == PERMISSION;
	}
	return works ? EXIT_OK : locked ? EXIT_NO_ACCESS : EXIT_NO_BUFFER;
}
