# SPDX-License-Identifier: GPL-2.0-only
# scripts/kernel.mk - resolves KERNEL into a release, and fetches its image, source and headers from
# Debian. Everything built for that release goes to the directory $(R).

KERNEL_MK := $(B)/kernels/$(KERNEL).mk
ifneq ($(shell scripts/kernel.sh $(KERNEL) $(KERNEL_MK) $(B)/cache && echo ok),ok)
$(error stopped)
endif
include $(KERNEL_MK)
R := $(B)/$(REL)
LOCK = scripts/locked.sh $(R)/$(1).lock
# In front of what fetches packages that are not of this machine's release or architecture.
FOREIGN := $(if $(filter-out $(CODENAME)-amd64,$(DEBIAN)-$(ARCH)), \
	scripts/foreign.sh $(ARCH) $(DEBIAN) $(B)/cache/$(DEBIAN)-$(ARCH))
# In front of what builds modules for the kernel of another release.
IN := $(if $(INSIDE),scripts/inside.sh $(INSIDE))
ifdef DEBUG
KDIR := $(abspath $(R))/linux
else
KDIR := $(shell INSIDE=$(INSIDE) $(FOREIGN) scripts/headers.sh $(KERNEL) $(HEADERS_PKG) $(DEBIAN_VERSION) \
	$(R)/headers $(HEADERS_DEPS))
ifeq ($(KDIR),)
$(error stopped)
endif
endif

# Where the objects and programs for the emulated host are. Those for a 32-bit one are built from
# the same sources.
H := $(B)$(if $(filter i386,$(ARCH)),/i386)
$(B)/i386/%: M32 := -m32
$(B)/i386/%.o: %.c Makefile scripts/kernel.mk
	mkdir -p $(@D)
	printf '  %-8s %s\n' CC $@
	$(CC) -m32 -D_FILE_OFFSET_BITS=64 -idirafter /usr/include/x86_64-linux-gnu $(CFLAGS) -MMD -MP -c -o $@ $<

# Changes only when the release gets other packages.
$(R)/version: FORCE
	mkdir -p $(@D) && echo $(sort $(DEBIAN_VERSION) $(SOURCE_VERSION)) | cmp -s - $@ || \
		echo $(sort $(DEBIAN_VERSION) $(SOURCE_VERSION)) >$@

SOURCE := $(B)/cache/$(SOURCE_PKG)_$(SOURCE_VERSION).tar.xz
$(SOURCE): | $(R)/version
	$(call LOCK,source) $(if $(filter i386,$(ARCH)),,$(FOREIGN)) scripts/fetch.sh source $(SOURCE_PKG) $(SOURCE_VERSION) $@

# A debug kernel is used as it was linked, not compressed.
IMAGE := $(R)/image
VMLINUZ := $(IMAGE)/boot/$(if $(DEBUG),vmlinux,vmlinuz)-$(REL)
ifdef DEBUG
# What modules are built against, and have to be built again with.
KERNEL_TREE := $(VMLINUZ)
$(VMLINUZ): $(R)/version $(DEBUG) rig/debug.sh | $(SOURCE)
	printf '  %-8s %s\n' KERNEL "$(REL) (about 25 minutes)"
	$(call LOCK,image) $(IN) rig/debug.sh $(SOURCE) $(KDIR) $(REL) $(IMAGE) $(DEBUG)
else
$(VMLINUZ): $(R)/version
	$(call LOCK,image) $(FOREIGN) scripts/fetch.sh image $(IMAGE_PKG) $(DEBIAN_VERSION) $(IMAGE)
	touch $@
endif

.PHONY: image fetch
image: $(VMLINUZ)
fetch: $(VMLINUZ) $(SOURCE)

# $(call kbuild,DIR): build the modules whose sources were copied to DIR, because Kbuild writes next
# to them. It must not see the environment of this make.
kbuild = $(IN) env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
	make -C $(KDIR) M=$(abspath $(1)) modules >$(1)/build.log 2>&1 || { cat $(1)/build.log >&2; exit 1; }
