// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that the runner loads the KVM modules that it claims, with the parameters that it claims.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/tap.h"

static void read_sys(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	const char *paging = getenv("PAGING"), *npt = getenv("KVM_AMD_NPT");
	const char *tdp_mmu = getenv("KVM_TDP_MMU");
	bool patched = tap_kvm_patched(), shadow, mmu0;
	char text[64];
	int fd;

	tap_plan(7);
	fd = open("/dev/kvm", O_RDWR);
	tap_ok(fd >= 0, "/dev/kvm opens");
	tap_is(ioctl(fd, KVM_GET_API_VERSION, 0), KVM_API_VERSION, "KVM's API version");
	shadow = paging && !strcmp(paging, "shadow");
	mmu0 = paging && !strcmp(paging, "tdp_mmu0");
	if (!shadow && !mmu0 && (!paging || strcmp(paging, "tdp")))
		tap_bail("PAGING is %s", paging ? paging : "missing");
	tap_ok(shadow ? npt && !strcmp(npt, "0") : !npt,
	       "npt is in the environment if the runner set it");
	tap_ok(mmu0 ? tdp_mmu && !strcmp(tdp_mmu, "0") : !tdp_mmu, "so is tdp_mmu");
	read_sys("/sys/module/kvm_amd/parameters/npt", text, sizeof(text));
	tap_ok(!strcmp(text, shadow ? "N" : "Y"), "paging is %s: npt reads %s", paging, text);
	read_sys("/sys/module/kvm/parameters/tdp_mmu", text, sizeof(text));
	tap_ok(shadow || !strcmp(text, mmu0 ? "N" : "Y"), "paging is %s: tdp_mmu reads %s", paging,
	       text);
	tap_is(!access("/sys/module/kvm/parameters/allow_unsafe_mappings", F_OK), patched,
	       "only the patched KVM has allow_unsafe_mappings");
	return tap_done();
}
