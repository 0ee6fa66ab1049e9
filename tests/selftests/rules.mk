# SPDX-License-Identifier: GPL-2.0-only
# tests/selftests/rules.mk - the KVM selftests of the kernel's own source. tests/selftest.c runs them
# in the emulated host, and SERIES.table here lists them.

SELFTESTS := $(R)/selftests
SELFTESTS_TABLE := tests/selftests/$(SERIES).table

$(SELFTESTS).built: $(R)/version tests/selftests/build.sh | $(SOURCE)
	printf '  %-8s %s\n' SELFTEST "$(SELFTESTS) (a minute)"
	$(call LOCK,selftests) tests/selftests/build.sh $(SOURCE) $(SELFTESTS)
	touch $@

# The table must mention each program, if only to say why it does not run, and leave out none that
# does not exist.
.PHONY: selftests check-selftests
selftests: $(SELFTESTS).built
	cd $(SELFTESTS) && find . -type f -printf '%P\n' | while read -r program; do \
		grep -q "[[:blank:]]$$program\( \|$$\)" $(abspath $(SELFTESTS_TABLE)) || \
			{ echo "$(SELFTESTS_TABLE) does not mention $$program" >&2; exit 1; }; \
	done
	sed -n '/^# Left out/,/^# NAME/s/^#\t\([^\t,]*\).*/\1/p' $(SELFTESTS_TABLE) | tr ' ' '\n' | \
		while read -r program; do \
			[ -z "$$program" ] || [ -f $(SELFTESTS)/$$program ] || \
			{ echo "$(SELFTESTS_TABLE) leaves out $$program, which does not exist" >&2; exit 1; }; \
		done

# Kernels that share a series get the same tests. "make ci" runs these groups only; "make check" runs
# none.
SELFTESTS_QUICK := memory,nested
check-selftests: SMOKE :=
check-selftests: GROUP := $(or $(GROUP),$(if $(QUICK),$(SELFTESTS_QUICK)))
check-selftests: selftests initramfs programs
	$(if $(filter i386,$(ARCH))$(filter %-rt,$(NAME)),echo "the selftests need a 64-bit AMD host" >&2; exit 1)
	$(if $(QUICK),echo "# left out: all but the groups $(GROUP) (make ci-full has them)")
	$(RIG) test --kernel $(REL) --name $(call part,selftests) $(SELECT) $(SELFTESTS_TABLE)
