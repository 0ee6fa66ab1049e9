# SPDX-License-Identifier: GPL-2.0-only
#
# The one entry point: "make help" lists the targets. Those of the product need no kernel package.
# scripts/kernel.mk resolves a kernel for those that do, and scripts/checks.mk has the checks.

include scripts/usage.mk

B := build
VERSION := $(shell cat VERSION)

# Without KERNEL=, targets use the kernel of this machine's release of Debian, but "make check" and
# "make ci" use all.
CODENAME := $(shell sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
KERNELS := $(or $(KERNEL),$(shell awk -v own=$(CODENAME) '$$1 ~ /^[0-9.]+$$/ { \
	if ($$2 == own) print $$1; else others = others " " $$1 } END { print others }' kernels.conf))
KERNEL := $(firstword $(KERNELS))

MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.SUFFIXES:

export V
ifndef V
.SILENT:
endif

.PHONY: help
help:
	sed -n 's/^#? \{0,1\}//p' Makefile

#? make demo           see stock KVM fail and patched KVM work
#? make check          prove the series on every kernel: build all, run every test
#?
#? The product; no kernel package is needed, and nothing is installed:
#? make tool           the command kvm-pfnmap, build/bin/kvm-pfnmap
#? make deb            the Debian packages, in build/deb
#? make check-unit     test this machine's programs with the address sanitizer
#? make fuzz           feed the readers of text with noise (ONLY=, SECONDS= or RUNS=)
#? make lint           shellcheck, cppcheck, clang-tidy, clang-format, mandoc
#? make format         clang-format the programs' sources
#? make install        build the modules through DKMS for this machine's kernels
#? make uninstall      remove them again
#?
#? The laboratory:
#? make deps           install the Debian packages that building and testing need
#? make modules        kvm.ko, kvm-amd.ko, kvm-intel.ko in build/<release>/modules
#? make exporter       the stand-in GPU driver
#? make initramfs      what the emulated host boots
#? make shell          a shell in the emulated host (STOCK=1: with stock modules)
#?
#? make tree           build/<release>/tree: stock source in git, the series on top
#? make series         write the tree's commits back to kvm/series
#? make check-series   build every prefix of the series
#? make check-sources  apply the series to every version that Debian offers
#? make lint-series    checkpatch and sparse for the patches and the exporter
#?
#? make check-rig      run the tests in an AMD-V host (ONLY=, GROUP=, VARIANT= select)
#? make check-intel    run those of tests/intel.table in an Intel VT-x host
#? make check-debug    run those of check-rig on a debug kernel (KCSAN=1: data races)
#? make coverage       which lines of the series the last check-debug ran
#? make check-i386     run those of tests/i386.table in a 32-bit host
#? make torture        everything at once, at random (SECONDS=, SEED=, OPS=, TRIES=, PAGING=, MULTI=1)
#? make check-selftests the KVM selftests of the kernel source, in an AMD-V host
#? make check-runner   test the emulated host and the test runner
#? make mutants        demand that the tests notice bugs put into KVM (ONLY=, TRY=)
#? make check-build    test the build itself
#? make check-deb      test the Debian packages: reproducible, lintian
#? make check-install  install them on the kernel's Debian, and boot that (CORE=1: less)
#? make ci             all checks but those that take hours, and lint
#? make ci-full        all checks without gaps, and lint
#?
#? make update         ask Debian for newer kernels
#? make clean          remove what was built (keeps downloads and trees)
#?
#? KERNEL=6.12 or KERNEL=6.1.0-56-amd64 selects a kernel (kernels.conf lists
#? the supported ones; the default is this Debian's own); V=1 shows the commands.

CFLAGS ?= -O2 -g
# WERROR= builds with a compiler whose warnings nobody has seen yet.
WERROR ?= -Werror
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(WERROR) -I.

# Of the rooms' rules.mk: programs for the emulated host, and files for this machine.
HOST_PROGS :=
TOOLS :=

$(B)/%.o: %.c Makefile
	mkdir -p $(@D)
	printf '  %-8s %s\n' CC $@
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# These goals need no kernel. For any other goal, the kernel is resolved first.
NO_KERNEL := help tool deb check-unit fuzz check-deb lint format install uninstall deps demo check \
	check-i386 check-debug coverage ci ci-full update clean
ifneq ($(filter-out $(NO_KERNEL),$(MAKECMDGOALS)),)
include scripts/kernel.mk
endif
ifdef REL
include kvm/rules.mk exporter/rules.mk
endif
include vmm/rules.mk tool/rules.mk rig/rules.mk
ifdef REL
include tests/rules.mk tests/mutants/rules.mk tests/selftests/rules.mk demo/rules.mk
endif
include tests/unit/rules.mk dkms/rules.mk scripts/checks.mk

-include $(shell cd $(B) 2>/dev/null && find asan demo guest i386 rig tests tool vmm -name '*.d' 2>/dev/null | sed 's,^,$(B)/,')

.PHONY: clean
clean:
	for d in $(B)/*; do \
		if [ $$d = $(B)/cache ]; then \
			continue; \
		elif [ -e $$d/version ]; then \
			find $$d -mindepth 1 -maxdepth 1 ! -name version ! -name image \
				! -name tree -exec rm -rf {} +; \
		else \
			rm -rf $$d; \
		fi; \
	done

.PHONY: FORCE
FORCE:
