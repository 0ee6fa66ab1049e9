# SPDX-License-Identifier: GPL-2.0-only
# The stand-in GPU driver. kbuild writes beside the sources it is given, so it is
# given copies below $(B).

EXPORTER_SRC := exporter/Kbuild $(wildcard exporter/*.[ch])

$(R)/exporter/pfnmap_exporter.ko: $(EXPORTER_SRC) $(R)/version
	@printf '  %-8s %s\n' EXPORTER $@
	$(Q)mkdir -p $(@D) && cp -p $(EXPORTER_SRC) $(@D)/
	$(Q)$(MAKE) $(if $(V),,-s) -C $(KDIR) M=$(abspath $(@D)) modules
