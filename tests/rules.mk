# SPDX-License-Identifier: GPL-2.0-only
# tests/rules.mk - the programs of the emulated host that the tables of tests name: each file of this
# directory is one, and each of tests/rig, as rig_NAME.

TEST_PROGS := $(patsubst tests/%.c,$(H)/host/%,$(wildcard tests/*.c))
RIG_PROGS := $(patsubst %,$(H)/host/rig_%,kvm misbehave program)
# A 32-bit host has no 64-bit guests, and none of this machine's programs.
HOST_PROGS += $(TEST_PROGS) $(RIG_PROGS)

# A program gets what it uses of what the tests share.
LIBTEST := $(H)/lib/libtest.a
$(LIBTEST): $(patsubst tests/%.c,$(H)/tests/%.o,$(wildcard tests/lib/*.c))
	mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

$(TEST_PROGS): $(H)/host/%: $(H)/tests/%.o
$(RIG_PROGS): $(H)/host/rig_%: $(H)/tests/rig/%.o
$(TEST_PROGS) $(RIG_PROGS): $(LIBTEST) $(H)/lib/libvmm.a
	mkdir -p $(@D)
	$(CC) $(M32) -static -o $@ $(filter %.o,$^) $(filter %.a,$^) -lpthread

# What the guests of tests/lib/qemu.c boot into.
IVSHMEM := $(B)/guest/ivshmem.cpio
TOOLS += $(IVSHMEM)
$(IVSHMEM): $(B)/tests/guest/ivshmem.o
	mkdir -p $(@D)/ivshmem
	$(CC) -static -s -o $(@D)/ivshmem/init $^
	cd $(@D)/ivshmem && echo init | busybox cpio -o -H newc -R 0:0 2>/dev/null >../$(@F)

# Objects are worth keeping.
.SECONDARY:
