# SPDX-License-Identifier: GPL-2.0-only
# tests/mutants/rules.mk - KVM with bugs that the tests must notice; ONLY= selects some.

# Groups to run if no test that the mutant names fails. TRY= names tests to run instead of all that.
MORE ?= $(if $(TRY),,core,direct)

.PHONY: mutants
mutants: initramfs programs
	$(if $(findstring -,$(NAME)),echo "$(NAME) gets only a few tests: make mutants KERNEL=$(SERIES)" >&2; exit 1)
	R=$(R) REL=$(REL) KERNEL=$(KERNEL) KDIR=$(KDIR) IN="$(IN)" SERIES=$(SERIES) SERIES_DIR=$(SERIES_DIR) \
		NEW_DIR=$(NEW_DIR) SOURCE_VERSION=$(SOURCE_VERSION) ONLY=$(ONLY) MORE=$(MORE) TRY=$(TRY) \
		$(call LOCK,mutants) $(TAP) $(call part,mutants) tests/mutants/run.sh
