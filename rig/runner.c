// SPDX-License-Identifier: GPL-2.0-only
/* The test runner, with as few boots and module reloads as possible; runner.h describes it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig/launch.h"
#include "rig/report.h"
#include "rig/runner.h"
#include "rig/stream.h"
#include "rig/tap.h"
#include "rig/util.h"

#define MAX_LOADED  16
#define MAX_LOGS    16
#define MAX_WORDS   96
#define MAX_WORKERS 4 /* as each host needs memory, too */
/* How long KVM may remain in use after a test: VMs are torn down in the background. */
#define USERS_MS 30000

/* One test on one variant of KVM with one kind of paging. */
struct job {
	const struct test *test;
	unsigned int kvm, paging;
	struct host_conf conf;
	char conf_text[512];
	const char *params[2 * MAX_PARAMS + MAX_PAGING_PARAMS];
	char state[1024]; /* the variant of KVM, and its parameters */
};

struct result {
	enum verdict verdict; /* FAILED until the job is done */
	long ms;
	char reason[160]; /* of a skip or the first failure */
};

/* Shared by the workers, which are processes with one host each. */
struct shared {
	int next; /* the first job that no worker has taken */
	int boots;
	char release[80]; /* as the hosts report it */
	struct result results[];
};

struct runner {
	const struct settings *s;
	char logdir[400];
	long long deadline; /* or NEVER */
	struct job *jobs;
	int n, left_out;
	bool stop;
	struct shared *shared;

	/* the running host, if any, and what is loaded into it */
	struct host *host;
	struct launch launch;
	int number;	   /* of the host */
	int boot_failures; /* in a row */
	char conf_text[512], state[1024];
	const char *loaded[MAX_LOADED];
	int n_loaded;
	char error[1200]; /* why a host does not boot */
};

/* What is recorded of a running test. */
struct record {
	struct tap tap;
	struct notes *notes;
	FILE *log;
};

/* Is this name in a comma-separated list? NULL has every name. */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *p;

	if (!list)
		return true;
	for (p = list; (p = strstr(p, name)); p += len)
		if ((p == list || p[-1] == ',') && (!p[len] || p[len] == ','))
			return true;
	return false;
}

/* --- the jobs, and their order --- */

static void add_job(struct runner *r, const struct test *t, unsigned int kvm, unsigned int paging)
{
	const char *const *params;
	struct job *j;
	int i, n = 0;
	size_t len;

	r->jobs = xrealloc(r->jobs, (r->n + 1) * sizeof(*j));
	j = &r->jobs[r->n++];
	*j = (struct job){ .test = t, .kvm = kvm, .paging = paging, .conf = r->s->conf };
	for (params = paging_params(paging); *params; params++)
		j->params[n++] = *params;
	for (i = 0; i < r->s->n_params; i++)
		j->params[n++] = r->s->params[i];
	for (i = 0; i < t->n_options; i++) {
		const struct test_option *o = &t->options[i];

		if (!(o->kvm & kvm))
			continue;
		if (o->kind == OPT_HOST)
			host_word(&j->conf, o->value);
		else if (o->kind == OPT_PARAM && n < (int)ARRAY_SIZE(j->params) - 1)
			j->params[n++] = o->value;
	}
	host_conf_text(&j->conf, j->conf_text, sizeof(j->conf_text));
	if (kvm == KVM_NONE)
		return;
	snprintf(j->state, sizeof(j->state), "%s", kvm_name(kvm));
	for (i = 0; i < n; i++) {
		len = strlen(j->state);
		snprintf(j->state + len, sizeof(j->state) - len, " %s", j->params[i]);
	}
}

/* By host, then by what is loaded. */
static int by_effort(const void *a, const void *b)
{
	const struct job *x = a, *y = b;
	int c = strcmp(x->conf_text, y->conf_text);

	if (!c)
		c = strcmp(x->state, y->state);
	return c ? c : (x->test > y->test) - (x->test < y->test);
}

/* What --quick leaves out: stock KVM fails alike with the TDP MMU. */
static bool says_little(unsigned int kvm, unsigned int paging)
{
	return kvm == KVM_STOCK && paging & (PAGING_TDP_MMU0 | PAGING_SHADOW);
}

/* Is each name of the list that of a test or a group? A misspelt one must not look like success. */
static bool all_known(const struct table *table, const char *list, bool groups, const char *path)
{
	char *names = xstrdup(list ? list : ""), *name, *next;
	int i;

	for (name = strtok_r(names, ",", &next); name; name = strtok_r(NULL, ",", &next)) {
		for (i = 0; i < table->n; i++)
			if (!strcmp(groups ? table->tests[i].group : table->tests[i].name, name))
				break;
		if (i < table->n)
			continue;
		fprintf(stderr, "rig: %s has no %s \"%s\"\n", path, groups ? "group" : "test",
			name);
		break;
	}
	free(names);
	return !name;
}

static int select_jobs(struct runner *r, const struct table *table, const struct test_run *run)
{
	unsigned int kvm, want = r->s->kvm ? r->s->kvm | KVM_NONE : ~0U;
	unsigned int paging, want_paging = r->s->paging ? r->s->paging | PAGING_NONE : ~0U;
	int i;

	for (i = 0; i < table->n; i++) {
		const struct test *t = &table->tests[i];

		if (!listed(run->only, t->name) || !listed(run->group, t->group) ||
		    (!r->s->debug && !strcmp(t->group, "debug")))
			continue;
		for (kvm = KVM_NONE; kvm <= KVM_PATCHED; kvm <<= 1)
			for (paging = PAGING_NONE; paging <= PAGING_SHADOW; paging <<= 1)
				if (!(t->kvm & want & kvm) || !(t->paging & want_paging & paging))
					continue;
				else if (run->quick && says_little(kvm, paging))
					r->left_out++;
				else
					add_job(r, t, kvm, paging);
	}
	if (!all_known(table, run->only, false, run->table) ||
	    !all_known(table, run->group, true, run->table))
		return -1;
	if (!r->n) {
		fprintf(stderr, "rig: no test of %s is selected\n", run->table);
		return -1;
	}
	qsort(r->jobs, r->n, sizeof(*r->jobs), by_effort);
	return 0;
}

/* --- the host --- */

static void stop_host(struct runner *r)
{
	if (r->host)
		host_stop(r->host);
	r->host = NULL;
	r->n_loaded = 0;
	r->state[0] = '\0';
}

/*
 * Keep or start a host with this configuration. Tries twice, since an emulated boot fails now and
 * then.
 */
static bool have_host(struct runner *r, const struct job *j)
{
	char dir[450];
	int tries;

	if (r->host && host_alive(r->host) && !strcmp(r->conf_text, j->conf_text))
		return true;
	stop_host(r);
	for (tries = 0; !r->host && tries < 2 && r->boot_failures < 2; tries++) {
		r->number = __atomic_add_fetch(&r->shared->boots, 1, __ATOMIC_RELAXED);
		snprintf(dir, sizeof(dir), "%s/host-%d", r->logdir, r->number);
		if (make_dir(dir)) {
			snprintf(r->error, sizeof(r->error), "%s: %s", dir, strerror(errno));
			return false;
		}
		launch_prepare(&r->launch, r->s, &j->conf, dir, stdout);
		if (r->deadline != NEVER)
			r->launch.opts.timeout_s = (int)((r->deadline - now_ms()) / 1000) + 1;
		r->host = host_start(&r->launch.opts, r->error, sizeof(r->error));
		r->boot_failures = r->host ? 0 : r->boot_failures + 1;
	}
	if (!r->host)
		return false;
	printf("# host %d: %s%s%s, up after %.1f s\n", r->number, host_release(r->host),
	       j->conf_text[0] ? ", " : "", j->conf_text, host_boot_ms(r->host) / 1000.0);
	fflush(stdout);
	snprintf(r->conf_text, sizeof(r->conf_text), "%s", j->conf_text);
	snprintf(r->shared->release, sizeof(r->shared->release), "%s", host_release(r->host));
	return true;
}

static void note_line(void *ctx, char tag, const char *text, size_t len)
{
	(void)tag;
	note(ctx, "    %.*s", (int)len, text);
}

/* If the host is lost, record its last lines. */
static void note_loss(struct runner *r, struct notes *notes)
{
	if (host_alive(r->host))
		return;
	note(notes, "  last lines of the console:");
	host_last_lines(r->host, 8, note_line, notes);
}

static bool load_needed(struct runner *r, const char *name, struct notes *notes)
{
	struct host_reply reply;
	int i;

	for (i = 0; i < r->n_loaded; i++)
		if (!strcmp(r->loaded[i], name))
			return true;
	if (host_need(r->host, name, &reply) != HOST_OK) {
		note(notes, "cannot load %s: %s", name, host_explain(&reply));
		return false;
	}
	if (r->n_loaded < MAX_LOADED)
		r->loaded[r->n_loaded++] = name;
	return true;
}

/* Load what the test needs. Returns false when that fails or the kernel complains. */
static bool load_modules(struct runner *r, struct job *j, struct notes *notes)
{
	bool fresh = false, loaded = true;
	struct host_reply reply;
	int i, complaints;

	for (i = 0; i < j->test->n_options; i++)
		if (j->test->options[i].kind == OPT_FRESH)
			fresh = true;
	if (fresh || strcmp(r->state, j->state)) {
		r->state[0] = '\0';
		host_load_kvm(r->host, j->kvm == KVM_NONE ? NULL : kvm_name(j->kvm), j->params,
			      &reply);
		if (reply.kind != HOST_OK) {
			note(notes, "cannot load KVM (%s): %s%s", j->state, host_explain(&reply),
			     j->kvm == KVM_PATCHED && reply.value == ENOENT ?
				     ": make modules initramfs" :
				     "");
			loaded = false;
		} else {
			snprintf(r->state, sizeof(r->state), "%s", j->state);
		}
	}
	for (i = 0; loaded && i < j->test->n_options; i++)
		if (j->test->options[i].kind == OPT_NEED && (j->test->options[i].kvm & j->kvm))
			loaded = load_needed(r, j->test->options[i].value, notes);
	complaints = host_log(r->host, NULL, 0, NULL, note_line, notes);
	note_loss(r, notes);
	if (!complaints && host_alive(r->host))
		return loaded;
	note(notes, "the kernel complained before the program started");
	stop_host(r);
	return false;
}

/* --- one test --- */

static void record_line(void *ctx, char tag, const char *text, size_t len)
{
	struct record *rec = ctx;

	if (tag == RIG_NOTE) {
		fprintf(rec->log, "[rig] ");
		note(rec->notes, "    %.*s", (int)len, text);
	}
	fwrite(text, 1, len, rec->log);
	if (tag != RIG_OUT_PART)
		fputc('\n', rec->log);
	if (tag != RIG_NOTE)
		tap_line(&rec->tap, text, len);
}

/* "kvm-amd.npt=0" as the variable KVM_AMD_NPT=0. */
static char *param_env(const char *param)
{
	char *env = xstrdup(param), *p;

	for (p = env; *p && *p != '='; p++)
		*p = *p == '.' || *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p;
	return env;
}

/*
 * The variables that tell the test where it runs, as VAR=value words; returns their number. The
 * caller frees the first n_owned.
 */
static int test_env(const struct job *j, const char **env, int max, int *n_owned)
{
	char word[32];
	int n = 0, i;

	snprintf(word, sizeof(word), "KVM=%s", j->kvm == KVM_NONE ? "none" : kvm_name(j->kvm));
	env[n++] = xstrdup(word);
	snprintf(word, sizeof(word), "PAGING=%s",
		 j->paging == PAGING_NONE ? "none" : paging_name(j->paging));
	env[n++] = xstrdup(word);
	for (i = 0; j->params[i] && n < max; i++)
		env[n++] = param_env(j->params[i]);
	*n_owned = n;
	for (i = 0; i < j->test->n_options && n < max; i++)
		if (j->test->options[i].kind == OPT_ENV && (j->test->options[i].kvm & j->kvm))
			env[n++] = j->test->options[i].value;
	return n;
}

/* Run the program in the host. */
static void run_in_host(struct runner *r, struct job *j, struct record *rec,
			struct host_reply *reply)
{
	const char *words[2 * MAX_WORDS] = { "run" };
	char timeout[16], build[300];
	int n = 2, owned, i;

	snprintf(timeout, sizeof(timeout), "%d", j->test->timeout_s);
	words[1] = timeout;
	n += test_env(j, words + n, MAX_WORDS, &owned);
	snprintf(build, sizeof(build), "BUILD=%s", r->s->build);
	words[n++] = build;
	for (i = 0; j->test->argv[i] && n < 2 * MAX_WORDS - 1; i++)
		words[n++] = j->test->argv[i];
	words[n] = NULL;
	host_cmd(r->host, words, record_line, rec, reply);
	while (owned--)
		free((char *)words[2 + owned]);
}

/* Do the table's checks allow the test to run? */
static bool check_allows(struct runner *r, const struct job *j, struct notes *skips)
{
	const char *words[] = { "run", "20", "/bin/sh", "-c", NULL, NULL };
	struct host_reply reply;
	int i;

	for (i = 0; i < j->test->n_options; i++) {
		const struct test_option *o = &j->test->options[i];

		if (o->kind != OPT_CHECK || !(o->kvm & j->kvm))
			continue;
		words[4] = o->value;
		if (host_cmd(r->host, words, NULL, NULL, &reply) == HOST_EXIT && !reply.value)
			continue;
		note(skips, "this does not hold: %s", o->value);
		return false;
	}
	return true;
}

/* A VM that is not torn down keeps the module in use. */
static void check_users(struct runner *r, const struct job *j, struct notes *notes)
{
	long long deadline = now_ms() + USERS_MS;
	struct host_reply reply;

	if (j->kvm == KVM_NONE)
		return;
	while (host_do(r->host, &reply, "users", host_vendor(r->host)) == HOST_OK && reply.value) {
		if (now_ms() > deadline) {
			note(notes, "%s still has %d users after the test", host_vendor(r->host),
			     reply.value);
			return;
		}
		sleep_ms(50);
	}
	if (reply.kind == HOST_ERRNO)
		note(notes, "%s is no longer loaded", host_vendor(r->host));
}

/* Check the kernel log since the last call. Returns false when the kernel complained. */
static bool check_log(struct runner *r, const struct job *j, struct record *rec)
{
	struct host_expect expect[MAX_LOGS];
	const struct test_option *why[MAX_LOGS];
	char error[128];
	int n = 0, i, complaints, err;

	for (i = 0; i < j->test->n_options && n < MAX_LOGS; i++) {
		const struct test_option *o = &j->test->options[i];

		if (o->kind != OPT_LOG || !(o->kvm & j->kvm))
			continue;
		err = regcomp(&expect[n].re, o->value, REG_EXTENDED | REG_NOSUB);
		if (err) {
			regerror(err, &expect[n].re, error, sizeof(error));
			note(rec->notes, "log=%s: %s", o->value, error);
			continue;
		}
		expect[n].seen = false;
		why[n++] = o;
	}
	fprintf(rec->log, "[rig] kernel log:\n");
	complaints = host_log(r->host, expect, n, rec->log, note_line, rec->notes);
	if (complaints)
		note(rec->notes, "the kernel complained: %d lines, see above", complaints);
	for (i = 0; i < n; i++) {
		if (!expect[i].seen)
			note(rec->notes, "the kernel log lacks: %s (%s)", why[i]->value,
			     why[i]->why);
		regfree(&expect[i].re);
	}
	return !complaints;
}

static void run_job(struct runner *r, struct job *j, struct record *rec, long *ms)
{
	struct host_reply reply;
	long long start;

	if (r->deadline != NEVER && now_ms() > r->deadline) {
		note(rec->notes, "not run: the time limit of the whole run has passed");
		return;
	}
	if (!have_host(r, j)) {
		note(rec->notes, "%s", r->error);
		return;
	}
	if (!load_modules(r, j, rec->notes))
		return;
	if (!check_allows(r, j, &rec->tap.skips))
		return;
	host_do(r->host, &reply, "mark", j->test->name);
	start = now_ms();
	run_in_host(r, j, rec, &reply);
	*ms = (long)(now_ms() - start);
	if (reply.kind == HOST_EXIT)
		tap_end(&rec->tap);

	if (reply.kind != HOST_EXIT || reply.left || (reply.value && !rec->tap.failures.n))
		note(rec->notes, "%s", host_explain(&reply));
	if (reply.kind != HOST_EXIT)
		tap_last_lines(&rec->tap, rec->notes);
	note_loss(r, rec->notes);
	if (host_alive(r->host))
		check_users(r, j, rec->notes);
	if (!check_log(r, j, rec) || !host_alive(r->host))
		stop_host(r);
}

static void print_notes(const struct notes *notes, const char *prefix)
{
	int i;

	for (i = 0; i < notes->n; i++)
		printf("        %s%s\n", prefix, notes->line[i]);
}

/* NAME.log, NAME.KVM.log or NAME.KVM.PAGING.log; nested paging, the default, is not named. */
static void log_path(const struct runner *r, const struct job *j, char *path, size_t size)
{
	char kvm[16] = "", paging[16] = "";

	if (j->kvm != KVM_NONE)
		snprintf(kvm, sizeof(kvm), ".%s", kvm_name(j->kvm));
	if (j->paging != PAGING_NONE && j->paging != PAGING_TDP)
		snprintf(paging, sizeof(paging), ".%s", paging_name(j->paging));
	snprintf(path, size, "%s/%s%s%s.log", r->logdir, j->test->name, kvm, paging);
}

/* Run a job, store its result and print its line. */
static void do_job(struct runner *r, struct job *j, struct result *result)
{
	enum verdict verdict;
	struct notes notes = { 0 };
	const char *reason = "";
	struct record rec = { .notes = &notes };
	char path[512];
	long ms = 0;
	int i;

	log_path(r, j, path, sizeof(path));
	rec.log = fopen(path, "we");
	if (!rec.log) {
		fprintf(stderr, "rig: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	tap_start(&rec.tap);
	run_job(r, j, &rec, &ms);

	if (rec.tap.failures.n || notes.n)
		verdict = FAILED;
	else if (!rec.tap.passed && rec.tap.skips.n)
		verdict = SKIPPED;
	else
		verdict = PASSED;
	printf("%-5s %-8s %-8s %-25s %6.1f s  (%d checks", verdict_words[verdict], kvm_name(j->kvm),
	       paging_name(j->paging), j->test->name, ms / 1000.0, rec.tap.checks);
	if (rec.tap.checks && rec.tap.skipped)
		printf(", %d skipped", rec.tap.skipped);
	printf(")\n");
	print_notes(&rec.tap.skips, "skipped: ");
	print_notes(&rec.tap.failures, "");
	print_notes(&notes, "");
	if (verdict == FAILED)
		printf("        log: %s\n", path);
	fflush(stdout);
	for (i = 0; i < rec.tap.failures.n; i++)
		fprintf(rec.log, "[rig] %s\n", rec.tap.failures.line[i]);
	for (i = 0; i < notes.n; i++)
		fprintf(rec.log, "[rig] %s\n", notes.line[i]);
	fclose(rec.log);
	if (verdict == SKIPPED)
		reason = rec.tap.skips.line[0];
	else if (verdict == FAILED)
		reason = rec.tap.failures.n ? rec.tap.failures.line[0] : notes.line[0];
	snprintf(result->reason, sizeof(result->reason), "%s", reason);
	result->ms = ms;
	result->verdict = verdict;
	tap_free(&rec.tap);
	notes_free(&notes);
}

/* --- several at a time --- */

/* Do these jobs need the same host in the same state? */
static bool same_effort(const struct job *a, const struct job *b)
{
	return !strcmp(a->conf_text, b->conf_text) && !strcmp(a->state, b->state);
}

/* Take the next jobs, which share a host and its state. Returns their number, 0 at the end. */
static int take_jobs(struct runner *r, int *first)
{
	int n;

	*first = __atomic_load_n(&r->shared->next, __ATOMIC_RELAXED);
	do {
		for (n = 0; *first + n < r->n; n++)
			if (n && !same_effort(&r->jobs[*first], &r->jobs[*first + n]))
				break;
	} while (n && !__atomic_compare_exchange_n(&r->shared->next, first, *first + n, false,
						   __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return n;
}

static void work(struct runner *r)
{
	int first, n, i;

	while ((n = take_jobs(r, &first)))
		for (i = first; i < first + n && i < r->n; i++) {
			do_job(r, &r->jobs[i], &r->shared->results[i]);
			/* Nobody else has taken jobs: there is one worker. */
			if (r->stop && r->shared->results[i].verdict == FAILED)
				r->n = i + 1;
		}
	stop_host(r);
}

/* If a worker dies, its jobs count as failed. */
static void run_jobs(struct runner *r, int workers)
{
	/* The report of a test is a single write, so that workers do not mix their lines. */
	static char buffer[1 << 16];
	int i;

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	fflush(stdout);
	for (i = 1; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			fprintf(stderr, "rig: cannot start worker %d: %s\n", i + 1,
				strerror(errno));
			break;
		}
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(r);
			fflush(stdout);
			_exit(0);
		}
	}
	work(r);
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

/* Write the single results for print_matrix(); matrix.c describes the format. */
static int write_results(const struct runner *r, const char *name, long long ms)
{
	const char *release = r->shared->release;
	char path[400];
	FILE *f;
	int i;

	snprintf(path, sizeof(path), "%s/logs/%s.results", r->s->build, name);
	f = fopen(path, "we");
	if (f) {
		fprintf(f, "run %lld %s %s\n", ms, release[0] ? release : r->s->release,
			r->s->conf.intel ? "VT-x (Bochs)" : "AMD-V (QEMU)");
		for (i = 0; i < r->n; i++) {
			const struct result *result = &r->shared->results[i];
			const struct job *j = &r->jobs[i];

			fprintf(f, "%s %s %s %ld %s %s\n", verdict_names[result->verdict],
				kvm_name(j->kvm), paging_name(j->paging), result->ms, j->test->name,
				result->reason);
		}
	}
	if (!f || ferror(f) | fclose(f)) {
		fprintf(stderr, "rig: %s: %s\n", path, strerror(errno));
		return -1;
	}
	return 0;
}

static int run_selected(struct runner *r, const struct test_run *run)
{
	int count[NR_VERDICTS] = { 0 }, workers = run->workers, i, status;
	char logs[300];
	long long start = now_ms();
	const struct settings *s = r->s;

	r->stop = run->stop;
	make_logdir(s, run->name, r->logdir, sizeof(r->logdir));
	r->deadline = s->timeout_s ? start + s->timeout_s * 1000LL : NEVER;
	r->shared = mmap(NULL, sizeof(*r->shared) + r->n * sizeof(r->shared->results[0]),
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->shared == MAP_FAILED) {
		fprintf(stderr, "rig: out of memory: %s\n", strerror(errno));
		return 2;
	}
	for (i = 0; i < r->n; i++)
		r->shared->results[i] = (struct result){ FAILED, 0, "not run" };
	/* One more than there are processors, since tests also sleep. */
	if (!workers)
		workers = (int)sysconf(_SC_NPROCESSORS_ONLN) + 1;
	if (workers > MAX_WORKERS)
		workers = MAX_WORKERS;
	if (r->left_out)
		printf("# left out: %d runs of stock KVM that need no TDP MMU (make ci-full has them)\n",
		       r->left_out);
	run_jobs(r, workers);
	for (i = 0; i < r->n; i++)
		count[r->shared->results[i].verdict]++;
	if (count[FAILED])
		printf("\nfailed:\n");
	for (i = 0; i < r->n; i++)
		if (r->shared->results[i].verdict == FAILED)
			printf("  %s (%s, %s)\n", r->jobs[i].test->name, kvm_name(r->jobs[i].kvm),
			       paging_name(r->jobs[i].paging));
	snprintf(logs, sizeof(logs), "%s/logs", s->build);
	status = write_results(r, run->name, now_ms() - start) ? 2 : 0;
	return report_counts(logs, run->name, count) | status;
}

int run_tests(struct settings *s, const struct test_run *run)
{
	struct runner r = { .s = s };
	struct table table;
	int i, ret = 2;

	if (!table_read(&table, run->table) && !select_jobs(&r, &table, run)) {
		for (i = 0; run->list && i < r.n; i++)
			printf("%-8s %-8s %s\n", kvm_name(r.jobs[i].kvm),
			       paging_name(r.jobs[i].paging), r.jobs[i].test->name);
		if (!run->list)
			find_release(s);
		ret = run->list ? 0 : run_selected(&r, run);
	}
	free(r.jobs);
	table_free(&table);
	return ret;
}
