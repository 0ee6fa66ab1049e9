# SPDX-License-Identifier: GPL-2.0-only
# rig/rules.mk - the emulated host: its kernel and initramfs, and the command that drives it.

RIG := $(B)/bin/rig

# For test programs of the launcher, rig/host.h.
LIBHOST := $(B)/lib/libhost.a

$(B)/rig/bochs_rom.o: rig/bochs_rom.S rig/bochs_boot.h rig/rules.mk
	mkdir -p $(@D)
	printf '  %-8s %s\n' AS $@
	$(CC) -I. -c -o $@ $<

$(LIBHOST): $(patsubst %,$(B)/rig/%.o,host qemu bochs bochs_rom stream)
	mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

RIG_PARTS := main launch run runner table judge tap report matrix util
$(RIG): $(patsubst %,$(B)/rig/%.o,$(RIG_PARTS)) $(LIBHOST)
	mkdir -p $(@D)
	$(CC) -static -o $@ $^

# $(TAP) NAME PROGRAM... runs test programs of this machine. Targets that use it depend on $(RIG).
TAP := $(RIG) tap $(B)/logs

ifdef REL

# Becomes /init of the host, not a file in /bin.
$(H)/rig/init: $(H)/rig/init.o $(H)/rig/stream.o
	$(CC) $(M32) -static -o $@ $^

# The busybox of a 32-bit host; a 64-bit one uses this machine's.
BUSYBOX := $(if $(filter i386,$(ARCH)),$(B)/cache/busybox-$(ARCH)/bin/busybox)
$(BUSYBOX):
	$(FOREIGN) scripts/fetch.sh package busybox-static '' $(@D:/bin=)

$(R)/vmlinux: $(VMLINUZ) rig/vmlinux.sh
	printf '  %-8s %s\n' UNPACK $@
	$(if $(DEBUG),ln -f $< $@,rig/vmlinux.sh $< $@)

RIG_MODULES := $(patsubst rig/module/%.c,$(R)/rig/%.ko,$(wildcard rig/module/*.c))
RIG_MODULE_SRC := $(wildcard rig/module/*)
$(RIG_MODULES) &: $(RIG_MODULE_SRC) $(R)/version $(KERNEL_TREE)
	printf '  %-8s %s\n' KBUILD $(R)/rig
	mkdir -p $(R)/rig && cp -p $(RIG_MODULE_SRC) $(R)/rig/
	$(call kbuild,$(R)/rig)

# A second expansion, since fragments that are included later add programs.
.SECONDEXPANSION:
$(R)/initramfs.cpio: rig/initramfs.sh $(H)/rig/init $(BUSYBOX) $(VMLINUZ) $(RIG_MODULES) $$(MODULES) $$(EXPORTER) \
		$$(HOST_PROGS)
	printf '  %-8s %s\n' PACK $@
	BUSYBOX=$(BUSYBOX) rig/initramfs.sh $(REL) $@ $(H)/rig/init $(HOST_PROGS)

.PHONY: initramfs programs shell check-rig check-intel torture
initramfs: $(R)/initramfs.cpio $(R)/vmlinux

programs: $$(HOST_PROGS) $$(TOOLS) $(RIG)

shell: initramfs $(RIG)
	$(RIG) shell --kernel $(REL) $(if $(STOCK),--stock)

# "make check" and "make ci" set QUICK to the kernels that get most of the tests; others get the
# patched modules with nested paging.
FEW = $(and $(QUICK),$(filter-out $(QUICK),$(KERNEL)))

# What shows that a kernel which shares a series with another one works, too. The -cloud kernels have
# no graphics drivers. KVM of -rt kernels does not load without a constant TSC, which QEMU's
# processors do not have.
SMOKE = counts,revoke$(if $(filter %-rt,$(NAME)),,$(AMD_SMOKE))
AMD_SMOKE = $(comma)rig_kvm$(if $(filter %-cloud,$(NAME)),,$(comma)drm_dumb_bochs)

# ONLY=, GROUP= and VARIANT= select tests.
ONLY ?= $(if $(GROUP)$(DEBUG)$(filter i386,$(ARCH)),,$(if $(findstring -,$(NAME)),$(SMOKE)))
# A debug kernel has no drivers of displays, sound and VFIO, and is slow. Without CONFIG_MODVERSIONS, it
# loads modules that do not fit each other, which the group modules is about.
DEBUG_GROUPS = core,direct,memslot,exporter,lookup,races,torture,rig$(if $(filter %-debug,$(NAME)),$(comma)debug)
VARIANT ?= $(if $(DEBUG),patched)
SELECT = $(if $(FEW),--kvm patched --paging tdp,$(if $(QUICK),--quick)) \
	$(if $(DEBUG),--debug $(if $(ONLY)$(GROUP),,--group $(DEBUG_GROUPS))) $(if $(ONLY),--only $(ONLY)$(if $(filter %-debug,$(NAME)),$(comma)leaks)) $(if $(GROUP),--group $(GROUP)) $(if $(VARIANT),--kvm $(VARIANT))

check-rig: initramfs programs
	$(if $(filter %-rt,$(NAME)),echo "KVM of a realtime kernel needs a constant TSC: make check-intel" >&2; exit 1)
	$(if $(FEW),echo "# left out: all but the patched modules with nested paging" \
		"(make check KERNEL=$(KERNEL) and make ci-full have more)")
	$(RIG) test --kernel $(REL) --name $(call part,rig) $(SELECT) \
		tests/$(if $(filter i386,$(ARCH)),i386,amd).table

# Runs of the torture test with SEED= and the seeds after it, for SECONDS= at least (SEED=fresh draws the
# first one); or those operations that OPS= lists, TRIES= times. What fails is made as short as possible.
SEED ?= 1
SECONDS ?= 60
torture: initramfs programs
	$(RIG) run --kernel $(REL) $(if $(VARIANT),--kvm $(VARIANT)) $(if $(PAGING),--paging $(PAGING)) \
		$(if $(MULTI),--thread multi) --timeout $$((3 * $(SECONDS) + 1200)) \
		--need pfnmap_exporter,brd -- torture seed=$(SEED) $(if $(OPS),ops=$(OPS)) \
		$(if $(TRIES),tries=$(TRIES),seconds=$(SECONDS)) $(if $(MULTI),multi) shrink

check-intel: initramfs programs
	$(RIG) test --host intel --workers 1 --name $(call part,intel) --kernel $(REL) $(SELECT) \
		tests/intel.table

endif
