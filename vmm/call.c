// SPDX-License-Identifier: GPL-2.0-only
/*
 * call.c - calls into the guest program, and their outcomes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/internal.h"

typedef unsigned long long ull;

static bool reaches(const struct vcpu *v, const struct guest_cmd *c)
{
	const uint64_t limit = 1ull << 32;

	if (v->mode == VCPU_LONG)
		return true;
	if (c->op == GUEST_VMRUN || c->op == GUEST_VMSAVE || c->len > limit)
		return false;
	return c->gpa <= limit - c->len && c->gpa2 <= limit - c->len;
}

/* Does the processor have what the command needs for nested guests? */
static bool nests(const struct vcpu *v, const struct guest_cmd *c)
{
	if (c->flags & GUEST_NPT && !vcpu_can_nest_paging(v))
		return false;
	if (c->op == GUEST_VMSAVE)
		return v->vm->nesting == GUEST_SVM;
	return c->op != GUEST_VMRUN || vcpu_can_nest(v);
}

/* Store the command for the next run of the vCPU. */
static int prepare(struct vcpu *v, const struct guest_cmd *cmd)
{
	struct guest_block *b = v->block;
	int ret;

	if (!reaches(v, cmd))
		return vmm_fail(EINVAL, "guest_call: operation %u at 0x%llx in this mode", cmd->op,
				(ull)cmd->gpa);
	if (!nests(v, cmd))
		return vmm_fail(EOPNOTSUPP, "guest_call: nested guests of this kind");
	if (!v->idle) {
		ret = vcpu_reset(v);
		if (ret)
			return ret;
	}
	if (cmd->flags & GUEST_NPT)
		b->ncr3 = vm_nested_root(v->vm);
	b->cmd = *cmd;
	if (!b->cmd.stride)
		b->cmd.stride = 8;
	b->stop = 0;
	b->progress = 0;
	return 0;
}

/* The guest has stopped at the OUT of an exception stub: read the exception from its stack. */
static void read_exception(struct vcpu *v, struct guest_outcome *out)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	const char *stack;
	uint64_t frame[3] = { 0 }; /* vector, error code, instruction pointer */

	VMM_MUST(vcpu_get_regs(v, &regs));
	VMM_MUST(vcpu_get_sregs(v, &sregs));
	if (regs.rsp > GUEST_LOW_SIZE - sizeof(frame))
		vmm_die("exception in the guest, and its stack pointer is 0x%llx", regs.rsp);
	stack = (char *)v->vm->low + regs.rsp;
	switch (v->mode) {
	case VCPU_REAL:
		memcpy(&frame[0], stack, 4);
		memcpy(&frame[2], stack + 8, 2);
		break;
	case VCPU_PAE:
		for (int i = 0; i < 3; i++)
			memcpy(&frame[i], stack + 4 * i, 4);
		break;
	case VCPU_LONG:
		memcpy(frame, stack, sizeof(frame));
		break;
	}
	out->end = GUEST_EXCEPTION;
	out->vector = frame[0];
	out->error_code = frame[1];
	out->guest_rip = frame[2];
	out->fault_addr = sregs.cr2;
}

static void read_exit(struct vcpu *v, struct guest_outcome *out)
{
	const struct kvm_run *run = v->run;

	out->exit_reason = run->exit_reason;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.direction == KVM_EXIT_IO_OUT && run->io.port == GUEST_PORT_DONE) {
			out->end = GUEST_DONE;
			out->result = v->block->result;
			out->result2 = v->block->result2;
			v->idle = true;
			return;
		}
		if (run->io.direction == KVM_EXIT_IO_OUT && run->io.port == GUEST_PORT_EXCEPTION) {
			read_exception(v, out);
			return;
		}
		break;
	case KVM_EXIT_MMIO:
		out->mmio_addr = run->mmio.phys_addr;
		out->mmio_len = run->mmio.len;
		out->mmio_write = run->mmio.is_write;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		out->suberror = run->internal.suberror;
		break;
	}
	out->end = GUEST_EXIT;
}

int guest_resume(struct vcpu *v, struct guest_outcome *out)
{
	struct guest_outcome local;
	int ret;

	if (!out)
		out = &local;
	memset(out, 0, sizeof(*out));
	ret = vcpu_run(v);
	if (ret) {
		out->end = GUEST_RUN_FAILED;
		out->err = -ret;
		return ret;
	}
	read_exit(v, out);
	return out->end == GUEST_DONE ? 0 : vmm_fail(EIO, "guest: %s", guest_describe(out));
}

int guest_call(struct vcpu *v, const struct guest_cmd *cmd, struct guest_outcome *out)
{
	int ret = prepare(v, cmd);

	if (!ret)
		return guest_resume(v, out);
	if (out)
		*out = (struct guest_outcome){ .end = GUEST_RUN_FAILED, .err = -ret };
	return ret;
}

static int run_prepared(struct vcpu *v, void *arg)
{
	return guest_resume(v, arg);
}

void guest_start(struct vcpu *v, const struct guest_cmd *cmd)
{
	VMM_MUST(prepare(v, cmd));
	vcpu_start(v, run_prepared, &v->outcome);
}

int guest_join(struct vcpu *v, struct guest_outcome *out)
{
	int ret = vcpu_join(v);

	*out = v->outcome;
	return ret;
}

void guest_stop(struct vcpu *v)
{
	v->block->stop = 1;
}

uint32_t guest_progress(struct vcpu *v)
{
	return v->block->progress;
}

int guest_wait_progress(struct vcpu *v, uint32_t passes, unsigned int ms)
{
	const struct timespec tick = { .tv_nsec = 1000000 };
	uint32_t start = guest_progress(v);

	for (unsigned int waited = 0; guest_progress(v) - start < passes; waited++) {
		if (waited >= ms)
			return vmm_fail(ETIMEDOUT, "guest: %u more passes", passes);
		nanosleep(&tick, NULL);
	}
	return 0;
}

static const char *exit_name(uint32_t reason)
{
	switch (reason) {
	case KVM_EXIT_IO:
		return "KVM_EXIT_IO";
	case KVM_EXIT_HLT:
		return "KVM_EXIT_HLT";
	case KVM_EXIT_MMIO:
		return "KVM_EXIT_MMIO";
	case KVM_EXIT_SHUTDOWN:
		return "KVM_EXIT_SHUTDOWN";
	case KVM_EXIT_FAIL_ENTRY:
		return "KVM_EXIT_FAIL_ENTRY";
	case KVM_EXIT_INTERNAL_ERROR:
		return "KVM_EXIT_INTERNAL_ERROR";
	default:
		return "KVM_RUN exit";
	}
}

const char *guest_describe(const struct guest_outcome *out)
{
	static __thread char text[128];

	switch (out->end) {
	case GUEST_DONE:
		snprintf(text, sizeof(text), "done, result 0x%llx", (ull)out->result);
		break;
	case GUEST_RUN_FAILED:
		snprintf(text, sizeof(text), "KVM_RUN: %s", strerror(out->err));
		break;
	case GUEST_EXCEPTION:
		snprintf(text, sizeof(text), "exception %u, error code 0x%x, at 0x%llx, CR2 0x%llx",
			 out->vector, out->error_code, (ull)out->guest_rip, (ull)out->fault_addr);
		break;
	case GUEST_EXIT:
		if (out->exit_reason == KVM_EXIT_MMIO)
			snprintf(text, sizeof(text), "KVM_EXIT_MMIO, %s of %u bytes at 0x%llx",
				 out->mmio_write ? "store" : "load", out->mmio_len,
				 (ull)out->mmio_addr);
		else
			snprintf(text, sizeof(text), "%s (%u), suberror %u",
				 exit_name(out->exit_reason), out->exit_reason, out->suberror);
		break;
	}
	return text;
}

uint64_t guest_sum(const void *mem, uint64_t len, uint64_t stride)
{
	uint64_t sum = 0, word;

	for (uint64_t off = 0; off + 8 <= len; off += stride ? stride : 8) {
		memcpy(&word, (const char *)mem + off, sizeof(word));
		sum = guest_sum_step(sum, word);
	}
	return sum;
}
