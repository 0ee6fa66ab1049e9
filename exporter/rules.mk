# SPDX-License-Identifier: GPL-2.0-only
# exporter/rules.mk - the stand-in GPU driver. Kbuild writes next to its sources, so it gets copies
# below $(B).

EXPORTER := $(R)/exporter/pfnmap_exporter.ko
EXPORTER_SRC := exporter/Kbuild $(wildcard exporter/*.[ch])

# Hide the environment of the calling make from Kbuild.
$(EXPORTER): $(EXPORTER_SRC) exporter/rules.mk $(R)/version
	printf '  %-8s %s\n' EXPORTER $@
	mkdir -p $(@D) && cp -p $(EXPORTER_SRC) $(@D)/
	$(IN) env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		make -C $(KDIR) M=$(abspath $(@D)) modules >$(@D)/build.log 2>&1 || \
		{ cat $(@D)/build.log >&2; exit 1; }

.PHONY: exporter
exporter: $(EXPORTER)
