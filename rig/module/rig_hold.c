// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes a thread wait in the middle of the kernel, so that tests can open the windows of races; see
 * rig_hold.h.
 *
 * A probe's handler may not sleep, and the thread may hold spinlocks, so it spins. Where the kernel
 * has ftrace, kprobes at a function's entry use it, and the handler runs with interrupts as the
 * function was called.
 */
#include <linux/atomic.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "rig_hold.h"

enum { IDLE, COUNTING, ARMED, HELD, GO, LATE };

/*
 * One word has a hold's state (4 bits), its generation (32 bits) and, on top because they may
 * overflow, the calls counted in it (28 bits). So no thread counts or waits for another
 * RIG_HOLD_ARM than the one that it has looked at.
 */
#define STATE(word)		((int)((word) & 0xf))
#define GENERATION(word)	((u32)((word) >> 4))
#define CALLS(word)		((u32)((u64)(word) >> 36))
#define NEW_WORD(generation)	((s64)(u32)(generation) << 4)	/* IDLE, no calls */
#define ONE_CALL		BIT_ULL(36)

struct hold {
	struct mutex lock;		/* serializes ioctls */
	struct rig_hold_place place;
	bool registered;
	struct kprobe entry;
	struct kretprobe ret;
	pid_t tid;
	atomic64_t word;
};

static s64 with_state(s64 word, int state)
{
	return word - STATE(word) + state;
}

static bool called_by(const struct hold *h, unsigned long caller)
{
	char name[KSYM_SYMBOL_LEN], module[RIG_HOLD_NAME + 2];

	if (!h->place.module[0])
		return true;
	sprint_symbol(name, caller);
	snprintf(module, sizeof(module), "[%s]", h->place.module);
	return strstr(name, module);
}

/* A probe that is a breakpoint looks like an NMI, which counts as an interrupt, too. */
static bool in_interrupt_handler(void)
{
	return in_serving_softirq() || hardirq_count() > (in_nmi() ? HARDIRQ_OFFSET : 0);
}

/*
 * The thread is at the place. If the function was called with interrupts off, that is counted, but
 * the thread does not wait.
 */
static void reach(struct hold *h, unsigned long caller, struct pt_regs *regs)
{
	s64 word = atomic64_read_acquire(&h->word), next;
	u32 generation = GENERATION(word);
	u64 deadline;
	bool wait;

	if (STATE(word) == IDLE || in_interrupt_handler() ||
	    READ_ONCE(h->tid) != task_pid_vnr(current) || !called_by(h, caller))
		return;

	do {
		if (GENERATION(word) != generation)
			return;
		wait = STATE(word) == ARMED && regs->flags & X86_EFLAGS_IF;
		next = with_state(word, wait ? HELD : STATE(word)) + ONE_CALL;
	} while (!atomic64_try_cmpxchg(&h->word, &word, next));
	if (!wait)
		return;

	/* Nobody counts meanwhile, so any other word means that the thread was let go. */
	deadline = ktime_get_mono_fast_ns() + RIG_HOLD_MAX_S * (u64)NSEC_PER_SEC;
	while (atomic64_read_acquire(&h->word) == next) {
		if (ktime_get_mono_fast_ns() > deadline)
			atomic64_cmpxchg(&h->word, next, with_state(next, LATE));
		cpu_relax();
	}
}

static int at_entry(struct kprobe *probe, struct pt_regs *regs)
{
	reach(container_of(probe, struct hold, entry), regs_get_kernel_stack_nth(regs, 0), regs);
	return 0;
}

static struct hold *of_instance(struct kretprobe_instance *ri)
{
	return container_of(get_kretprobe(ri), struct hold, ret);
}

static int at_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	reach(of_instance(ri), get_kretprobe_retaddr(ri), regs);
	return 0;
}

static int hold_set(struct hold *h, const void __user *arg)
{
	struct rig_hold_place place;
	int err;

	if (h->registered)
		return -EBUSY;
	if (copy_from_user(&place, arg, sizeof(place)))
		return -EFAULT;
	place.function[RIG_HOLD_NAME - 1] = '\0';
	place.module[RIG_HOLD_NAME - 1] = '\0';
	h->place = place;
	if (place.at_return) {
		h->ret = (struct kretprobe){
			.kp.symbol_name = h->place.function,
			.handler = at_return,
			.maxactive = 64,
		};
		err = register_kretprobe(&h->ret);
	} else {
		h->entry = (struct kprobe){
			.symbol_name = h->place.function,
			.pre_handler = at_entry,
		};
		err = register_kprobe(&h->entry);
	}
	h->registered = !err;
	return err;
}

/* A new generation, which is idle until it has its thread. */
static int hold_arm(struct hold *h, pid_t tid, int state)
{
	s64 old = atomic64_read(&h->word), next;

	if (!h->registered)
		return -ENXIO;
	do {
		if (STATE(old) == HELD)
			return -EBUSY;
		next = NEW_WORD(GENERATION(old) + 1);
	} while (!atomic64_try_cmpxchg(&h->word, &old, next));
	WRITE_ONCE(h->tid, tid);
	atomic64_set_release(&h->word, with_state(next, state));
	return 0;
}

static int hold_state(struct hold *h, void __user *arg)
{
	s64 word = atomic64_read(&h->word);
	struct rig_hold_state state = {
		.held = STATE(word) == HELD,
		.calls = CALLS(word),
	};

	return copy_to_user(arg, &state, sizeof(state)) ? -EFAULT : 0;
}

static int hold_go(struct hold *h)
{
	s64 word = atomic64_read(&h->word);
	int next;

	/* Meanwhile the thread may call, begin to wait, or go on by itself. */
	do {
		if (STATE(word) != ARMED && STATE(word) != HELD)
			return STATE(word) == LATE ? -ETIME : -ESRCH;
		next = STATE(word) == HELD ? GO : COUNTING;
	} while (!atomic64_try_cmpxchg(&h->word, &word, with_state(word, next)));
	return next == GO ? 0 : -ESRCH;
}

static bool mmu_locked(struct kvm *kvm)
{
	bool free = false;

	if (write_trylock(&kvm->mmu_lock)) {
		free = true;
		write_unlock(&kvm->mmu_lock);
	}
	return !free;
}

static int hold_locked(int fd)
{
	struct file *file = fget(fd);
	typeof(file_is_kvm) *is_kvm;
	int ret = -EINVAL;

	if (!file)
		return -EBADF;
	is_kvm = symbol_get(file_is_kvm);
	if (is_kvm && is_kvm(file))
		ret = mmu_locked(file->private_data);
	if (is_kvm)
		symbol_put(file_is_kvm);
	fput(file);
	return ret;
}

static long hold_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hold *h = file->private_data;
	void __user *ptr = (void __user *)arg;
	long ret = -ENOTTY;

	mutex_lock(&h->lock);
	switch (cmd) {
	case RIG_HOLD_SET:
		ret = hold_set(h, ptr);
		break;
	case RIG_HOLD_ARM:
		ret = hold_arm(h, arg, ARMED);
		break;
	case RIG_HOLD_COUNT:
		ret = hold_arm(h, arg, COUNTING);
		break;
	case RIG_HOLD_STATE:
		ret = hold_state(h, ptr);
		break;
	case RIG_HOLD_GO:
		ret = hold_go(h);
		break;
	case RIG_HOLD_LOCKED:
		ret = hold_locked(arg);
		break;
	}
	mutex_unlock(&h->lock);
	return ret;
}

static int hold_open(struct inode *inode, struct file *file)
{
	struct hold *h = kzalloc(sizeof(*h), GFP_KERNEL);

	if (!h)
		return -ENOMEM;
	mutex_init(&h->lock);
	file->private_data = h;
	return 0;
}

static int hold_release(struct inode *inode, struct file *file)
{
	struct hold *h = file->private_data;

	hold_go(h);
	if (h->registered && h->place.at_return)
		unregister_kretprobe(&h->ret);
	else if (h->registered)
		unregister_kprobe(&h->entry);
	mutex_destroy(&h->lock);
	kfree(h);
	return 0;
}

static const struct file_operations hold_fops = {
	.owner		= THIS_MODULE,
	.open		= hold_open,
	.release	= hold_release,
	.unlocked_ioctl	= hold_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice hold_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "rig_hold",
	.fops	= &hold_fops,
	.mode	= 0600,
};
module_misc_device(hold_misc);

MODULE_DESCRIPTION("Makes a thread wait in the middle of the kernel");
MODULE_LICENSE("GPL");
