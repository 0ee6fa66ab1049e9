# SPDX-License-Identifier: GPL-2.0-only
# dkms/rules.mk - the Debian packages, their tests, and installing without packages.

# The packages of each release of Debian have a version of their own, as those of Debian's updates.
DEB_VERSION := $(VERSION)$(shell sed -n 's/^VERSION_ID="*\([0-9]*\).*/~deb\1u1/p' /etc/os-release)

# The source package is the whole tree, without the build directory.
DEB := $(B)/deb/kvm-pfnmap-dkms_$(DEB_VERSION)_all.deb
DEB_FILES := $(shell find . \( -path ./$(B) -o -path ./.git \) -prune -o -type f -print)

$(DEB): $(DEB_FILES)
	. kvm/lib.sh; \
	command -v dpkg-buildpackage >/dev/null || die "dpkg-dev is missing: apt install dpkg-dev"; \
	missing=$$(dpkg-checkbuilddeps 2>&1) || \
		die "$${missing##*error: }: install them with 'apt build-dep ./'"; \
	log=$$(dpkg-parsechangelog -S Version); \
	[ "$$log" = $(VERSION) ] || die "debian/changelog is of $$log, VERSION is $(VERSION)"; \
	step DEB "kvm-pfnmap-dkms and kvm-pfnmap, $(DEB_VERSION)"; \
	tree=$(@D)/kvm-pfnmap-$(VERSION); \
	rm -rf $(@D) && mkdir -p $$tree && \
	tar -cf - --exclude=./$(B) --exclude=./.git . | tar -xmf - -C $$tree || die "cannot copy the source"; \
	{ sed "1s/(.*) [a-z]*/($(DEB_VERSION)) $(CODENAME)/; s/^  [*].*/  * Build for $(CODENAME)./; \
		/^ --/q" debian/changelog | uniq; echo; cat debian/changelog; } >$$tree/debian/changelog; \
	(cd $$tree && exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u V \
		dpkg-buildpackage -us -uc) >$(@D)/build.log 2>&1 || \
		die "the packages do not build: $$(reason $(@D)/build.log) (log: $(@D)/build.log)"; \
	rm -rf $$tree

.PHONY: deb check-deb install uninstall
deb: $(DEB)

check-deb: $(DEB) $(RIG)
	$(TAP) deb tests/install/deb.sh

install uninstall:
	dkms/install.sh $@

# The packages are installed in a Debian in a directory, which then boots in the emulated host.
ifdef REL
TOOLS += $(B)/host/dumb.so
$(B)/host/dumb.so: tests/install/dumb.c dkms/rules.mk
	mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -fPIC -o $@ $<

.PHONY: check-install
check-install: $(RIG) $(DEB) $(B)/host/pages $(B)/host/dumb.so $(B)/guest/ivshmem.cpio
	CORE=$(CORE) $(TAP) $(call part,install) tests/install/run.sh
endif
