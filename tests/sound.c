// SPDX-License-Identifier: GPL-2.0-only
/*
 * sound - A guest uses the buffer of a sound card's playback stream, as ALSA maps it: of
 * snd-intel8x0 for an emulated AC97 card.
 *
 * Contract: 3. It is a VM_PFNMAP mapping of one chunk of dma_alloc_coherent(), of which only the
 * first page has a reference count. Stock KVM fails with EFAULT for all others.
 *
 * Seen to fail: patched KVM with the expectations of stock, and the reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sound/asound.h>

#include "tests/lib/foreign.h"

#define CHANNELS    2
#define FRAME_BYTES (2 * CHANNELS)

static struct snd_interval *interval(struct snd_pcm_hw_params *p, int which)
{
	return &p->intervals[which - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];
}

static void set_mask(struct snd_pcm_hw_params *p, int which, unsigned int bit)
{
	struct snd_mask *mask = &p->masks[which - SNDRV_PCM_HW_PARAM_FIRST_MASK];

	memset(mask, 0, sizeof(*mask));
	mask->bits[bit / 32] = 1u << bit % 32;
}

static void set_interval(struct snd_pcm_hw_params *p, int which, unsigned int value)
{
	*interval(p, which) = (struct snd_interval){ .min = value, .max = value, .integer = 1 };
}

/* Have the driver allocate the largest buffer it can; returns its pages. */
static uint32_t set_up(int pcm)
{
	struct snd_pcm_hw_params p = { .rmask = ~0u, .info = ~0u };

	memset(p.masks, 0xff, sizeof(p.masks));
	for (size_t i = 0; i < ARRAY_SIZE(p.intervals); i++)
		p.intervals[i] = (struct snd_interval){ .max = UINT_MAX };
	set_mask(&p, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_MMAP_INTERLEAVED);
	set_mask(&p, SNDRV_PCM_HW_PARAM_FORMAT, (unsigned int)SNDRV_PCM_FORMAT_S16_LE);
	set_interval(&p, SNDRV_PCM_HW_PARAM_CHANNELS, CHANNELS);
	set_interval(&p, SNDRV_PCM_HW_PARAM_RATE, 48000);
	if (ioctl(pcm, SNDRV_PCM_IOCTL_HW_PARAMS, &p))
		tap_bail("SNDRV_PCM_IOCTL_HW_PARAMS: %s", strerror(errno));
	return interval(&p, SNDRV_PCM_HW_PARAM_BUFFER_SIZE)->min * FRAME_BYTES / KIT_PAGE;
}

int main(void)
{
	struct foreign f = { .name = "PCM buffer" };
	struct vcpu *v;
	struct vm *vm;
	int pcm;

	kit_start();
	pcm = open("/dev/snd/pcmC0D0p", O_RDWR | O_CLOEXEC);
	if (pcm < 0)
		tap_bail("/dev/snd/pcmC0D0p: %s", strerror(errno));
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	f.pages = set_up(pcm);
	f.map = foreign_map(pcm, SNDRV_PCM_MMAP_OFFSET_DATA, f.pages);
	f.owner = foreign_map(pcm, SNDRV_PCM_MMAP_OFFSET_DATA, f.pages);
	if (!f.map || !f.owner)
		tap_bail("mmap of %u pages: %s", f.pages, strerror(errno));
	foreign_look(&f);
	foreign_slot(vm, &f);
	foreign_use(v, &f, "mapped");
	tap_ok(ioctl(pcm, SNDRV_PCM_IOCTL_HW_FREE) && errno == EBADFD,
	       "the driver does not free a buffer that is mapped");
	close(pcm);
	foreign_use(v, &f, "the stream closed");
	foreign_gone(v, &f);
	munmap(f.owner, (size_t)f.pages * KIT_PAGE);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
