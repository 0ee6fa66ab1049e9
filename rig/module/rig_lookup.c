// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls KVM's lookups for other modules, gfn_to_pfn() and gfn_to_page(), which nothing else in the
 * emulated host calls.
 *
 * KVM is loaded and removed while this module stays. So it takes each function when it needs it; an
 * open file of a VM keeps KVM from being removed.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "rig_lookup.h"

/* A function of KVM, or NULL without KVM. */
static void *kvm_function(const char *name)
{
	void *function = __symbol_get(name);

	if (function)
		__symbol_put(name);
	return function;
}

static void look_up_pfn(struct kvm *kvm, struct rig_lookup *l)
{
	typeof(gfn_to_pfn) *to_pfn = kvm_function("gfn_to_pfn");
	typeof(kvm_release_pfn_clean) *release;
	kvm_pfn_t pfn = to_pfn(kvm, l->gfn);

	if (is_error_noslot_pfn(pfn))
		return;
	l->pfn = pfn;
	if (pfn_valid(pfn))
		l->count = page_ref_count(pfn_to_page(pfn));
	if (l->call == RIG_LOOKUP_PFN_DIRTY)
		release = kvm_function("kvm_release_pfn_dirty");
	else
		release = kvm_function("kvm_release_pfn_clean");
	release(pfn);
}

static void look_up_page(struct kvm *kvm, struct rig_lookup *l)
{
	typeof(gfn_to_page) *to_page = kvm_function("gfn_to_page");
	typeof(kvm_release_page_clean) *release;
	struct page *page = to_page(kvm, l->gfn);

	if (is_error_page(page))
		return;
	l->pfn = page_to_pfn(page);
	l->count = page_ref_count(page);
	release = kvm_function("kvm_release_page_clean");
	release(page);
}

static int look_up(struct rig_lookup *l)
{
	typeof(file_is_kvm) *is_kvm = kvm_function("file_is_kvm");
	struct file *file = fget(l->vm);
	int err = -EINVAL;
	struct kvm *kvm;
	int idx;

	if (!file)
		return -EBADF;
	if (!is_kvm || !is_kvm(file) || l->call >= RIG_LOOKUP_NR_CALLS)
		goto put;

	kvm = file->private_data;
	if (kvm->mm != current->mm)
		goto put;

	l->pfn = RIG_LOOKUP_NONE;
	l->count = 0;
	idx = srcu_read_lock(&kvm->srcu);
	if (l->call == RIG_LOOKUP_PAGE)
		look_up_page(kvm, l);
	else
		look_up_pfn(kvm, l);
	srcu_read_unlock(&kvm->srcu, idx);
	err = 0;
put:
	fput(file);
	return err;
}

static long lookup_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *ptr = (void __user *)arg;
	struct rig_lookup l;
	int err;

	if (cmd != RIG_LOOKUP)
		return -ENOTTY;
	if (copy_from_user(&l, ptr, sizeof(l)))
		return -EFAULT;
	err = look_up(&l);
	if (err)
		return err;
	return copy_to_user(ptr, &l, sizeof(l)) ? -EFAULT : 0;
}

static const struct file_operations lookup_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= lookup_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice lookup_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "rig_lookup",
	.fops	= &lookup_fops,
	.mode	= 0600,
};
module_misc_device(lookup_misc);

MODULE_DESCRIPTION("Calls gfn_to_pfn() and gfn_to_page()");
MODULE_LICENSE("GPL");
