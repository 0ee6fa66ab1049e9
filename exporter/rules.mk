# SPDX-License-Identifier: GPL-2.0-only
# exporter/rules.mk - the stand-in GPU driver.

EXPORTER := $(R)/exporter/pfnmap_exporter.ko
EXPORTER_SRC := exporter/Kbuild $(wildcard exporter/*.[ch])

$(EXPORTER): $(EXPORTER_SRC) exporter/rules.mk $(R)/version $(KERNEL_TREE)
	printf '  %-8s %s\n' EXPORTER $@
	mkdir -p $(@D) && cp -p $(EXPORTER_SRC) $(@D)/
	$(call kbuild,$(@D))

.PHONY: exporter
exporter: $(EXPORTER)
