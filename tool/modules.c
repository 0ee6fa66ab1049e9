// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds KVM's modules: the loaded ones through sysfs, their files through libkmod.
 *
 * The kernel does not say which file a module was loaded from, so its properties in sysfs are
 * compared with those of the files on disk. kvm-pfnmap's kvm.ko has the parameter
 * allow_unsafe_mappings, which other kvm.ko have only since Linux 6.13; and kvm-pfnmap's modules
 * carry a version and a source hash, unlike Debian's. The vendor module comes from the same
 * directory as kvm.ko, because it fits no other.
 */
#include <dirent.h>
#include <libkmod.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tool/modules.h"
#include "tool/text.h"
#include "tool/tool.h"

#define OWN_PARAMETER "allow_unsafe_mappings"

/* Directories below /lib/modules/RELEASE that may contain KVM's modules. */
#define KERNELS_OWN "kernel/arch/x86/kvm"
static const char *const places[] = { "updates/dkms", "updates", "extra", KERNELS_OWN };
static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };

static void be_quiet(void *data, int priority, const char *file, int line, const char *fn,
		     const char *format, va_list args)
{
	(void)data, (void)priority, (void)file, (void)line, (void)fn, (void)format, (void)args;
}

struct kmod_ctx *kvm_kmod(const struct kvm_state *s)
{
	struct kmod_ctx *ctx = kmod_new(s->module_dir, NULL);

	if (ctx)
		kmod_set_log_fn(ctx, be_quiet, NULL);
	return ctx;
}

/* Join directory and base name; the result is empty if it would be too long. */
static void join(char *path, const char *dir, const char *name)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		path[0] = '\0';
}

static bool read_attribute(const char *module, const char *name, char *text, size_t size)
{
	char path[640];

	snprintf(path, sizeof(path), "/sys/module/%s/%s", module, name);
	return read_line(path, text, size);
}

/* Read the parameters that this user may read. */
static void read_parameters(struct module *m)
{
	char path[256], name[512], value[1024];
	struct dirent **list;
	size_t len = 0;
	int n;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters", m->name);
	n = scandir(path, &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "parameters/%s", list[i]->d_name);
		if (list[i]->d_name[0] != '.' &&
		    read_attribute(m->name, name, value, sizeof(value)) &&
		    len < sizeof(m->parameters))
			len += snprintf(m->parameters + len, sizeof(m->parameters) - len, "%s=%s\n",
					list[i]->d_name, value);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void read_loaded(struct module *m, const char *release)
{
	char path[256], state[32];

	snprintf(path, sizeof(path), "/sys/module/%s", m->name);
	if (access(path, F_OK))
		return;
	m->there = true;
	/* Built-in modules have no initstate. */
	m->builtin = !read_attribute(m->name, "initstate", state, sizeof(state));
	read_attribute(m->name, "version", m->version, sizeof(m->version));
	read_attribute(m->name, "srcversion", m->srcversion, sizeof(m->srcversion));
	snprintf(path, sizeof(path), "/sys/module/%s/parameters/" OWN_PARAMETER, m->name);
	m->patched = !access(path, F_OK) && !release_at_least(release, 6, 13);
	read_parameters(m);
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%.*s", (int)strcspn(from, " "), from);
}

/* Read version, release and parameters from the module file. */
static void describe_file(struct kmod_ctx *ctx, struct module_file *f)
{
	struct kmod_list *list = NULL, *entry;
	struct kmod_module *mod;

	if (!f->path[0] || kmod_module_new_from_path(ctx, f->path, &mod) < 0)
		return;
	kmod_module_get_info(mod, &list);
	kmod_list_foreach(entry, list)
	{
		const char *key = kmod_module_info_get_key(entry);
		const char *value = kmod_module_info_get_value(entry);

		if (!strcmp(key, "version"))
			copy(f->version, sizeof(f->version), value);
		else if (!strcmp(key, "srcversion"))
			copy(f->srcversion, sizeof(f->srcversion), value);
		else if (!strcmp(key, "vermagic"))
			copy(f->release, sizeof(f->release), value);
		else if (!strcmp(key, "parmtype") &&
			 !strncmp(value, OWN_PARAMETER ":", strlen(OWN_PARAMETER ":")))
			f->patched = true;
	}
	f->patched &= !release_at_least(f->release, 6, 13);
	kmod_module_info_free_list(list);
	kmod_module_unref(mod);
}

/*
 * Does the kernel's own KVM map memory that is not refcounted? Those that do, since Linux 6.13,
 * have this function, which returns a page only if it is refcounted.
 */
static bool needs_no_patch(struct kmod_ctx *ctx, const struct module *kvm)
{
	static const char wanted[] = "__kvm_faultin_pfn";
	struct kmod_list *list = NULL, *entry;
	struct kmod_module *mod;
	char line[512], symbol[128];
	bool found = false;
	FILE *f;

	f = kvm->there ? fopen("/proc/kallsyms", "re") : NULL;
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %*s %127s", symbol) == 1 && !strcmp(symbol, wanted);
	if (f)
		fclose(f);
	if (found || kvm->there || kmod_module_new_from_path(ctx, kvm->next.path, &mod) < 0)
		return found;
	kmod_module_get_symbols(mod, &list);
	kmod_list_foreach(entry, list) if (!strcmp(kmod_module_symbol_get_symbol(entry), wanted))
		found = true;
	kmod_module_symbols_free_list(list);
	kmod_module_unref(mod);
	return found;
}

static void find_next(struct kmod_ctx *ctx, struct module *m)
{
	struct kmod_module *mod;
	const char *text;

	if (kmod_module_new_from_name(ctx, m->name, &mod) < 0)
		return;
	text = kmod_module_get_path(mod);
	if (text && !access(text, F_OK))
		snprintf(m->next.path, sizeof(m->next.path), "%s", text);
	text = kmod_module_get_options(mod);
	snprintf(m->options, sizeof(m->options), "%s", text ? text : "");
	kmod_module_unref(mod);
	describe_file(ctx, &m->next);
}

/* Find the module's file in a directory, compressed or not. False: not found. */
static bool file_in(const char *dir, const char *module, char *path)
{
	char base[64];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(base, sizeof(base), "%s.ko%s", module, suffixes[i]);
		/* Module names have underscores, file names have hyphens. */
		for (char *p = base; *p; p++)
			if (*p == '_')
				*p = '-';
		join(path, dir, base);
		if (!access(path, F_OK))
			return true;
	}
	path[0] = '\0';
	return false;
}

/* Check release first: a truncated file would otherwise pass for a module without a version. */
static bool same(const struct module *m, const struct module_file *f)
{
	return f->release[0] && m->patched == f->patched && !strcmp(m->version, f->version) &&
	       !strcmp(m->srcversion, f->srcversion);
}

void kernels_own_files(const struct kvm_state *s, char *kvm, char *vendor)
{
	char dir[PATH_MAX];

	join(dir, s->module_dir, KERNELS_OWN);
	if (!file_in(dir, "kvm", kvm) || !file_in(dir, s->vendor.name, vendor))
		kvm[0] = '\0';
}

/* Find the file that kvm was loaded from, and the vendor module next to it. */
static void find_files(struct kmod_ctx *ctx, struct kvm_state *s)
{
	char dir[PATH_MAX], *slash;

	if (!s->kvm.there || s->kvm.builtin)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct module_file f = { .path = "" };

		join(dir, s->module_dir, places[i]);
		if (!file_in(dir, "kvm", f.path))
			continue;
		describe_file(ctx, &f);
		if (same(&s->kvm, &f)) {
			s->kvm.file = f;
			break;
		}
	}
	if (!s->kvm.file.path[0] || !s->vendor.there)
		return;
	snprintf(dir, sizeof(dir), "%s", s->kvm.file.path);
	slash = strrchr(dir, '/');
	*slash = '\0';
	if (file_in(dir, s->vendor.name, s->vendor.file.path))
		describe_file(ctx, &s->vendor.file);
}

/* The module for this processor. Both are present if they are built in. */
static const char *vendor_name(void)
{
	char line[256], maker[64] = "";
	const char *name, *other;
	char path[64];
	FILE *f;

	f = fopen("/proc/cpuinfo", "re");
	while (f && !maker[0] && fgets(line, sizeof(line), f))
		if (sscanf(line, "vendor_id : %63s", maker) != 1)
			maker[0] = '\0';
	if (f)
		fclose(f);
	name = "kvm_intel";
	other = "kvm_amd";
	if (!strcmp(maker, "AuthenticAMD") || !strcmp(maker, "HygonGenuine")) {
		name = "kvm_amd";
		other = "kvm_intel";
	}
	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (!access(path, F_OK))
		return name;
	snprintf(path, sizeof(path), "/sys/module/%s", other);
	return access(path, F_OK) ? name : other;
}

static enum paging paging_of(const struct module *vendor)
{
	char value[8];

	if (!read_attribute(vendor->name,
			    strcmp(vendor->name, "kvm_amd") ? "parameters/ept" : "parameters/npt",
			    value, sizeof(value)))
		return PAGING_UNKNOWN;
	return value[0] == 'Y' || value[0] == '1' ? PAGING_NESTED : PAGING_SHADOW;
}

void kvm_state_get(struct kvm_state *s, const char *dirname)
{
	struct kmod_ctx *ctx;
	struct utsname u;

	memset(s, 0, sizeof(*s));
	uname(&u);
	snprintf(s->release, sizeof(s->release), "%s", u.release);
	debian_version(u.version, s->debian, sizeof(s->debian));
	s->support = kernel_support(supported_kernels, s->release, s->debian);
	if (snprintf(s->module_dir, sizeof(s->module_dir), "%s/lib/modules/%s",
		     dirname ? dirname : "", s->release) >= (int)sizeof(s->module_dir))
		s->module_dir[0] = '\0';
	s->kvm.name = "kvm";
	s->vendor.name = vendor_name();
	read_loaded(&s->kvm, s->release);
	read_loaded(&s->vendor, s->release);
	s->vendor.patched = s->kvm.patched;
	s->paging = paging_of(&s->vendor);
	ctx = kvm_kmod(s);
	if (!ctx)
		return;
	find_next(ctx, &s->kvm);
	find_next(ctx, &s->vendor);
	find_files(ctx, s);
	if (s->support == SUPPORT_NO && needs_no_patch(ctx, &s->kvm))
		s->support = SUPPORT_NOT_NEEDED;
	kmod_unref(ctx);
}

const char *kind_text(bool patched, const char *version, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s", patched ? "kvm-pfnmap" : "stock", *version ? " " : "",
		 version);
	return text;
}

void kernel_text(const struct kvm_state *s, char *text, size_t size)
{
	if (s->debian[0])
		snprintf(text, size, "Linux %s (Debian %s)", s->release, s->debian);
	else
		snprintf(text, size, "Linux %s", s->release);
}
