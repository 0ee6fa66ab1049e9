// SPDX-License-Identifier: GPL-2.0-only
/*
 * payload.c - the bare-metal guest program: takes commands from a block in low memory and reports
 * the end of each one by an OUT.
 *
 * It is built three times, as 16-bit, 32-bit and 64-bit code.
 */
#include <stdbool.h>

#include "vmm/guest/nested.h"

static uint64_t read_words(const struct guest_cmd *c)
{
	uint64_t sum = 0;

	for (uint64_t off = 0; off + 8 <= c->len; off += c->stride)
		sum = guest_sum_step(sum, *(volatile uint64_t *)(uintptr_t)(c->gpa + off));
	return sum;
}

static uint64_t write_words(const struct guest_cmd *c, uint64_t value, bool pattern)
{
	uint64_t words = 0;

	for (uint64_t off = 0; off + 8 <= c->len; off += c->stride) {
		volatile uint64_t *word = (void *)(uintptr_t)(c->gpa + off);

		*word = pattern ? guest_pattern(value, off) : value;
		words++;
	}
	return words;
}

static uint64_t verify_words(const struct guest_cmd *c, uint64_t *first)
{
	uint64_t wrong = 0;

	for (uint64_t off = 0; off + 8 <= c->len; off += c->stride) {
		volatile uint64_t *word = (void *)(uintptr_t)(c->gpa + off);

		if (*word != guest_pattern(c->value, off) && !wrong++)
			*first = off;
	}
	return wrong;
}

static uint64_t add_words(const struct guest_cmd *c, uint32_t value)
{
	uint64_t sum = 0;

	for (uint64_t off = 0; off + 8 <= c->len; off += c->stride) {
		uint32_t old = value;

		asm volatile("lock xaddl %0, %1"
			     : "+r"(old), "+m"(*(uint32_t *)(uintptr_t)(c->gpa + off)));
		sum += old;
	}
	return sum;
}

static uint64_t copy(const struct guest_cmd *c)
{
	uintptr_t from = c->gpa, to = c->gpa2, count = c->len;

	/* The operands make it use 32-bit registers in real mode, too. */
	asm volatile("rep movsb %%ds:(%0), %%es:(%1)"
		     : "+S"(from), "+D"(to), "+c"(count)
		     :
		     : "memory");
	return c->len;
}

static uint64_t fstore_words(const struct guest_cmd *c)
{
	uint64_t words = 0;

	for (uint64_t off = 0; off + 8 <= c->len; off += c->stride) {
		uint64_t *word = (void *)(uintptr_t)(c->gpa + off);

		/* fninit: an unfinished store has left its operand on the x87 stack. */
		asm volatile("fninit; fld1; fstpl %0" : "=m"(*word));
		words++;
	}
	return words;
}

static uint64_t execute(const struct guest_cmd *c)
{
	uintptr_t code = c->gpa, ret;

	asm volatile("call *%1" : "=a"(ret) : "r"(code) : "memory");
	return (uint32_t)ret;
}

static void carry_out(struct guest_block *b, uint64_t value)
{
	const struct guest_cmd *c = &b->cmd;

	b->result2 = 0;
	switch (c->op) {
	case GUEST_NOP:
		b->result = 0;
		break;
	case GUEST_READ:
		b->result = read_words(c);
		break;
	case GUEST_FILL:
	case GUEST_PATTERN:
		b->result = write_words(c, value, c->op == GUEST_PATTERN);
		break;
	case GUEST_VERIFY:
		b->result = verify_words(c, &b->result2);
		break;
	case GUEST_ADD:
		b->result = add_words(c, c->value);
		break;
	case GUEST_COPY:
		b->result = copy(c);
		break;
	case GUEST_FSTORE:
		b->result = fstore_words(c);
		break;
	case GUEST_EXEC:
		b->result = execute(c);
		break;
#ifdef __x86_64__
	case GUEST_VMRUN:
		if (b->nesting == GUEST_VMX)
			vmx_run(b, value);
		else
			svm_run(b, value);
		break;
	case GUEST_VMSAVE:
		svm_save(b);
		break;
#endif
	default:
		asm volatile("ud2");
	}
}

void guest_main(struct guest_block *b);

void guest_main(struct guest_block *b)
{
	for (;;) {
		uint64_t pass = 0;

#ifndef GUEST_REAL
		uintptr_t cr3;

		/* The page tables may have changed since the last command. */
		asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3) : : "memory");
#endif
		do {
			carry_out(b, b->cmd.value + pass);
			b->progress = ++pass;
		} while ((b->cmd.flags & GUEST_LOOP) && !b->stop && pass != b->cmd.passes &&
			 !(b->cmd.op == GUEST_VERIFY && b->result));
		asm volatile("outb %%al, %0" : : "N"(GUEST_PORT_DONE) : "memory");
	}
}
