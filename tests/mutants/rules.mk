# SPDX-License-Identifier: GPL-2.0-only
# tests/mutants/rules.mk - KVM with bugs that the tests must notice; ONLY= selects some.

# Where to look for a test that fails if none of those does that the mutant names.
MORE ?= core,direct

.PHONY: mutants
mutants: initramfs programs
	R=$(R) REL=$(REL) KERNEL=$(KERNEL) KDIR=$(KDIR) IN="$(IN)" SERIES=$(SERIES) SERIES_DIR=$(SERIES_DIR) \
		NEW_DIR=$(NEW_DIR) SOURCE_VERSION=$(SOURCE_VERSION) ONLY=$(ONLY) MORE=$(MORE) \
		$(TAP) $(call part,mutants) tests/mutants/run.sh
