// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-pfnmap reload: unloads KVM's modules and loads the ones that modprobe finds now, or the old
 * ones again if that fails.
 *
 * Known obstacles are checked before anything changes. After that the kernel decides: it refuses to
 * unload a module that is in use, so either nothing has changed yet or the old modules can return.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libkmod.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/json.h"
#include "tool/modules.h"
#include "tool/text.h"
#include "tool/tool.h"
#include "tool/users.h"

struct reload {
	struct kmod_ctx *ctx;
	struct kvm_state before, after;
	const char *result; /* "reloaded", "refused", "restored", "failed" */
	char message[1200];
};

static enum exit_code __attribute__((format(printf, 4, 5)))
end(struct reload *r, enum exit_code code, const char *result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
	r->result = result;
	return code;
}

static int unload(struct reload *r, const char *name)
{
	struct kmod_module *mod;
	int ret = kmod_module_new_from_name(r->ctx, name, &mod);

	if (ret < 0)
		return ret;
	ret = kmod_module_remove_module(mod, O_NONBLOCK);
	kmod_module_unref(mod);
	return ret == -ENOENT ? 0 : ret;
}

/* Load a module as modprobe does, with its dependencies and options. */
static int load(struct reload *r, const char *name)
{
	struct kmod_module *mod;
	int ret = kmod_module_new_from_name(r->ctx, name, &mod);

	if (ret < 0)
		return ret;
	ret = kmod_module_probe_insert_module(mod, 0, NULL, NULL, NULL, NULL);
	kmod_module_unref(mod);
	return ret;
}

/* Load one file, with the options that modprobe.d has for the module. */
static int load_file(struct reload *r, const struct module *m, const char *path)
{
	struct kmod_module *mod;
	int ret = kmod_module_new_from_path(r->ctx, path, &mod);

	if (ret < 0)
		return ret;
	ret = kmod_module_insert_module(mod, 0, m->options);
	kmod_module_unref(mod);
	return ret == -EEXIST ? 0 : ret;
}

/* Load these files again. Returns 0 or -errno. */
static int restore(struct reload *r, const char *kvm, const char *vendor)
{
	const struct kvm_state *s = &r->before;
	int ret;

	unload(r, s->vendor.name);
	unload(r, "kvm");
	ret = load_file(r, &s->kvm, kvm);
	if (!ret && s->vendor.there)
		ret = load_file(r, &s->vendor, vendor);
	return ret;
}

/* The certificate of the key that DKMS signs with; the last file that sets it counts. */
static void certificate(char *path, size_t size)
{
	char line[PATH_MAX + 64], value[PATH_MAX];
	glob_t files;
	FILE *f;

	snprintf(path, size, "/var/lib/dkms/mok.pub");
	glob("/etc/dkms/framework.conf", 0, NULL, &files);
	glob("/etc/dkms/framework.conf.d/*.conf", GLOB_APPEND, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		f = fopen(files.gl_pathv[i], "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, " mok_certificate=%*[\"']%4095[^\"' \n]", value) == 1 ||
			    sscanf(line, " mok_certificate=%4095[^\"' \n]", value) == 1)
				snprintf(path, size, "%s", value);
		if (f)
			fclose(f);
	}
	globfree(&files);
}

/* Advice for an error. */
static const char *explain(int err)
{
	static char text[PATH_MAX + 128];
	char path[PATH_MAX];

	if (err == -EBUSY)
		return "";
	/* The second one is what lockdown says. */
	if (err != -EKEYREJECTED && err != -EPERM)
		return "; see dmesg";
	certificate(path, sizeof(path));
	snprintf(text, sizeof(text),
		 "; their signing key is not enrolled: run mokutil --import %s, then reboot", path);
	return text;
}

static enum exit_code put_back(struct reload *r, const char *what, int err)
{
	const struct kvm_state *s = &r->before;
	const char *kvm = s->kvm.file.path, *vendor = s->vendor.file.path;
	bool own = !kvm[0] || (s->vendor.there && !vendor[0]);
	const char *which = own ? "the kernel's own modules" : "the previous modules";
	char own_kvm[PATH_MAX], own_vendor[PATH_MAX];
	int ret;

	if (!s->kvm.there) {
		unload(r, s->vendor.name);
		unload(r, "kvm");
		return end(r, EXIT_REFUSED, "restored", "%s: %s; KVM is not loaded, as before%s",
			   what, strerror(-err), explain(err));
	}
	/* A package update may have removed the files of the loaded modules. */
	if (own) {
		kernels_own_files(s, own_kvm, own_vendor);
		kvm = own_kvm;
		vendor = own_vendor;
	}
	ret = kvm[0] ? restore(r, kvm, vendor) : -ENOENT;
	if (ret) {
		char why[64];

		/* Two calls of strerror() may return the same memory. */
		snprintf(why, sizeof(why), "%s", strerror(-err));
		return end(r, EXIT_BROKEN, "failed",
			   "%s: %s; %s do not load either: %s; KVM is not loaded; see dmesg", what,
			   why, which, strerror(-ret));
	}
	return end(r, EXIT_REFUSED, "restored", "%s: %s; %s are loaded %s%s", what, strerror(-err),
		   which, own ? "instead" : "again", explain(err));
}

static enum exit_code swap(struct reload *r)
{
	const struct kvm_state *s = &r->before;
	char what[PATH_MAX + 64];
	int ret;

	ret = unload(r, s->vendor.name);
	if (ret)
		return end(r, ret == -EPERM ? EXIT_NO_ACCESS : EXIT_REFUSED, "refused",
			   "%s cannot be unloaded: %s; nothing was changed", s->vendor.name,
			   strerror(-ret));
	ret = unload(r, "kvm");
	if (ret)
		return put_back(r, "kvm cannot be unloaded", ret);
	ret = load(r, s->vendor.name);
	if (ret < 0) {
		snprintf(what, sizeof(what), "%s or a module that it needs does not load",
			 s->vendor.next.path);
		return put_back(r, what, ret);
	}
	return EXIT_OK;
}

static bool is_loaded(const struct kvm_state *s)
{
	return s->kvm.there && s->vendor.there;
}

static enum exit_code reload(struct reload *r, const char *dirname)
{
	const struct kvm_state *s = &r->before;
	struct kvm_users users;
	const char *obstacle;
	enum exit_code code;
	sigset_t all, old;
	char kind[96];

	kvm_state_get(&r->before, dirname);
	kvm_users_get(&users, s);
	obstacle = reload_obstacle(s, &users);
	if (obstacle)
		return end(r, EXIT_REFUSED, "refused", "%s; nothing was changed", obstacle);
	if (geteuid())
		return end(r, EXIT_NO_ACCESS, "refused", "only root can reload modules: use sudo");
	r->ctx = kvm_kmod(s);
	if (!r->ctx)
		return end(r, EXIT_BROKEN, "refused", "libkmod cannot read %s", s->module_dir);

	/* A signal must not end the process between unloading and loading. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	code = swap(r);
	sigprocmask(SIG_SETMASK, &old, NULL);
	kmod_unref(r->ctx);
	if (code != EXIT_OK)
		return code;
	kvm_state_get(&r->after, dirname);
	if (!is_loaded(&r->after))
		return end(r, EXIT_BROKEN, "failed",
			   "the modules were loaded, but KVM is not there");
	return end(r, EXIT_OK, "reloaded", "KVM is now %s, %s",
		   kind_text(r->after.kvm.patched, r->after.kvm.version, kind, sizeof(kind)),
		   r->after.kvm.file.path[0] ? r->after.kvm.file.path : r->after.kvm.next.path);
}

int cmd_reload(const struct options *opts)
{
	struct reload *r = calloc(1, sizeof(*r));
	enum exit_code code;
	struct json j;

	if (!r) {
		complain("out of memory");
		return EXIT_BROKEN;
	}
	code = reload(r, opts->dirname);
	if (opts->json) {
		json_start(&j, stdout);
		json_open(&j, NULL, '{');
		json_string(&j, "version", TOOL_VERSION);
		json_string(&j, "result", r->result);
		json_string(&j, "message", r->message);
		json_int(&j, "exit_status", code);
		json_close(&j, '}');
		json_finish(&j);
	} else if (code == EXIT_OK) {
		printf("%s\n", r->message);
	} else {
		complain("reload: %s", r->message);
	}
	free(r);
	return code;
}
