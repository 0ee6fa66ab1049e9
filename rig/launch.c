// SPDX-License-Identifier: GPL-2.0-only
/* Finds what a host boots and prepares its start; launch.h describes the functions. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "rig/launch.h"
#include "rig/util.h"

/* How many times as long a debug kernel may take. */
#define DEBUG_SLOW 5

/* The program is build/bin/rig. */
void find_build(struct settings *s)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *p;
	int i;

	exe[n > 0 ? n : 0] = '\0';
	for (i = 0; i < 2; i++) {
		p = strrchr(exe, '/');
		if (p)
			*p = '\0';
	}
	if (strlen(exe) >= sizeof(s->build))
		die("%s: the path is too long", exe);
	strcpy(s->build, exe);
}

static void host_files(struct settings *s)
{
	snprintf(s->kernel, sizeof(s->kernel), "%s/%s/vmlinux", s->build, s->release);
	snprintf(s->initramfs, sizeof(s->initramfs), "%s/%s/initramfs.cpio", s->build, s->release);
}

/* 6.1 is how 6.1.0-1-amd64 begins, but not 6.12. */
void find_release(struct settings *s)
{
	char newest[sizeof(s->release)] = "";
	size_t len = strlen(s->wanted);
	struct dirent *de;
	DIR *dir;

	dir = opendir(s->build);
	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, s->wanted, len) || strlen(de->d_name) >= sizeof(newest) ||
		    (len && de->d_name[len] && !strchr(".-", de->d_name[len])))
			continue;
		snprintf(s->release, sizeof(s->release), "%.79s", de->d_name);
		host_files(s);
		if (!access(s->kernel, R_OK) && !access(s->initramfs, R_OK) &&
		    strverscmp(s->release, newest) > 0)
			strcpy(newest, s->release);
	}
	if (dir)
		closedir(dir);
	if (!newest[0])
		die("no host%s%s is built in %s: run 'make initramfs programs'",
		    len ? " of kernel " : "", s->wanted, s->build);
	strcpy(s->release, newest);
	host_files(s);
	if (s->other_initramfs)
		snprintf(s->initramfs, sizeof(s->initramfs), "%s", s->other_initramfs);
}

void make_logdir(const struct settings *s, const char *name, char *dir, size_t size)
{
	char logs[300], link[400], temp[420], date[32];
	time_t now = time(NULL);
	const char *base;
	int n;

	snprintf(logs, sizeof(logs), "%s/logs", s->build);
	if (make_dir(logs))
		die("%s: %s", logs, strerror(errno));
	strftime(date, sizeof(date), "%Y%m%d-%H%M%S", localtime(&now));
	for (n = 1;; n++) {
		if (n == 1)
			snprintf(dir, size, "%s/%s-%s", logs, name, date);
		else
			snprintf(dir, size, "%s/%s-%s.%d", logs, name, date, n);
		if (!mkdir(dir, 0755))
			break;
		if (errno != EEXIST)
			die("%s: %s", dir, strerror(errno));
	}
	/* The link is a convenience: two runs may fight over it. */
	base = strrchr(dir, '/') + 1;
	snprintf(link, sizeof(link), "%s/%s", logs, name);
	snprintf(temp, sizeof(temp), "%s.%d", link, getpid());
	if (symlink(base, temp) || rename(temp, link))
		unlink(temp);
}

static void still_booting(void *ctx, int seconds, const char *last)
{
	const struct launch *l = ctx;

	fprintf(l->progress, "# %s: booting, %d s%s%s\n", strrchr(l->opts.logdir, '/') + 1, seconds,
		*last ? "; console: " : "", last);
	fflush(l->progress);
}

void launch_prepare(struct launch *l, const struct settings *s, const struct host_conf *conf,
		    const char *logdir, FILE *progress)
{
	int i, n = 0;

	for (i = 0; i < conf->n_extra; i++) {
		l->extra[n++] = conf->extra[i].option;
		l->extra[n++] = conf->extra[i].argument;
	}
	l->extra[n] = NULL;
	l->progress = progress;
	l->opts = (struct host_opts){
		.kind = conf->intel ? HOST_INTEL : HOST_AMD,
		.kernel = s->kernel,
		.initramfs = s->initramfs,
		.logdir = logdir,
		.mem_mb = conf->mem_mb,
		.cpus = conf->cpus,
		.icount = conf->icount,
		.multi = conf->multi,
		.coverage = s->debug,
		.slow = s->debug ? DEBUG_SLOW : 1,
		.extra = l->extra,
		.progress = still_booting,
		.progress_ctx = l,
	};
}
