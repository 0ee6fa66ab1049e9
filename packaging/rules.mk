# SPDX-License-Identifier: GPL-2.0-only
# packaging/rules.mk - the Debian packages, and the same without them.

DEB := $(B)/deb/kvm-pfnmap-dkms_$(shell cat VERSION)_all.deb
DEB_PKGS := debhelper dh-dkms dpkg-dev fakeroot
DEB_FILES := VERSION kernels.conf $(shell find packaging kvm cmd/kvm-pfnmap -type f 2>/dev/null) \
	scripts/lib.sh scripts/modules.sh

$(DEB): $(DEB_FILES) $(B)/bin/kvm-pfnmap
	$(Q)scripts/deps.sh $(DEB_PKGS)
	$(Q)packaging/deb.sh $(B)

.PHONY: deb check-install
deb: $(DEB)

# A Debian of its own, in a directory and then in the emulated host.
INSTALL_PKGS := debootstrap e2fsprogs
$(B)/host/dumb.so: tests/install/dumb.c packaging/rules.mk
	@mkdir -p $(@D)
	$(CC) $(UCFLAGS) $(UAPI_FLAGS) -shared -fPIC -o $@ $<

check-install: $(DEB) $(B)/host/pages $(B)/host/dumb.so $(B)/guest/ivshmem.cpio
	$(Q)scripts/deps.sh $(INSTALL_PKGS)
	$(Q)CORE=$(CORE) scripts/tap.sh $(B)/logs $(call part,install) tests/install/run.sh
