# SPDX-License-Identifier: GPL-2.0-only
# rig/rules.mk - the emulated host: its kernel and initramfs, and the command that drives it.

RIG := $(B)/bin/rig
TOOLS += $(RIG)

# For whoever starts hosts of his own: rig/host.h.
LIBHOST := $(B)/lib/libhost.a

$(B)/rig/%.o: rig/%.c rig/rules.mk
	@mkdir -p $(@D)
	@printf '  %-8s %s\n' CC $@
	$(Q)$(CC) $(UCFLAGS) -MMD -c -o $@ $<

$(B)/rig/bochs_rom.o: rig/bochs_rom.S rig/bochs_boot.h rig/rules.mk
	@mkdir -p $(@D)
	@printf '  %-8s %s\n' AS $@
	$(Q)$(CC) -I. -c -o $@ $<

$(LIBHOST): $(patsubst %,$(B)/rig/%.o,host qemu bochs bochs_rom stream)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(RIG): $(patsubst %,$(B)/rig/%.o,main test table tap matrix) $(LIBHOST)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^

# Not in /bin of the host: PID 1 is at home in its root.
$(H)/rig/init: $(H)/rig/init.o $(H)/rig/stream.o
	$(Q)$(CC) $(M32) -static -o $@ $^

# The host's shell and its like, and the machine's where it is of the same kind.
BUSYBOX := $(if $(FOREIGN),$(B)/cache/busybox-$(ARCH)/bin/busybox)
$(BUSYBOX):
	$(Q)$(FOREIGN) scripts/fetch.sh package busybox-static '' $(@D:/bin=)

$(R)/vmlinux: $(VMLINUZ) rig/vmlinux.sh
	@printf '  %-8s %s\n' UNPACK $@
	$(Q)rig/vmlinux.sh $< $@

# A second expansion, since later fragments add to the programs.
.SECONDEXPANSION:
$(R)/initramfs.cpio: rig/initramfs.sh $(H)/rig/init $(BUSYBOX) $(VMLINUZ) $(MODULES) \
		$(R)/exporter/pfnmap_exporter.ko $$(HOST_PROGS)
	@printf '  %-8s %s\n' PACK $@
	$(Q)BUSYBOX=$(BUSYBOX) rig/initramfs.sh $(REL) $@ $(H)/rig/init $(HOST_PROGS)

initramfs: $(R)/vmlinux

.PHONY: shell check-rig
shell: initramfs $(RIG)
	$(Q)$(RIG) shell --kernel $(REL) $(if $(STOCK),--stock)

# ONLY=, GROUP= and KVM= narrow the tests down.
check-rig: initramfs programs
	$(Q)$(RIG) test --kernel $(REL) --name $(call part,rig) \
		$(if $(ONLY),--only $(ONLY)) $(if $(GROUP),--group $(GROUP)) $(if $(KVM),--kvm $(KVM)) \
		$(if $(FOREIGN),tests/$(ARCH).table,tests/table)

# The emulator is installed only for those who want it; bochs-term is the smallest of its displays.
ifdef ONE_KERNEL
.PHONY: check-intel
check-intel: initramfs programs
	$(Q)scripts/deps.sh bochs bochs-term bochsbios vgabios
	$(Q)$(RIG) test --host intel --workers 1 --name $(call part,intel) --kernel $(REL) \
		$(if $(ONLY),--only $(ONLY)) $(if $(GROUP),--group $(GROUP)) \
		$(if $(KVM),--kvm $(KVM)) tests/intel.table
endif

-include $(wildcard $(B)/rig/*.d)
