# SPDX-License-Identifier: GPL-2.0-only
# lib/vmm/rules.mk - libvmm, a static library; programs that use it link $(LIBVMM) and -lpthread.

LIBVMM := $(H)/lib/libvmm.a
LIBVMM_OBJS := $(patsubst %,$(H)/lib/vmm/%.o,blob call error paging vcpu vm)

$(LIBVMM): $(LIBVMM_OBJS)
	rm -f $@
	$(AR) rcs $@ $^

$(B)/lib/vmm/%.o: lib/vmm/%.c lib/vmm/rules.mk
	@mkdir -p $(@D)
	$(CC) $(UCFLAGS) -MMD -c -o $@ $<

$(H)/lib/vmm/blob.o: lib/vmm/blob.S lib/vmm/rules.mk $(GUEST_BINS)
	@mkdir -p $(@D)
	$(CC) $(M32) -Wa,-I,$(B)/guest -c -o $@ $<

-include $(wildcard $(B)/lib/vmm/*.d)
