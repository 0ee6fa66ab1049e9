# SPDX-License-Identifier: GPL-2.0-only
# tests/rules.mk - the test programs in the emulated host: NAME from tests/NAME.c, rig_NAME from
# tests/rig/NAME.c, and torture from tests/torture.

TEST_PROGS := $(patsubst tests/%.c,$(H)/host/%,$(wildcard tests/*.c))
RIG_PROGS := $(patsubst %,$(H)/host/rig_%,kvm misbehave program)
TORTURE := $(H)/host/torture
HOST_PROGS += $(TEST_PROGS) $(RIG_PROGS) $(TORTURE)

# A program is linked with those parts of the tests' library that it uses.
LIBTEST := $(H)/lib/libtest.a
$(LIBTEST): $(patsubst tests/%.c,$(H)/tests/%.o,$(wildcard tests/lib/*.c))
	mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

$(TEST_PROGS): $(H)/host/%: $(H)/tests/%.o
$(RIG_PROGS): $(H)/host/rig_%: $(H)/tests/rig/%.o
$(TORTURE): $(patsubst tests/%.c,$(H)/tests/%.o,$(wildcard tests/torture/*.c))
$(TEST_PROGS) $(RIG_PROGS) $(TORTURE): $(LIBTEST) $(H)/lib/libvmm.a
	mkdir -p $(@D)
	$(CC) $(M32) -static -o $@ $(filter %.o,$^) $(filter %.a,$^) -lpthread

# The initramfs of the guests of tests/lib/qemu.c.
IVSHMEM := $(B)/guest/ivshmem.cpio
TOOLS += $(IVSHMEM)
$(IVSHMEM): $(B)/tests/guest/ivshmem.o
	mkdir -p $(@D)/ivshmem
	$(CC) -static -s -o $(@D)/ivshmem/init $^
	cd $(@D)/ivshmem && echo init | busybox cpio -o -H newc -R 0:0 2>/dev/null >../$(@F)

# Keep the objects.
.SECONDARY:
