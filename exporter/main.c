// SPDX-License-Identifier: GPL-2.0-only
/*
 * pfnmap_exporter: a stand-in for a GPU driver. Its buffers consist of any kind of
 * page, are mapped in any way, and change on request while they are in use.
 *
 * Every buffer has its own inode on an internal pseudo filesystem, to which the
 * f_mapping of its files points. The address space of the device node would not do:
 * all opens share it, so revoking one buffer would revoke all of them, unless mmap
 * offsets distinguished the buffers; but a VMM maps offset 0.
 *
 * Lock order: pfnmap_buffer.settle, then mmap_lock, then pfnmap_buffer.lock (taken in
 * faults), then the locks of unmap_mapping_range(). Hence code that holds a buffer's
 * lock must not take mmap_lock, and must not access user memory. No code holds the
 * locks of two buffers: a fault that unmaps another buffer holds neither.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "compat.h"
#include "pages.h"

#define PFNMAP_FS_MAGIC		0x70666e6d

struct pfnmap_buffer {
	struct inode *inode;		/* its i_mapping has all mappings */
	struct mutex settle;		/* one caller waits in buffer_lock_settled() */
	struct mutex lock;		/* protects the fields below */
	struct pfnmap_create spec;	/* pages is 0 before PFNMAP_CREATE */
	struct pages *pages;		/* NULL: none */
	struct list_head old;		/* sets kept by PFNMAP_KEEP_OLD */
	u32 old_nr;			/* pages in them */
	struct list_head eager;		/* struct eager_mm */
	u32 refuse;			/* enum pfnmap_refuse */
	u32 hold;			/* enum pfnmap_hold; also read, and ended, without lock */
	struct hrtimer hold_timer;	/* ends it */
	wait_queue_head_t released;	/* wait for PFNMAP_HOLD_OFF */
	u32 lose;			/* faults to come, see PFNMAP_LOSE */
	u64 mappings;			/* VMAs */
	u64 faults;
	u64 mkwrites;
};

/*
 * An mm_struct in which buffer_mmap() inserted page table entries. Until that call
 * releases mmap_lock, unmap_mapping_range() may not see the VMA.
 */
struct eager_mm {
	struct list_head node;
	struct mm_struct *mm;
};

static struct vfsmount *buffer_mnt;
static struct pfnmap_buffer *shared_buffer;	/* PFNMAP_BUFFER_PATH */

static void forget_eager(struct eager_mm *eager)
{
	list_del(&eager->node);
	mmdrop(eager->mm);
	kfree(eager);
}

/* Forget the mmap() calls of @mm, or all of them if it is NULL. */
static void forget_eager_of(struct pfnmap_buffer *buf, struct mm_struct *mm)
{
	struct eager_mm *eager, *next;

	list_for_each_entry_safe(eager, next, &buf->eager, node) {
		if (!mm || eager->mm == mm)
			forget_eager(eager);
	}
}

static int remember_eager(struct pfnmap_buffer *buf, struct mm_struct *mm)
{
	struct eager_mm *eager;

	list_for_each_entry(eager, &buf->eager, node) {
		if (eager->mm == mm)
			return 0;
	}

	eager = kmalloc(sizeof(*eager), GFP_KERNEL);
	if (!eager)
		return -ENOMEM;

	mmgrab(mm);
	eager->mm = mm;
	list_add(&eager->node, &buf->eager);
	return 0;
}

/*
 * Lock the buffer once its address space has every VMA that contains its entries:
 * wait for each mmap() that inserted some. Callers take turns, because none finds the
 * mmap() that another one is waiting for.
 */
static void buffer_lock_settled(struct pfnmap_buffer *buf)
{
	struct eager_mm *eager;

	mutex_lock(&buf->settle);
	mutex_lock(&buf->lock);
	while ((eager = list_first_entry_or_null(&buf->eager, struct eager_mm, node))) {
		struct mm_struct *mm = eager->mm;

		mmgrab(mm);
		forget_eager(eager);
		mutex_unlock(&buf->lock);

		mmap_read_lock(mm);
		mmap_read_unlock(mm);
		mmdrop(mm);

		mutex_lock(&buf->lock);
	}
	mutex_unlock(&buf->settle);
}

static void buffer_unmap(struct pfnmap_buffer *buf)
{
	unmap_mapping_range(buf->inode->i_mapping, 0, 0, 1);
}

/* Without the buffer's lock: set_hold() waits for the timer. */
static enum hrtimer_restart end_hold(struct hrtimer *timer)
{
	struct pfnmap_buffer *buf = container_of(timer, struct pfnmap_buffer, hold_timer);

	WRITE_ONCE(buf->hold, PFNMAP_HOLD_OFF);
	wake_up_all(&buf->released);
	return HRTIMER_NORESTART;
}

/* The hold ends by itself after @ms milliseconds, unless they are 0. */
static void set_hold(struct pfnmap_buffer *buf, u32 hold, u32 ms)
{
	hrtimer_cancel(&buf->hold_timer);
	WRITE_ONCE(buf->hold, hold);
	wake_up_all(&buf->released);
	if (ms)
		hrtimer_start(&buf->hold_timer, ms_to_ktime(ms), HRTIMER_MODE_REL);
}

static struct pfnmap_buffer *buffer_new(void)
{
	struct pfnmap_buffer *buf;
	struct inode *inode;

	buf = kzalloc(sizeof(*buf), GFP_KERNEL);
	if (!buf)
		return ERR_PTR(-ENOMEM);

	inode = alloc_anon_inode(buffer_mnt->mnt_sb);
	if (IS_ERR(inode)) {
		kfree(buf);
		return ERR_CAST(inode);
	}

	buf->inode = inode;
	mutex_init(&buf->settle);
	mutex_init(&buf->lock);
	init_waitqueue_head(&buf->released);
	hrtimer_init(&buf->hold_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	buf->hold_timer.function = end_hold;
	INIT_LIST_HEAD(&buf->old);
	INIT_LIST_HEAD(&buf->eager);
	return buf;
}

/* Reset a buffer that is not mapped to its initial state. */
static void buffer_clear(struct pfnmap_buffer *buf)
{
	struct pages *p, *next;

	list_for_each_entry_safe(p, next, &buf->old, node)
		pages_free(p);
	INIT_LIST_HEAD(&buf->old);
	buf->old_nr = 0;

	if (buf->pages)
		pages_free(buf->pages);
	buf->pages = NULL;
	buf->spec.pages = 0;
	buf->refuse = PFNMAP_REFUSE_OFF;
	buf->lose = 0;
	set_hold(buf, PFNMAP_HOLD_OFF, 0);
	buf->faults = 0;
	buf->mkwrites = 0;
}

/* The last reference is gone, and with it the last mapping. */
static void buffer_destroy(struct pfnmap_buffer *buf)
{
	/* Those that are left have failed. */
	forget_eager_of(buf, NULL);
	buffer_clear(buf);
	iput(buf->inode);
	mutex_destroy(&buf->lock);
	mutex_destroy(&buf->settle);
	kfree(buf);
}

static vm_fault_t insert_ptes(struct pfnmap_buffer *buf, struct vm_area_struct *vma,
			      unsigned long addr, unsigned long nr)
{
	pgoff_t pgoff = linear_page_index(vma, addr);
	pgprot_t prot = vma->vm_page_prot;
	vm_fault_t ret = VM_FAULT_NOPAGE;

	if (buf->spec.flags & PFNMAP_CREATE_MKWRITE)
		prot = vm_get_page_prot(vma->vm_flags & ~VM_SHARED);

	nr = min(nr, (vma->vm_end - addr) >> PAGE_SHIFT);
	for (; nr && !(ret & VM_FAULT_ERROR); nr--, addr += PAGE_SIZE) {
		unsigned long pfn = buf->pages->pfn[pgoff++];

		if (buf->spec.kind == PFNMAP_MIXED)
			ret = vmf_insert_page(vma, addr, pfn_to_page(pfn));
		else
			ret = vmf_insert_pfn_prot(vma, addr, pfn, prot);
	}
	return ret;
}

/* Returns VM_FAULT_FALLBACK if only single page table entries are possible. */
static vm_fault_t insert_pmd(struct pfnmap_buffer *buf, struct vm_fault *vmf)
{
	unsigned long addr = vmf->address & PMD_MASK;
	struct vm_area_struct *vma = vmf->vma;
	unsigned long pfn;

	/* Realtime kernels cannot insert PMDs. */
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		return VM_FAULT_FALLBACK;

	if (addr < vma->vm_start || vma->vm_end - addr < PMD_SIZE)
		return VM_FAULT_FALLBACK;

	pfn = buf->pages->pfn[linear_page_index(vma, addr)];
	if (!IS_ALIGNED(pfn, PTRS_PER_PMD))
		return VM_FAULT_FALLBACK;

	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV),
				  vmf->flags & FAULT_FLAG_WRITE);
}

static bool buffer_faults(struct pfnmap_buffer *buf)
{
	return buf->pages && !buf->refuse;
}

static vm_fault_t insert_for_fault(struct pfnmap_buffer *buf, struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PAGE_MASK;
	vm_fault_t ret;

	switch (buf->spec.insert) {
	case PFNMAP_INSERT_AROUND:
		return insert_ptes(buf, vma, addr, PFNMAP_AROUND_PAGES);
	case PFNMAP_INSERT_ALL:
		return insert_ptes(buf, vma, vma->vm_start, vma_pages(vma));
	case PFNMAP_INSERT_PMD:
		/*
		 * Before 6.6 the kernel does not call huge_fault for an empty PMD of a
		 * VM_PFNMAP mapping, so insert the PMD here. If another fault has
		 * filled the PMD meanwhile, there is no room for a page table: retry.
		 */
		if (pmd_trans_huge(*vmf->pmd))
			return VM_FAULT_NOPAGE;
		if (pmd_none(*vmf->pmd)) {
			ret = insert_pmd(buf, vmf);
			if (ret != VM_FAULT_FALLBACK)
				return ret;
		}
		fallthrough;
	default:
		return insert_ptes(buf, vma, addr, 1);
	}
}

static int wait_released(struct pfnmap_buffer *buf, u32 hold)
{
	if (hold == PFNMAP_HOLD_BUSY)
		return -EAGAIN;

	return wait_event_interruptible(buf->released,
					READ_ONCE(buf->hold) == PFNMAP_HOLD_OFF);
}

/* Returns 0 once the wait is over, or the result with which the fault ends. */
static vm_fault_t hold_fault(struct pfnmap_buffer *buf, struct vm_fault *vmf, u32 hold)
{
	if (hold != PFNMAP_HOLD_NOPAGE && fault_flag_allow_retry_first(vmf->flags)) {
		struct file *file;

		/* Callers that do not wait keep mmap_lock. */
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;

		/* The VMA may go away; the file holds the buffer. */
		file = get_file(vmf->vma->vm_file);
		mmap_read_unlock(vmf->vma->vm_mm);
		wait_released(buf, hold);
		fput(file);
		return VM_FAULT_RETRY;
	}

	if (!wait_released(buf, hold))
		return 0;
	return fatal_signal_pending(current) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

/* Let the caller retry the fault. Callers that do not wait keep mmap_lock. */
static vm_fault_t retry_fault(struct vm_fault *vmf)
{
	if (!(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		mmap_read_unlock(vmf->vma->vm_mm);
	return VM_FAULT_RETRY;
}

/*
 * Is a fault refused, and by what? Called with the buffer's lock, under which
 * PFNMAP_REFUSE_UNMAP acts.
 */
static bool is_refused(struct pfnmap_buffer *buf, u32 *refuse)
{
	*refuse = buf->refuse;
	if (buffer_faults(buf))
		return false;
	if (*refuse == PFNMAP_REFUSE_UNMAP)
		buffer_unmap(buf);
	return true;
}

/*
 * Fail a fault. Called without the buffer's lock: mmap_lock keeps the buffer alive,
 * and the code that releases mmap_lock no longer uses it.
 */
static vm_fault_t refuse_fault(struct vm_fault *vmf, u32 refuse, bool may_retry)
{
	switch (refuse) {
	case PFNMAP_REFUSE_UNMAP_NAMED:
		buffer_unmap(shared_buffer);
		break;
	case PFNMAP_REFUSE_RETRY:
		if (may_retry && fault_flag_allow_retry_first(vmf->flags))
			return retry_fault(vmf);
		break;
	}
	return VM_FAULT_SIGBUS;
}

/*
 * After a fault that succeeded: lose it, if it is one of those of PFNMAP_LOSE, to an invalidation.
 * Called with the buffer's lock.
 */
static void lose_fault(struct pfnmap_buffer *buf, vm_fault_t ret)
{
	if (!buf->lose || ret & VM_FAULT_ERROR)
		return;
	buf->lose--;
	buffer_unmap(buf);
}

static vm_fault_t buffer_fault(struct vm_fault *vmf)
{
	struct pfnmap_buffer *buf = vmf->vma->vm_private_data;
	u32 hold, refuse;
	vm_fault_t ret;
	bool refused;

	mutex_lock(&buf->lock);
	buf->faults++;
	while ((hold = READ_ONCE(buf->hold))) {
		mutex_unlock(&buf->lock);
		ret = hold_fault(buf, vmf, hold);
		if (ret)
			return ret;
		mutex_lock(&buf->lock);
	}

	refused = is_refused(buf, &refuse);
	if (!refused) {
		ret = insert_for_fault(buf, vmf);
		lose_fault(buf, ret);
	}
	mutex_unlock(&buf->lock);
	return refused ? refuse_fault(vmf, refuse, true) : ret;
}

static vm_fault_t buffer_huge_fault(struct vm_fault *vmf, huge_fault_size size)
{
	struct pfnmap_buffer *buf = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_FALLBACK;

	mutex_lock(&buf->lock);
	if (size == HUGE_FAULT_PMD && buf->spec.insert == PFNMAP_INSERT_PMD &&
	    buffer_faults(buf) && !READ_ONCE(buf->hold))
		ret = insert_pmd(buf, vmf);
	/* After a fallback, buffer_fault() counts, waits and refuses. */
	if (ret != VM_FAULT_FALLBACK) {
		buf->faults++;
		lose_fault(buf, ret);
	}
	mutex_unlock(&buf->lock);
	return ret;
}

static vm_fault_t buffer_pfn_mkwrite(struct vm_fault *vmf)
{
	struct pfnmap_buffer *buf = vmf->vma->vm_private_data;
	bool refused;
	u32 refuse;

	mutex_lock(&buf->lock);
	buf->mkwrites++;
	refused = is_refused(buf, &refuse);
	mutex_unlock(&buf->lock);
	return refused ? refuse_fault(vmf, refuse, false) : 0;
}

static void buffer_vm_open(struct vm_area_struct *vma)
{
	struct pfnmap_buffer *buf = vma->vm_private_data;

	mutex_lock(&buf->lock);
	buf->mappings++;
	mutex_unlock(&buf->lock);
}

static void buffer_vm_close(struct vm_area_struct *vma)
{
	struct pfnmap_buffer *buf = vma->vm_private_data;

	mutex_lock(&buf->lock);
	buf->mappings--;
	/* The caller has mmap_lock, so no mmap() of this process is half done. */
	forget_eager_of(buf, vma->vm_mm);
	mutex_unlock(&buf->lock);
}

static const struct vm_operations_struct buffer_vm_ops = {
	.open		= buffer_vm_open,
	.close		= buffer_vm_close,
	.fault		= buffer_fault,
	.huge_fault	= buffer_huge_fault,
};

static const struct vm_operations_struct buffer_mkwrite_vm_ops = {
	.open		= buffer_vm_open,
	.close		= buffer_vm_close,
	.fault		= buffer_fault,
	.pfn_mkwrite	= buffer_pfn_mkwrite,
};

static int buffer_map(struct pfnmap_buffer *buf, struct vm_area_struct *vma)
{
	bool eager = buf->spec.insert == PFNMAP_INSERT_ALL;
	int err;

	/* This also fails before PFNMAP_CREATE, when spec.pages is 0. */
	if (vma->vm_pgoff >= buf->spec.pages ||
	    vma_pages(vma) > buf->spec.pages - vma->vm_pgoff)
		return -EINVAL;
	if (!buf->pages)
		return -ENXIO;
	if (eager && buf->refuse)
		return -EBUSY;

	vma->vm_private_data = buf;
	if (buf->spec.flags & PFNMAP_CREATE_MKWRITE)
		vma->vm_ops = &buffer_mkwrite_vm_ops;
	else
		vma->vm_ops = &buffer_vm_ops;
	/* Nobody sees the VMA yet. Faults take its lock before ours, so don't take it here. */
	vm_flags_init(vma, vma->vm_flags | VM_DONTEXPAND | VM_DONTDUMP |
		      (buf->spec.kind == PFNMAP_MIXED ? VM_MIXEDMAP : VM_IO | VM_PFNMAP));

	if (eager) {
		err = remember_eager(buf, vma->vm_mm);
		if (err)
			return err;
		/* On failure, the caller removes the inserted entries. */
		if (insert_ptes(buf, vma, vma->vm_start, vma_pages(vma)) & VM_FAULT_ERROR)
			return -ENOMEM;
	}

	buf->mappings++;
	return 0;
}

static int buffer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pfnmap_buffer *buf = file->private_data;
	int err;

	if (is_cow_mapping(vma->vm_flags))
		return -EINVAL;

	mutex_lock(&buf->lock);
	err = buffer_map(buf, vma);
	mutex_unlock(&buf->lock);
	return err;
}

static bool spec_valid(const struct pfnmap_create *spec)
{
	bool device = spec->kind == PFNMAP_DEVICE;
	bool contiguous = spec->order == PMD_SHIFT - PAGE_SHIFT || spec->kind == PFNMAP_BAR ||
			  device;
	bool pmd = spec->insert == PFNMAP_INSERT_PMD;
	bool chunks = spec->kind == PFNMAP_NONCOMPOUND || spec->kind == PFNMAP_COMPOUND ||
		      spec->kind == PFNMAP_RESERVED || device;

	if (spec->kind >= PFNMAP_NR_KINDS || spec->insert >= PFNMAP_NR_INSERTS ||
	    spec->flags & ~PFNMAP_CREATE_MKWRITE || spec->reserved)
		return false;
	if (!spec->pages || spec->pages > PFNMAP_MAX_PAGES)
		return false;
	if (spec->order > (chunks ? PFNMAP_MAX_ORDER : 0) ||
	    !IS_ALIGNED(spec->pages, 1U << spec->order))
		return false;
	if (device && !IS_ALIGNED(spec->pages, PTRS_PER_PMD))
		return false;
	if (pmd && !contiguous)
		return false;
	if (spec->flags & PFNMAP_CREATE_MKWRITE && (pmd || spec->kind == PFNMAP_MIXED))
		return false;
	return true;
}

static int buffer_create(struct pfnmap_buffer *buf, const void __user *arg)
{
	struct pfnmap_create spec;
	struct pages *pages;
	int err = 0;

	if (copy_from_user(&spec, arg, sizeof(spec)))
		return -EFAULT;
	if (!spec_valid(&spec))
		return -EINVAL;

	buffer_lock_settled(buf);
	if (buf->mappings) {
		err = -EBUSY;
		goto unlock;
	}

	buffer_clear(buf);
	pages = pages_alloc(spec.kind, spec.order, spec.pages);
	if (IS_ERR(pages)) {
		err = PTR_ERR(pages);
		goto unlock;
	}

	buf->spec = spec;
	buf->pages = pages;
unlock:
	mutex_unlock(&buf->lock);
	return err;
}

static int buffer_report(struct pfnmap_buffer *buf, const void __user *arg)
{
	struct pfnmap_report report;
	struct pfnmap_page *desc;
	int err = 0;
	u32 i;

	if (copy_from_user(&report, arg, sizeof(report)))
		return -EFAULT;
	if (report.first > PFNMAP_MAX_PAGES || report.count > PFNMAP_MAX_PAGES)
		return -EINVAL;
	if (report.pages != (unsigned long)report.pages)
		return -EFAULT;

	desc = kvcalloc(report.count, sizeof(*desc), GFP_KERNEL);
	if (!desc)
		return -ENOMEM;

	mutex_lock(&buf->lock);
	if (!buf->pages) {
		err = -ENXIO;
	} else if (report.first + report.count > buf->pages->nr) {
		err = -EINVAL;
	} else {
		pages_settle(buf->pages);
		for (i = 0; i < report.count; i++)
			pages_describe(buf->pages, report.first + i, &desc[i]);
	}
	mutex_unlock(&buf->lock);

	if (!err && copy_to_user(u64_to_user_ptr(report.pages), desc,
				 report.count * sizeof(*desc)))
		err = -EFAULT;
	kvfree(desc);
	return err;
}

static int buffer_revoke(struct pfnmap_buffer *buf)
{
	int err = 0;

	buffer_lock_settled(buf);
	if (buf->pages)
		buffer_unmap(buf);
	else
		err = -ENXIO;
	mutex_unlock(&buf->lock);
	return err;
}

static void copy_pages(struct pages *to, struct pages *from, void *bounce)
{
	u32 i;

	for (i = 0; i < from->nr; i++) {
		pages_read(from, i, 0, bounce, PAGE_SIZE);
		pages_write(to, i, 0, bounce, PAGE_SIZE);
		cond_resched();
	}
}

/* PFNMAP_MOVE and PFNMAP_FREE: take the pages away; for a move, replace them. */
static int buffer_replace(struct pfnmap_buffer *buf, unsigned long flags, bool move)
{
	struct pages *old, *new = NULL;
	void *bounce;
	int err = 0;

	if (flags & ~(unsigned long)PFNMAP_KEEP_OLD)
		return -EINVAL;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	buffer_lock_settled(buf);
	old = buf->pages;
	if (!old) {
		err = -ENXIO;
		goto unlock;
	}
	if (flags & PFNMAP_KEEP_OLD && old->nr > PFNMAP_MAX_PAGES - buf->old_nr) {
		err = -ENOSPC;
		goto unlock;
	}
	if (move) {
		new = pages_alloc(old->kind, old->order, old->nr);
		if (IS_ERR(new)) {
			err = PTR_ERR(new);
			goto unlock;
		}
	}

	buffer_unmap(buf);
	if (move)
		copy_pages(new, old, bounce);
	buf->pages = new;

	pages_fill(old, PFNMAP_POISON);
	if (flags & PFNMAP_KEEP_OLD) {
		list_add(&old->node, &buf->old);
		buf->old_nr += old->nr;
	} else {
		pages_free(old);
	}
unlock:
	mutex_unlock(&buf->lock);
	kfree(bounce);
	return err;
}

static int buffer_refuse(struct pfnmap_buffer *buf, unsigned long arg)
{
	if (arg >= PFNMAP_NR_REFUSES)
		return -EINVAL;

	mutex_lock(&buf->lock);
	buf->refuse = arg;
	mutex_unlock(&buf->lock);
	return 0;
}

static int buffer_hold(struct pfnmap_buffer *buf, unsigned long arg)
{
	unsigned long ms = arg / PFNMAP_HOLD_MS(1), hold = arg % PFNMAP_HOLD_MS(1);

	if (hold >= PFNMAP_NR_HOLDS || ms > PFNMAP_HOLD_MAX_MS)
		return -EINVAL;

	mutex_lock(&buf->lock);
	set_hold(buf, hold, ms);
	mutex_unlock(&buf->lock);
	return 0;
}

static int buffer_lose(struct pfnmap_buffer *buf, unsigned long arg)
{
	if (arg > PFNMAP_MAX_LOSE)
		return -EINVAL;

	mutex_lock(&buf->lock);
	buf->lose = arg;
	mutex_unlock(&buf->lock);
	return 0;
}

static void check_set(struct pages *p, u8 *bounce, struct pfnmap_old *check)
{
	u32 i, j;

	pages_settle(p);
	for (i = 0; i < p->nr; i++) {
		check->bad_counts += !pages_count_ok(p, i);
		pages_read(p, i, 0, bounce, PAGE_SIZE);
		if (!memchr_inv(bounce, PFNMAP_POISON, PAGE_SIZE))
			continue;
		for (j = 0; j < PAGE_SIZE; j++)
			check->changed += bounce[j] != PFNMAP_POISON;
		cond_resched();
	}
}

static int buffer_check_old(struct pfnmap_buffer *buf, void __user *arg)
{
	struct pfnmap_old check = {};
	struct pages *p;
	u8 *bounce;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	mutex_lock(&buf->lock);
	check.pages = buf->old_nr;
	list_for_each_entry(p, &buf->old, node)
		check_set(p, bounce, &check);
	mutex_unlock(&buf->lock);

	kfree(bounce);
	return copy_to_user(arg, &check, sizeof(check)) ? -EFAULT : 0;
}

/* One byte of one of the pages that are kept. */
static int buffer_stray(struct pfnmap_buffer *buf, unsigned long i)
{
	struct pages *p;
	int err = -EINVAL;
	u8 byte;

	mutex_lock(&buf->lock);
	list_for_each_entry(p, &buf->old, node) {
		if (i < p->nr) {
			pages_read(p, i, 0, &byte, 1);
			byte ^= 1;
			pages_write(p, i, 0, &byte, 1);
			err = 0;
			break;
		}
		i -= p->nr;
	}
	mutex_unlock(&buf->lock);
	return err;
}

static int buffer_stats(struct pfnmap_buffer *buf, void __user *arg)
{
	struct pfnmap_stats stats;

	mutex_lock(&buf->lock);
	stats = (struct pfnmap_stats){
		.faults = buf->faults,
		.mkwrites = buf->mkwrites,
		.mappings = buf->mappings,
		.leaked = atomic64_read(&pages_leaked),
	};
	mutex_unlock(&buf->lock);

	return copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static int look(void __user *arg)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct pfnmap_look look;
	int err = -EINVAL;

	if (copy_from_user(&look, arg, sizeof(look)))
		return -EFAULT;
	if (look.address != (unsigned long)look.address)
		return -EINVAL;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, look.address);
	if (vma && vma->vm_flags & (VM_IO | VM_PFNMAP))
		err = describe_entry(vma, look.address, &look.page) ? -ENXIO : 0;
	mmap_read_unlock(mm);
	if (err)
		return err;

	return copy_to_user(arg, &look, sizeof(look)) ? -EFAULT : 0;
}

static long buffer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pfnmap_buffer *buf = file->private_data;
	void __user *ptr = (void __user *)arg;

	switch (cmd) {
	case PFNMAP_CREATE:
		return buffer_create(buf, ptr);
	case PFNMAP_REPORT:
		return buffer_report(buf, ptr);
	case PFNMAP_REVOKE:
		return buffer_revoke(buf);
	case PFNMAP_MOVE:
		return buffer_replace(buf, arg, true);
	case PFNMAP_FREE:
		return buffer_replace(buf, arg, false);
	case PFNMAP_REFUSE:
		return buffer_refuse(buf, arg);
	case PFNMAP_HOLD:
		return buffer_hold(buf, arg);
	case PFNMAP_LOSE:
		return buffer_lose(buf, arg);
	case PFNMAP_STRAY:
		return buffer_stray(buf, arg);
	case PFNMAP_CHECK_OLD:
		return buffer_check_old(buf, ptr);
	case PFNMAP_STATS:
		return buffer_stats(buf, ptr);
	case PFNMAP_LOOK:
		return look(ptr);
	default:
		return -ENOTTY;
	}
}

/*
 * Copy up to @len bytes within one page between the buffer and @bounce. Returns
 * their number, 0 at or beyond the end, or an error.
 */
static ssize_t buffer_piece(struct pfnmap_buffer *buf, loff_t pos, void *bounce,
			    size_t len, bool write)
{
	size_t offset = offset_in_page(pos);
	ssize_t ret = 0;

	len = min_t(size_t, len, PAGE_SIZE - offset);

	mutex_lock(&buf->lock);
	if (!buf->pages) {
		ret = -ENXIO;
	} else if (pos >> PAGE_SHIFT < buf->pages->nr) {
		if (write)
			pages_write(buf->pages, pos >> PAGE_SHIFT, offset, bounce, len);
		else
			pages_read(buf->pages, pos >> PAGE_SHIFT, offset, bounce, len);
		ret = len;
	}
	mutex_unlock(&buf->lock);
	return ret;
}

static ssize_t buffer_read(struct file *file, char __user *to, size_t count, loff_t *ppos)
{
	ssize_t ret = 0, done = 0;
	void *bounce;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	while (done < count) {
		ret = buffer_piece(file->private_data, *ppos, bounce, count - done, false);
		if (ret <= 0)
			break;
		if (copy_to_user(to + done, bounce, ret)) {
			ret = -EFAULT;
			break;
		}
		done += ret;
		*ppos += ret;
	}
	kfree(bounce);
	return done ?: ret;
}

static ssize_t buffer_write(struct file *file, const char __user *from, size_t count,
			    loff_t *ppos)
{
	ssize_t ret = 0, done = 0;
	void *bounce;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	while (done < count) {
		size_t len = min_t(size_t, count - done, PAGE_SIZE - offset_in_page(*ppos));

		if (copy_from_user(bounce, from + done, len)) {
			ret = -EFAULT;
			break;
		}
		ret = buffer_piece(file->private_data, *ppos, bounce, len, true);
		if (!ret)
			ret = -ENOSPC;
		if (ret < 0)
			break;
		done += ret;
		*ppos += ret;
	}
	kfree(bounce);
	return done ?: ret;
}

static loff_t buffer_llseek(struct file *file, loff_t offset, int whence)
{
	struct pfnmap_buffer *buf = file->private_data;
	loff_t size;

	mutex_lock(&buf->lock);
	size = (loff_t)buf->spec.pages << PAGE_SHIFT;
	mutex_unlock(&buf->lock);

	return fixed_size_llseek(file, offset, whence, size);
}

static int buffer_open(struct file *file, struct pfnmap_buffer *buf)
{
	file->private_data = buf;
	file->f_mapping = buf->inode->i_mapping;
	return 0;
}

static int exporter_open(struct inode *inode, struct file *file)
{
	struct pfnmap_buffer *buf = buffer_new();

	return IS_ERR(buf) ? PTR_ERR(buf) : buffer_open(file, buf);
}

static int exporter_release(struct inode *inode, struct file *file)
{
	buffer_destroy(file->private_data);
	return 0;
}

static int shared_open(struct inode *inode, struct file *file)
{
	return buffer_open(file, shared_buffer);
}

#define BUFFER_FOPS						\
	.owner			= THIS_MODULE,			\
	.llseek			= buffer_llseek,		\
	.read			= buffer_read,			\
	.write			= buffer_write,			\
	.mmap			= buffer_mmap,			\
	.get_unmapped_area	= thp_get_unmapped_area,	\
	.unlocked_ioctl		= buffer_ioctl,			\
	.compat_ioctl		= compat_ptr_ioctl

static const struct file_operations exporter_fops = {
	BUFFER_FOPS,
	.open			= exporter_open,
	.release		= exporter_release,
};

static const struct file_operations shared_fops = {
	BUFFER_FOPS,
	.open			= shared_open,
};

static struct miscdevice exporter_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "pfnmap_exporter",
	.fops	= &exporter_fops,
	.mode	= 0600,
};

static struct miscdevice shared_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "pfnmap_buffer",
	.fops	= &shared_fops,
	.mode	= 0600,
};

static int buffer_fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, PFNMAP_FS_MAGIC) ? 0 : -ENOMEM;
}

/* Without .owner: the module's own mount must not pin the module. */
static struct file_system_type buffer_fs = {
	.name			= "pfnmap_exporter",
	.init_fs_context	= buffer_fs_init_context,
	.kill_sb		= kill_anon_super,
};

static int __init exporter_init(void)
{
	int err;

	if (!pages_untold_ok())
		return -EINVAL;

	buffer_mnt = kern_mount(&buffer_fs);
	if (IS_ERR(buffer_mnt))
		return PTR_ERR(buffer_mnt);

	shared_buffer = buffer_new();
	if (IS_ERR(shared_buffer)) {
		err = PTR_ERR(shared_buffer);
		goto unmount;
	}

	err = misc_register(&shared_misc);
	if (err)
		goto destroy;

	err = misc_register(&exporter_misc);
	if (err)
		goto deregister;
	return 0;

deregister:
	misc_deregister(&shared_misc);
destroy:
	buffer_destroy(shared_buffer);
unmount:
	kern_unmount(buffer_mnt);
	return err;
}
module_init(exporter_init);

static void __exit exporter_exit(void)
{
	misc_deregister(&exporter_misc);
	misc_deregister(&shared_misc);
	buffer_destroy(shared_buffer);
	kern_unmount(buffer_mnt);
}
module_exit(exporter_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test driver that exports buffers of every kind of page");
