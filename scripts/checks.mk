# SPDX-License-Identifier: GPL-2.0-only
# scripts/checks.mk - the two commands of the README, "make ci" and "make ci-full", the packages that
# they install, and lint.

# The packages of Debian that each command needs. "make deps" is the one place that installs any.
DEPS_demo := gcc git kmod libc6-dev libdrm-dev linux-libc-dev make patch xz-utils zstd \
	busybox-static qemu-system-x86
DEPS_check = $(DEPS_demo) debootstrap libgbm-dev libkmod-dev
DEPS_ci = $(DEPS_check) bochs bochs-term bochsbios vgabios \
	clang clang-format clang-tidy cppcheck mandoc perl shellcheck sparse \
	debhelper dpkg-dev e2fsprogs fakeroot lintian lz4
# Since Debian 13, qxl is a module of QEMU. Its gcc 14 builds the programs for the 32-bit host, but
# not the kernel modules.
DEPS_ci += $(if $(filter bookworm,$(CODENAME)),libclang-rt-14-dev,libclang-rt-19-dev)
ifneq ($(CODENAME),bookworm)
DEPS_demo += qemu-system-modules-spice
DEPS_ci += libc6-dev-i386 lib32gcc-14-dev
endif
# Only bookworm has a 32-bit kernel.
I386_KERNEL := $(if $(filter bookworm,$(CODENAME)),6.1-686)
# Those that share a series with another kernel: their modules are built, and get a few tests. The
# flavours of 6.12-bookworm are left to "make check-rig KERNEL=...".
OTHER_KERNELS := $(shell awk 'NF == 7 && $$1 ~ /^[0-9.]+-[a-z]+$$/ { print $$1 }' kernels.conf)

# FOR=demo or FOR=check installs less.
FOR ?= ci
DEPS_KERNELS ?= $(KERNELS) $(if $(filter ci,$(FOR)),$(OTHER_KERNELS) $(I386_KERNEL))
.PHONY: deps update
deps:
	for kernel in $(DEPS_KERNELS); do \
		scripts/kernel.sh $$kernel $(B)/kernels/$$kernel.mk $(B)/cache || exit; \
	done; \
	scripts/kernel-deps.sh "$(DEPS_$(FOR))" "make kmod $(if $(filter ci,$(FOR)),sparse)" \
		$(patsubst %,$(B)/kernels/%.mk,$(DEPS_KERNELS))

update:
	rm -f $(B)/kernels/*.mk
	$(MAKE) UPDATE=1 deps

# A part of a check is a target with a kernel, TARGET@KERNEL[,KERNEL...], or a target that needs no
# kernel. It leaves "passed failed skipped" in build/logs/$(call part,NAME).counts.
part = $(1)-$(KERNEL)
on_all = $(foreach k,$(KERNELS),$(1)@$(k))
comma := ,
empty :=
CHECK_PARTS := check-unit $(call on_all,check-rig) $(call on_all,check-build) check-runner@$(KERNEL)
# One part for all these kernels, which are tested at the same time.
at_once = $(1)@$(subst $(empty) $(empty),$(comma),$(strip $(2)))
# One part for all these parts, each of which leaves a processor idle.
with = $(subst $(empty) $(empty),+,$(strip $(1)))
CI_PARTS = $(CHECK_PARTS) \
	$(call at_once,check-intel,$(KERNELS)) $(if $(I386_KERNEL),check-rig@$(I386_KERNEL),check-i386) \
	$(call at_once,check-selftests,$(KERNELS)) $(call at_once,check-symbols,$(OTHERS)) \
	$(call with,check-deb $(call at_once,check-rig,$(filter-out %-rt,$(OTHERS))) \
		$(call at_once,check-intel,$(filter %-rt,$(OTHERS)))) \
	$(call with,$(call at_once,check-install,$(KERNELS)) lint) \
	$(call with,$(call at_once,check-sources,$(KERNELS)) $(call at_once,lint-series,$(KERNELS)))
CHECK = +scripts/check.sh "$(MAKE)" $(B)

.PHONY: demo check check-i386 ci ci-full
demo:
	$(MAKE) deps FOR=demo DEPS_KERNELS=$(KERNEL)
	$(MAKE) run-demo KERNEL=$(KERNEL)

# QUICK= names the kernels that get most of the tests; any other kernel gets few. The runs that are
# left out say little that others do not; "make ci-full" has them.
check: export QUICK := $(KERNEL)
check:
	$(MAKE) deps FOR=check DEPS_KERNELS="$(KERNELS)"
	$(CHECK) $(CHECK_PARTS)

check-i386:
ifneq ($(I386_KERNEL),)
	$(MAKE) check-rig KERNEL=$(I386_KERNEL)
else
	echo "skip  check-i386: only Debian 12 has a 32-bit kernel"
	mkdir -p $(B)/logs && echo 0 0 1 >$(B)/logs/i386.counts
endif

# "make ci" has each flavour once.
ci: OTHERS := $(filter 6.1-cloud 6.12-rt 6.12-bookworm,$(OTHER_KERNELS))
ci-full: OTHERS := $(OTHER_KERNELS)
ci: export CORE := 1
ci: export QUICK := $(KERNELS) $(OTHER_KERNELS)
ci ci-full:
	$(MAKE) deps FOR=ci DEPS_KERNELS="$(KERNELS) $(OTHERS) $(I386_KERNEL)"
	$(CHECK) $(CI_PARTS)

# A kernel that looks for bugs while it runs the tests, and which lines of the series they ran. It is
# built from the same source as KERNEL, with rig/debug.config, or, with KCSAN=1, with rig/kcsan.config
# on top.
DEBUG_KERNEL = $(KERNEL)-$(if $(KCSAN),kcsan,debug)
.PHONY: check-debug coverage
check-debug:
	$(MAKE) deps FOR=check DEPS_KERNELS=$(DEBUG_KERNEL)
	$(MAKE) check-rig KERNEL=$(DEBUG_KERNEL)

coverage:
	$(MAKE) show-coverage KERNEL=$(KERNEL)-debug

# Not for the kernel's C, whose tables of designated initializers clang-format cannot keep;
# checkpatch knows better.
LINT_C = $(shell find demo rig tests tool vmm -path rig/module -prune -o -name '*.[ch]' -print)
.PHONY: lint format
lint: $(B)/tool/kernels.c $(RIG)
	LINT_FLAGS="$(CFLAGS) $(TOOL_FLAGS)" LINT_C="$(LINT_C)" $(TAP) lint scripts/lint.sh

format:
	clang-format -i --style=file $(LINT_C)

ifdef REL

.PHONY: show-coverage
show-coverage:
	$(IN) rig/coverage.sh $(R)/stock $(R)/kvm $(B)/logs/$(call part,rig) $(B)/coverage/$(SERIES)

.PHONY: check-build check-symbols check-sources check-runner lint-series
check-build: modules image $(RIG)
	KDIR=$(KDIR) $(TAP) $(call part,build) $(filter-out %/lib.sh,$(wildcard tests/build/*.sh))

check-symbols: modules image $(RIG)
	KDIR=$(KDIR) $(TAP) $(call part,symbols) tests/build/symbols.sh

check-sources: $(RIG)
	NAME=$(NAME) SOURCE_PKG=$(SOURCE_PKG) SERIES_DIR=$(SERIES_DIR) CACHE=$(B)/cache \
		$(FOREIGN) $(TAP) $(call part,sources) scripts/check-sources.sh

check-runner: initramfs programs $(B)/bin/rig_host
	BUILD=$(abspath $(B)) REL=$(REL) $(TAP) $(call part,runner) tests/rig/runner.sh \
		$(B)/bin/rig_host

$(B)/bin/rig_host: $(B)/tests/rig/host.o $(B)/tests/lib/tap.o $(LIBHOST)
	mkdir -p $(@D)
	$(CC) -static -o $@ $^ -lpthread

# checkpatch comes with the kernel's source. sparse also checks the stock files that the series
# changes, so that only new warnings count.
LINT := $(R)/lint
LINT_OBJS = $(shell sed -n 's|^+++ b/\(.*\)\.c$$|\1.o|p' $(SERIES_DIR)/*.patch | sort -u)
$(LINT)/checkpatch.pl: $(SOURCE)
	printf '  %-8s %s\n' EXTRACT "checkpatch from $(SOURCE_PKG) $(SOURCE_VERSION)"
	mkdir -p $(@D)
	tar -C $(@D) --strip-components=2 --wildcards --no-wildcards-match-slash -xf $(SOURCE) \
		'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch'
	touch $@

$(LINT)/stock.sparse: $(STOCK) $(R)/series.id scripts/sparse.sh
	mkdir -p $(@D) && rm -rf $(LINT)/stock && cp -Rp $(R)/stock $(LINT)/stock
	$(IN) scripts/sparse.sh $(LINT)/stock $(KDIR) $(LINT_OBJS) >$@

lint-series: modules $(LINT)/checkpatch.pl $(LINT)/stock.sparse $(RIG)
	R=$(R) KDIR=$(KDIR) IN="$(IN)" SERIES_DIR=$(SERIES_DIR) NEW_DIR=$(NEW_DIR) LINT_OBJS="$(LINT_OBJS)" \
		$(TAP) $(call part,lint-series) scripts/lint-series.sh

endif
