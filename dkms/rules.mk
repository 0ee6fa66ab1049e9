# SPDX-License-Identifier: GPL-2.0-only
# dkms/rules.mk - the Debian packages, and the same without them.

DEB := $(B)/deb/kvm-pfnmap-dkms_$(VERSION)_all.deb
DEB_FILES := VERSION kernels.conf $(shell find debian dkms kvm tool -type f)

$(DEB): $(DEB_FILES) $(TOOL)
	dkms/deb.sh $(B)

.PHONY: deb install uninstall
deb: $(DEB)

install uninstall:
	dkms/install.sh $@

# A Debian of its own, in a directory and then in the emulated host.
ifdef REL
$(B)/host/dumb.so: tests/install/dumb.c dkms/rules.mk
	mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -fPIC -o $@ $<

.PHONY: check-install
check-install: $(B)/bin/rig $(DEB) $(B)/host/pages $(B)/host/dumb.so $(B)/guest/ivshmem.cpio
	CORE=$(CORE) $(TAP) $(call part,install) tests/install/run.sh
endif
