// SPDX-License-Identifier: GPL-2.0-only
/*
 * rig_bug - has every bug that a debug kernel must report
 *
 * A name written to the parameter "make" makes one of them happen; the reports prove that
 * rig/debug.config finds what it says. What a bug breaks is repaired again.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timer.h>

struct thing {
	struct list_head list;
	struct timer_list timer;
	int value;
};

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void bug_sleep(struct thing *thing)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
	kfree(thing);
}

static void bug_locks(struct thing *thing)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	kfree(thing);
}

static void never(struct timer_list *timer)
{
}

/* The kernel stops the timer when it sees the bug. Other kernels do not get it. */
static void bug_object(struct thing *thing)
{
	timer_setup(&thing->timer, never, 0);
	if (IS_ENABLED(CONFIG_DEBUG_OBJECTS_TIMERS))
		mod_timer(&thing->timer, jiffies + 3600 * HZ);
	kfree(thing);
}

static void bug_list(struct thing *thing)
{
	LIST_HEAD(head);

	list_add(&thing->list, &head);
	head.next = &head;
	list_del(&thing->list);
	kfree(thing);
}

static void bug_freed(struct thing *thing)
{
	kfree(thing);
	OPTIMIZER_HIDE_VAR(thing);
	(void)READ_ONCE(thing->value);
}

static void bug_leak(struct thing *thing)
{
	OPTIMIZER_HIDE_VAR(thing);
}

static const struct {
	const char *name;
	void (*make)(struct thing *thing);
} bugs[] = {
	{ "sleep", bug_sleep },
	{ "locks", bug_locks },
	{ "object", bug_object },
	{ "list", bug_list },
	{ "freed", bug_freed },
	{ "leak", bug_leak },
};

static int make_bug(const char *name, const struct kernel_param *param)
{
	struct thing *thing;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bugs); i++) {
		if (!sysfs_streq(name, bugs[i].name))
			continue;
		thing = kzalloc(sizeof(*thing), GFP_KERNEL);
		if (!thing)
			return -ENOMEM;
		bugs[i].make(thing);
		return 0;
	}
	return -EINVAL;
}

static const struct kernel_param_ops ops = { .set = make_bug };
module_param_cb(make, &ops, NULL, 0200);
MODULE_PARM_DESC(make, "the bug to make: sleep, locks, object, list, freed or leak");

MODULE_DESCRIPTION("Makes a debug kernel complain");
MODULE_LICENSE("GPL");
