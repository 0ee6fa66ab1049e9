# SPDX-License-Identifier: GPL-2.0-only
# vmm/guest/rules.mk - the bare-metal guest program: a flat image for each mode, embedded in libvmm.

OBJCOPY ?= objcopy

GUEST_BINS := $(foreach m,16 32 64,$(B)/guest/guest$(m).bin)
# Keeps GCC from turning loops into calls of memset() and strlen(); clang does not know the flag.
GUEST_NO_IDIOMS := $(shell $(CC) -Werror -fno-tree-loop-distribute-patterns -fsyntax-only -x c \
	/dev/null 2>/dev/null && echo -fno-tree-loop-distribute-patterns)
GUEST_CFLAGS := -std=gnu11 -Os -g -Wall -Wextra $(WERROR) -I. -MMD -MP -ffreestanding -fno-pic \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone \
	-mgeneral-regs-only $(GUEST_NO_IDIOMS)
GUEST_LDFLAGS := -nostdlib -static -Wl,-no-pie -Wl,--build-id=none -Wl,-T,vmm/guest/guest.ld

# The text addresses are those in vmm/guest/guest.h.
$(B)/guest/guest16.elf: GUEST_MODE := -m16 -DGUEST_REAL
$(B)/guest/guest16.elf: GUEST_TEXT := 0x3000
$(B)/guest/guest32.elf: GUEST_MODE := -m32
$(B)/guest/guest32.elf: GUEST_TEXT := 0x4000
$(B)/guest/guest64.elf: GUEST_MODE := -m64
$(B)/guest/guest64.elf: GUEST_TEXT := 0x5000

define guest_rule
$(B)/guest/guest$(1).elf: $(patsubst %,$(B)/guest/$(1)/%.o,start payload $(2)) vmm/guest/guest.ld
	$$(CC) $$(GUEST_MODE) $$(GUEST_LDFLAGS) -Wl,-Ttext=$$(GUEST_TEXT) -o $$@ $$(filter %.o,$$^)

$(B)/guest/$(1)/%.o: vmm/guest/%.c vmm/guest/rules.mk
	mkdir -p $$(@D)
	$$(CC) $$(GUEST_MODE) $$(GUEST_CFLAGS) -c -o $$@ $$<

$(B)/guest/$(1)/%.o: vmm/guest/%.S vmm/guest/rules.mk
	mkdir -p $$(@D)
	$$(CC) $$(GUEST_MODE) $$(GUEST_CFLAGS) -c -o $$@ $$<
endef
$(eval $(call guest_rule,16))
$(eval $(call guest_rule,32))
$(eval $(call guest_rule,64,svm vmx))

$(B)/guest/%.bin: $(B)/guest/%.elf
	$(OBJCOPY) -O binary $< $@
