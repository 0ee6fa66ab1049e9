# SPDX-License-Identifier: GPL-2.0-only
# kvm/rules.mk - KVM's modules from Debian's source and the series, and the tree to change it in.

SERIES_DIR ?= kvm/series/$(SERIES)
NEW_DIR ?= kvm/new

STOCK := $(R)/stock/arch/x86/kvm/Kbuild
$(STOCK): $(R)/version kvm/prepare.sh kvm/Kbuild | $(SOURCE)
	printf '  %-8s %s\n' EXTRACT "KVM from $(SOURCE_PKG) $(SOURCE_VERSION)"
	$(call LOCK,kvm) kvm/prepare.sh $(SOURCE) $(R)/stock

# Changes only when what is in the series does, not with the times of files.
$(R)/series.id: FORCE | $(R)/version
	kvm/series-id.sh $(SERIES_DIR) $(NEW_DIR) >$@.new
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

PREPARED := $(R)/kvm/arch/x86/kvm/Kbuild
$(PREPARED): $(STOCK) $(R)/series.id VERSION
	printf '  %-8s %s\n' PATCH "$(words $(wildcard $(SERIES_DIR)/*.patch)) patches of $(SERIES_DIR)"
	$(call LOCK,kvm) kvm/prepare.sh $(R)/stock $(R)/kvm $(SERIES_DIR) $(NEW_DIR) $(SOURCE_VERSION)

MODULES := $(addprefix $(R)/modules/,kvm.ko kvm-amd.ko kvm-intel.ko Module.symvers)
$(MODULES) &: $(PREPARED) kvm/build.sh $(KERNEL_TREE)
	printf '  %-8s %s\n' KVM "$(R)/modules (about a minute)"
	$(call LOCK,kvm) $(IN) kvm/build.sh $(R)/kvm $(KDIR) $(R)/modules

.PHONY: modules tree series check-series
modules: $(MODULES)

tree: $(SOURCE)
	$(call LOCK,tree) kvm/tree.sh make $(R)/tree $(SOURCE) $(SERIES_DIR) $(NEW_DIR)

series: | $(R)/version
	$(call LOCK,tree) kvm/tree.sh save $(R)/tree $(SERIES_DIR) $(NEW_DIR)

check-series: $(STOCK)
	$(call LOCK,bisect) $(IN) kvm/bisect.sh $(R)/stock $(SERIES_DIR) $(NEW_DIR) $(KDIR) $(R)/bisect
