// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that the KVM modules that the runner says are loaded are, with the parameters that it
 * says.
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
	bool patched = tap_kvm_patched(), shadow;
	char text[64];
	int fd;

	tap_plan(5);
	fd = open("/dev/kvm", O_RDWR);
	tap_ok(fd >= 0, "/dev/kvm opens");
	tap_is(ioctl(fd, KVM_GET_API_VERSION, 0), KVM_API_VERSION, "KVM's API version");
	if (!paging || (strcmp(paging, "tdp") && strcmp(paging, "shadow")))
		tap_bail("PAGING is %s", paging ? paging : "missing");
	shadow = !strcmp(paging, "shadow");
	tap_ok(shadow ? npt && !strcmp(npt, "0") : !npt,
	       "what the runner gives is in the environment");
	read_sys("/sys/module/kvm_amd/parameters/npt", text, sizeof(text));
	tap_ok(!strcmp(text, shadow ? "N" : "Y"), "paging is %s: npt reads %s", paging, text);
	tap_is(!access("/sys/module/kvm/parameters/allow_unsafe_mappings", F_OK), patched,
	       "only the patched KVM has allow_unsafe_mappings");
	return tap_done();
}
