// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes shadow paging work in emulators that confuse the intercepts of control registers.
 *
 * QEMU 9.1 and later look at the intercept of CR0 alone when a guest of SVM reads any control
 * register (seen in 10.0.13 and 11.1.3; 7.2 does as the processor). With shadow paging a guest
 * then reads the root of KVM's page tables from CR3, and dies when it writes that back.
 *
 * KVM intercepts reads of CR0 as long as the guest's CR0 is not the one it runs with, and it never
 * runs guests with CR0.CD set. So set it in each CR0 of the guest that KVM takes over. The guest
 * sees the bit, and nothing else changes.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>
#include <asm/processor-flags.h>

/* svm_set_cr0(vcpu, cr0) */
static int set_cd(struct kprobe *probe, struct pt_regs *regs)
{
	regs->si |= X86_CR0_CD;
	return 0;
}

static struct kprobe probe;
static bool registered;

static int add_probe(void)
{
	int ret;

	memset(&probe, 0, sizeof(probe));
	probe.symbol_name = "svm_set_cr0";
	probe.pre_handler = set_cd;
	ret = register_kprobe(&probe);
	registered = !ret;
	return ret;
}

static int module_changed(struct notifier_block *nb, unsigned long state, void *data)
{
	const struct module *module = data;

	if (strcmp(module->name, "kvm_amd"))
		return NOTIFY_DONE;
	if (state == MODULE_STATE_COMING) {
		return notifier_from_errno(add_probe());
	} else if (state == MODULE_STATE_GOING && registered) {
		unregister_kprobe(&probe);
		registered = false;
	}
	return NOTIFY_OK;
}

/* Kprobes must know the module's symbols first. */
static struct notifier_block notifier = { .notifier_call = module_changed, .priority = -1 };

static int __init cr_reads_init(void)
{
	int ret = add_probe();

	/* KVM is not loaded yet. */
	if (ret && ret != -ENOENT)
		return ret;
	ret = register_module_notifier(&notifier);
	if (ret && registered)
		unregister_kprobe(&probe);
	return ret;
}

static void __exit cr_reads_exit(void)
{
	unregister_module_notifier(&notifier);
	if (registered)
		unregister_kprobe(&probe);
}

module_init(cr_reads_init);
module_exit(cr_reads_exit);
MODULE_DESCRIPTION("Keeps KVM intercepting reads of control registers");
MODULE_LICENSE("GPL");
