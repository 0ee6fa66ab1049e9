# SPDX-License-Identifier: GPL-2.0-only
#
# The one entry point: "make help" says what there is to call.

B := build

# Without KERNEL= everything is about the first of the supported kernels, except for
# the checks that are about all of them.
KERNELS := $(or $(KERNEL),$(shell awk '$$1 ~ /^[0-9.]+$$/ { print $$1 }' kernels.conf))
ONE_KERNEL := $(KERNEL)
KERNEL := $(firstword $(KERNELS))

MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.SUFFIXES:

Q := $(if $(V),,@)
export V
ifndef V
.SILENT:
endif

.PHONY: help
help:
	@sed -n 's/^#? \{0,1\}//p' Makefile

#? make check          prove the series on every kernel: build all, run every test
#? make demo           see stock KVM fail and patched KVM work
#? make shell          a shell in the emulated host (STOCK=1: with stock modules)
#?
#? make modules        kvm.ko, kvm-amd.ko, kvm-intel.ko in build/<release>/modules
#? make exporter       the stand-in GPU driver
#? make programs       the programs of this machine and of the emulated host
#? make initramfs      what the emulated host boots into
#?
#? make tree           build/<release>/tree: stock source in git, the series on top
#? make series         write the tree's commits back to kvm/series
#? make check-series   build every prefix of the series
#? make check-build    test the build itself
#? make check-rig      run the tests in the emulated host (ONLY=, GROUP=, KVM= select)
#? make check-intel    run those of tests/intel.table in an Intel VT-x host
#? make check-i386     run those of tests/i386.table in a 32-bit host
#? make check-asan     test this machine's programs with the address sanitizer
#? make lint           checkpatch, sparse, shellcheck, cppcheck, clang-tidy, clang-format
#? make format         clang-format the programs' sources
#? make ci             all checks, and lint
#?
#? make deb            the Debian packages, in build/deb
#? make check-install  install them on a Debian 12, and boot that (CORE=1: less)
#? make install        build the modules through DKMS for this machine's kernels
#? make uninstall      and take them away again
#?
#? make deps           install the Debian packages that are needed
#? make update         ask Debian for newer kernels
#? make clean          remove what was built (keeps downloads and trees)
#?
#? KERNEL=6.12 or KERNEL=6.1.0-56-amd64 selects a kernel (kernels.conf lists
#? the supported ones; the first is the default); V=1 shows the commands.

.PHONY: clean update install uninstall
install uninstall:
	$(Q)packaging/install.sh $@

clean:
	$(Q)for d in $(B)/*; do \
		if [ $$d = $(B)/cache ]; then \
			continue; \
		elif [ -e $$d/version ]; then \
			find $$d -mindepth 1 -maxdepth 1 ! -name version ! -name image \
				! -name tree -exec rm -rf {} +; \
		else \
			rm -rf $$d; \
		fi; \
	done

update:
	$(Q)rm -f $(B)/kernels/*.mk
	$(Q)$(MAKE) UPDATE=1 deps

# Everything else is about one kernel. Each call makes sure first that it is
# resolved and that the packages are installed.
ifneq ($(filter-out help clean update install uninstall,$(MAKECMDGOALS)),)

KERNEL_MK := $(B)/kernels/$(KERNEL).mk
ifneq ($(shell scripts/kernel.sh $(KERNEL) $(KERNEL_MK) $(B)/cache && echo ok),ok)
$(error stopped)
endif
include $(KERNEL_MK)
R := $(B)/$(REL)
LOCK = scripts/locked.sh $(R)/$(1).lock
# In front of what fetches packages that are not of this machine's architecture.
FOREIGN := $(if $(filter-out amd64,$(ARCH)),scripts/foreign.sh $(ARCH) $(B)/cache/$(ARCH))
KDIR := $(shell $(FOREIGN) scripts/headers.sh $(HEADERS_PKG) $(VERSION) $(R)/headers)
ifeq ($(KDIR),)
$(error stopped)
endif
KCOMMON := /usr/src/$(patsubst %-686-pae,%-common,$(HEADERS_PKG:-amd64=-common))
SERIES_DIR ?= kvm/series/$(SERIES)
NEW_DIR ?= kvm/new

CC := gcc
UCFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -I. -Ilib/vmm -Iexporter -Itests
# The drivers' interfaces are in the kernel's headers package, but not in linux-libc-dev.
UAPI_FLAGS := -idirafter $(KCOMMON)/include/uapi -D__user=

# Where the objects and programs for the emulated host are. For a 32-bit one they are built from the
# same sources, by one rule; elsewhere each directory's rules.mk has it.
H := $(B)
M32 :=
ifeq ($(ARCH),i386)
H := $(B)/i386
M32 := -m32
$(H)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) -m32 -D_FILE_OFFSET_BITS=64 -idirafter /usr/include/x86_64-linux-gnu $(UCFLAGS) -MMD -c -o $@ $<
-include $(wildcard $(H)/*/*.d $(H)/*/*/*.d)
endif

# Of the directories' rules.mk: programs for the emulated host, programs for
# this machine.
HOST_PROGS :=
TOOLS :=

# Changes only when the release gets other packages.
$(R)/version: FORCE
	$(Q)mkdir -p $(@D) && echo $(sort $(VERSION) $(SOURCE_VERSION)) | cmp -s - $@ || \
		echo $(sort $(VERSION) $(SOURCE_VERSION)) >$@

IMAGE := $(R)/image
VMLINUZ := $(IMAGE)/boot/vmlinuz-$(REL)
$(VMLINUZ): $(R)/version
	$(Q)$(call LOCK,image) $(FOREIGN) scripts/fetch.sh image $(IMAGE_PKG) $(VERSION) $(IMAGE)
	$(Q)touch $@

SOURCE := $(B)/cache/$(SOURCE_PKG)_$(SOURCE_VERSION).tar.xz
$(SOURCE): | $(R)/version
	$(Q)$(call LOCK,source) scripts/fetch.sh source $(SOURCE_PKG) $(SOURCE_VERSION) $@

STOCK := $(R)/stock/arch/x86/kvm/Kbuild
$(STOCK): $(R)/version kvm/prepare.sh kvm/Kbuild | $(SOURCE)
	@printf '  %-8s %s\n' EXTRACT "KVM from $(SOURCE_PKG) $(SOURCE_VERSION)"
	$(Q)$(call LOCK,kvm) kvm/prepare.sh $(SOURCE) $(R)/stock

# Changes only when what is in the series does, not with the times of files.
$(R)/series.id: FORCE | $(R)/version
	$(Q)scripts/series-id.sh $(SERIES_DIR) $(NEW_DIR) >$@.new
	$(Q)cmp -s $@.new $@ && rm $@.new || mv $@.new $@

PREPARED := $(R)/kvm/arch/x86/kvm/Kbuild
$(PREPARED): $(STOCK) $(R)/series.id VERSION
	@printf '  %-8s %s\n' PATCH "$(words $(wildcard $(SERIES_DIR)/*.patch)) patches of $(SERIES_DIR)"
	$(Q)$(call LOCK,kvm) kvm/prepare.sh $(R)/stock $(R)/kvm $(SERIES_DIR) $(NEW_DIR) \
		$(SOURCE_VERSION)

MODULES := $(addprefix $(R)/modules/,kvm.ko kvm-amd.ko kvm-intel.ko Module.symvers)
$(MODULES) &: $(PREPARED) scripts/modules.sh
	@printf '  %-8s %s\n' KVM "$(R)/modules (about a minute)"
	$(Q)$(call LOCK,kvm) scripts/modules.sh $(R)/kvm $(KDIR) $(R)/modules

include $(wildcard $(addsuffix /rules.mk,guest lib/vmm cmd exporter rig tests tests/unit demo \
	scripts packaging))

.PHONY: deps image modules exporter programs initramfs
deps:
image: $(VMLINUZ)
modules: $(MODULES)
exporter: $(R)/exporter/pfnmap_exporter.ko
programs: $(HOST_PROGS) $(TOOLS)
initramfs: $(R)/initramfs.cpio

# It takes along the modules that there are: build them first.
$(R)/initramfs.cpio: | $(MODULES) $(R)/exporter/pfnmap_exporter.ko

# Each part is a target check-NAME for one kernel. It leaves "passed failed skipped" in
# build/logs/$(call part,NAME).counts.
part = $(1)-$(KERNEL)
on_all = $(foreach k,$(KERNELS),$(1)@$(k))
comma := ,
empty :=
CHECK_PARTS := $(call on_all,rig) $(call on_all,build) asan@$(KERNEL)
# At the same time, since such a host has but one processor.
INTEL_PARTS := intel@$(subst $(empty) $(empty),$(comma),$(KERNELS))
I386_PARTS := rig@6.1-686
CI_PARTS := $(CHECK_PARTS) $(INTEL_PARTS) $(I386_PARTS) install@$(KERNEL) $(call on_all,lint)
CHECK = +$(Q)scripts/check.sh "$(MAKE)" $(B)

.PHONY: check check-i386 ci check-build
check: $(RIG)
	$(CHECK) $(CHECK_PARTS)

# With KERNEL= this is the part, see rig/rules.mk.
ifndef ONE_KERNEL
.PHONY: check-intel
check-intel: $(RIG)
	$(CHECK) $(INTEL_PARTS)
endif

check-i386: $(RIG)
	$(CHECK) $(I386_PARTS)

ci: export CORE := 1
ci: $(RIG)
	$(CHECK) $(CI_PARTS)

check-build: modules image
	$(Q)KDIR=$(KDIR) scripts/tap.sh $(B)/logs $(call part,build) \
		$(filter-out %/tap.sh,$(wildcard tests/build/*.sh))

.PHONY: tree series check-series
tree: $(SOURCE)
	$(Q)$(call LOCK,tree) scripts/tree.sh make $(R)/tree $(SOURCE) $(SERIES_DIR) $(NEW_DIR)

series: | $(R)/version
	$(Q)$(call LOCK,tree) scripts/tree.sh save $(R)/tree $(SERIES_DIR) $(NEW_DIR)

check-series: $(STOCK)
	$(Q)$(call LOCK,bisect) scripts/bisect.sh $(R)/stock $(SERIES_DIR) $(NEW_DIR) $(KDIR) $(R)/bisect

endif

.PHONY: FORCE
FORCE:
