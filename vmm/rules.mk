# SPDX-License-Identifier: GPL-2.0-only
# vmm/rules.mk - libvmm, a static library. Its users also need -lpthread.

include vmm/guest/rules.mk

VMM_OBJS := $(patsubst %.c,%.o,$(wildcard vmm/*.c)) vmm/blob.o
LIBVMM := $(B)/lib/libvmm.a

# For this machine and for the 32-bit host.
$(foreach d,$(B) $(B)/i386,$(eval $(d)/lib/libvmm.a: $(addprefix $(d)/,$(VMM_OBJS))))
%/lib/libvmm.a:
	mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

%/vmm/blob.o: vmm/blob.S $(GUEST_BINS)
	mkdir -p $(@D)
	$(CC) $(M32) -Wa,-I,$(B)/guest -c -o $@ $<
