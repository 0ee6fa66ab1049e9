// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls KVM's lookups for other modules, such as gfn_to_pfn(), which nothing else in the emulated
 * host calls.
 *
 * KVM is loaded and removed while this module stays. So each call finds the functions anew, and
 * holds a reference to one of them until its end, which keeps KVM from being removed.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "rig_lookup.h"

/* A function of KVM, or NULL. Call it only as long as KVM cannot go away. */
static void *kvm_function(const char *name)
{
	void *function = __symbol_get(name);

	if (function)
		__symbol_put(name);
	return function;
}

/* __gfn_to_pfn_memslot() of 6.1, and of kernels where signals can interrupt a lookup. */
typedef kvm_pfn_t lookup_fn(const struct kvm_memory_slot *slot, gfn_t gfn, bool atomic,
			    bool *async, bool write_fault, bool *writable, hva_t *hva);
typedef kvm_pfn_t interruptible_fn(const struct kvm_memory_slot *slot, gfn_t gfn, bool atomic,
				   bool interruptible, bool *async, bool write_fault,
				   bool *writable, hva_t *hva);

static int call_async(struct kvm_memory_slot *slot, struct rig_lookup *l, kvm_pfn_t *pfn)
{
	void *function = kvm_function("__gfn_to_pfn_memslot");
	bool async = false, writable = false;
	hva_t hva;

	if (!function)
		return -ENOENT;
	if (__same_type(__gfn_to_pfn_memslot, lookup_fn))
		*pfn = ((lookup_fn *)function)(slot, l->gfn, false, &async, true, &writable, &hva);
	else
		*pfn = ((interruptible_fn *)function)(slot, l->gfn, false, true, &async, true,
						      &writable, &hva);
	if (async)
		l->flags |= RIG_LOOKUP_WAIT;
	if (writable)
		l->flags |= RIG_LOOKUP_WRITABLE;
	return 0;
}

static int call_slot(struct kvm *kvm, struct rig_lookup *l, kvm_pfn_t *pfn)
{
	typeof(gfn_to_memslot) *to_slot = kvm_function("gfn_to_memslot");
	typeof(gfn_to_pfn_memslot) *to_pfn;

	if (!to_slot)
		return -ENOENT;
	if (l->call == RIG_LOOKUP_SLOT_ASYNC)
		return call_async(to_slot(kvm, l->gfn), l, pfn);

	to_pfn = kvm_function(l->call == RIG_LOOKUP_SLOT_ATOMIC ?
			      "gfn_to_pfn_memslot_atomic" : "gfn_to_pfn_memslot");
	if (!to_pfn)
		return -ENOENT;
	*pfn = to_pfn(to_slot(kvm, l->gfn), l->gfn);
	return 0;
}

static int call_prot(struct kvm *kvm, struct rig_lookup *l, kvm_pfn_t *pfn)
{
	typeof(gfn_to_pfn_prot) *to_pfn = kvm_function("gfn_to_pfn_prot");
	bool writable = false;

	if (!to_pfn)
		return -ENOENT;
	*pfn = to_pfn(kvm, l->gfn, false, &writable);
	if (writable)
		l->flags |= RIG_LOOKUP_WRITABLE;
	return 0;
}

static int call_pfn(struct kvm *kvm, struct rig_lookup *l, kvm_pfn_t *pfn)
{
	typeof(gfn_to_pfn) *to_pfn = kvm_function("gfn_to_pfn");

	if (!to_pfn)
		return -ENOENT;
	*pfn = to_pfn(kvm, l->gfn);
	return 0;
}

static int look_up_pfn(struct kvm *kvm, struct rig_lookup *l)
{
	typeof(kvm_release_pfn_clean) *release;
	kvm_pfn_t pfn;
	int err;

	release = kvm_function(l->call == RIG_LOOKUP_PFN_DIRTY ?
			       "kvm_release_pfn_dirty" : "kvm_release_pfn_clean");
	if (!release)
		return -ENOENT;

	if (l->call == RIG_LOOKUP_PFN || l->call == RIG_LOOKUP_PFN_DIRTY)
		err = call_pfn(kvm, l, &pfn);
	else if (l->call == RIG_LOOKUP_PROT)
		err = call_prot(kvm, l, &pfn);
	else
		err = call_slot(kvm, l, &pfn);
	if (err)
		return err;
	if (is_error_noslot_pfn(pfn)) {
		l->flags &= ~RIG_LOOKUP_WRITABLE;
		return 0;
	}
	l->pfn = pfn;
	if (pfn_valid(pfn))
		l->count = page_ref_count(pfn_to_page(pfn));
	release(pfn);
	return 0;
}

static int look_up_page(struct kvm *kvm, struct rig_lookup *l)
{
	typeof(gfn_to_page) *to_page = kvm_function("gfn_to_page");
	typeof(kvm_release_page_clean) *release = kvm_function("kvm_release_page_clean");
	struct page *page;

	if (!to_page || !release)
		return -ENOENT;

	page = to_page(kvm, l->gfn);
	if (is_error_page(page))
		return 0;
	l->pfn = page_to_pfn(page);
	l->count = page_ref_count(page);
	release(page);
	return 0;
}

static int look_up_in(struct kvm *kvm, struct rig_lookup *l)
{
	int err, idx;

	if (kvm->mm != current->mm)
		return -EINVAL;

	l->pfn = RIG_LOOKUP_NONE;
	l->count = 0;
	l->flags = 0;
	idx = srcu_read_lock(&kvm->srcu);
	if (l->call == RIG_LOOKUP_PAGE)
		err = look_up_page(kvm, l);
	else
		err = look_up_pfn(kvm, l);
	srcu_read_unlock(&kvm->srcu, idx);
	return err;
}

static int look_up(struct rig_lookup *l)
{
	struct file *file = fget(l->vm);
	typeof(file_is_kvm) *is_kvm;
	int err = -EINVAL;

	if (!file)
		return -EBADF;
	/* This keeps KVM, whatever the file is. */
	is_kvm = symbol_get(file_is_kvm);
	if (is_kvm && is_kvm(file) && l->call < RIG_LOOKUP_NR_CALLS)
		err = look_up_in(file->private_data, l);
	if (is_kvm)
		symbol_put(file_is_kvm);
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

MODULE_DESCRIPTION("Calls KVM's lookups for other modules");
MODULE_LICENSE("GPL");
