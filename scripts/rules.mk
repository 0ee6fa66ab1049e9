# SPDX-License-Identifier: GPL-2.0-only
# scripts/rules.mk - "make lint" and "make format", with the kernel's own tools where it has some.

LINT := $(R)/lint
LINT_PKGS := clang-format clang-tidy cppcheck lintian mandoc perl shellcheck sparse

# The kernel's settings for clang-format, changed: lines may have 100 columns, which is what
# checkpatch allows, and the columns of comments and of macros' values line up.
$(LINT)/checkpatch.pl: $(SOURCE) scripts/rules.mk
	@printf '  %-8s %s\n' EXTRACT "checkpatch and its like from $(SOURCE_PKG) $(SOURCE_VERSION)"
	$(Q)mkdir -p $(@D)
	$(Q)tar -C $(@D) --strip-components=1 --wildcards --no-wildcards-match-slash -xf $(SOURCE) \
		'*/.clang-format' '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
		'*/scripts/const_structs.checkpatch'
	$(Q)sed -e 's/^ColumnLimit:.*/ColumnLimit: 100\nAlignConsecutiveMacros: true/' \
		-e 's/^AlignTrailingComments:.*/AlignTrailingComments: true/' \
		$(@D)/.clang-format >$(@D)/clang-format
	$(Q)cp $(@D)/scripts/* $(@D) && touch $@

# What sparse says of the stock files that the series changes, for comparison.
LINT_OBJS := $(shell sed -n 's|^+++ b/\(.*\)\.c$$|\1.o|p' $(SERIES_DIR)/*.patch | sort -u)
$(LINT)/stock.sparse: $(STOCK) $(R)/series.id scripts/sparse.sh
	$(Q)mkdir -p $(@D) && rm -rf $(LINT)/stock && cp -Rp $(R)/stock $(LINT)/stock
	$(Q)scripts/sparse.sh $(LINT)/stock $(KDIR) $(LINT_OBJS) >$@

# Not for the kernel's C, whose tables of designated initializers clang-format cannot keep;
# checkpatch knows better.
LINT_C = $(shell find cmd demo guest lib rig tests -name '*.[ch]')

.PHONY: lint check-lint format lint-tools
lint-tools: modules
	$(Q)scripts/deps.sh $(LINT_PKGS) $(CMD_PKGS)
	$(Q)$(call LOCK,lint) $(MAKE) $(LINT)/checkpatch.pl $(LINT)/stock.sparse

lint: check-lint
check-lint: lint-tools programs $$(DEB)
	$(Q)R=$(R) KDIR=$(KDIR) SERIES_DIR=$(SERIES_DIR) NEW_DIR=$(NEW_DIR) LINT_OBJS="$(LINT_OBJS)" \
		LINT_FLAGS="$(UCFLAGS) $(CMD_FLAGS) $(UAPI_FLAGS)" LINT_C="$(LINT_C)" \
		scripts/tap.sh $(B)/logs $(call part,lint) scripts/lint.sh

format: lint-tools
	$(Q)clang-format -i --style=file:$(LINT)/clang-format $(LINT_C)
