// SPDX-License-Identifier: GPL-2.0-only
/* Guests that keep running while their memory is changed; loop.h describes the functions. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/loop.h"

#define PATIENCE_MS  30000
#define TRIO_MS	     10000
#define TRIO_PATTERN 0x5eed
#define TRIO_CODE    0xbeef

static void tick(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int run_on(struct vcpu *v, void *arg)
{
	struct loop *l = arg;
	int ret = guest_call(v, &l->cmd, &l->out);

	for (;;) {
		if (l->out.end == GUEST_EXIT && l->out.exit_reason == KVM_EXIT_MMIO) {
			l->mmio++;
		} else if (kit_efault(&l->out)) {
			l->efault++;
			tick();
		} else if (ret != -EINTR) {
			return ret;
		}
		ret = guest_resume(v, &l->out);
	}
}

void loop_start(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd)
{
	*l = (struct loop){ .v = v, .cmd = *cmd };
	l->cmd.flags |= GUEST_LOOP;
	/* An earlier call's progress is not a sign of life. */
	v->block->progress = 0;
	vcpu_start(v, run_on, l);
	for (int ms = 0; !guest_progress(v) && !l->mmio && !l->efault; ms++) {
		if (ms == PATIENCE_MS)
			tap_bail("the guest does not start");
		tick();
	}
}

void loop_wait(struct loop *l, uint32_t passes)
{
	if (guest_wait_progress(l->v, passes, PATIENCE_MS))
		tap_bail("the guest does not go on after %u passes, %u MMIO exits, %u EFAULTs",
			 guest_progress(l->v), l->mmio, l->efault);
}

bool loop_wait_more(const atomic_uint *counter)
{
	unsigned int start = *counter;

	for (int ms = 0; *counter == start && ms < PATIENCE_MS; ms++)
		tick();
	return *counter != start;
}

int loop_end(struct loop *l)
{
	guest_stop(l->v);
	return loop_join(l);
}

void loop_start_strict(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd)
{
	*l = (struct loop){ .v = v, .cmd = *cmd, .strict = true };
	l->cmd.flags |= GUEST_LOOP;
	guest_start(v, &l->cmd);
}

int loop_join(struct loop *l)
{
	return l->strict ? guest_join(l->v, &l->out) : vcpu_join(l->v);
}

void trio_init(struct trio *t)
{
	*t = (struct trio){ .vm = vm_create(0) };
	t->verify.v = vcpu_create(t->vm, kit_mode());
	t->add.v = vcpu_create(t->vm, kit_mode());
	t->exec.v = vcpu_create(t->vm, kit_mode());
}

void trio_exit(struct trio *t)
{
	vcpu_destroy(t->verify.v);
	vcpu_destroy(t->add.v);
	vcpu_destroy(t->exec.v);
	vm_destroy(t->vm);
}

void trio_each(const struct pfnmap_create *specs, size_t n,
	       void (*test)(struct trio *t, const struct pfnmap_create *spec))
{
	struct trio t;

	trio_init(&t);
	for (size_t i = 0; i < n; i++) {
		for (uint32_t insert = 0; insert < PFNMAP_INSERT_PMD; insert++) {
			struct pfnmap_create spec = specs[i];

			spec.insert = insert;
			test(&t, &spec);
		}
	}
	trio_exit(&t);
}

/*
 * Bind this thread, and those that it starts, to the first CPU or to all others, if there are any.
 */
static void bind_cpu(bool first)
{
	int n = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (!first && n > 1) {
		CPU_CLR(0, &set);
		for (int i = 1; i < n; i++)
			CPU_SET(i, &set);
	}
	if (sched_setaffinity(0, sizeof(set), &set))
		tap_bail("sched_setaffinity: %s", strerror(errno));
}

void trio_start(struct trio *t, struct buf *b)
{
	uint64_t stride = buf_stride(b), half = b->size / 2, code;
	struct guest_cmd verify = {
		.op = GUEST_VERIFY,
		.gpa = KIT_GPA + stride,
		.len = half - stride,
		.stride = stride,
		.value = TRIO_PATTERN,
	};
	struct guest_cmd add = {
		.op = GUEST_ADD,
		.gpa = KIT_GPA + half,
		.len = half,
		.stride = stride,
		.value = 1,
	};
	struct guest_cmd exec = { .op = GUEST_EXEC, .gpa = KIT_GPA };

	t->b = b;
	vcpu_code(t->exec.v, &code, TRIO_CODE);
	buf_set_word(b, 0, code);
	for (uint64_t off = 0; off < verify.len; off += stride)
		buf_set_word(b, stride + off, guest_pattern(TRIO_PATTERN, off));
	for (uint64_t off = 0; off < half; off += stride)
		buf_set_word(b, half + off, 0);
	VMM_MUST(vm_slot_set(t->vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	bind_cpu(false);
	loop_start_strict(&t->verify, t->verify.v, &verify);
	loop_start_strict(&t->add, t->add.v, &add);
	loop_start_strict(&t->exec, t->exec.v, &exec);
	bind_cpu(true);
}

int trio_pass(struct trio *t)
{
	struct vcpu *all[] = { t->verify.v, t->add.v, t->exec.v };
	int ret = 0;

	/* The present pass has begun before now. */
	for (size_t i = 0; i < ARRAY_SIZE(all) && !ret; i++)
		ret = guest_wait_progress(all[i], 2, TRIO_MS);
	return ret;
}

static const char *complain(const struct trio *t, const char *does, const struct loop *l)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s: guest that %s: %s", buf_name(t->b), does,
		 l ? guest_describe(&l->out) : "a sum is not the number of passes");
	return text;
}

const char *trio_stop(struct trio *t)
{
	uint64_t stride = buf_stride(t->b), half = t->b->size / 2;

	/* All of them at once, so that none runs on while another one is waited for. */
	guest_stop(t->verify.v);
	guest_stop(t->add.v);
	guest_stop(t->exec.v);
	loop_join(&t->verify);
	loop_join(&t->add);
	loop_join(&t->exec);
	VMM_MUST(vm_slot_delete(t->vm, KIT_SLOT));

	if (t->verify.out.end != GUEST_DONE || t->verify.out.result)
		return complain(t, "verifies", &t->verify);
	if (t->exec.out.end != GUEST_DONE || t->exec.out.result != TRIO_CODE)
		return complain(t, "executes", &t->exec);
	if (t->add.out.end != GUEST_DONE)
		return complain(t, "adds", &t->add);
	for (uint64_t off = 0; off < half; off += stride)
		if (buf_word(t->b, half + off) != guest_progress(t->add.v))
			return complain(t, "adds", NULL);
	return NULL;
}

const char *trio_fail(struct trio *t)
{
	loop_join(&t->verify);
	loop_join(&t->add);
	loop_join(&t->exec);
	VMM_MUST(vm_slot_delete(t->vm, KIT_SLOT));
	if (!kit_efault(&t->verify.out))
		return complain(t, "verifies", &t->verify);
	if (!kit_efault(&t->exec.out))
		return complain(t, "executes", &t->exec);
	if (!kit_efault(&t->add.out))
		return complain(t, "adds", &t->add);
	return NULL;
}
