# SPDX-License-Identifier: GPL-2.0-only
# scripts/usage.mk - refuses mistyped targets, variables and values in one line, before anything is
# done. Otherwise make ignores a variable that it does not know, and the test that you asked for does
# not run.

# What the makefiles declare; FORCE is not for users. A target with a slash is a file.
TARGETS := $(filter-out FORCE,$(shell sed -n 's/^\.PHONY: //p' Makefile */*.mk */*/*.mk))
GOALS := $(or $(MAKECMDGOALS),help)
no_target = $(if $(findstring /,$(1)),,$(filter-out $(TARGETS),$(1)))
$(foreach g,$(GOALS),$(if $(call no_target,$(g)),$(error unknown target '$(g)': "make help" lists them)))

# Those of any build; they may be empty.
ANY_VARIABLES := AR B CC CFLAGS CXX INSTALL LDFLAGS MAKEFLAGS OBJCOPY PKG_CONFIG V WERROR

# The others, and the targets that each is for. Variables of the environment are not looked at.
RIG_TARGETS := check-rig check-intel check-i386 check-selftests check-debug
NO_KERNEL_TARGETS := help tool deb check-unit fuzz check-deb check-i386 lint format install uninstall clean
for_KERNEL := $(filter-out $(NO_KERNEL_TARGETS),$(TARGETS))
for_ONLY := $(RIG_TARGETS) check-install fuzz mutants
for_GROUP := $(RIG_TARGETS)
for_VARIANT := $(RIG_TARGETS) torture
for_QUICK := $(RIG_TARGETS)
for_CORE := check-install ci-full
for_KCSAN := check-debug
for_STOCK := shell
for_FOR := deps
for_DEPS_KERNELS := deps
for_UPDATE := deps
for_VERSION := deb
for_RUNS := fuzz
for_SECONDS := fuzz torture
for_SEED := torture
for_OPS := torture
for_TRIES := torture
for_PAGING := torture
for_MULTI := torture
for_MORE := mutants
for_TRY := mutants
for_SERIES_DIR := $(for_KERNEL)
for_NEW_DIR := $(for_KERNEL)
VARIABLES := $(patsubst for_%,%,$(sort $(filter for_%,$(.VARIABLES))))

# What they may be; MORE may be empty.
values_VARIANT := stock patched
values_FOR := demo check ci
values_CORE := 1
values_KCSAN := 1
values_STOCK := 1
values_UPDATE := 1
values_PAGING := tdp tdp_mmu0 shadow
values_MULTI := 1
values_V := 1
# Lists of names use commas.
ONE_WORD := KERNEL ONLY GROUP VARIANT CORE KCSAN STOCK FOR UPDATE SERIES_DIR NEW_DIR V \
	RUNS SECONDS SEED OPS TRIES PAGING MULTI MORE TRY

command_line := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
$(foreach v,$(filter-out $(VARIABLES) $(ANY_VARIABLES),$(command_line)), \
	$(error unknown variable '$(v)': use one of $(VARIABLES) $(ANY_VARIABLES)))
$(foreach v,$(filter-out MORE,$(filter $(VARIABLES),$(command_line))), \
	$(if $(strip $($(v))),,$(error $(v)= is empty: give it a value or leave it out)))
$(foreach v,$(filter $(ONE_WORD),$(command_line)), \
	$(if $(word 2,$($(v))),$(error $(v)=$($(v)): blanks are not allowed, put commas between names)))
$(foreach v,$(command_line),$(if $(values_$(v)),$(if $(filter-out $(values_$(v)),$($(v))), \
	$(error $(v)=$($(v)): $(v) is one of: $(values_$(v))))))
# make passes variables on to the parts of a check, some of which have no use for them.
ifeq ($(MAKELEVEL),0)
$(foreach v,$(filter $(VARIABLES),$(command_line)),$(if $(filter $(for_$(v)) $(foreach g,$(GOALS), \
	$(if $(findstring /,$(g)),$(g))),$(GOALS)),,$(error $(v)= has no effect on '$(GOALS)': \
	it is for $(for_$(v)))))
endif
